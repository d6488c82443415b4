"""The texts of WhisperLive's WebSocket: a client's first frame in, checked options out; what it is
told in, the frame out.

Fields that are not named here are skipped, as the original skips them.
"""

from typing import Annotated, Literal

import msgspec

from server import wire
from server.dialects.values import MOST_ID_CHARS, language_of

_MOST_TEXT_CHARS = 1 << 18
"""Recordings of speakers may be in it, which are not read."""
_BACKEND = "faster_whisper"
"""Clients keep what they hear of no other."""


class Options(msgspec.Struct, frozen=True):
    """What a client is and wants."""

    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID_CHARS)]
    language: str | None = None
    task: str | None = None
    model: str | None = None
    send_last_n_segments: int | None = None
    word_timestamps: bool | None = None
    initial_prompt: str | None = None
    hotwords: str | None = None
    audio_format: str | None = None
    enable_translation: bool | None = None
    enable_diarization: bool | None = None
    known_speakers: list[msgspec.Raw] | None = None


class _Named(msgspec.Struct, frozen=True):
    uid: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID_CHARS)]


class Ready(msgspec.Struct, frozen=True):
    """Audio may come."""

    uid: str
    message: Literal["SERVER_READY"] = "SERVER_READY"
    backend: str = _BACKEND


class Language(msgspec.Struct, frozen=True):
    """Without `language_prob`, which is not known here."""

    uid: str
    language: str


class Word(msgspec.Struct, frozen=True):
    """Begins with a space, as its segment does; times are seconds."""

    word: str
    start: str
    end: str
    probability: float


class Segment(msgspec.Struct, frozen=True):
    """Times are seconds from the start of the stream."""

    start: str
    end: str
    text: str
    """Begins with a space, as Whisper's do: clients drop the second of two that are the same
    without.
    """
    completed: bool
    words: list[Word] | msgspec.UnsetType = msgspec.UNSET


class Segments(msgspec.Struct, frozen=True):
    """The last ones; never none."""

    uid: str
    segments: list[Segment]


class Status(msgspec.Struct, frozen=True):
    """Why nothing, or nothing more, is heard."""

    uid: str
    status: Literal["WAIT", "ERROR"]
    message: str | float
    """Of WAIT, minutes."""


class Disconnect(msgspec.Struct, frozen=True):
    """The client has had its time."""

    uid: str
    message: Literal["DISCONNECT"] = "DISCONNECT"


Told = Ready | Language | Segments | Status | Disconnect
_decoder = msgspec.json.Decoder(Options)
_uid_decoder = msgspec.json.Decoder(_Named)
_encoder = msgspec.json.Encoder()


def decode_options(frame: str | bytes) -> Options | None:
    """Of the first frame; None for what is nothing of the kind."""
    try:
        return _decoder.decode(frame if len(frame) <= _MOST_TEXT_CHARS else "")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def uid_of(frame: str | bytes) -> str:
    """As far as it can be read in options that cannot; empty for none."""
    try:
        return _uid_decoder.decode(frame if len(frame) <= _MOST_TEXT_CHARS else "").uid
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""


def fault_of(options: Options) -> str:
    """What is wished that is not done here; empty for nothing."""
    if options.enable_translation or options.task == "translate":
        return "Nothing is translated here."
    if options.task not in (None, "transcribe"):
        return "The task is not transcribe."
    if options.enable_diarization or options.known_speakers:
        return "Speakers are not told apart here."
    if options.language and language_of(options.language) is None:
        return "The language is no code."
    if options.audio_format not in (None, "float32", "int16", "uint8"):
        return "The audio format is none of float32, int16 and uint8."
    return ""


def word_of(word: wire.WordEvent) -> Word:
    """As it is told."""
    start, end = seconds(word.start_ms), seconds(word.end_ms)
    return Word(f" {word.text}", start, end, round(word.confidence, 4))


def seconds(time_ms: int) -> str:
    """To the millisecond."""
    return f"{time_ms / 1000:.3f}"


def spelt(told: Told) -> str:
    """The frame."""
    return _encoder.encode(told).decode()
