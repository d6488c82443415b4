"""What a session is told when it begins, and what it wants done: the values around the core."""

from dataclasses import dataclass, field, replace
from typing import TypedDict

from security.audit_events import AuditEvent
from security.door_events import SessionEnded, SessionStarted
from security.limits import Limits
from server import wire
from server.grant import Grant
from server.lifetime import Spans
from server.pace import PaceSettings
from server.recognition import ModelCard
from server.track import Reprioritise, Score, TrackSettings, Transcribe


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How long and how much one session may be."""

    start_limit_s: float = 10.0
    """From the handshake to the `start` message, or to another that keeps alive."""
    idle_limit_s: float = 30.0
    """Without a frame of any kind."""
    session_limit_s: float = 4 * 3600.0
    drain_limit_s: float = 60.0
    """From the end of the audio to the last final; then the server gives up on itself."""
    expiry_warning_s: float = 60.0
    """Before the token ends."""
    expiry_leeway_s: float = 30.0
    """After it, for the last finals."""
    most_unscored_ms: int = 2_000
    """Audio waiting for its scores before the socket is no longer read."""
    most_unfinished_ms: int = 60_000
    """Speech waiting for its finals before the socket is no longer read."""
    pace: PaceSettings = field(default_factory=PaceSettings)
    """Where a token limits how fast audio may come."""
    track: TrackSettings = field(default_factory=TrackSettings)


class Shown(TypedDict):
    """The same by the names of the trail's events."""

    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Caller:
    """What the handshake showed of the peer, for the trail; strangers chose these strings."""

    address: str
    """Of a machine, without its port; empty where the peer has none."""
    origin: str | None
    user_agent: str | None
    port: int | None = None
    """None where a proxy told the address."""

    @property
    def shown(self) -> Shown:
        """For a row of the trail."""
        return Shown(
            peer_address=self.address,
            peer_port=self.port,
            origin=self.origin,
            user_agent=self.user_agent,
        )


@dataclass(frozen=True, slots=True)
class Send:
    """Wanted: this event on the wire."""

    event: wire.ServerEvent


@dataclass(frozen=True, slots=True)
class Record:
    """Wanted: this event in the trail before the next action; it has happened, and the session goes
    on if it cannot be written.
    """

    event: AuditEvent


@dataclass(frozen=True, slots=True)
class Close:
    """Wanted: the WebSocket closed. The last action there is."""

    code: int


@dataclass(frozen=True, slots=True)
class Reserve:
    """Wanted: so much of what the subject has for a day; answered with `receive_reserved`. Below
    zero it is given back, and there is no answer.
    """

    audio_ms: int


Action = Score | Transcribe | Reprioritise | Send | Record | Reserve | Close


def start_of(session_id: str, model: ModelCard, grant: Grant, caller: Caller) -> SessionStarted:
    """The first row of a session; durable before its peer is let in."""
    return SessionStarted(
        session_id=session_id,
        **grant.holder,
        **caller.shown,
        model=model.model_id,
        pack_version=model.pack_version,
        kek=model.kek,
    )


@dataclass(frozen=True, slots=True)
class End:
    """How and why a session is over."""

    close_code: int
    reason: str


def end_of(start: SessionStarted, token_id: str, usage: wire.Usage, end: End) -> SessionEnded:
    """The last row of a session; `token_id` is that of the token by which it went on."""
    return SessionEnded(
        session_id=start.session_id,
        subject=start.subject,
        issuer=start.issuer,
        token_id=token_id,
        peer_address=start.peer_address,
        model=start.model,
        bytes_received=usage.bytes,
        audio_ms=usage.audio_ms,
        speech_ms=usage.speech_ms,
        segments=usage.segments,
        close_code=end.close_code,
        reason=end.reason,
    )


def with_quiet(settings: SessionSettings, quiet_limit_s: float) -> SessionSettings:
    """For a peer that may say nothing for so long, at the beginning too; never for less long."""
    return replace(
        settings,
        start_limit_s=max(settings.start_limit_s, quiet_limit_s),
        idle_limit_s=max(settings.idle_limit_s, quiet_limit_s),
    )


def spans_of(settings: SessionSettings, limits: Limits) -> Spans:
    """How long a session may be in each of its phases."""
    return Spans(
        start_limit_s=settings.start_limit_s,
        idle_limit_s=_least(settings.idle_limit_s, limits.idle_s),
        session_limit_s=_least(settings.session_limit_s, limits.session_s),
        drain_limit_s=settings.drain_limit_s,
        expiry_warning_s=settings.expiry_warning_s,
        expiry_leeway_s=settings.expiry_leeway_s,
    )


def with_end_of_speech(settings: TrackSettings, end_of_speech_ms: int | None) -> TrackSettings:
    """As the client wishes it."""
    if end_of_speech_ms is None:
        return settings
    segmenter = replace(settings.segmenter, end_of_speech_ms=end_of_speech_ms)
    return replace(settings, segmenter=segmenter)


def _least(setting_s: float, granted_s: int | None) -> float:
    return setting_s if granted_s is None else min(setting_s, granted_s)
