"""Every event of the trail, its name, and whether what was tried succeeded.

Each kind is a class with only the fields it may hold, so that words, tokens and keys have no place
to go; adding a field means adding it to the allow-list of the tests. Here are the server, its
models, keys and tokens, and the trail itself; what has a peer in it is in `security.door_events`,
calls of telephone systems are in `security.call_events`.
"""

from dataclasses import dataclass

from security.call_events import (
    CallEnded,
    CallEvent,
    CallStarted,
    CallUnwatched,
    CallWatched,
)
from security.door_events import (
    AddressBlocked,
    AddressUnblocked,
    AuthenticationSucceeded,
    DoorEvent,
    HandshakeRefused,
    HandshakeRefusedOften,
    RefreshRefused,
    SessionAway,
    SessionEnded,
    SessionEndedByAdministrator,
    SessionLost,
    SessionRefreshed,
    SessionResumed,
    SessionStarted,
    SignInRenewed,
    SignInSucceeded,
    SuspicionFound,
    TicketIssued,
)


@dataclass(frozen=True, slots=True)
class ServerStarted:
    """The server is ready."""

    version: str


@dataclass(frozen=True, slots=True)
class ServerStopped:
    """The server ends; without this row before the next start, it was killed."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServerFoundKilled:
    """The server that ran before this start never said that it stopped."""

    last_seq: int
    """Of the newest row at the time."""
    n_sessions_open: int
    """That had begun and not ended; each makes a `session.lost`."""


@dataclass(frozen=True, slots=True)
class ModelOpened:
    """A pack was verified and its model is in use."""

    model: str
    pack_version: int
    publisher: str
    """Fingerprint of the key that signed the pack."""
    kek: str
    """Which key opened it; names the key and is none."""


@dataclass(frozen=True, slots=True)
class ModelRefused:
    """A pack did not open."""

    pack: str
    """Name of its folder."""
    reason: str


@dataclass(frozen=True, slots=True)
class EngineRestarted:
    """The engine hung, or its thread died: its model is opened again."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class OlderModelAllowed:
    """An administrator let a version open that is older than one opened before."""

    model: str
    pack_version: int
    former_version: int


@dataclass(frozen=True, slots=True)
class PackSealed:
    """A pack was made."""

    pack: str
    model: str
    pack_version: int


@dataclass(frozen=True, slots=True)
class KeySlotsChanged:
    """Another set of keys opens a pack."""

    pack: str
    change: str
    """`added`, `dropped` or `rotated`."""
    kek: str
    """The key that was added or dropped, or that came in the place of the former one."""
    former_kek: str | None = None


@dataclass(frozen=True, slots=True)
class TokenMinted:
    """An administrator made a token."""

    subject: str
    issuer: str
    token_id: str
    scopes: str
    """As in the token: names with a space between."""
    lifetime_s: int
    by: str | None = None
    """The account that the command ran as."""


@dataclass(frozen=True, slots=True)
class TokenRevoked:
    """A token, a subject's tokens so far, or all of a key count no more."""

    issuer: str
    reason: str
    """What was revoked: `revoked_token`, `revoked_subject` or `revoked_key`."""
    token_id: str | None = None
    subject: str | None = None
    key_id: str | None = None
    """Names the key and is none."""
    by: str | None = None
    """The administrator who asked for it over the network; None: a command."""
    peer_address: str | None = None
    """Of the administrator."""


@dataclass(frozen=True, slots=True)
class SigningKeyRotated:
    """Tokens are signed with another key from now on."""

    key_id: str
    former_key_id: str
    overlap_s: int
    """How long tokens of the former key are still accepted."""


@dataclass(frozen=True, slots=True)
class ServerConfigured:
    """What a start was set to."""

    digest: str
    """SHA-256 over all settings without what could be a secret, in hex."""
    changed: str
    """Keys that are not at their default, with a space between; never their values."""


@dataclass(frozen=True, slots=True)
class TrailBegan:
    """The first row of a trail."""

    former_sha256: str | None
    """Of the file that held the trail before, in hex; None: there was none."""
    former_origin: str | None = None
    """Of the trail that was set aside before this one began."""
    former_size: int | None = None
    """Its rows, as they were signed last, and their root in hex."""
    former_root: str | None = None


@dataclass(frozen=True, slots=True)
class TrailGap:
    """Events that happened while the trail could not be written are lost."""

    n_events: int
    first_lost_utc_ns: int
    last_lost_utc_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class TrailRead:
    """Somebody has looked into the trail."""

    by: str
    what: str
    """One of a few constants, such as `report`."""
    peer_address: str | None = None
    """None: a command."""


