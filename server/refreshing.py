"""What newer tokens grant in, by which of them a session goes on out, with what is said of it.

A newer token has to be the same subject's, to cover what is heard, and to end later. That it is
taken is durable before it is: whoever lengthens a stay gives something. Who goes on showing tokens
that will not do is sent away; a trail that cannot be written is not the peer's fault.
"""

from collections.abc import Sequence
from dataclasses import replace

from security.door_events import RefreshRefused, SessionRefreshed
from server import wire
from server.errors import Refusal
from server.grant import Grant
from server.lifetime import Lifetime
from server.session_values import Action, Record, Send

_MOST_REFUSED = 3


class Refreshing:
    """Of one session."""

    def __init__(self, session_id: str, model_id: str, grant: Grant, life: Lifetime) -> None:
        self.grant = grant
        """By which the session goes on, with the limits that it began with."""
        self._session_id = session_id
        self._model_id = model_id
        self._life = life
        self._n_refused = 0

    @property
    def is_worn_out(self) -> bool:
        """Whether no more tokens are looked at."""
        return self._n_refused >= _MOST_REFUSED

    def fault_of(self, grant: Grant, heard: frozenset[str | None], now_s: float) -> str | None:
        """Why this will not do, for the trail; None: it will."""
        if grant.who != self.grant.who:
            return "other_subject"
        if not grant.covers(self._model_id, heard):
            return "not_for_this"
        if not self._life.is_renewed_by(grant.expires_in_s, now_s):
            return "not_later"
        return None

    def event_of(self, grant: Grant) -> SessionRefreshed:
        """Has to be durable before it is taken."""
        return SessionRefreshed(
            session_id=self._session_id,
            subject=grant.subject,
            token_id=grant.token_id,
            former_token_id=self.grant.token_id,
        )

    def take(self, grant: Grant, now_s: float) -> Sequence[Action]:
        """Go on by it."""
        self._life.renew(grant.expires_in_s, now_s)
        self.grant = replace(grant, limits=self.grant.limits)
        return [Send(wire.TokenRefreshed(int(grant.expires_in_s)))]

    def refuse(self, refusal: Refusal, reason: str) -> Sequence[Action]:
        """Go on by the former one."""
        if not refusal.is_retryable:
            self._n_refused += 1
        refused = RefreshRefused(
            session_id=self._session_id,
            subject=self.grant.subject,
            token_id=self.grant.token_id,
            reason=reason,
        )
        return [Record(refused), Send(wire.RefreshRefused(refusal.code, refusal.text))]
