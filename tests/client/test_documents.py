"""What was said, as files."""

import json

from client.documents import encode_document, encode_event
from client.transcript import Channels, Transcript
from server import wire

WORD = wire.WordEvent("Hello.", 0, 400, 0.8)


def said(*finals):
    transcript = Transcript()
    for final in finals:
        transcript.receive_event(final)
    return transcript


HELLO = said(
    wire.Final(0, 0, 400, "Hello.", "en", 0.8, [WORD]), wire.Final(1, 500, 600, "", None, 0, [])
)
BOTH = Channels({"left": HELLO, "right": said(wire.Final(0, 300, 900, "Hi\x1b!", "en", 0.7, []))})


def test_text_has_a_line_for_each_segment_with_words():
    assert encode_document("txt", HELLO) == "Hello.\n"
    assert encode_document("txt", BOTH) == "left: Hello.\nright: Hi !\n"
    assert encode_document("txt", Transcript()) == ""


def test_subtitles_have_cues():
    assert encode_document("srt", HELLO).startswith("1\n00:00:00,000 -->")
    assert encode_document("vtt", BOTH).count(" --> ") == 2


def test_json_has_segments_and_words_with_times():
    assert json.loads(encode_document("json", HELLO)) == {
        "text": "Hello.",
        "segments": [
            {
                "start_ms": 0,
                "end_ms": 400,
                "text": "Hello.",
                "confidence": 0.8,
                "words": [{"text": "Hello.", "start_ms": 0, "end_ms": 400, "confidence": 0.8}],
                "language": "en",
            }
        ],
    }
    channels = [
        segment["channel"] for segment in json.loads(encode_document("json", BOTH))["segments"]
    ]
    assert channels == ["left", "right"]


def test_events_name_their_channel_if_there_are_two():
    event = wire.SpeechEnded(0, 9)
    assert encode_event(event, None) == wire.encode(event)
    assert json.loads(encode_event(event, "left")) == {
        "channel": "left",
        "type": "speech_ended",
        "segment": 0,
        "end_ms": 9,
    }
