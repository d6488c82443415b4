"""A token and the wall clock in; who is at the door and what they were granted out. And new
tokens.

A token is a JWT signed with Ed25519, of type `at+jwt` (RFC 9068). PyJWT checks signature, issuer
and audience under an algorithm fixed here; around it stands what it lets pass by default: a token
without an end, one of another type, a key named twice in its JSON, padding, and megabytes of text.
One token has one spelling. Times are checked here against the clock handed in. Header fields
beyond `alg`, `typ` and `kid` are refused: none of them (`crit`, `jku`, `jwk`) may choose how a
token is checked. Claims that mean nothing here are ignored.

Whatever is wrong raises TokenError with one text; its reason is for the trail.
"""

import base64
import hashlib
import json
import secrets
import unicodedata
from collections.abc import Set
from dataclasses import dataclass
from typing import Annotated, Never

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from security.errors import TokenError, TokenReason

_ALGORITHM = "EdDSA"
_TYPE = "at+jwt"
_HEADER_FIELDS = {"alg", "typ", "kid"}
_LAST_SECOND = 253_402_300_799  # the year 9999 ends
_MAX_LIMIT = (1 << 53) - 1  # JSON numbers beyond are not exact everywhere (RFC 8259, section 6)
_SCOPE = r"[!#-\[\]-~]+"  # RFC 6749, section 3.3

_Second = Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Scopes = Annotated[str, msgspec.Meta(max_length=1024, pattern=rf"\A(?:{_SCOPE}(?: {_SCOPE})*)?\Z")]
_Limit = Annotated[int, msgspec.Meta(ge=0, le=_MAX_LIMIT)] | msgspec.UnsetType


class _Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session_audio_s: _Limit = msgspec.UNSET
    session_bytes: _Limit = msgspec.UNSET
    concurrent_sessions: _Limit = msgspec.UNSET


class _Payload(msgspec.Struct, frozen=True):
    iss: _Text
    sub: _Text
    jti: _Text
    aud: str | list[str]
    iat: _Second
    exp: _Second
    nbf: _Second | msgspec.UnsetType = msgspec.UNSET
    scope: _Scopes = ""
    earwitness: _Limits = _Limits()


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What a token has to say to be for us."""

    issuer: str
    audience: str
    max_lifetime_s: int = 3600
    leeway_s: int = 30
    """How far two clocks may differ."""
    max_token_bytes: int = 8192


@dataclass(frozen=True, slots=True)
class Limits:
    """How much somebody may; None: nothing is said."""

    session_audio_s: int | None = None
    session_bytes: int | None = None
    session_s: int | None = None
    idle_s: int | None = None
    pace_percent: int | None = None
    concurrent_sessions: int | None = None
    audio_s_per_day: int | None = None
    starts_per_minute: int | None = None


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. A limit of None is not set by the token."""

    subject: str
    issuer: str
    token_id: str
    issued_at_s: int
    expires_at_s: int
    """Unix time, as in the token, without leeway."""
    scopes: frozenset[str]
    limits: Limits = Limits()
    key_id: str = ""
    models: frozenset[str] | None = None
    languages: frozenset[str] | None = None


