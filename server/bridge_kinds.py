"""The settings of a bridge in; what is different about it, once its secrets are read, out."""

import binascii
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from security.errors import KeyFileError
from security.keys import read_checked
from security.secret import SecretBytes
from server import errors
from server.audio import AudioFormat
from server.bridge_credentials import credential_of
from server.bridge_settings import BridgeSettings, DialectName
from server.bridge_values import BridgeLimits
from server.call_values import PARTIES
from server.dialects.aeap import SUBPROTOCOL, Aeap
from server.dialects.audiohook import AudioHook, AudioHookSettings
from server.dialects.http_signature import SignatureSettings, SignatureVerifier
from server.dialects.media_streams import MediaStreams, MediaStreamsSettings
from server.dialects.pcm_fork import PcmFork, PcmForkSettings, Profile
from server.dialects.pcm_profiles import (
    AsteriskProfile,
    BareProfile,
    JambonzListenProfile,
    JambonzSttProfile,
    VonageProfile,
)
from server.dialects.values import Dialect, Upgrade
from server.dialects.vendor_signatures import check_twilio_signature
from server.door import Ticket, Token
from server.errors import RefusedError

_MOST_SECRET_BYTES = 16_384
_AEAP_LIMIT_S = 1.0
"""Asterisk waits no longer for an answer, and forgets a connection that answers later."""

_PATIENT = BridgeLimits(known_limit_s=300.0)
"""Of a wire that says nothing before its first sound."""
_FORKS: dict[DialectName, tuple[Callable[[], Profile], *tuple[str, ...]]] = {
    DialectName.ASTERISK: (AsteriskProfile, "media"),
    DialectName.FREESWITCH_STREAM: (BareProfile,),
    DialectName.FREESWITCH_FORK: (BareProfile, "audio.drachtio.org"),
    DialectName.JAMBONZ_LISTEN: (JambonzListenProfile, "audio.jambonz.org"),
    DialectName.JAMBONZ_STT: (JambonzSttProfile,),
    DialectName.VONAGE: (VonageProfile,),
    DialectName.PCM: (BareProfile,),
}
"""What each says first, and the subprotocols that it offers."""


@dataclass(frozen=True, slots=True)
class BridgeKind:
    """What one bridge makes of a connection."""

    settings: BridgeSettings
    new_dialect: Callable[[Upgrade], Dialect]
    check_signature: Callable[[Upgrade], None] | None = None
    """Raises RefusedError; None: nobody signs."""
    may_be_late: bool = False
    """Whether who it is may be said in the opening: only where something else was checked by then.
    """
    limits: BridgeLimits = field(default_factory=BridgeLimits)
    subprotocols: tuple[str, ...] = ()
    """That the dialect speaks; one that is offered is answered with."""

    def look(self, upgrade: Upgrade) -> Token | Ticket | None:
        """What is shown; None: it must come in the opening. Raises RefusedError."""
        if self.check_signature is not None:
            self.check_signature(upgrade)
        shown = credential_of(upgrade, may_be_in_address=self.settings.token_in_address)
        if shown is None and not self.may_be_late:
            raise RefusedError(errors.UNAUTHENTICATED, "token_missing")
        return shown

    def subprotocol_of(self, upgrade: Upgrade) -> str | None:
        """What to answer with."""
        return next((name for name in upgrade.subprotocols if name in self.subprotocols), None)


def open_kind(settings: BridgeSettings, wall_clock: Callable[[], float]) -> BridgeKind:
    """Raises KeyFileError."""
    kind = _kind_of(settings, wall_clock)
    limits = replace(kind.limits, idle_limit_s=float(settings.longest_silence_s))
    return replace(kind, limits=limits)


def _kind_of(settings: BridgeSettings, wall_clock: Callable[[], float]) -> BridgeKind:
    if settings.dialect in _FORKS:
        return _pcm_fork(settings, *_FORKS[settings.dialect])
    match settings.dialect:
        case DialectName.MEDIA_STREAMS:
            return _media_streams(settings)
        case DialectName.AUDIOHOOK:
            return _audiohook(settings, wall_clock)
        case DialectName.AEAP:
            return _aeap(settings)
        case _:
            raise ValueError("no bridge")


def _aeap(settings: BridgeSettings) -> BridgeKind:
    return BridgeKind(
        settings,
        lambda upgrade: Aeap(),
        may_be_late=True,  # it can set no header
        limits=BridgeLimits(opening_limit_s=_AEAP_LIMIT_S),
        subprotocols=(SUBPROTOCOL,),
    )


def _media_streams(settings: BridgeSettings) -> BridgeKind:
    options = MediaStreamsSettings(settings.tracks, settings.l16_big_endian)
    check = None
    if settings.secret_file is not None:
        secrets = _secrets_of(settings.secret_file)

        def check(upgrade: Upgrade) -> None:
            check_twilio_signature(upgrade, settings.address or "", secrets)

    return BridgeKind(
        settings, lambda upgrade: MediaStreams(options), check, may_be_late=check is not None
    )


def _pcm_fork(
    settings: BridgeSettings, new_profile: Callable[[], Profile], *subprotocols: str
) -> BridgeKind:
    tracks = settings.tracks or PARTIES[: settings.channels]
    audio_format = AudioFormat(settings.encoding, settings.sample_rate_hz)
    options = PcmForkSettings(audio_format, tracks, is_named=settings.tracks is not None)

    def new_dialect(upgrade: Upgrade) -> PcmFork:
        return PcmFork(new_profile(), options, upgrade)

    limits = _PATIENT if new_profile is BareProfile else BridgeLimits()
    return BridgeKind(settings, new_dialect, limits=limits, subprotocols=subprotocols)


def _audiohook(settings: BridgeSettings, wall_clock: Callable[[], float]) -> BridgeKind:
    if settings.secret_file is None:
        raise KeyFileError("secret_file: needed by audiohook")
    options = AudioHookSettings(settings.tracks, settings.l16_big_endian)
    verifier = SignatureVerifier(_client_secrets_of(settings.secret_file), SignatureSettings())
    authority = urlsplit(settings.address or "").netloc.lower().removesuffix(":443")

    def check(upgrade: Upgrade) -> None:
        verifier.check(upgrade, authority, wall_clock())

    return BridgeKind(
        settings, lambda upgrade: AudioHook(upgrade, options), check, may_be_late=True
    )


def _client_secrets_of(path: Path) -> dict[str, list[SecretBytes]]:
    """By API key, of lines of both. Raises KeyFileError."""
    held: dict[str, list[SecretBytes]] = {}
    for line in read_checked(path, is_secret=True, most_bytes=_MOST_SECRET_BYTES).splitlines():
        try:
            key, secret = line.split()
            decoded = bytearray(b64decode(secret, validate=True))
            held.setdefault(key.decode("ascii"), []).append(SecretBytes(decoded))
        except (ValueError, binascii.Error):
            raise KeyFileError(f"{path}: a line is not an API key and a secret") from None
    if not held:
        raise KeyFileError(f"{path}: holds no secret")
    return held


def _secrets_of(path: Path) -> list[SecretBytes]:
    """One in a line. Raises KeyFileError."""
    content = read_checked(path, is_secret=True, most_bytes=_MOST_SECRET_BYTES)
    secrets = [SecretBytes(bytearray(line)) for line in content.split() if line]
    if not secrets:
        raise KeyFileError(f"{path}: holds no secret")
    return secrets
