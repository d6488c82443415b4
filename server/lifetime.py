"""Moments in, when a session has to end and when its client is warned out.

A session lives no longer than its token and its settings allow, and ends when its peer says nothing
for too long: who has said nothing at all yet has the time for `start`; who says something else
before it is waited for. At the token's end it has the leeway to send its last finals, and no more.
Knows no audio and no message.
"""

from dataclasses import dataclass
from enum import Enum

from server import errors


class Phase(Enum):
    """Where the conversation stands."""

    WAITING = "waiting"
    """For `start`."""
    STREAMING = "streaming"
    DRAINING = "draining"
    """No more audio; finals are still to come."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Spans:
    """Seconds that a session has for each of its phases."""

    start_limit_s: float
    idle_limit_s: float
    session_limit_s: float
    drain_limit_s: float
    expiry_warning_s: float
    expiry_leeway_s: float


class Lifetime:
    """Of one session, on a clock that is handed in."""

    def __init__(self, spans: Spans, expires_in_s: float, now_s: float) -> None:
        """`expires_in_s`: until its token ends."""
        self._spans = spans
        self.phase = Phase.WAITING
        self._heard_s = self._since_s = now_s
        self._ends_s = now_s + spans.session_limit_s
        self._expires_s = now_s + expires_in_s
        self._is_warned = False
        self._is_heard = False
        """Whether anything at all has come."""

    @property
    def last_moment_s(self) -> float:
        """When the peer has to be gone: its token is no longer good, even by another's clock."""
        return self._expires_s + self._spans.expiry_leeway_s

    @property
    def next_deadline_s(self) -> float:
        """When time changes something next."""
        endings_s = [at_s for at_s, _ in self._endings()]
        return min([*endings_s, self._warning_s()])

    def enter(self, phase: Phase, now_s: float) -> None:
        """It is in another phase from now on."""
        self.phase, self._since_s = phase, now_s

    def receive_frame(self, now_s: float) -> None:
        """The peer has said something, or we have not listened."""
        self._heard_s, self._is_heard = now_s, True

    def is_renewed_by(self, expires_in_s: float, now_s: float) -> bool:
        """Whether a newer token ends later."""
        return now_s + expires_in_s > self._expires_s

    def renew(self, expires_in_s: float, now_s: float) -> None:
        """Live by a newer token."""
        self._expires_s = now_s + expires_in_s
        self._is_warned = False

    def due(self, now_s: float) -> errors.Refusal | None:
        """Why it has to end now, if it has to."""
        return next((refusal for at_s, refusal in self._endings() if at_s <= now_s), None)

    def take_warning(self, now_s: float) -> float | None:
        """Seconds until the token ends, once, when that is soon."""
        if now_s < self._warning_s():
            return None
        self._is_warned = True
        return max(0.0, self._expires_s - now_s)

    def _warning_s(self) -> float:
        if self._is_warned or self.phase is not Phase.STREAMING:
            return float("inf")
        return self._expires_s - self._spans.expiry_warning_s

    def _endings(self) -> list[tuple[float, errors.Refusal]]:
        spans = self._spans
        idle = (self._heard_s + spans.idle_limit_s, errors.IDLE)
        expiry = (self._expires_s, errors.TOKEN_EXPIRED)
        age = (self._ends_s, errors.SESSION_TOO_LONG)
        match self.phase:
            case Phase.WAITING if not self._is_heard:
                return [(self._since_s + spans.start_limit_s, errors.START_LATE), expiry, age]
            case Phase.WAITING | Phase.STREAMING:
                return [idle, expiry, age]
            case Phase.DRAINING:
                drained_s = min(self._since_s + spans.drain_limit_s, self.last_moment_s)
                return [(drained_s, errors.INTERNAL)]
            case Phase.CLOSED:
                return []