class TokenVerifier:
    """Checks tokens of one issuer's key."""

    def __init__(
        self, policy: TokenPolicy, verifying_key: Ed25519PublicKey, key_id: str | None = None
    ) -> None:
        """`key_id`: what a token's `kid` must be, if it has one; by default `key_id_of` the key."""
        self._policy = policy
        self._key = verifying_key
        self._key_id = key_id or key_id_of(verifying_key)

    def verify(self, token: str, wall_s: float) -> Claims:
        """The claims of `token` at Unix time `wall_s`. Raises TokenError and nothing else."""
        if len(token) > self._policy.max_token_bytes:
            raise TokenError(TokenReason.TOO_LONG)
        segments = token.split(".")
        if len(segments) != 3:
            raise TokenError(TokenReason.MALFORMED)
        header, payload, _ = (_decode_segment(segment) for segment in segments)
        self._check_header(_decode_object(header))
        claims = _decode_object(payload)
        self._check_signature(token)
        return self._check_claims(claims, wall_s)

    def _check_header(self, header: dict[str, object]) -> None:
        if header.get("alg") != _ALGORITHM:
            raise TokenError(TokenReason.WRONG_ALGORITHM)
        if header.get("typ") != _TYPE:
            raise TokenError(TokenReason.WRONG_TYPE)
        if header.keys() - _HEADER_FIELDS:
            raise TokenError(TokenReason.MALFORMED)
        if header.get("kid", self._key_id) != self._key_id:
            raise TokenError(TokenReason.UNKNOWN_KEY)

    def _check_signature(self, token: str) -> None:
        try:
            jwt.decode(
                token,
                self._key,
                algorithms=[_ALGORITHM],
                audience=self._policy.audience,
                issuer=self._policy.issuer,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.InvalidSignatureError:
            raise TokenError(TokenReason.BAD_SIGNATURE) from None
        except jwt.InvalidIssuerError:
            raise TokenError(TokenReason.WRONG_ISSUER) from None
        except jwt.InvalidAudienceError:
            raise TokenError(TokenReason.WRONG_AUDIENCE) from None
        except jwt.PyJWTError:
            raise TokenError(TokenReason.BAD_CLAIMS) from None

    def _check_claims(self, claims: dict[str, object], wall_s: float) -> Claims:
        try:
            payload = msgspec.convert(claims, _Payload)
        except msgspec.ValidationError:
            raise TokenError(TokenReason.BAD_CLAIMS) from None
        if not all(map(_is_clean, (payload.iss, payload.sub, payload.jti))):
            raise TokenError(TokenReason.BAD_CLAIMS)
        self._check_times(payload, wall_s)
        limits = payload.earwitness
        return Claims(
            subject=payload.sub,
            issuer=payload.iss,
            token_id=payload.jti,
            issued_at_s=payload.iat,
            expires_at_s=payload.exp,
            scopes=frozenset(payload.scope.split()),
            limits=Limits(
                session_audio_s=_or_none(limits.session_audio_s),
                session_bytes=_or_none(limits.session_bytes),
                concurrent_sessions=_or_none(limits.concurrent_sessions),
            ),
            key_id=self._key_id,
        )

    def _check_times(self, payload: _Payload, wall_s: float) -> None:
        policy = self._policy
        if payload.exp <= payload.iat:
            raise TokenError(TokenReason.BAD_CLAIMS)
        if payload.exp - payload.iat > policy.max_lifetime_s:
            raise TokenError(TokenReason.LIFETIME_TOO_LONG)
        starts_s = max(payload.iat, _or_none(payload.nbf) or 0)
        if wall_s + policy.leeway_s < starts_s:
            raise TokenError(TokenReason.NOT_YET_VALID)
        if wall_s - policy.leeway_s >= payload.exp:
            raise TokenError(TokenReason.EXPIRED)


def key_id_of(key: Ed25519PublicKey) -> str:
    """The `kid` of tokens signed with the private half of `key`."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def mint_token(  # noqa: PLR0913 (keywords: what the token says)
    signing_key: Ed25519PrivateKey,
    policy: TokenPolicy,
    *,
    subject: str,
    scopes: Set[str],
    lifetime_s: int,
    wall_s: float,
    token_id: str | None = None,
    session_audio_s: int | None = None,
    session_bytes: int | None = None,
    concurrent_sessions: int | None = None,
) -> str:
    """A token issued at Unix time `wall_s`. Raises TokenError if `policy` would not accept it."""
    limits = {
        "session_audio_s": session_audio_s,
        "session_bytes": session_bytes,
        "concurrent_sessions": concurrent_sessions,
    }
    claims = {
        "iss": policy.issuer,
        "aud": policy.audience,
        "sub": subject,
        "jti": token_id or secrets.token_hex(16),
        "iat": int(wall_s),
        "exp": int(wall_s) + lifetime_s,
        "scope": " ".join(sorted(scopes)),
        "earwitness": {name: limit for name, limit in limits.items() if limit is not None},
    }
    public = signing_key.public_key()
    header = {"typ": _TYPE, "kid": key_id_of(public)}
    token = jwt.encode(claims, signing_key, algorithm=_ALGORITHM, headers=header)
    if TokenVerifier(policy, public).verify(token, wall_s).scopes != scopes:
        raise TokenError(TokenReason.BAD_CLAIMS)
    return token


def _decode_segment(segment: str) -> bytes:
    """The bytes of a segment, if it is their one spelling in base64url without padding."""
    try:
        decoded = base64.urlsafe_b64decode(segment.encode("ascii") + b"=" * (-len(segment) % 4))
    except ValueError:
        raise TokenError(TokenReason.MALFORMED) from None
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment.encode("ascii"):
        raise TokenError(TokenReason.MALFORMED)
    return decoded


def _decode_object(encoded: bytes) -> dict[str, object]:
    try:
        decoded = json.loads(
            encoded.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        raise TokenError(TokenReason.MALFORMED) from None
    if not isinstance(decoded, dict):
        raise TokenError(TokenReason.MALFORMED)
    return decoded


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a key is named twice")
    return unique


def _refuse_constant(name: str) -> Never:
    raise ValueError("not a JSON number")


def _is_clean(text: str) -> bool:
    """Whether no character is a control, format, surrogate, private or unassigned one."""
    return not any(unicodedata.category(character).startswith("C") for character in text)


def _or_none(limit: int | msgspec.UnsetType) -> int | None:
    return None if limit is msgspec.UNSET else limit
