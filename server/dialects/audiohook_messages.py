"""A text frame of an AudioHook client in, a checked message out; the server's messages as structs.

Genesys adds fields and offers from version to version: what is not known here is passed over, and
of a message only what is used is looked at. What numbers, names and places the messages is strict:
version, sequence, session and position. A position is the client's own count of its stream, in
samples here, discarded audio included. Refused: everything else, and a text longer than
the protocol's. Of keys that a caller presses not even the parameters are decoded.
"""

import re
from typing import Annotated, Literal

import msgspec
from typing_extensions import override

from server import errors
from server.errors import RefusedError
from server.wire import MAX_TOKEN_CHARS

RATE_HZ = 8000
"""The protocol's only one."""
NIL_ID = "00000000-0000-0000-0000-000000000000"
MOST_TEXT_CHARS = 65_535
_FORMATS = frozenset({"PCMU", "L16"})
_PARTIES = frozenset({"external", "internal"})
_MOST_POSITION_S = 1_000_000
"""Eleven days."""
_POSITION = re.compile(r"PT([0-9]*\.[0-9]+|[0-9]+)S")

Id = Annotated[
    str,
    msgspec.Meta(
        pattern=r"\A[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\Z"
    ),
]
_Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_Name = Annotated[str, msgspec.Meta(max_length=64)]
_Address = Annotated[str, msgspec.Meta(max_length=512)]
_LanguageTag = Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{2,3}-[A-Za-z]{2,3}\Z")]
_Token = Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_CHARS)]


# --- client to server ---


class Envelope(msgspec.Struct, frozen=True):
    """What every message says of itself."""

    version: Literal["2"]
    id: Id
    type: _Name
    seq: _Number
    serverseq: _Number
    position_text: Annotated[str, msgspec.Meta(max_length=64)] = msgspec.field(name="position")
    parameters: msgspec.Raw

    @override
    def __repr__(self) -> str:
        return f"Envelope({self.type!r}, …)"


class Media(msgspec.Struct, frozen=True):
    """Audio that the client could send."""

    type: _Name
    format: _Name
    channels: Annotated[list[_Name], msgspec.Meta(max_length=16)]
    rate_hz: int = msgspec.field(name="rate")

    @property
    def is_readable(self) -> bool:
        """Whether it is of a kind that this version of the protocol has."""
        n_channels = len(self.channels)
        return (
            (self.type, self.rate_hz) == ("audio", RATE_HZ)
            and self.format in _FORMATS
            and 0 < n_channels == len(_PARTIES.intersection(self.channels))
        )


class _Participant(msgspec.Struct, frozen=True):
    id: Id
    ani: _Address = ""
    dnis: _Address = ""

    @override
    def __repr__(self) -> str:
        return "_Participant(…)"


class _CustomConfig(msgspec.Struct, frozen=True):
    """What whoever set up the integration wrote there; the rest of it is theirs."""

    token: _Token | None = None
    ticket: _Token | None = None

    @override
    def __repr__(self) -> str:
        return "_CustomConfig(…)"


class Open(msgspec.Struct, frozen=True, rename="camel"):
    """Parameters of `open`."""

    organization_id: Id
    conversation_id: Id
    participant: _Participant
    media: Annotated[list[Media], msgspec.Meta(max_length=32)]
    language: _LanguageTag | None = None
    supported_languages: bool = False
    """Whether ours are asked for."""
    custom_config: _CustomConfig = _CustomConfig()

    @override
    def __repr__(self) -> str:
        return "Open(…)"


class Update(msgspec.Struct, frozen=True):
    """Parameters of `update`."""

    language: _LanguageTag


# --- server to client ---


class Opened(msgspec.Struct, frozen=True, rename="camel"):
    """Parameters of `opened`."""

    media: list[Media]
    """One of those that were offered; none for a probe that offers none."""
    supported_languages: list[str] | msgspec.UnsetType = msgspec.UNSET
    start_paused: Literal[False] = False


class Disconnect(msgspec.Struct, frozen=True):
    """Parameters of `disconnect`."""

    reason: Literal["completed", "unauthorized", "error"]
    info: str


class Nothing(msgspec.Struct, frozen=True):
    """Parameters of `closed`, `pong` and `updated`."""


class Word(msgspec.Struct, frozen=True):
    """One of a transcript; the protocol calls it a token."""

    value: str
    confidence: float
    start: str = msgspec.field(name="offset")
    lasting: str = msgspec.field(name="duration")
    type: Literal["word"] = "word"


class Interpretation(msgspec.Struct, frozen=True):
    """The words as they are written."""

    transcript: str
    tokens: list[Word]
    type: Literal["display"] = "display"


class Alternative(msgspec.Struct, frozen=True):
    """One way of hearing it; there is one."""

    confidence: float
    interpretations: list[Interpretation]


class Transcript(msgspec.Struct, frozen=True, rename="camel"):
    """What one party said."""

    id: str
    channel_id: int
    start: str = msgspec.field(name="offset")
    lasting: str = msgspec.field(name="duration")
    alternatives: list[Alternative]
    is_final: Literal[True] = True


class Entity(msgspec.Struct, frozen=True):
    """Anything an event can tell."""

    data: Transcript
    type: Literal["transcript"] = "transcript"


class Event(msgspec.Struct, frozen=True):
    """Parameters of `event`."""

    entities: list[Entity]


Parameters = Opened | Disconnect | Event | Nothing


class ServerMessage(msgspec.Struct, frozen=True):
    """Any of ours."""

    id: str
    type: str
    seq: int
    clientseq: int
    parameters: Parameters
    version: Literal["2"] = "2"


_envelope_decoder = msgspec.json.Decoder(Envelope, strict=True)
_open_decoder = msgspec.json.Decoder(Open, strict=True)
_update_decoder = msgspec.json.Decoder(Update, strict=True)
_encoder = msgspec.json.Encoder()
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


def decode_envelope(frame: str) -> Envelope:
    """Raises RefusedError, as the others do."""
    if len(frame) > MOST_TEXT_CHARS:
        raise RefusedError(errors.MESSAGE_TOO_BIG, "audiohook_text_too_long")
    try:
        return _envelope_decoder.decode(frame)
    except _UNREADABLE:
        raise _refused("audiohook_message_malformed") from None


def decode_open(parameters: msgspec.Raw) -> Open:
    """Of an `open`."""
    try:
        return _open_decoder.decode(parameters)
    except _UNREADABLE:
        raise _refused("audiohook_open_malformed") from None


def decode_update(parameters: msgspec.Raw) -> Update:
    """Of an `update`."""
    try:
        return _update_decoder.decode(parameters)
    except _UNREADABLE:
        raise _refused("audiohook_update_malformed") from None


def decode_position_samples(text: str) -> int:
    """Of `PT1.5S`; the other ways in which ISO 8601 writes a duration are not used."""
    matched = _POSITION.fullmatch(text)
    position_s = float(matched[1]) if matched else -1.0
    if not 0 <= position_s <= _MOST_POSITION_S:
        raise _refused("audiohook_position_wrong")
    return round(position_s * RATE_HZ)


def encode_duration(duration_ms: int) -> str:
    """`PT1.500S`."""
    return f"PT{duration_ms // 1000}.{duration_ms % 1000:03}S"


def encode(message: ServerMessage) -> str:
    """The text frame of a message."""
    return _encoder.encode(message).decode()


def _refused(reason: str) -> RefusedError:
    return RefusedError(errors.BAD_REQUEST, reason)
