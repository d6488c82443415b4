"""Text frames of the native protocol `earwitness.v1` in, checked messages out; events in, text
frames out.

A session on the wire: `start` → `ready`, then binary frames of audio, and for every stretch of
speech `speech_started`, `partial`…, `speech_ended`, `final`; `stop` → the last finals, `ended`,
close 1000. Times are milliseconds from the first sample of the stream.

A session that was started `resumable` outlives its connection. `ready` brings a key; the server
says how much audio it has (`audio_received`), the client how many events (`events_received`):
counted from the first after `ready`, but for `resumed` and `audio_received`. When the connection
breaks, the client opens another within the grace time, with `resume.<key>` among its subprotocols
and a token of the same subject, and sends `resume` → `resumed`, then the events that it has not
had. The client sends its audio again from the byte that `resumed` names. It tells the last count
too, after `ended`, and the server closes.

Decoding is strict: an unknown type or field, a wrong type, a value out of range or a frame over
`MAX_TEXT_BYTES` (longer only for a token) is refused with `WireError`, whose text is constant.
"""

from typing import Annotated, Literal

import msgspec
from typing_extensions import override

PROTOCOL = "earwitness.v1"
"""The WebSocket subprotocol; the server echoes this one and never the `bearer.` entry beside it.
"""
BEARER_PREFIX = "bearer."
"""`Sec-WebSocket-Protocol: earwitness.v1, bearer.<jwt>` is how a browser brings its token."""
TICKET_PREFIX = "ticket."
"""In the place of the bearer entry: a ticket of `POST /v1/tickets`."""
RESUME_PREFIX = "resume."
"""Beside the credential: the key of the session that this connection goes on with."""
RESUME_HEADER = "earwitness-resume"
"""Of a request to `/v1/whoami`: the same key, to ask whether the session can be gone on with."""
RETURN_CLOSE_CODE = 4499
"""With which a client leaves a connection that it gives up, to go on over another one."""
MAX_TEXT_BYTES = 4096
MAX_TOKEN_CHARS = 8192
_MAX_REFRESH_BYTES = MAX_TOKEN_CHARS + 64

SampleRateHz = Literal[
    8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 64_000, 96_000, 192_000
]
ONLY_FLUSH_MS = 30_000
"""Silence that is longer than any segment, so that only `flush` ends one, or its length."""
EndOfSpeechMs = Annotated[int, msgspec.Meta(ge=200, le=ONLY_FLUSH_MS)]
Language = Annotated[str, msgspec.Meta(pattern=r"^[a-z]{2,3}$")]
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
Context = Annotated[str, msgspec.Meta(max_length=2000)]


class WireError(Exception):
    """A text frame that is not a message of this protocol."""


# --- client to server ---


class Start(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="start"):
    """The first message: what the audio is and what the client wants to hear about it."""

    sample_rate_hz: SampleRateHz
    encoding: Literal["pcm_s16le", "pcm_s16be", "pcm_f32le", "mulaw", "alaw"] = "pcm_s16le"
    channels: Literal[1, 2] = 1
    """Two are interleaved, sample by sample, and heard apart: the parties of a call."""
    language: Language | None = None
    """ISO 639 code; None lets a multilingual model find out."""
    end_of_speech_ms: EndOfSpeechMs | None = None
    """Silence that ends a segment, up to `ONLY_FLUSH_MS`; None takes the server's setting."""
    partials: bool = True
    """Whether to send captions before they are final."""
    context: Context | None = None
    """Names and words that may be said, or text that came before, to be spelt like that. A hint;
    of a long one the engine uses the end.
    """
    resumable: bool = False
    """Whether the session is kept for a while when the connection breaks; the client counts what it
    receives and says so.
    """


class Flush(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag_field="type",
    tag="flush",
):
    """Close the open segment now and send its final."""

    channel: Annotated[int, msgspec.Meta(ge=0, le=1)] | None = None
    """None: of every channel."""
    answer: bool = False
    """Whether to say `flushed`."""


class ChangeLanguage(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="change_language"
):
    """As `flush`; what follows is spoken in this language."""

    language: Language | None


class KeepAlive(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="keep_alive"
):
    """Nothing to say, but still here."""


class Stop(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="stop"):
    """No more audio: send what is left, then `ended`."""


class Refresh(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="refresh"
):
    """A newer token of the same subject, to go on beyond the end of the one before."""

    token: Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_CHARS)]

    @override
    def __repr__(self) -> str:
        return "Refresh(…)"


class Resume(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="resume"
):
    """The first message of a connection that goes on with a session."""

    events: Count
    """Those received so far."""


class EventsReceived(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="events_received"
):
    """So many, which need not be kept any longer."""

    events: Count


SessionMessage = Start | Flush | ChangeLanguage | KeepAlive | Stop
"""What the session itself is told; a token is for the door, counts are for the connection."""
ClientMessage = SessionMessage | Refresh | Resume | EventsReceived


# --- server to client ---


class Limits(msgspec.Struct, frozen=True):
    """What the token leaves this session; None is unlimited."""

    audio_ms: int | None
    bytes: int | None
    expires_in_s: int
    session_s: int | None = None
    """Wall time of this session."""
    pace_percent: int | None = None
    """How fast audio may come: 100 is as fast as it is spoken."""


class Resumption(msgspec.Struct, frozen=True):
    """How to go on when the connection breaks."""

    key: str
    """A secret of this client; it opens nothing without a token of the same subject."""
    grace_s: int
    """How long the session waits."""

    @override
    def __repr__(self) -> str:
        return f"Resumption(…, grace_s={self.grace_s})"


