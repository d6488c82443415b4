"""Frames of vosk-server's WebSocket in; what to say to a session, and its words as that server
spells them, out.

Its clients are in lock-step: for each binary frame they wait for one text, and would wait for ever.
So each is answered at once, with a final that is ready or else with what is said so far, and nobody
waits for the engine; what is not told by the end is told in the one answer to `eof`. The answer to
`reset` needs the engine, and those to frames that come meanwhile stand behind it. Words are told as
Kaldi's are: in lower case, without punctuation.

Sample rates that are not heard here, a rate that changes, and texts that are neither `config` nor
`eof` nor `reset` break the protocol. It has no word for an error: the close code is all that a
client is told, and who waits for the answer to `eof` gets none, as it would be taken for all that
was said. A list of phrases is ignored, as by the original's larger models: as a hint it would be
taken for what has been said already. So is a model, which is not the client's to choose.
"""

import unicodedata
from collections import deque
from collections.abc import Sequence
from enum import Enum, auto
from typing import get_args

import msgspec

from server import wire
from server.dialects.plain_answers import plain_answer
from server.dialects.translation import Answer, Broken, ClientDialect, Hear, Host, Say, Translated
from server.dialects.values import Reply, Upgrade
from server.errors import Refusal

_DEFAULT_RATE_HZ: wire.SampleRateHz = 8_000
_MOST_TEXT_CHARS = 65_536
_MOST_WAITING_FINALS = 16
"""With more, one answer tells several."""
_MOST_RESETS = 16
"""Not answered yet."""
_MOST_HELD_ANSWERS = 10_000
"""Behind a reset."""
_KEPT = frozenset("%&#@")
"""Punctuation, to Unicode, that is said."""


# --- what is on the wire; fields that are not named here are skipped ---


class _Config(msgspec.Struct, frozen=True):
    rate_hz: float | None = msgspec.field(name="sample_rate", default=None)
    words: bool | None = None
    max_alternatives: int | None = None


class _Message(msgspec.Struct, frozen=True):
    config: _Config | None = None
    eof: bool = False
    reset: bool = False


class _Partial(msgspec.Struct, frozen=True):
    partial: str


class _Word(msgspec.Struct, frozen=True):
    """Times are seconds from the start of the stream."""

    conf: float
    end: float
    start: float
    word: str


