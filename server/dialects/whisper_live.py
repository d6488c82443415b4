"""Frames of WhisperLive's WebSocket in; what to say to a session, and its words as that server
spells them, out.

The first text says who the client is and what it wants, and its `uid` stands in everything that it
is told, as clients ignore whatever is for another. It is told the last completed segments and at
most one that is open, never none at all. A segment is told once more as open, with its last words,
before it is completed: clients keep the last open one, and take it for more than was said where it
differs. For the same reason no segment begins before the one before it has ended. Times are
strings.

Refused with `ERROR`: translation, telling speakers apart, languages that are none, formats of
samples that the original does not know. A model, thresholds and the settings of the detector of
speech are ignored: those of this server hold for all.
"""

from collections import deque
from collections.abc import Sequence
from enum import Enum, auto

import msgspec
import numpy as np
from numpy.typing import NDArray

from server import errors, wire
from server.dialects.hints import context_of
from server.dialects.plain_answers import plain_answer
from server.dialects.translation import Answer, Broken, ClientDialect, Hear, Host, Say, Translated
from server.dialects.values import Upgrade, language_of
from server.dialects.whisper_live_messages import (
    Disconnect,
    Language,
    Ready,
    Segment,
    Segments,
    Status,
    decode_options,
    fault_of,
    seconds,
    spelt,
    uid_of,
    word_of,
)
from server.errors import Refusal

_END_OF_AUDIO = "END_OF_AUDIO"
_USUAL_SEGMENTS = 10
_MOST_SEGMENTS = 100
_NORMAL_CLOSE, _POLICY_CLOSE = 1000, 1008
_OVERTIME = {
    each.code
    for each in (
        errors.QUOTA_AUDIO,
        errors.QUOTA_BYTES,
        errors.QUOTA_DAILY,
        errors.SESSION_TOO_LONG,
        errors.TOKEN_EXPIRED,
    )
}
"""What the original tells who has had its time."""
_WAIT_MINUTES = {
    each.code: each.retry_after_s / 60 for each in (errors.OVERLOADED, errors.SHUTTING_DOWN)
}
"""After what one may come again."""


class _State(Enum):
    NEW = auto()
    STARTED = auto()
    OVER = auto()
    """Nothing more is heard."""


