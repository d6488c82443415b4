"""What the trail keeps of calls that telephone systems stream, and of those who read along.

A call is named as the telephone system names it, its numbers by pseudonyms alone (see
`security.pseudonyms`); nothing that was said or dialled has a place here. See
`security.audit_events` for the other events.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A connection of a telephone system streams a call; its session is on record by then."""

    session_id: str
    subject: str
    issuer: str
    token_id: str
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None
    bridge: str
    """Its name in the settings."""
    dialect: str
    call_id: str
    roles: str
    """Of the tracks that are heard, in their order, with a space between."""
    caller: str | None
    """A pseudonym; None: no number was told."""
    callee: str | None


@dataclass(frozen=True, slots=True)
class CallEnded:
    """It streams no more: what was lost on the way."""

    session_id: str
    subject: str
    issuer: str
    token_id: str
    call_id: str
    reason: str
    n_tracks: int
    late_frames: int
    """That came after their place had been filled."""
    duplicate_frames: int
    lost_frames: int
    """That never came, as far as the wire numbers them."""
    gap_ms: int
    """Of silence that was filled in, over all tracks."""
    dropped_ms: int
    """Of audio that was not heard, over all tracks."""


@dataclass(frozen=True, slots=True)
class CallWatched:
    """Somebody reads what is said in a call; on record before the first word is told."""

    subject: str
    issuer: str
    token_id: str
    peer_address: str
    peer_port: int | None
    origin: str | None
    user_agent: str | None
    call_id: str
    owner: str
    """The subject that streams it."""


@dataclass(frozen=True, slots=True)
class CallUnwatched:
    """Somebody reads no more."""

    subject: str
    issuer: str
    token_id: str
    peer_address: str
    call_id: str
    n_events: int
    """That were told."""
    reason: str


CallEvent = CallStarted | CallEnded | CallWatched | CallUnwatched
