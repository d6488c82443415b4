"""Server events in, a transcript out: segments with settled text and a tail that may still change.

A final replaces whatever the captions of its segment said, and nothing replaces a final. Captions
that arrive out of order are recognised by their revision and dropped. Segments stay in the order
in which they were first heard of, so that a final which comes late still stands where it was
spoken. `Channels` lays several transcripts side by side.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from client.cells import clean
from server.wire import Final, Partial, ServerEvent, SpeechStarted, WordEvent

_SCRIPTS_WITHOUT_SPACES = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0xA4CF),  # CJK, kana, Yi
    (0xF900, 0xFAFF),  # CJK compatibility
    (0xFF00, 0xFFEF),  # full-width forms
    (0x20000, 0x3FFFF),  # CJK extensions
)


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of speech, as far as it is known."""

    segment: int
    """Its number within the session, as on the wire."""
    start_ms: int
    end_ms: int
    settled: str = ""
    """Text that stays: the stable part of a caption, all of a final."""
    tail: str = ""
    """Text that may still change; empty once the segment is final."""
    revision: int = -1
    is_final: bool = False
    language: str | None = None
    confidence: float = 0.0
    words: tuple[WordEvent, ...] = ()
    channel: str | None = None
    """Whose it is, where a recording has a channel for each speaker."""

    @property
    def key(self) -> tuple[str | None, int]:
        """What no other segment of a transcript has."""
        return self.channel, self.segment

    @property
    def label(self) -> str:
        """What stands before its text, where its channel has a name."""
        return "" if self.channel is None else f"{clean(self.channel)}: "

    @property
    def text(self) -> str:
        """The settled text and the tail; the space between them belongs to the tail."""
        return self.settled + self.tail


class Segments(Protocol):
    """Whatever has segments: one transcript, or several side by side."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in the order in which they began."""


class Transcript:
    """What a session has said so far. Grows by `receive_event` alone."""

    def __init__(self) -> None:
        self._segments: dict[int, Segment] = {}

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, in the order in which they began."""
        return tuple(self._segments.values())

    @property
    def text(self) -> str:
        """All text, tails included."""
        return join_all(segment.text for segment in self._segments.values())

    @property
    def words(self) -> tuple[WordEvent, ...]:
        """All words of finals, with their times and confidences."""
        return tuple(word for segment in self._segments.values() for word in segment.words)

    @property
    def settled_text(self) -> str:
        """All text that cannot change any more."""
        return join_all(segment.settled for segment in self._segments.values())

    @property
    def tail(self) -> str:
        """All text that still can."""
        return join_all(segment.tail for segment in self._segments.values())

    @property
    def is_settled(self) -> bool:
        """Whether every segment is final."""
        return all(segment.is_final for segment in self._segments.values())

    def receive_event(self, event: ServerEvent) -> None:
        """Take in what the server said; events without words change nothing."""
        match event:
            case SpeechStarted():
                fresh = Segment(event.segment, event.start_ms, event.start_ms)
                self._segments.setdefault(event.segment, fresh)
            case Partial():
                self._receive_partial(event)
            case Final():
                self._receive_final(event)
            case _:
                pass

    def _receive_partial(self, event: Partial) -> None:
        known = self._segments.get(event.segment)
        if known is not None and (known.is_final or event.revision <= known.revision):
            return
        self._segments[event.segment] = Segment(
            event.segment,
            event.start_ms,
            event.end_ms,
            settled=event.stable,
            tail=event.unstable,
            revision=event.revision,
        )

    def _receive_final(self, event: Final) -> None:
        known = self._segments.get(event.segment)
        if known is not None and known.is_final:
            return
        final = Segment(event.segment, event.start_ms, event.end_ms, settled=event.text.strip())
        self._segments[event.segment] = replace(
            final,
            is_final=True,
            language=event.language,
            confidence=event.confidence,
            words=tuple(event.words),
        )


class Channels:
    """The transcripts of channels that were recorded side by side, as one, in order by time."""

    def __init__(self, transcripts: Mapping[str | None, Transcript]) -> None:
        self._transcripts = transcripts
        """By the name of the channel; None alone where there is one channel without a name."""

    @property
    def segments(self) -> tuple[Segment, ...]:
        """All segments, by the time at which they began."""
        named = [
            segment if name is None else replace(segment, channel=name)
            for name, transcript in self._transcripts.items()
            for segment in transcript.segments
        ]
        return tuple(sorted(named, key=lambda segment: segment.start_ms))


def join_text(left: str, right: str) -> str:
    """Two texts after each other, with one space between them where their script wants one."""
    if not left or not right or left[-1].isspace() or right[0].isspace():
        return left + right
    is_closing = unicodedata.category(right[0]) in ("Po", "Pe", "Pf") and right[0] not in "#&@*"
    if is_closing or _is_unspaced(left[-1]) or _is_unspaced(right[0]):
        return left + right
    return f"{left} {right}"


def join_all(texts: Iterable[str]) -> str:
    """The same of many."""
    joined = ""
    for text in texts:
        joined = join_text(joined, text.strip())
    return joined


def _is_unspaced(char: str) -> bool:
    point = ord(char)
    return any(first <= point <= last for first, last in _SCRIPTS_WITHOUT_SPACES)