@dataclass(frozen=True, slots=True)
class TrailExported:
    """Somebody has taken events out of the trail, as a copy."""

    by: str
    format: str
    n_events: int
    peer_address: str | None = None
    """None: a command."""


@dataclass(frozen=True, slots=True)
class TrailDropped:
    """A closed segment was kept for as long as its profile says."""

    first_seq: int
    last_seq: int
    profile: str
    root: str
    """Of the tree over all rows up to the segment's last, in hex."""
    by: str | None = None
    """The account that the command ran as."""


@dataclass(frozen=True, slots=True)
class TrailVerified:
    """The trail was looked through."""

    problems: int
    by: str | None = None
    """The account that the command ran as."""


@dataclass(frozen=True, slots=True)
class TrailCopied:
    """The whole trail was copied, to be verified or kept elsewhere."""

    last_seq: int
    by: str | None = None
    """The account that the command ran as."""


@dataclass(frozen=True, slots=True)
class CheckpointCopyFailed:
    """A checkpoint is not where the settings want a copy of it."""

    reason: str


AuditEvent = (
    DoorEvent
    | CallEvent
    | ServerStarted
    | ServerStopped
    | ServerFoundKilled
    | ModelOpened
    | ModelRefused
    | EngineRestarted
    | OlderModelAllowed
    | PackSealed
    | KeySlotsChanged
    | TokenMinted
    | TokenRevoked
    | SigningKeyRotated
    | ServerConfigured
    | TrailBegan
    | TrailGap
    | TrailRead
    | TrailExported
    | TrailDropped
    | TrailVerified
    | TrailCopied
    | CheckpointCopyFailed
)

EVENT_NAMES: dict[type[AuditEvent], str] = {
    ServerStarted: "server.started",
    ServerStopped: "server.stopped",
    ServerFoundKilled: "server.found_killed",
    ModelOpened: "model.opened",
    ModelRefused: "model.refused",
    EngineRestarted: "engine.restarted",
    OlderModelAllowed: "model.older_allowed",
    PackSealed: "pack.sealed",
    KeySlotsChanged: "keys.changed",
    TokenMinted: "token.minted",
    TokenRevoked: "token.revoked",
    SigningKeyRotated: "keys.signing_rotated",
    ServerConfigured: "server.configured",
    TrailBegan: "trail.began",
    TrailGap: "trail.gap",
    TrailRead: "trail.read",
    TrailExported: "trail.exported",
    TrailDropped: "trail.dropped",
    TrailVerified: "trail.verified",
    TrailCopied: "trail.copied",
    CheckpointCopyFailed: "checkpoint.copy_failed",
    AuthenticationSucceeded: "authentication.succeeded",
    TicketIssued: "ticket.issued",
    SignInSucceeded: "sign_in.succeeded",
    SignInRenewed: "sign_in.renewed",
    HandshakeRefused: "handshake.refused",
    HandshakeRefusedOften: "handshake.refused_often",
    AddressBlocked: "address.blocked",
    AddressUnblocked: "address.unblocked",
    SuspicionFound: "suspicion.found",
    SessionStarted: "session.started",
    SessionAway: "session.away",
    SessionResumed: "session.resumed",
    SessionRefreshed: "session.refreshed",
    RefreshRefused: "session.refresh_refused",
    SessionEnded: "session.ended",
    SessionLost: "session.lost",
    SessionEndedByAdministrator: "session.ended_by_administrator",
    CallStarted: "call.started",
    CallEnded: "call.ended",
    CallWatched: "call.watched",
    CallUnwatched: "call.unwatched",
}
"""Stable, for queries and for whoever reads the trail with other tools."""
_FAILURES = (
    ServerFoundKilled,
    SessionLost,
    ModelRefused,
    EngineRestarted,
    HandshakeRefused,
    HandshakeRefusedOften,
    RefreshRefused,
    TrailGap,
    CheckpointCopyFailed,
)
ENDED_WELL = frozenset(
    {
        *("stopped", "client_gone", "idle", "token_expired", "revoked"),
        *("ended_by_administrator", "shutting_down"),
    }
)
"""Reasons of sessions that did not end for a fault, a limit or a breach of the protocol."""


def outcome_of(event: AuditEvent) -> str:
    """`success` or `failure`."""
    match event:
        case SessionEnded(reason=reason) | CallEnded(reason=reason):
            has_failed = reason not in ENDED_WELL
        case TrailVerified(problems=problems):
            has_failed = problems > 0
        case _:
            has_failed = isinstance(event, _FAILURES)
    return "failure" if has_failed else "success"
