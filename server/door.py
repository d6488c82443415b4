"""What a handshake or a request shows in, a grant out; what is refused is refused before accept.

A program sends its token as `Authorization: Bearer`, a browser, which cannot set headers, as a
second subprotocol, `bearer.<jwt>`. Who can do neither brings a ticket, as the subprotocol
`ticket.<ticket>` or in the address: it is worth nothing once it has been used. A token never comes
in the address: addresses are logged. Two credentials at once are refused. A page's `Origin` must be
on the list, exactly; programs send none.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from security.errors import TokenError
from security.tokens import Claims
from server import errors
from server.errors import RefusedError
from server.grant import TRANSCRIBE_SCOPE, Grant, GrantSettings, grant_from_claims
from server.tickets import Tickets
from server.wire import BEARER_PREFIX, PROTOCOL, RESUME_PREFIX, TICKET_PREFIX

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Knock:
    """What somebody shows at the door."""

    headers: Sequence[tuple[str, str]] = field(repr=False)
    """Names in lower case."""
    subprotocols: Sequence[str] = field(default=(), repr=False)
    tickets: Sequence[str] = field(default=(), repr=False)
    """In the address."""

    @property
    def origin(self) -> str | None:
        """The first, if there is any; all have been checked by then."""
        return next((value for name, value in self.headers if name == "origin"), None)


@dataclass(frozen=True, slots=True)
class Token:
    """A credential that is a JWT."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ticket:
    """One that stands for a JWT shown before."""

    text: str = field(repr=False)


Read = Callable[[Knock], Token | Ticket]
"""Finds the credential. Raises RefusedError."""


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in."""

    verify: Callable[[str, float], Awaitable[Claims]]
    """A token's claims at a Unix time; raises TokenError."""
    origins: frozenset[str]
    """Scheme, host and port of the pages that may connect, as browsers spell them."""
    grants: GrantSettings
    tickets: Tickets
    is_revoked: Callable[[Grant], bool]

    async def identify(
        self, knock: Knock, read: Read | None = None, *, wall_s: float, now_s: float
    ) -> Grant:
        """Whoever has a good credential, where `read` looks for it; `check` says whether it still
        counts, and for what. Raises RefusedError, with the exact reason for the trail.
        """
        self.check_origin(knock)
        shown = (read or read_credential)(knock)
        return await self.accept(shown, knock.origin, wall_s=wall_s, now_s=now_s)

    async def accept(
        self, shown: Token | Ticket, origin: str | None, *, wall_s: float, now_s: float
    ) -> Grant:
        """As `identify`, of whoever's credential was found elsewhere."""
        match shown:
            case Ticket(text):
                return self.tickets.redeem(text, origin, now_s)
            case Token(text):
                return await self._granted(text, wall_s)

    def carried_by(self, shown: Token | Ticket) -> object:
        """See `TicketWish`; nobody is let in by this."""
        return self.tickets.carried_by(shown.text) if isinstance(shown, Ticket) else None

    def check(self, grant: Grant, scope: str) -> None:
        """Raises RefusedError for what was revoked, or is for something else."""
        if self.is_revoked(grant):
            raise RefusedError(errors.REVOKED)
        if not grant.is_for(scope):
            raise RefusedError(errors.FORBIDDEN, "scope_missing")

    async def grant(self, token: str, wall_s: float, scope: str = TRANSCRIBE_SCOPE) -> Grant:
        """What a token grants that counts and is for it. Raises RefusedError."""
        grant = await self._granted(token, wall_s)
        self.check(grant, scope)
        return grant

    def check_origin(self, knock: Knock) -> None:
        """Refuse pages that are not on the list."""
        origins = [value for name, value in knock.headers if name == "origin"]
        if any(origin not in self.origins for origin in origins):
            raise RefusedError(errors.ORIGIN_REFUSED)

    async def _granted(self, token: str, wall_s: float) -> Grant:
        try:
            claims = await self.verify(token, wall_s)
        except TokenError as error:
            raise RefusedError(errors.UNAUTHENTICATED, f"token_{error.reason}") from None
        return grant_from_claims(claims, self.grants, wall_s)


def read_credential(knock: Knock) -> Token | Ticket:
    """The one that was shown. Raises RefusedError."""
    values = [value for name, value in knock.headers if name == "authorization"]
    bearers = [value[len(_SCHEME) :].strip() for value in values if _is_bearer(value)]
    shown: list[Token | Ticket] = [
        *map(Token, [*bearers, *_after(BEARER_PREFIX, knock.subprotocols)]),
        *map(Ticket, [*_after(TICKET_PREFIX, knock.subprotocols), *knock.tickets]),
    ]
    if len(values) != len(bearers) or len(shown) > 1:
        raise RefusedError(errors.UNAUTHENTICATED, "credentials_ambiguous")
    if not shown or not shown[0].text:
        raise RefusedError(errors.UNAUTHENTICATED, "token_missing")
    return shown[0]


def read_resume_key(subprotocols: Sequence[str]) -> str | None:
    """Of the session that the peer wants to go on with; of several the first, which opens no more
    than any.
    """
    return next(iter(_after(RESUME_PREFIX, subprotocols)), None)


def chosen_subprotocol(subprotocols: Sequence[str]) -> str | None:
    """What to echo: the protocol if it was offered, never the credential beside it."""
    return PROTOCOL if PROTOCOL in subprotocols else None


def _after(prefix: str, subprotocols: Sequence[str]) -> list[str]:
    return [offered[len(prefix) :] for offered in subprotocols if offered.startswith(prefix)]


def _is_bearer(value: str) -> bool:
    return value[: len(_SCHEME)].casefold() == _SCHEME
