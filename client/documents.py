"""What a session said in; a file's content in one of five formats out.

    txt      a line each segment, behind the name of its channel if it has one
    srt, vtt subtitles, see client.subtitles
    json     one object: text, segments, words with times and confidences
    ndjson   the server's events, one a line as they came; with channels, each names its own

Text has no control characters of the model's, but for ndjson and json, where they are escaped.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from client.cells import clean
from client.subtitles import cues_of, encode_srt, encode_vtt
from client.transcript import Segment, Segments, join_all
from server.wire import ServerEvent, WordEvent, encode

Format = Literal["txt", "srt", "vtt", "json", "ndjson"]


class SegmentObject(msgspec.Struct, frozen=True, omit_defaults=True):
    """A segment in a JSON file."""

    start_ms: int
    end_ms: int
    text: str
    confidence: float
    words: Sequence[WordEvent]
    language: str | None = None
    channel: str | None = None


class TranscriptObject(msgspec.Struct, frozen=True):
    """A JSON file."""

    text: str
    segments: Sequence[SegmentObject]


def encode_document(kind: Literal["txt", "srt", "vtt", "json"], transcript: Segments) -> str:
    """The content of a file, with the end of its last line. Segments without words are left out."""
    spoken = [segment for segment in transcript.segments if clean(segment.text)]
    match kind:
        case "txt":
            return "".join(f"{segment.label}{clean(segment.text)}\n" for segment in spoken)
        case "srt":
            return encode_srt(cues_of(spoken))
        case "vtt":
            return encode_vtt(cues_of(spoken))
        case "json":
            return _encode_json(spoken)


def encode_event(event: ServerEvent, channel: str | None) -> str:
    """A line of an ndjson file, without its end."""
    if channel is None:
        return encode(event)
    named = {**msgspec.to_builtins(event), "channel": channel}
    return msgspec.json.encode(named).decode()


def _encode_json(segments: Sequence[Segment]) -> str:
    objects = [
        SegmentObject(
            segment.start_ms,
            segment.end_ms,
            segment.text.strip(),
            segment.confidence,
            segment.words,
            segment.language,
            segment.channel,
        )
        for segment in segments
    ]
    text = join_all(segment.text for segment in segments)
    encoded = msgspec.json.encode(TranscriptObject(text, objects))
    return msgspec.json.format(encoded, indent=2).decode() + "\n"
