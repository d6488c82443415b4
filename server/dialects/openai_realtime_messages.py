"""A text frame of a client of OpenAI's Realtime API in, a checked message out; the server's events
as structs.

Sessions that transcribe are spoken of in two forms: nested, as the API has it since it became
general, and flat, as in its beta. One struct takes both, as clients mix them. What is absent keeps
its value, `null` is a value: so every field that may be both is UNSET by default. Unknown fields
are passed over, unknown events refused. No text is repeated in a fault: it is told by a constant.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType
from typing_extensions import override

MOST_PROMPT_CHARS = 32_768
LOGPROBS = "item.input_audio_transcription.logprobs"

_Name = Annotated[str, msgspec.Meta(max_length=128)]
_Id = Annotated[str, msgspec.Meta(max_length=512)]
_Prompt = Annotated[str, msgspec.Meta(max_length=MOST_PROMPT_CHARS)]
_Names = Annotated[list[_Prompt], msgspec.Meta(max_length=1000)]
_Ms = Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


class MessageError(Exception):
    """A frame that says nothing that is understood here."""

    def __init__(self, code: str, text: str, param: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.text = text
        """Constant."""
        self.param = param


# --- client to server ---


class Format(msgspec.Struct, frozen=True):
    """Of the nested form."""

    type: _Name | None = None
    rate_hz: int | None = msgspec.field(default=None, name="rate")


class Transcription(msgspec.Struct, frozen=True):
    """What is to be heard."""

    model: _Name | UnsetType | None = UNSET
    language: _Name | UnsetType | None = UNSET
    languages: _Names | UnsetType | None = UNSET
    prompt: _Prompt | UnsetType | None = UNSET
    keywords: _Names | UnsetType | None = UNSET

    @override
    def __repr__(self) -> str:
        return "Transcription(…)"


class TurnDetection(msgspec.Struct, frozen=True):
    """Who says when somebody has spoken."""

    type: _Name = "server_vad"
    silence_ms: _Ms | None = msgspec.field(default=None, name="silence_duration_ms")
    eagerness: _Name | None = None


class AudioInput(msgspec.Struct, frozen=True):
    """Of the nested form."""

    format: Format | str | UnsetType | None = UNSET
    transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET


class Audio(msgspec.Struct, frozen=True):
    """Of the nested form."""

    input: AudioInput | None = None


class SessionUpdate(msgspec.Struct, frozen=True):
    """Of an update; the flat form's fields are the later ones."""

    type: _Name = "transcription"
    audio: Audio | None = None
    include: Annotated[list[_Name], msgspec.Meta(max_length=64)] | UnsetType | None = UNSET
    input_audio_format: _Name | UnsetType | None = UNSET
    input_audio_transcription: Transcription | UnsetType | None = UNSET
    turn_detection: TurnDetection | UnsetType | None = UNSET

    @override
    def __repr__(self) -> str:
        return "SessionUpdate(…)"


class Update(
    msgspec.Struct, frozen=True, tag_field="type", tag="session.update", repr_omit_defaults=True
):
    """Settings, in the nested form."""

    session: SessionUpdate
    event_id: _Id | None = None


class FlatUpdate(
    msgspec.Struct,
    frozen=True,
    tag_field="type",
    tag="transcription_session.update",
    repr_omit_defaults=True,
):
    """Settings, in the flat form."""

    session: SessionUpdate
    event_id: _Id | None = None


class Append(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.append"):
    """Audio."""

    audio: str
    """Base64; as long as a frame may be."""
    event_id: _Id | None = None

    @override
    def __repr__(self) -> str:
        return "Append(…)"


class Commit(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.commit"):
    """A turn ends here."""

    event_id: _Id | None = None


class Clear(msgspec.Struct, frozen=True, tag_field="type", tag="input_audio_buffer.clear"):
    """What was not committed is to be forgotten."""

    event_id: _Id | None = None


ClientEvent = Update | FlatUpdate | Append | Commit | Clear


class _Envelope(msgspec.Struct, frozen=True):
    type: _Name | None = None
    event_id: _Id | None = None


# --- server to client ---


class Fault(msgspec.Struct, frozen=True):
    """Of `error` and `failed`."""

    type: str
    code: str
    message: str
    param: str | None = None
    event_id: str | UnsetType | None = UNSET
    """The client's, of what was wrong; only in `error`."""


class LogProb(msgspec.Struct, frozen=True):
    """Of a word, where OpenAI has tokens; together they are the text."""

    token: str
    logprob: float
    bytes: list[int]


class DurationUsage(msgspec.Struct, frozen=True):
    """What an item took."""

    seconds: float
    type: Literal["duration"] = "duration"


class InputAudio(msgspec.Struct, frozen=True):
    """The one content of an item."""

    type: Literal["input_audio"] = "input_audio"
    transcript: None = None


class Item(msgspec.Struct, frozen=True):
    """A turn, as OpenAI keeps it; its words are told elsewhere."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: tuple[InputAudio] = (InputAudio(),)


class ServerEvent(msgspec.Struct):
    """Any of ours; every one has a type and an id, and of the others what belongs to its type. Who
    makes one fills it in.
    """

    type: str
    event_id: str
    session: msgspec.Raw | UnsetType = UNSET
    previous_item_id: str | UnsetType | None = UNSET
    item_id: str | UnsetType = UNSET
    item: Item | UnsetType = UNSET
    audio_start_ms: int | UnsetType = UNSET
    audio_end_ms: int | UnsetType = UNSET
    content_index: int | UnsetType = UNSET
    delta: str | UnsetType = UNSET
    transcript: str | UnsetType = UNSET
    logprobs: list[LogProb] | UnsetType = UNSET
    usage: DurationUsage | UnsetType = UNSET
    error: Fault | UnsetType = UNSET


_MOST_CHARS_WITHOUT_AUDIO = 1 << 18
"""Lists and texts of a longer one would be long in the making."""
_decoder = msgspec.json.Decoder(ClientEvent, strict=True)
_append_decoder = msgspec.json.Decoder(Append, strict=True)
_envelope_decoder = msgspec.json.Decoder(_Envelope, strict=True)
_encoder = msgspec.json.Encoder()
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_KNOWN = frozenset(
    {
        *("session.update", "transcription_session.update", "input_audio_buffer.append"),
        *("input_audio_buffer.commit", "input_audio_buffer.clear"),
    }
)


def decode_event(frame: str) -> ClientEvent:
    """Raises MessageError."""
    is_long = len(frame) > _MOST_CHARS_WITHOUT_AUDIO
    try:
        event: ClientEvent = (_append_decoder if is_long else _decoder).decode(frame)
    except _UNREADABLE:
        raise _fault_of(frame) from None
    return event


def event_id_of(frame: str) -> str | None:
    """Of whatever it is; for the answer."""
    try:
        return _envelope_decoder.decode(frame).event_id
    except _UNREADABLE:
        return None


def encode(event: ServerEvent) -> str:
    """The text frame of an event."""
    return _encoder.encode(event).decode()


def _fault_of(frame: str) -> MessageError:
    try:
        kind = _envelope_decoder.decode(frame).type
    except _UNREADABLE:
        return MessageError("invalid_event", "The event is no JSON object with a type.")
    if kind is None:
        return MessageError("missing_required_parameter", "The event has no type.", "type")
    if kind not in _KNOWN:
        return MessageError(
            "invalid_value", "No such event is known to sessions that transcribe.", "type"
        )
    return MessageError("invalid_value", "A field is missing, too long, or of a wrong type.")
