"""JSON text frames of Twilio's Media Streams, and of Telnyx, SignalWire and Exotel who speak like
it, in; a call's opening, its audio and its end out.

One parser takes the spellings of all of them, `callSid` and `call_sid`, 3 and "3": what differs is
in names, not in what happens. No text ever goes down this wire: Twilio ends a stream for a message
that it does not know, and one that only listens takes none at all. A payload is base64 that is
decoded while the JSON is read, so frames of audio are read without their payload until the bridge
has admitted the call, and what came before is not kept.

Refused: audio before `start`, a second `start`, binary frames, codecs that are not G.711 or linear
samples of one channel, payloads that are not base64, and numbers that are negative or past 2⁵³.
Events that nobody here knows are ignored, whatever they hold. Keys that a caller presses are never
read. How long a frame may be is the bridge's to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Annotated

import msgspec

from server import errors
from server.audio import ACCEPTED_RATES_HZ, AudioFormat, Encoding
from server.dialects.values import (
    MOST_ID_CHARS,
    Admitted,
    Audio,
    Close,
    Ended,
    Fault,
    Frame,
    Heard,
    Opening,
    Stopped,
    Told,
    is_id,
    language_of,
)
from server.wire import MAX_TOKEN_CHARS

Number = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
"""Read from a string, too."""
Name = Annotated[str, msgspec.Meta(max_length=MOST_ID_CHARS)]
Credential = Annotated[str, msgspec.Meta(max_length=MAX_TOKEN_CHARS)]

_INBOUND = "inbound"
"""The party that a stream of one track is of."""
_SUFFIX = "_track"
"""SignalWire says `inbound_track` for `inbound`."""
_MOST_TRACKS = 4
_NARROW_BAND_HZ = 8_000
"""What a telephone has, where a start names no rate."""
_ENCODINGS = {
    **dict.fromkeys(("audio/x-mulaw", "audio/mulaw", "audio/pcmu", "pcmu"), Encoding.MULAW),
    **dict.fromkeys(("audio/x-alaw", "audio/alaw", "audio/pcma", "pcma"), Encoding.ALAW),
    # Exotel names its samples `audio/x-raw` in its documentation and `base64` on the wire.
    **dict.fromkeys(
        ("audio/x-l16", "audio/l16", "l16", "audio/x-raw", "base64"), Encoding.PCM_S16LE
    ),
}


# --- what is on the wire; fields that are not named here are skipped ---


class _Media(msgspec.Struct, frozen=True, gc=False):
    payload: bytes
    track: str | None = None
    chunk: Number | None = None
    timestamp: Number | None = None


class _MediaFrame(msgspec.Struct, frozen=True, gc=False, tag_field="event", tag="media"):
    media: _Media


class _Frame(msgspec.Struct, frozen=True):
    """Any frame, as far as it is read without knowing its event. Telnyx repeats in `connected` the
    token that it sends as a header.
    """

    event: str
    start: msgspec.Raw = msgspec.Raw(b"{}")
    token: Credential | None = msgspec.field(name="x-telnyx-streaming-auth-token", default=None)


class _Parameters(msgspec.Struct, frozen=True):
    token: Credential | None = None
    ticket: Credential | None = None
    language: Name | None = None


class _MediaFormat(msgspec.Struct, frozen=True):
    encoding: Name = ""
    rate_hz: Number | None = msgspec.field(name="sampleRate", default=None)
    other_rate_hz: Number | None = msgspec.field(name="sample_rate", default=None)
    channels: Number | None = None


class _Start(msgspec.Struct, frozen=True):
    """A call's ids, the widest first, in each spelling; Exotel sends "" for no parameters."""

    call_sid: Name | None = msgspec.field(name="callSid", default=None)
    other_call_sid: Name | None = msgspec.field(name="call_sid", default=None)
    call_session_id: Name | None = None
    call_control_id: Name | None = None
    caller: str | None = msgspec.field(name="from", default=None)
    callee: str | None = msgspec.field(name="to", default=None)
    tracks: Annotated[list[Name], msgspec.Meta(max_length=_MOST_TRACKS)] | None = None
    media_format: _MediaFormat | None = msgspec.field(name="mediaFormat", default=None)
    other_media_format: _MediaFormat | None = msgspec.field(name="media_format", default=None)
    parameters: _Parameters | str | None = msgspec.field(name="customParameters", default=None)
    other_parameters: _Parameters | str | None = msgspec.field(
        name="custom_parameters", default=None
    )


_media_decoder = msgspec.json.Decoder(_MediaFrame, strict=False)
_frame_decoder = msgspec.json.Decoder(_Frame)
_start_decoder = msgspec.json.Decoder(_Start, strict=False)
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


@dataclass(frozen=True, slots=True)
class MediaStreamsSettings:
    """What a start does not say."""

    tracks: tuple[str, ...] | None = None
    """Those that are heard; None: all that the start names, `inbound` where it names none."""
    is_l16_big_endian: bool = False
    """Whether L16 is as RTP carries it."""


class _State(Enum):
    CONNECTED = auto()
    OPENED = auto()
    """Who calls is being checked; audio is skipped."""
    ADMITTED = auto()
    OVER = auto()


