"""Grants in, tickets out, and each grant again for its ticket, once.

A ticket is for who can set no header: a page, a telephone system. It is 128 random bits, or the 122
of a UUID for wires that can carry nothing else, good for a minute at most and for one use, and
bound to the origin that asked for it. It ends with its token. Only its hash is kept, used ones
until they would have ended or there are too many, so that a second use is known for what it is.
With it is kept what whoever it is shown to has to know of it before it is used. How many there are
has a bound, for one subject and for all; nobody can fill it with used ones. Knows no clock but the
one handed in.
"""

import secrets
from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Annotated
from uuid import UUID

from annotated_types import Ge, Le

from security.limits import Limits
from server import errors
from server.call_values import CallPlace
from server.errors import RefusedError
from server.grant import TRANSCRIBE_SCOPE, Grant, least
from server.text_hash import hash_of

_TICKET_BYTES = 16
TEXT_TICKET_CHARS = 22
_UUID_CHARS = 36
_TICKET_CHARS = {TEXT_TICKET_CHARS, _UUID_CHARS}


class TicketForm(Enum):
    """How one is spelt."""

    TEXT = "text"
    UUID = "uuid"
    """Version 4, in lower case with hyphens."""


@dataclass(frozen=True, slots=True)
class TicketSettings:
    """How long and how many."""

    lifetime_s: Annotated[int, Ge(1), Le(60)] = 60
    most_of_subject: Annotated[int, Ge(1)] = 100
    """That are not used yet and not over."""
    most: Annotated[int, Ge(1)] = 10_000
    """Used ones too, as long as there is room for them."""


@dataclass(frozen=True, slots=True)
class TicketWish:
    """What a ticket is to be for."""

    limits: Limits = field(default_factory=Limits)
    """None: as its token has it."""
    call: CallPlace | None = None
    """For a telephone system: none has an origin, and many can say no more than a UUID."""
    lifetime_s: int | None = None
    """Never longer than the settings say."""
    carried: object = field(default=None, repr=False)
    """What it is to open, for who understands that; its size is for who wishes it to bound."""

    def within(self, grant: Grant) -> Grant:
        """As far as this allows it, and to transcribe only."""
        return replace(
            grant,
            limits=least(grant.limits, self.limits),
            scopes=frozenset({TRANSCRIBE_SCOPE}),
            call=self.call,
        )


@dataclass(slots=True)
class _Kept:
    grant: Grant
    origin: str | None
    issued_s: float
    ends_s: float
    carried: object
    is_used: bool = False


class Tickets:
    """Those of one process; used from the event loop only."""

    def __init__(self, settings: TicketSettings) -> None:
        self._settings = settings
        self._kept: dict[bytes, _Kept] = {}
        """By hash, oldest first."""
        self._open_of: Counter[str] = Counter()

    def issue(
        self,
        grant: Grant,
        origin: str | None,
        now_s: float,
        form: TicketForm = TicketForm.TEXT,
        wish: TicketWish | None = None,
    ) -> tuple[str, int]:
        """A ticket, and its seconds; of the wish, how many and what it carries. Raises RefusedError
        when there are too many.
        """
        wish = wish or TicketWish()
        self._forget(now_s)
        if len(self._kept) >= self._settings.most:
            self._kept = {name: kept for name, kept in self._kept.items() if not kept.is_used}
        if len(self._kept) >= self._settings.most:
            raise RefusedError(errors.OVERLOADED, "tickets_full")
        if self._open_of[grant.who] >= self._settings.most_of_subject:
            raise RefusedError(errors.TOO_MANY_STARTS, "too_many_tickets")
        ticket = _new_ticket(form)
        most_s = self._settings.lifetime_s if wish.lifetime_s is None else wish.lifetime_s
        lifetime_s = max(0, min(most_s, self._settings.lifetime_s, int(grant.expires_in_s)))
        kept = _Kept(grant, origin, now_s, now_s + lifetime_s, wish.carried)
        self._kept[hash_of(ticket)] = kept
        self._open_of[grant.who] += 1
        return ticket, lifetime_s

    def carried_by(self, ticket: str) -> object:
        """What was wished for it, until it is used; None for what is none. Whether it is good is
        not said by this.
        """
        kept = self._find(ticket)
        return None if kept is None else kept.carried

    def redeem(self, ticket: str, origin: str | None, now_s: float) -> Grant:
        """What its token granted, as of now. Raises RefusedError, with the reason for the trail."""
        kept = self._find(ticket)
        if kept is None:
            raise RefusedError(errors.UNAUTHENTICATED, "ticket_unknown")
        if kept.is_used:
            raise RefusedError(errors.UNAUTHENTICATED, "ticket_replayed")
        if now_s >= kept.ends_s:
            raise RefusedError(errors.UNAUTHENTICATED, "ticket_expired")
        if kept.origin is not None and origin != kept.origin:
            raise RefusedError(errors.UNAUTHENTICATED, "ticket_of_other_origin")
        kept.is_used, kept.carried = True, None
        self._close(kept)
        return replace(kept.grant, expires_in_s=kept.grant.expires_in_s - (now_s - kept.issued_s))

    def _find(self, ticket: str) -> _Kept | None:
        may_be_one = len(ticket) in _TICKET_CHARS
        return self._kept.get(hash_of(_as_issued(ticket))) if may_be_one else None

    def _forget(self, now_s: float) -> None:
        """All are kept as long, so the oldest go first: longer than they live, to be told from
        those that never were.
        """
        kept_s = 2 * self._settings.lifetime_s
        for name in list(self._kept):
            kept = self._kept[name]
            if now_s < kept.issued_s + kept_s:
                return
            del self._kept[name]
            if not kept.is_used:
                self._close(kept)

    def _close(self, kept: _Kept) -> None:
        self._open_of[kept.grant.who] -= 1
        if not self._open_of[kept.grant.who]:
            del self._open_of[kept.grant.who]


def _as_issued(ticket: str) -> str:
    """A UUID is the same in upper case."""
    return ticket.lower() if len(ticket) == _UUID_CHARS else ticket


def _new_ticket(form: TicketForm) -> str:
    match form:
        case TicketForm.TEXT:
            return secrets.token_urlsafe(_TICKET_BYTES)
        case TicketForm.UUID:
            return str(UUID(bytes=secrets.token_bytes(_TICKET_BYTES), version=4))