class Ready(msgspec.Struct, frozen=True, tag_field="type", tag="ready"):
    """The answer to `start`: the session exists and what holds for it."""

    session_id: str
    model: str
    language: str | None
    end_of_speech_ms: int
    limits: Limits
    resume: Resumption | None = None
    """For a session that was started `resumable`, where the server keeps any."""


class Resumed(msgspec.Struct, frozen=True, tag_field="type", tag="resumed"):
    """The answer to `resume`: the session goes on; the events that were not received follow."""

    bytes: int
    """Of audio that were received since `start`; what comes after them is to be sent (again)."""


class AudioReceived(msgspec.Struct, frozen=True, tag_field="type", tag="audio_received"):
    """So many bytes of audio since `start`, which need not be kept any longer."""

    bytes: int


class SpeechStarted(msgspec.Struct, frozen=True, tag_field="type", tag="speech_started"):
    """Somebody began to speak; `segment` counts from 0 in each session."""

    segment: int
    start_ms: int
    channel: int = 0


class Partial(msgspec.Struct, frozen=True, tag_field="type", tag="partial"):
    """The open segment so far: `stable + unstable`, the space between them in `unstable`.

    `stable` only ever grows; `unstable` is the tail that may still change.
    """

    segment: int
    revision: int
    """Counts up within the segment."""
    start_ms: int
    end_ms: int
    stable: str
    unstable: str
    channel: int = 0


class SpeechEnded(msgspec.Struct, frozen=True, tag_field="type", tag="speech_ended"):
    """The segment is closed; its final follows."""

    segment: int
    end_ms: int
    channel: int = 0
    is_cut: bool | msgspec.UnsetType = msgspec.UNSET
    """Told where it is so: the segment was as long as one may be, and whoever speaks may go on in
    the next.
    """


class WordEvent(msgspec.Struct, frozen=True):
    """One word of a final, with its leading space removed."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float
    """Probability the model gave the word, 0 to 1."""


class Final(msgspec.Struct, frozen=True, tag_field="type", tag="final"):
    """The text of a segment; it never changes again. Empty when no words were in it."""

    segment: int
    start_ms: int
    end_ms: int
    text: str
    language: str | None
    confidence: float
    """Mean of the words' confidences; 0 when there are none."""
    words: list[WordEvent]
    word_times: Literal["measured", "estimated"] = "measured"
    """Estimated: by the length of the words, where the engine cannot tell."""
    channel: int = 0


class Flushed(msgspec.Struct, frozen=True, tag_field="type", tag="flushed"):
    """The answer to a `flush` that asked for one: the finals of all that came before it have been
    sent, if there were any.
    """

    at_ms: int
    """Where the audio before it ends."""
    channel: int = 0


class Quota(msgspec.Struct, frozen=True, tag_field="type", tag="quota"):
    """What is left, told when it becomes little; None is unlimited."""

    audio_ms_left: int | None
    bytes_left: int | None


class TokenExpiring(msgspec.Struct, frozen=True, tag_field="type", tag="token_expiring"):
    """The token ends soon: `refresh` with a newer one, or the session ends with it."""

    expires_in_s: int


class TokenRefreshed(msgspec.Struct, frozen=True, tag_field="type", tag="token_refreshed"):
    """The answer to `refresh`: the session goes on by the newer token."""

    expires_in_s: int


class RefreshRefused(msgspec.Struct, frozen=True, tag_field="type", tag="refresh_refused"):
    """The answer to `refresh` with a token that will not do; the session goes on by the old one."""

    code: str
    message: str


class Usage(msgspec.Struct, frozen=True):
    """What the session took."""

    bytes: int
    audio_ms: int
    speech_ms: int
    segments: int


class Ended(msgspec.Struct, frozen=True, tag_field="type", tag="ended"):
    """The last event of every session that could still be told; the close follows."""

    reason: str
    """`stopped`, or the code of the error that ended it."""
    usage: Usage


class ErrorEvent(msgspec.Struct, frozen=True, tag_field="type", tag="error"):
    """Why the session is about to end; codes are listed in the README."""

    code: str
    message: str
    is_retryable: bool


ServerEvent = (
    Ready
    | Resumed
    | AudioReceived
    | SpeechStarted
    | Partial
    | SpeechEnded
    | Final
    | Flushed
    | Quota
    | TokenExpiring
    | TokenRefreshed
    | RefreshRefused
    | Ended
    | ErrorEvent
)

_client_decoder = msgspec.json.Decoder(ClientMessage, strict=True)
_server_decoder = msgspec.json.Decoder(ServerEvent)
_encoder = msgspec.json.Encoder()


def decode_client_message(frame: str) -> ClientMessage:
    """Check one text frame from a client. Raises WireError, whose text never repeats the frame."""
    if len(frame) > _MAX_REFRESH_BYTES:
        raise WireError("text frame too long")
    try:
        message: ClientMessage = _client_decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise WireError("not a message of " + PROTOCOL) from None
    if len(frame) > MAX_TEXT_BYTES and not isinstance(message, Refresh):
        raise WireError("text frame too long")
    return message


def decode_server_event(frame: str | bytes) -> ServerEvent:
    """Check one text frame from a server; fields a newer server adds are ignored. Raises
    WireError.
    """
    try:
        event: ServerEvent = _server_decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise WireError("not an event of " + PROTOCOL) from None
    return event


def encode(message: ClientMessage | ServerEvent) -> str:
    """The text frame of a message or event."""
    return _encoder.encode(message).decode()
