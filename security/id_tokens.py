"""An ID token and what was asked for in; who somebody is, for their provider, out.

OpenID Connect Core 1.0, section 3.1.3.7, with the one algorithm that the settings name, a public
key of the provider, and all that has to fit: issuer, audience, the party that it was made for,
times, and the nonce of this very sign-in. An access token is none, whoever signed it. It is for
one moment: it may not have been issued long ago, however long it lives. Fields of the header that
could choose a key are never looked at; one that must be understood (`crit`) is refused.
"""

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from security.errors import TokenError, TokenReason, UnknownKeyError
from security.signed import decode_part, read_signed
from security.token_keys import Algorithm, TokenKey, is_key_id

MOST_ID_TOKEN_BYTES = 16_384
"""Of people in many groups they are long."""
Find = Callable[[str | None, float], TokenKey | None]
"""See `VerifyingKeys.find`."""
_OLDEST_S = 600
_SUBJECT = re.compile(r"[!-~]{1,200}")
"""Of 255 in the standard; longer ones are known nowhere, and ours has to hold more than that."""


class _IdClaims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | list[str]
    exp: int | float
    iat: int | float
    nonce: str
    nbf: int | float = 0
    azp: str | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What an ID token has to say."""

    issuer: str
    client_id: str
    algorithm: Algorithm
    nonce: str = field(repr=False)
    required: tuple[str, str] | None = None
    """A claim, and what it has to be or to hold."""
    leeway_s: int = 30


def verify_id_token(token: str, expected: Expected, find: Find, wall_s: float) -> str:
    """Its `sub`: 1 to 200 visible ASCII characters. Raises TokenError."""
    if len(token) > MOST_ID_TOKEN_BYTES:
        raise TokenError(TokenReason.TOO_LONG)
    text = read_signed(token)
    text.check(_key_for(text.header, expected, find, wall_s))
    payload = decode_part(text.payload)
    try:
        claims = msgspec.convert(payload, _IdClaims)
    except msgspec.ValidationError:
        raise TokenError(TokenReason.BAD_CLAIMS) from None
    if claims.iss != expected.issuer:
        raise TokenError(TokenReason.WRONG_ISSUER)
    _check_audience(claims, expected.client_id)
    _check_times(claims, expected.leeway_s, wall_s)
    if not hmac.compare_digest(_bytes(claims.nonce), _bytes(expected.nonce)):
        raise TokenError(TokenReason.WRONG_NONCE)
    if not _SUBJECT.fullmatch(claims.sub):
        raise TokenError(TokenReason.BAD_CLAIMS)
    if expected.required is not None and not _holds(payload, *expected.required):
        raise TokenError(TokenReason.CLAIM_MISSING)
    return claims.sub


def _key_for(header: dict[str, object], expected: Expected, find: Find, wall_s: float) -> TokenKey:
    if header.get("alg") != expected.algorithm:
        raise TokenError(TokenReason.WRONG_ALGORITHM)
    if str(header.get("typ", "JWT")).upper() != "JWT":
        raise TokenError(TokenReason.WRONG_TYPE)
    if "crit" in header:
        raise TokenError(TokenReason.MALFORMED)
    key_id = header.get("kid")
    if "kid" in header and not is_key_id(key_id):
        raise TokenError(TokenReason.UNKNOWN_KEY)
    key = find(key_id if isinstance(key_id, str) else None, wall_s)
    if key is None:
        raise UnknownKeyError(expected.issuer)
    if key.algorithm != expected.algorithm:
        raise TokenError(TokenReason.WRONG_ALGORITHM)
    return key


def _check_audience(claims: _IdClaims, client_id: str) -> None:
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    party = claims.azp if claims.azp is not None or len(audiences) > 1 else client_id
    if client_id not in audiences or party != client_id:
        raise TokenError(TokenReason.WRONG_AUDIENCE)


def _check_times(claims: _IdClaims, leeway_s: int, wall_s: float) -> None:
    if wall_s + leeway_s < max(claims.iat, claims.nbf):
        raise TokenError(TokenReason.NOT_YET_VALID)
    if wall_s - leeway_s >= claims.exp:
        raise TokenError(TokenReason.EXPIRED)
    if wall_s - leeway_s > claims.iat + _OLDEST_S:
        raise TokenError(TokenReason.TOO_OLD)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _holds(payload: dict[str, object], claim: str, value: str) -> bool:
    said = payload.get(claim)
    return said == value or (isinstance(said, list) and value in said)
