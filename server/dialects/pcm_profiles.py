"""The first text of Asterisk, FreeSWITCH, jambonz, Vonage or anything else that forks samples in,
the opening of its call out: what is different about each, for `pcm_fork`.

Asterisk keeps what a former call added to the address and sends it again for the next one that adds
nothing, so where the wire repeats what this call was dialled with, that counts and not the address.
FreeSWITCH says neither rate nor channels, so the settings do; jambonz as a vendor's client does not
say its channels, so the address may. Text goes back to a jambonz that asks for it and to nobody
else.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar
from urllib.parse import unquote

import msgspec

from server import errors, wire
from server.audio import ACCEPTED_RATES_HZ, AudioFormat, Encoding
from server.call_values import PARTIES
from server.dialects.pcm_fork import PcmForkSettings
from server.dialects.values import (
    MOST_ID_CHARS,
    Ended,
    Opening,
    Said,
    Upgrade,
    is_id,
    language_of,
)

_INBOUND = ("inbound",)
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
_Decoded = TypeVar("_Decoded")
_Text = Annotated[str, msgspec.Meta(max_length=MOST_ID_CHARS)]
_SLIN = {
    "slin": 8_000, "slin12": 12_000, "slin16": 16_000, "slin24": 24_000, "slin32": 32_000,
    "slin44": 44_100, "slin48": 48_000, "slin96": 96_000, "slin192": 192_000,
}  # fmt: skip
_ASTERISK_FORMATS = {
    "ulaw": AudioFormat(Encoding.MULAW, 8_000),
    "alaw": AudioFormat(Encoding.ALAW, 8_000),
    **{name: AudioFormat(Encoding.PCM_S16LE, rate_hz) for name, rate_hz in _SLIN.items()},
}
_NAMES = ("call", "track", "language")
_ADDED = re.compile(r"v\(([^()]*)\)")
_LINEAR = re.compile(r"audio/l16;\s*rate=([0-9]{4,6})", re.IGNORECASE)
_VENDOR_ENCODINGS = {"LINEAR16": Encoding.PCM_S16LE, "MULAW": Encoding.MULAW}
_MOST_VENDOR_CHANNELS = 2


def _refused(reason: str, refusal: errors.Refusal = errors.BAD_REQUEST) -> errors.RefusedError:
    return errors.RefusedError(refusal, reason)


def _decoded(decoder: msgspec.json.Decoder[_Decoded], text: str | None) -> _Decoded:
    """The first text, which there must be. Raises RefusedError."""
    if text is None:
        raise _refused("media_before_start")
    try:
        return decoder.decode(text)
    except _UNREADABLE:
        raise _refused("start_malformed") from None


def _party(track: str | None, settings: PcmForkSettings) -> tuple[str, ...]:
    """The one of a wire that may name it."""
    if settings.is_named:
        return settings.tracks[:1]
    return (track,) if track else _INBOUND


def _parties(n_channels: int, settings: PcmForkSettings) -> tuple[str, ...]:
    """Those of a wire that says how many there are."""
    is_named = settings.is_named and len(settings.tracks) >= n_channels
    return (settings.tracks if is_named else PARTIES)[:n_channels]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _id_or_none(text: str | None) -> str | None:
    return text if text and is_id(text) else None


class _Silent:
    """A wire that carries no text to its peer, and ends by closing."""

    def is_end(self, text: str) -> bool:
        """See `Profile`."""
        del text
        return False

    def told(self, told: Said | Ended) -> list[str]:
        """See `Profile`."""
        del told
        return []


# --- Asterisk ---


class _Variables(msgspec.Struct, frozen=True):
    dialled: str | None = msgspec.field(name="DIALEDPEERNUMBER", default=None)


class _MediaStart(msgspec.Struct, frozen=True):
    event: Literal["MEDIA_START"]
    format: _Text
    channel_id: _Text | None = None
    channel_variables: _Variables = _Variables()


_media_start_decoder = msgspec.json.Decoder(_MediaStart)


class AsteriskProfile(_Silent):
    """`chan_websocket`, with either form of control."""

    def first(self, text: str | None, upgrade: Upgrade, settings: PcmForkSettings) -> Opening:
        """See `Profile`."""
        start = _asterisk_start(text)
        audio_format = _ASTERISK_FORMATS.get(start.format)
        if audio_format is None:
            raise _refused("codec_unsupported", errors.AUDIO_UNREADABLE)
        dialled = start.channel_variables.dialled
        if dialled is None:
            added: Mapping[str, str] = {name: upgrade.parameter(name) or "" for name in _NAMES}
        else:
            added = _added(dialled)
        track = _id_or_none(added.get("track"))
        return Opening(
            tracks=_party(track, settings),
            audio_format=audio_format,
            call_id=_id_or_none(added.get("call")) or _id_or_none(start.channel_id),
            language=language_of(added.get("language")),
        )


def _asterisk_start(text: str | None) -> _MediaStart:
    """Raises RefusedError."""
    if text is not None and text.startswith("MEDIA_START "):
        pairs = (word.partition(":") for word in text.split()[1:])
        values = {name: value for name, _, value in pairs if len(value) <= MOST_ID_CHARS}
        if "format" in values:
            return _MediaStart("MEDIA_START", values["format"], values.get("channel_id"))
        raise _refused("start_malformed")
    return _decoded(_media_start_decoder, text)


def _added(dialled: str) -> Mapping[str, str]:
    """`call` and `track` of `stt1/c(slin16)f(json)v(call=1,track=customer)`; the token that may
    stand beside them is not looked at.
    """
    found = _ADDED.search(dialled)
    pairs = (pair.partition("=") for pair in (found[1] if found else "").split(","))
    return {name.strip(): unquote(value) for name, _, value in pairs}


# --- what says nothing of itself ---


class _Meta(msgspec.Struct, frozen=True):
    """What whoever starts a fork may say, if it is JSON."""

    call: _Text | None = None
    language: _Text | None = None


_meta_decoder = msgspec.json.Decoder(_Meta)


class BareProfile(_Silent):
    """Samples, after one text or none: FreeSWITCH's modules, and anything else."""

    def first(self, text: str | None, upgrade: Upgrade, settings: PcmForkSettings) -> Opening:
        """See `Profile`."""
        try:
            meta = _meta_decoder.decode(text or "{}")
        except _UNREADABLE:
            meta = _Meta()
        return Opening(
            tracks=settings.tracks,
            audio_format=settings.audio_format,
            call_id=_id_or_none(meta.call),
            language=language_of(meta.language or upgrade.parameter("language")),
        )