class MediaStreams:
    """One stream of one call."""

    def __init__(self, settings: MediaStreamsSettings) -> None:
        self._settings = settings
        self._state = _State.CONNECTED
        self._connected_token: str | None = None
        self._channels: Mapping[str | None, int] = {}

    def receive(self, frame: str | bytes) -> list[Heard]:
        """What a frame says."""
        if self._state is _State.OVER:
            return []
        if isinstance(frame, bytes):
            return self._fail("binary_frame")
        if self._state is _State.ADMITTED:
            try:
                media = _media_decoder.decode(frame).media
            except _UNREADABLE:
                return self._receive_other(frame)
            channel = self._channels.get(media.track)
            if channel is None or not media.payload:
                return []
            return [Audio(media.payload, channel, media.chunk, media.timestamp)]
        return self._receive_other(frame)

    def tell(self, told: Told) -> list[Frame]:
        """Nothing but the end: this wire carries no text."""
        match told:
            case Admitted() if self._state is _State.OPENED:
                self._state = _State.ADMITTED
            case Ended(refusal):
                self._state = _State.OVER
                return [Close(refusal.close_code if refusal else 1000)]
            case _:
                pass
        return []

    def _receive_other(self, frame: str) -> list[Heard]:
        """A frame that is no audio, or none that is heard."""
        try:
            decoded = _frame_decoder.decode(frame)
        except _UNREADABLE:
            return self._fail("frame_malformed")
        if decoded.event == "stop":
            self._state = _State.OVER
            return [Stopped()]
        if self._state is _State.CONNECTED:
            return self._receive_first(decoded)
        if decoded.event == "start":
            return self._fail("second_start")
        if decoded.event == "media" and self._state is _State.ADMITTED:
            return self._fail("media_malformed")
        return []

    def _receive_first(self, frame: _Frame) -> list[Heard]:
        """One before the call is known."""
        match frame.event:
            case "connected":
                self._connected_token = frame.token
            case "start":
                return self._open(frame.start)
            case "media":
                return self._fail("media_before_start")
            case _:
                pass
        return []

    def _open(self, encoded: msgspec.Raw) -> list[Heard]:
        try:
            start = _start_decoder.decode(encoded)
            tracks = self._heard_tracks(start)
            opening = _opening_of(start, tracks, self._audio_format(start), self._connected_token)
        except _UNREADABLE:
            return self._fail("start_malformed")
        except errors.RefusedError as error:
            return self._fail(error.reason, error.refusal)
        self._connected_token = None
        self._channels = _channels_of(tracks)
        self._state = _State.OPENED
        return [opening]

    def _heard_tracks(self, start: _Start) -> tuple[str, ...]:
        """Those that are wished, of those that there are. Raises RefusedError."""
        named = tuple(dict.fromkeys(name.removesuffix(_SUFFIX) for name in start.tracks or ()))
        if not all(map(is_id, named)):
            raise errors.RefusedError(errors.BAD_REQUEST, "start_malformed")
        wished = self._settings.tracks
        if wished is None:
            return named or (_INBOUND,)
        heard = tuple(name for name in wished if not named or name in named)
        if not heard:
            raise errors.RefusedError(errors.BAD_REQUEST, "no_track_heard")
        return heard

    def _audio_format(self, start: _Start) -> AudioFormat:
        """Raises RefusedError."""
        described = start.media_format or start.other_media_format or _MediaFormat()
        name, _, parameter = described.encoding.lower().partition(";")
        encoding = _ENCODINGS.get(name.strip())
        if encoding is None:
            raise errors.RefusedError(errors.AUDIO_UNREADABLE, "codec_unsupported")
        if encoding is Encoding.PCM_S16LE and self._settings.is_l16_big_endian:
            encoding = Encoding.PCM_S16BE
        rate_hz = described.rate_hz or described.other_rate_hz or _rate_hz_of(parameter)
        if rate_hz not in ACCEPTED_RATES_HZ:
            raise errors.RefusedError(errors.AUDIO_UNREADABLE, "rate_unsupported")
        if described.channels not in (None, 1):
            raise errors.RefusedError(errors.AUDIO_UNREADABLE, "channels_unsupported")
        return AudioFormat(encoding, rate_hz)

    def _fail(self, reason: str, refusal: errors.Refusal = errors.BAD_REQUEST) -> list[Heard]:
        self._state = _State.OVER
        return [Fault(refusal, reason)]


def _channels_of(tracks: tuple[str, ...]) -> Mapping[str | None, int]:
    """By every name that audio may bear; audio without one is inbound."""
    channels: dict[str | None, int] = {}
    for channel, track in enumerate(tracks):
        channels |= {track: channel, track + _SUFFIX: channel}
    if _INBOUND in channels:
        channels[None] = channels[_INBOUND]
    return channels


def _rate_hz_of(parameter: str) -> int:
    """`rate=16000` in an encoding, such as Exotel's `audio/L16;rate=16000`."""
    name, _, digits = parameter.strip().partition("=")
    is_rate = name == "rate" and digits.isascii() and digits.isdigit()
    return int(digits) if is_rate else _NARROW_BAND_HZ


def _opening_of(
    start: _Start, tracks: tuple[str, ...], audio_format: AudioFormat, token: str | None
) -> Opening:
    """Raises RefusedError."""
    call_id = (
        start.call_sid or start.other_call_sid or start.call_session_id or start.call_control_id
    )
    if call_id is not None and not is_id(call_id):
        raise errors.RefusedError(errors.BAD_REQUEST, "start_malformed")
    named = start.parameters or start.other_parameters
    parameters = named if isinstance(named, _Parameters) else _Parameters()
    return Opening(
        tracks=tracks,
        audio_format=audio_format,
        call_id=call_id,
        language=language_of(parameters.language),
        token=parameters.token or token,
        ticket=parameters.ticket,
        caller=_number(start.caller),
        callee=_number(start.callee),
    )


def _number(text: str | None) -> str | None:
    """What is too long to be one, or cannot be printed, is left out."""
    return text if text and is_id(text) else None