class WhisperLive:
    """One connection."""

    def __init__(self) -> None:
        self._state = _State.NEW
        self._uid = ""
        """Of the client; empty until it has said it."""
        self._fault = ""
        """What it did wrong."""
        self._audio_format = "float32"
        self._wants_words = False
        self._wants_language = False
        self._completed: deque[Segment] = deque(maxlen=_USUAL_SEGMENTS)
        self._completed_ms = 0
        """Where the last one ends."""
        self._open: tuple[int, Segment] | None = None
        """Its number, and what is said so far."""

    def open(self) -> list[Translated]:
        """The client speaks first."""
        return []

    def receive(self, frame: str | bytes) -> list[Translated]:
        """See `ClientDialect`."""
        if self._state is _State.OVER:
            return []
        return self._begin(frame) if self._state is _State.NEW else self._hear(frame)

    def tell(self, event: wire.ServerEvent) -> list[str | bytes]:
        """See `ClientDialect`."""
        match event:
            case wire.Ready(language=language):
                return [spelt(Ready(self._uid)), *self._tell_language(language)]
            case wire.Partial():
                return self._tell_partial(event)
            case wire.Final():
                language = event.language if event.text else None
                return [*self._tell_language(language), *self._tell_final(event)]
            case wire.ErrorEvent() if self._uid:
                return [self._error(event)]
            case _:
                return []

    def close_code(self, code: int) -> int:
        """The original knows no other; what was wrong has been told, unless we failed or do not
        know to whom.
        """
        if self._fault and not self._uid:
            return _POLICY_CLOSE
        return code if code == errors.INTERNAL.close_code else _NORMAL_CLOSE

    def _begin(self, frame: str | bytes) -> list[Translated]:
        options = decode_options(frame)
        if options is None:
            self._uid = uid_of(frame)
            return self._fail("The options cannot be read.")
        self._uid = options.uid
        is_of_english = (options.model or "").endswith("en")
        language = language_of("en" if is_of_english else options.language)
        fault = fault_of(options)
        if fault:
            return self._fail(fault)
        self._state = _State.STARTED
        self._audio_format = options.audio_format or self._audio_format
        self._wants_words = bool(options.word_timestamps)
        self._wants_language = language is None
        self._completed = deque(maxlen=_n_segments(options.send_last_n_segments))
        context = context_of([options.initial_prompt, options.hotwords])
        is_float = self._audio_format == "float32"
        start = wire.Start(
            16_000,
            "pcm_f32le" if is_float else "pcm_s16le",
            language=language,
            context=context,
        )
        return [Say(start)]

    def _hear(self, frame: str | bytes) -> list[Translated]:
        if frame in (_END_OF_AUDIO, _END_OF_AUDIO.encode()):
            self._state = _State.OVER
            return [Say(wire.Stop())]
        if isinstance(frame, str):
            return self._fail("The text is none of this protocol.")
        if not frame:
            return []
        return [Hear(_widened(frame) if self._audio_format == "uint8" else frame)]

    def _fail(self, fault: str) -> list[Translated]:
        self._state = _State.OVER
        self._fault = fault
        return [Broken()]

    def _tell_language(self, language: str | None) -> list[str | bytes]:
        """Once, to who did not name it."""
        if language is None or not self._wants_language:
            return []
        self._wants_language = False
        return [spelt(Language(self._uid, language))]

    def _tell_partial(self, partial: wire.Partial) -> list[str | bytes]:
        text = partial.stable + partial.unstable
        is_old = self._open is not None and partial.segment < self._open[0]
        if is_old or not text:
            return []
        self._open = partial.segment, _open_segment(self._span_ms(partial), text)
        return [self._segments()]

    def _tell_final(self, final: wire.Final) -> list[str | bytes]:
        was_last = self._open is None or self._open[0] <= final.segment
        if was_last:
            self._open = None
        if not final.text:
            return [self._segments()] if was_last and self._completed else []
        told: list[str | bytes] = []
        span_ms = self._span_ms(final)
        said = _open_segment(span_ms, final.text)
        if was_last:
            self._open = final.segment, said
            told.append(self._segments())
            self._open = None
        words = [word_of(word) for word in final.words] if self._wants_words else msgspec.UNSET
        self._completed.append(msgspec.structs.replace(said, completed=True, words=words))
        self._completed_ms = span_ms[1]
        return [*told, self._segments()]

    def _span_ms(self, event: wire.Partial | wire.Final) -> tuple[int, int]:
        """After all that are completed, and never nothing: clients would keep it twice."""
        start_ms = max(event.start_ms, self._completed_ms)
        return start_ms, max(event.end_ms, start_ms + 1)

    def _segments(self) -> str:
        """Those that are told; there is at least one by now."""
        last = [self._open[1]] if self._open else []
        return spelt(Segments(self._uid, [*self._completed, *last]))

    def _error(self, event: wire.ErrorEvent) -> str:
        if event.code in _OVERTIME:
            return spelt(Disconnect(self._uid))
        if event.code in _WAIT_MINUTES:
            return spelt(Status(self._uid, "WAIT", _WAIT_MINUTES[event.code]))
        return spelt(Status(self._uid, "ERROR", self._fault or event.message))


class WhisperLiveApi:
    """WhisperLive's."""

    may_be_quiet = True

    def __init__(self, *, is_at_root: bool) -> None:
        """Its own clients know no path."""
        own = "/v1/whisper-live"
        self.paths: Sequence[str] = (own, "/") if is_at_root else (own,)

    def keys(self, upgrade: Upgrade) -> list[str]:
        """None but the usual ones."""
        return []

    def subprotocol(self, upgrade: Upgrade) -> str | None:
        """The original has none."""
        return None

    def new_dialect(self, upgrade: Upgrade, host: Host) -> ClientDialect:
        """Of any upgrade: what is wished is said in the first text."""
        return WhisperLive()

    def headers(self, dialect: ClientDialect) -> Sequence[tuple[str, str]]:
        """None."""
        return ()

    def refuse(self, refusal: Refusal) -> Answer:
        """In a line."""
        return plain_answer(refusal)


def _open_segment(span_ms: tuple[int, int], text: str) -> Segment:
    start_ms, end_ms = span_ms
    return Segment(seconds(start_ms), seconds(end_ms), f" {text}", completed=False)


def _widened(frame: bytes) -> bytes:
    """Samples of 8 bits without sign to 16 bits with one, little-endian."""
    unsigned: NDArray[np.int16] = np.frombuffer(frame, np.uint8).astype("<i2")
    return ((unsigned - 128) << 8).tobytes()


def _n_segments(wished: int | None) -> int:
    """As the original, 0 is all."""
    if wished is None:
        return _USUAL_SEGMENTS
    return min(wished, _MOST_SEGMENTS) if wished > 0 else _MOST_SEGMENTS
