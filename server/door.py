"""The headers of a handshake in, credentials and then a grant out; what is refused is refused
before accept.

A program sends its token as `Authorization: Bearer`, a browser, which cannot set headers, as a
second subprotocol, `bearer.<jwt>`; both at once, or one of them twice, is refused. Never in the
address: addresses are logged. A page's `Origin` must be on the list, exactly; programs send none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from security.errors import TokenError
from security.tokens import TokenVerifier
from server import errors
from server.errors import RefusedError
from server.grant import Grant, grant_from_claims
from server.wire import BEARER_PREFIX, PROTOCOL

_SCHEME = "bearer "


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in."""

    verifier: TokenVerifier
    origins: frozenset[str]
    """Scheme, host and port of the pages that may connect, as browsers spell them."""

    def admit(
        self, headers: Sequence[tuple[str, str]], subprotocols: Sequence[str], wall_s: float
    ) -> Grant:
        """The grant of a handshake. Raises RefusedError, with the exact reason for the trail."""
        self.check_origin(headers)
        token = read_token(headers, subprotocols)
        try:
            claims = self.verifier.verify(token, wall_s)
        except TokenError as error:
            raise RefusedError(errors.UNAUTHENTICATED, f"token_{error.reason}") from None
        grant = grant_from_claims(claims, wall_s)
        if grant is None:
            raise RefusedError(errors.FORBIDDEN, "scope_missing")
        return grant

    def check_origin(self, headers: Sequence[tuple[str, str]]) -> None:
        """Refuse pages that are not on the list."""
        origins = [value for name, value in headers if name == "origin"]
        if any(origin not in self.origins for origin in origins):
            raise RefusedError(errors.ORIGIN_REFUSED)


def read_token(headers: Sequence[tuple[str, str]], subprotocols: Sequence[str]) -> str:
    """The one token of a handshake."""
    values = [value for name, value in headers if name == "authorization"]
    bearers = [value[len(_SCHEME) :].strip() for value in values if _is_bearer(value)]
    offered = [
        protocol[len(BEARER_PREFIX) :]
        for protocol in subprotocols
        if protocol.startswith(BEARER_PREFIX)
    ]
    tokens = bearers + offered
    if len(values) != len(bearers) or len(tokens) > 1:
        raise RefusedError(errors.UNAUTHENTICATED, "credentials_ambiguous")
    if not tokens or not tokens[0]:
        raise RefusedError(errors.UNAUTHENTICATED, "token_missing")
    return tokens[0]


def chosen_subprotocol(subprotocols: Sequence[str]) -> str | None:
    """What to echo: the protocol if it was offered, never the token beside it."""
    return PROTOCOL if PROTOCOL in subprotocols else None


def _is_bearer(value: str) -> bool:
    return value[: len(_SCHEME)].casefold() == _SCHEME