# --- Vonage ---


class _Connected(msgspec.Struct, frozen=True):
    """The application's own fields are merged into it."""

    event: Literal["websocket:connected"]
    content_type: _Text = msgspec.field(name="content-type")
    call: _Text | None = None
    language: _Text | None = None
    track: _Text | None = None


_connected_decoder = msgspec.json.Decoder(_Connected)


class VonageProfile(_Silent):
    """Linear samples of one channel, described by the first text."""

    def first(self, text: str | None, upgrade: Upgrade, settings: PcmForkSettings) -> Opening:
        """See `Profile`."""
        del upgrade
        start = _decoded(_connected_decoder, text)
        rate = _LINEAR.fullmatch(start.content_type)
        if rate is None or int(rate[1]) not in ACCEPTED_RATES_HZ:
            raise _refused("codec_unsupported", errors.AUDIO_UNREADABLE)
        track = _id_or_none(start.track)
        return Opening(
            tracks=_party(track, settings),
            audio_format=AudioFormat(Encoding.PCM_S16LE, int(rate[1])),
            call_id=_id_or_none(start.call),
            language=language_of(start.language),
        )


# --- jambonz ---


class _Attributes(msgspec.Struct, frozen=True):
    """Of the call, by the names that its webhooks have, in either spelling; what an application
    gives as `metadata` stands among them and may be anything.
    """

    rate_hz: int = msgspec.field(name="sampleRate")
    mix_type: _Text = msgspec.field(name="mixType", default="mono")
    call_sid: _Text | None = msgspec.field(name="callSid", default=None)
    other_call_sid: _Text | None = msgspec.field(name="call_sid", default=None)
    caller: str | None = msgspec.field(name="from", default=None)
    callee: str | None = msgspec.field(name="to", default=None)
    call: object = None
    language: object = None


