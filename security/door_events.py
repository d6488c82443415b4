"""What happens at the door and in the sessions behind it: the trail's events with a peer in them.

`peer_address` is the address of a machine, without its port; `peer_port` is None where a proxy told
the address. Origins, agents, subjects and issuers are strangers' strings; they are made harmless
where rows are made. See `security.audit_events` for the other events.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuthenticationSucceeded:
    """Somebody showed a good token for something other than a session; not told of each request."""

    subject: str
    issuer: str
    token_id: str
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None
    scopes: str
    """What counts of the token's, with a space between."""


@dataclass(frozen=True, slots=True)
class TicketIssued:
    """Somebody was given a ticket in the place of a token."""

    subject: str
    issuer: str
    token_id: str
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class SignInSucceeded:
    """A person was given a token for the page."""

    subject: str
    issuer: str
    """Of the token, which is our own, whoever said who it is."""
    token_id: str
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None
    method: str
    """`start_code` or `provider`."""


@dataclass(frozen=True, slots=True)
class SignInRenewed:
    """A person who had signed in was given a newer token."""

    subject: str
    issuer: str
    token_id: str
    former_token_id: str
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """Somebody was turned away at the door."""

    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None
    http_status: int
    reason: str
    subject: str | None = None
    """Known only when the token itself was good."""
    issuer: str | None = None
    token_id: str | None = None


@dataclass(frozen=True, slots=True)
class HandshakeRefusedOften:
    """More of them than have rows of their own: counted."""

    peer_address: str | None
    """Of IPv6, the customer's network; None: many addresses."""
    reason: str
    n_refused: int
    """Without those that have rows of their own."""
    since_utc_ns: int


@dataclass(frozen=True, slots=True)
class AddressBlocked:
    """Nobody from this address is looked at for a while."""

    peer_address: str
    block_s: int
    rule: str
    """Of the suspicion that led to it."""


@dataclass(frozen=True, slots=True)
class AddressUnblocked:
    """An administrator has taken back a block."""

    by: str
    peer_address: str
    """That was blocked."""


@dataclass(frozen=True, slots=True)
class SuspicionFound:
    """Events that together look like something was tried."""

    rule: str
    severity: str
    subject: str | None
    peer_address: str | None
    n_events: int
    seqs: str
    """Of the first of them, with a space between."""
    level: int = 1
    """2: it has grown to a reason to block the address, and may have been told before."""


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """Somebody was let in."""

    session_id: str
    subject: str
    issuer: str
    token_id: str
    """The token's `jti`, which opens nothing."""
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None
    model: str
    pack_version: int | None
    kek: str | None
    """Which key opened the pack; names the key and is none."""


@dataclass(frozen=True, slots=True)
class SessionRefreshed:
    """A session goes on by a newer token."""

    session_id: str
    subject: str
    token_id: str
    former_token_id: str


@dataclass(frozen=True, slots=True)
class RefreshRefused:
    """A session was given a token that will not do."""

    session_id: str
    subject: str
    token_id: str
    """By which it goes on."""
    reason: str


@dataclass(frozen=True, slots=True)
class SessionAway:
    """The connection of a session broke; the session waits for its peer."""

    session_id: str
    subject: str
    token_id: str


@dataclass(frozen=True, slots=True)
class SessionResumed:
    """Somebody goes on with a session over another connection."""

    session_id: str
    subject: str
    issuer: str
    token_id: str
    """Of the token that was shown now."""
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """A session is over: what it took and why it ended."""

    session_id: str
    subject: str
    issuer: str
    token_id: str
    peer_address: str
    model: str
    bytes_received: int
    audio_ms: int
    speech_ms: int
    segments: int
    close_code: int
    """WebSocket close code."""
    reason: str


@dataclass(frozen=True, slots=True)
class SessionLost:
    """A session began under a server that was killed: how it ended, and what it took, is unknown.
    All else is from the row with which it began.
    """

    session_id: str
    subject: str | None
    issuer: str | None
    token_hash: str | None
    """As that row has it; no id is known of which a hash could be made."""
    peer_address: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class SessionEndedByAdministrator:
    """An administrator has ended a session."""

    session_id: str
    subject: str
    """Whose session it was."""
    by: str
    peer_address: str
    """Of the administrator."""


DoorEvent = (
    AuthenticationSucceeded
    | TicketIssued
    | SignInSucceeded
    | SignInRenewed
    | HandshakeRefused
    | HandshakeRefusedOften
    | AddressBlocked
    | AddressUnblocked
    | SuspicionFound
    | SessionStarted
    | SessionRefreshed
    | RefreshRefused
    | SessionAway
    | SessionResumed
    | SessionEnded
    | SessionLost
    | SessionEndedByAdministrator
)
