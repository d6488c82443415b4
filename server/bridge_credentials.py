"""The upgrade of a telephone system in; the credential that it shows, however its makers let it
show one, out.

Some set any header, some only a password, some one of their own; some nothing but the address. A
token in the address is refused unless the settings allow it, and a ticket there is worth nothing
once it was used. Two credentials are refused, like one that is empty.
"""

import base64

from server import errors
from server.dialects.values import Upgrade
from server.door import Ticket, Token
from server.errors import RefusedError

_OWN_HEADERS = ("x-telnyx-streaming-auth-token", "x-earwitness-token")
_SCHEMES = {"bearer", "token"}
MOST_CREDENTIAL_CHARS = 8192


def credential_of(upgrade: Upgrade, *, may_be_in_address: bool) -> Token | Ticket | None:
    """The one that is shown; None: none is. Raises RefusedError."""
    in_address = [value for name, value in upgrade.query if name == "token"]
    if in_address and not may_be_in_address:
        raise RefusedError(errors.UNAUTHENTICATED, "token_in_address")
    headers = [_authorized(value) for name, value in upgrade.headers if name == "authorization"]
    headers += [value.strip() for name, value in upgrade.headers if name in _OWN_HEADERS]
    tickets = [value for name, value in upgrade.query if name == "ticket"]
    shown: list[Token | Ticket] = [
        *map(Token, [*headers, *in_address]),
        *map(Ticket, tickets),
    ]
    if len(set(shown)) > 1:
        raise RefusedError(errors.UNAUTHENTICATED, "credentials_ambiguous")
    if shown and not 0 < len(shown[0].text) <= MOST_CREDENTIAL_CHARS:
        raise RefusedError(errors.UNAUTHENTICATED, "token_missing")
    return shown[0] if shown else None


def _authorized(value: str) -> str:
    """The token of `Bearer …`, `Token …`, of the password of `Basic …`, or the value itself."""
    scheme, _, rest = value.strip().partition(" ")
    if scheme.casefold() in _SCHEMES:
        return rest.strip()
    if scheme.casefold() != "basic":
        return value.strip()
    try:
        user_and_password = base64.b64decode(rest.strip(), validate=True).decode()
    except ValueError:  # no base 64, no UTF-8, or not even ASCII
        raise RefusedError(errors.UNAUTHENTICATED, "token_malformed") from None
    return user_and_password.partition(":")[2]