_attributes_decoder = msgspec.json.Decoder(_Attributes, strict=False)


class JambonzListenProfile(_Silent):
    """The `listen` verb: linear samples, described by the call's attributes."""

    def first(self, text: str | None, upgrade: Upgrade, settings: PcmForkSettings) -> Opening:
        """See `Profile`."""
        del upgrade
        start = _decoded(_attributes_decoder, text)
        if start.rate_hz not in ACCEPTED_RATES_HZ:
            raise _refused("rate_unsupported", errors.AUDIO_UNREADABLE)
        n_channels = 1 + (start.mix_type == "stereo")
        return Opening(
            tracks=_parties(n_channels, settings),
            audio_format=AudioFormat(Encoding.PCM_S16LE, start.rate_hz),
            call_id=_id_or_none(_text(start.call) or start.call_sid or start.other_call_sid),
            language=language_of(_text(start.language)),
            caller=_id_or_none(start.caller),
            callee=_id_or_none(start.callee),
        )


class _Start(msgspec.Struct, frozen=True, tag_field="type", tag="start"):
    rate_hz: int = msgspec.field(name="sampleRateHz")
    language: _Text | None = None
    encoding: _Text = "LINEAR16"
    wants_interim: bool = msgspec.field(name="interimResults", default=False)


class _Stop(msgspec.Struct, frozen=True, tag_field="type", tag="stop"):
    pass


_vendor_start_decoder = msgspec.json.Decoder(_Start)
_vendor_stop_decoder = msgspec.json.Decoder(_Stop)


class JambonzSttProfile:
    """A vendor's client, which wants to be told."""

    def __init__(self) -> None:
        self._wants_interim = False

    def first(self, text: str | None, upgrade: Upgrade, settings: PcmForkSettings) -> Opening:
        """See `Profile`."""
        start = _decoded(_vendor_start_decoder, text)
        encoding = _VENDOR_ENCODINGS.get(start.encoding.upper())
        if encoding is None or start.rate_hz not in ACCEPTED_RATES_HZ:
            raise _refused("codec_unsupported", errors.AUDIO_UNREADABLE)
        self._wants_interim = start.wants_interim
        is_stereo = upgrade.parameter("channels") == str(_MOST_VENDOR_CHANNELS)
        n_channels = _MOST_VENDOR_CHANNELS if is_stereo else 1
        return Opening(
            tracks=_parties(n_channels, settings),
            audio_format=AudioFormat(encoding, start.rate_hz),
            language=language_of(start.language),
        )

    def is_end(self, text: str) -> bool:
        """See `Profile`."""
        try:
            _vendor_stop_decoder.decode(text)
        except _UNREADABLE:
            return False
        return True

    def told(self, told: Said | Ended) -> list[str]:
        """See `Profile`; an empty text is not told."""
        match told:
            case Said(channel, wire.Partial() as partial) if self._wants_interim:
                return _transcription(channel, partial.stable + partial.unstable, None, None)
            case Said(channel, wire.Final() as final):
                return _transcription(channel, final.text, final.confidence, final.language)
            case Ended(refusal) if refusal is not None:
                return [_encoded({"type": "error", "error": refusal.text})]
            case _:
                return []


def _transcription(
    channel: int, text: str, confidence: float | None, language: str | None
) -> list[str]:
    """A final where there is a confidence."""
    if not text:
        return []
    message = {
        "type": "transcription",
        "is_final": confidence is not None,
        "alternatives": [{"transcript": text, "confidence": confidence or 0.0}],
        "channel": channel + 1,
        "language": language or "",
    }
    return [_encoded(message)]


def _encoded(message: object) -> str:
    return msgspec.json.encode(message).decode()