class _Result(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    result: list[_Word] = []
    text: str


class _WordOfAlternative(msgspec.Struct, frozen=True):
    end: float
    start: float
    word: str


class _Alternative(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    confidence: float
    """The original's is a score of no fixed range; here it is a probability."""
    result: list[_WordOfAlternative] = []
    text: str


class _Alternatives(msgspec.Struct, frozen=True):
    alternatives: list[_Alternative]


_decoder = msgspec.json.Decoder(_Message, strict=False)
_encoder = msgspec.json.Encoder()
_RATES_HZ: dict[float, wire.SampleRateHz] = {rate: rate for rate in get_args(wire.SampleRateHz)}


class _State(Enum):
    NEW = auto()
    """The session has not been started: the rate may still be told."""
    STARTED = auto()
    STOPPED = auto()
    """The client waits for the answer to its `eof`; nothing more is heard."""
    BROKEN = auto()
    """Nothing more is heard."""


class Vosk:
    """One connection."""

    def __init__(self) -> None:
        self._state = _State.NEW
        self._rate_hz: wire.SampleRateHz = _DEFAULT_RATE_HZ
        self._wants_words = True
        self._wants_alternatives = False
        self._partials: dict[int, str] = {}
        """By segment, of those whose final has not come."""
        self._finals: list[wire.Final] = []
        """Not told yet."""
        self._held: deque[int] = deque()
        """For each reset that is not answered, how many answers stand behind it."""

    def open(self) -> list[Translated]:
        """The client speaks first."""
        return []

    def receive(self, frame: str | bytes) -> list[Translated]:
        """See `ClientDialect`."""
        if self._state in {_State.STOPPED, _State.BROKEN}:
            return []
        if isinstance(frame, bytes):
            return self._hear(frame)
        match _message_of(frame):
            case _Message(config=_Config() as config):
                return self._configure(config)
            case _Message(eof=True):
                stopped = [*self._start(), Say(wire.Stop())]
                self._state = _State.STOPPED
                return stopped
            case _Message(reset=True) if len(self._held) < _MOST_RESETS:
                self._held.append(0)
                return [*self._start(), Say(wire.Flush(answer=True))]
            case _:
                return self._fail()

    def tell(self, event: wire.ServerEvent) -> list[str | bytes]:
        """See `ClientDialect`."""
        match event:
            case wire.Partial():
                self._partials[event.segment] = _plain(event.stable + event.unstable)
            case wire.Final():
                self._partials.pop(event.segment, None)
                if _plain(event.text):
                    self._finals.append(event)
            case wire.Flushed() if self._held:
                return self._answers_from_reset()
            case wire.Ended("stopped"):
                held = [each for _ in list(self._held) for each in self._answers_from_reset()]
                return [*held, self._last()]
            case wire.Ended() if self._finals and self._state is not _State.STOPPED:
                return [self._last()]
            case _:
                pass
        return []

    def close_code(self, code: int) -> int:
        """Its own: this protocol has no other word for what went wrong."""
        return code

    def _configure(self, config: _Config) -> list[Translated]:
        if config.words is not None:
            self._wants_words = config.words
        if config.max_alternatives is not None:
            self._wants_alternatives = config.max_alternatives > 0
        if config.rate_hz is None:
            return []
        rate_hz = _RATES_HZ.get(config.rate_hz)
        is_late = self._state is _State.STARTED and rate_hz != self._rate_hz
        if rate_hz is None or is_late:
            return self._fail()
        self._rate_hz = rate_hz
        return self._start()

    def _start(self) -> list[Translated]:
        """Once: as soon as the rate is known."""
        if self._state is not _State.NEW:
            return []
        self._state = _State.STARTED
        return [Say(wire.Start(self._rate_hz))]

    def _hear(self, frame: bytes) -> list[Translated]:
        translated = self._start()
        if frame:
            translated.append(Hear(frame))
        if not self._held:
            return [*translated, Reply(self._next())]
        if self._held[-1] >= _MOST_HELD_ANSWERS:
            return self._fail()
        self._held[-1] += 1
        return translated

    def _fail(self) -> list[Translated]:
        self._state = _State.BROKEN
        return [Broken()]

    def _answers_from_reset(self) -> list[str | bytes]:
        """To the oldest one, and to the frames between it and the next."""
        n_held = self._held.popleft()
        return [self._last(), *(self._next() for _ in range(n_held))]

    def _next(self) -> str:
        """The answer to a frame."""
        if not self._finals:
            said = " ".join(filter(None, self._partials.values()))
            return _encoder.encode(_Partial(said)).decode()
        n_told = max(1, len(self._finals) - _MOST_WAITING_FINALS + 1)
        told, self._finals = self._finals[:n_told], self._finals[n_told:]
        return self._result(told)

    def _last(self) -> str:
        """All that is final and not told; there is always an answer."""
        told, self._finals = self._finals, []
        return self._result(told)

    def _result(self, finals: Sequence[wire.Final]) -> str:
        """Of several as if they were one."""
        text = " ".join(filter(None, (_plain(final.text) for final in finals)))
        words = [
            _Word(word.confidence, word.end_ms / 1000, word.start_ms / 1000, said)
            for final in finals
            for word in final.words
            if (said := _plain(word.text))
        ]
        shown = words if self._wants_words else []
        if not self._wants_alternatives:
            return _encoder.encode(_Result(result=shown, text=text)).decode()
        confidence = sum(word.conf for word in words) / len(words) if words else 1.0
        timed = [_WordOfAlternative(word.end, word.start, word.word) for word in shown]
        only = _Alternative(confidence=confidence, result=timed, text=text)
        return _encoder.encode(_Alternatives([only])).decode()


class VoskApi:
    """vosk-server's."""

    may_be_quiet = True

    def __init__(self, *, is_at_root: bool) -> None:
        """Its own clients know no path."""
        self.paths: Sequence[str] = ("/v1/vosk", "/") if is_at_root else ("/v1/vosk",)

    def keys(self, upgrade: Upgrade) -> list[str]:
        """The original knows none."""
        return []

    def subprotocol(self, upgrade: Upgrade) -> str | None:
        """The original has none."""
        return None

    def new_dialect(self, upgrade: Upgrade, host: Host) -> ClientDialect:
        """Of any upgrade."""
        return Vosk()

    def headers(self, dialect: ClientDialect) -> Sequence[tuple[str, str]]:
        """None."""
        return ()

    def refuse(self, refusal: Refusal) -> Answer:
        """In a line."""
        return plain_answer(refusal)


def _message_of(frame: str) -> _Message | None:
    try:
        return _decoder.decode(frame if len(frame) <= _MOST_TEXT_CHARS else "")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _plain(text: str) -> str:
    """As Kaldi's words are, one space between them."""
    return " ".join(filter(None, map(_bare, text.lower().split())))


def _bare(word: str) -> str:
    """Without the punctuation around it."""
    said = [index for index, character in enumerate(word) if _is_said(character)]
    return word[said[0] : said[-1] + 1] if said else ""


def _is_said(character: str) -> bool:
    return character in _KEPT or not unicodedata.category(character).startswith("P")
