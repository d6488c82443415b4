"""A token and the wall clock in; who is at the door and what they were granted out. And new
tokens.

A token is a JWT of type `at+jwt` (RFC 9068), signed by one of the issuers on a list, each with its
one algorithm and its own keys. What the token says before it is verified chooses among them and
nothing else. PyJWT compares the signature; around it stands what it would let pass: a token
without an end, one of another type, a key named twice in its JSON, padding, short keys, and
megabytes of text. One token has one spelling. Times are checked here against the clock handed in.
Header fields beyond `alg`, `typ` and `kid` are refused: none of them (`crit`, `jku`, `jwk`) may
choose how a token is checked. Claims that mean nothing here are ignored.

Whatever is wrong raises TokenError with one text; its reason is for the trail.
"""

import secrets
import unicodedata
from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Protocol, Self

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from security.errors import TokenError, TokenReason, UnknownKeyError
from security.limits import Limits
from security.signed import decode_part, read_signed
from security.token_keys import (
    Algorithm,
    KeySet,
    TokenKey,
    is_key_id,
    key_id_of,
    public_token_key,
)

_HEADER_FIELDS = {"alg", "typ", "kid"}
ADMIN_SCOPES = frozenset({"admin", "audit"})
"""What only tokens of an issuer's own audience for administrators are for."""
ANY_OWNER = "*"
"""Among the owners of calls: all subjects of the issuer."""
_LAST_SECOND = 253_402_300_799  # the year 9999 ends
_MAX_LIMIT = (1 << 53) - 1  # JSON numbers beyond are not exact everywhere (RFC 8259, section 6)
_SCOPE = r"[!#-\[\]-~]+"  # RFC 6749, section 3.3

_Second = Annotated[int, msgspec.Meta(ge=0, le=_LAST_SECOND)]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Scopes = Annotated[str, msgspec.Meta(max_length=1024, pattern=rf"\A(?:{_SCOPE}(?: {_SCOPE})*)?\Z")]
_Limit = Annotated[int, msgspec.Meta(ge=0, le=_MAX_LIMIT)] | msgspec.UnsetType
_Names = Annotated[list[_Text], msgspec.Meta(max_length=100)] | msgspec.UnsetType


class _Extra(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    session_audio_s: _Limit = msgspec.UNSET
    session_bytes: _Limit = msgspec.UNSET
    session_s: _Limit = msgspec.UNSET
    idle_s: _Limit = msgspec.UNSET
    pace_percent: _Limit = msgspec.UNSET
    concurrent_sessions: _Limit = msgspec.UNSET
    audio_s_per_day: _Limit = msgspec.UNSET
    starts_per_minute: _Limit = msgspec.UNSET
    models: _Names = msgspec.UNSET
    languages: _Names = msgspec.UNSET
    call_owners: _Names = msgspec.UNSET
    calls: _Names = msgspec.UNSET
    signed_in_at_s: _Second | msgspec.UnsetType = msgspec.UNSET


class _Payload(msgspec.Struct, frozen=True):
    iss: _Text
    sub: _Text
    jti: _Text
    aud: str | list[str]
    iat: _Second
    exp: _Second
    nbf: _Second | msgspec.UnsetType = msgspec.UNSET
    scope: _Scopes = ""
    earwitness: _Extra = _Extra()


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What a token has to say to be for us."""

    issuer: str
    audience: str
    max_lifetime_s: int = 3600
    leeway_s: int = 30
    """How far two clocks may differ."""
    max_token_bytes: int = 8192
    algorithm: Algorithm = "EdDSA"
    typ: str = "at+jwt"
    """The header's `typ`, exactly; issuers that know no access tokens write `JWT`."""
    max_age_s: int | None = None
    """How long ago it may have been issued, when it is shown; by default as long as it lives."""
    admin_audience: str | None = None
    """Of tokens for administrators; by default `audience` and `/admin`."""

    @property
    def for_admin(self) -> str:
        """The audience of tokens for administrators."""
        return self.admin_audience or f"{self.audience}/admin"


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says."""

    subject: str
    issuer: str
    token_id: str
    key_id: str
    """Of the key that verified it."""
    issued_at_s: int
    expires_at_s: int
    """Unix time, as in the token, without leeway."""
    scopes: frozenset[str]
    models: frozenset[str] | None = None
    """None: any."""
    languages: frozenset[str] | None = None
    limits: Limits = field(default_factory=Limits)
    signed_in_at_s: int | None = None
    """Unix time of the sign-in that it comes from; None: it was not given for one."""
    call_owners: frozenset[str] | None = None
    """Subjects of its issuer whose calls it may read; None: its own."""
    calls: frozenset[str] | None = None
    """Ids of those calls; None: any."""
    is_for_admin: bool = False
    """Whether its audience is that of administrators, and not that of sessions."""


class VerifyingKeys(Protocol):
    """The keys of one issuer."""

    def find(self, key_id: str | None, wall_s: float) -> TokenKey | None:
        """The key of this name; for a token that names none, the only key there is."""


class TokenVerifier:
    """Checks tokens of the issuers on a list."""

    def __init__(self, issuers: Iterable[tuple[TokenPolicy, VerifyingKeys]]) -> None:
        self._issuers = {policy.issuer: (policy, keys) for policy, keys in issuers}
        self._algorithms = [policy.algorithm for policy, _ in self._issuers.values()]
        self._max_token_bytes = max(policy.max_token_bytes for policy, _ in self._issuers.values())

    @classmethod
    def of_one(
        cls, policy: TokenPolicy, verifying_key: Ed25519PublicKey, key_id: str | None = None
    ) -> Self:
        """Of one issuer with one key; `key_id` is what a token's `kid` must be, if it has one."""
        key = public_token_key("EdDSA", verifying_key, key_id)
        return cls([(policy, KeySet([key]))])

    def verify(self, token: str, wall_s: float) -> Claims:
        """The claims of `token` at Unix time `wall_s`. Raises TokenError and nothing else."""
        if len(token) > self._max_token_bytes:
            raise TokenError(TokenReason.TOO_LONG)
        text = read_signed(token)
        if text.header.get("alg") not in self._algorithms:  # before what it claims is looked at
            raise TokenError(TokenReason.WRONG_ALGORITHM)
        claims = decode_part(text.payload)
        policy, keys = self._issuer_of(claims)
        if len(token) > policy.max_token_bytes:
            raise TokenError(TokenReason.TOO_LONG)
        key = _key_for(text.header, policy, keys, wall_s)
        text.check(key)
        return _check_claims(claims, policy, key, wall_s)

    def _issuer_of(self, claims: dict[str, object]) -> tuple[TokenPolicy, VerifyingKeys]:
        """Whose policy and keys it has to be checked with; that it is theirs is not proven yet."""
        if "iss" not in claims:
            raise TokenError(TokenReason.BAD_CLAIMS)
        issuer = claims["iss"]
        if not isinstance(issuer, str) or issuer not in self._issuers:
            raise TokenError(TokenReason.WRONG_ISSUER)
        return self._issuers[issuer]


def mint_token(  # noqa: PLR0913 (keywords: what the token says)
    signing_key: Ed25519PrivateKey,
    policy: TokenPolicy,
    *,
    subject: str,
    scopes: Set[str],
    lifetime_s: int,
    wall_s: float,
    token_id: str | None = None,
    limits: Limits | None = None,
    models: Set[str] | None = None,
    languages: Set[str] | None = None,
    call_owners: Set[str] | None = None,
    calls: Set[str] | None = None,
    signed_in_at_s: int | None = None,
) -> str:
    """A token issued at Unix time `wall_s`, for administrators or for sessions by its scopes, which
    are not mixed. Raises TokenError if `policy` would not accept it.
    """
    if not (scopes <= ADMIN_SCOPES or scopes.isdisjoint(ADMIN_SCOPES)):
        raise TokenError(TokenReason.BAD_CLAIMS)
    named = {"models": models, "languages": languages, "call_owners": call_owners, "calls": calls}
    extra: dict[str, object] = {
        **{name: limit for name, limit in asdict(limits or Limits()).items() if limit is not None},
        **{name: sorted(names) for name, names in named.items() if names is not None},
        **({} if signed_in_at_s is None else {"signed_in_at_s": signed_in_at_s}),
    }
    claims = {
        "iss": policy.issuer,
        "aud": policy.for_admin if scopes and scopes <= ADMIN_SCOPES else policy.audience,
        "sub": subject,
        "jti": token_id or secrets.token_hex(16),
        "iat": int(wall_s),
        "exp": int(wall_s) + lifetime_s,
        "scope": " ".join(sorted(scopes)),
        "earwitness": extra,
    }
    public = signing_key.public_key()
    header = {"typ": policy.typ, "kid": key_id_of(public)}
    token = jwt.encode(claims, signing_key, algorithm="EdDSA", headers=header)
    if TokenVerifier.of_one(policy, public).verify(token, wall_s).scopes != scopes:
        raise TokenError(TokenReason.BAD_CLAIMS)
    return token


def _key_for(
    header: dict[str, object], policy: TokenPolicy, keys: VerifyingKeys, wall_s: float
) -> TokenKey:
    if header.get("alg") != policy.algorithm:
        raise TokenError(TokenReason.WRONG_ALGORITHM)
    if header.get("typ") != policy.typ:
        raise TokenError(TokenReason.WRONG_TYPE)
    if header.keys() - _HEADER_FIELDS:
        raise TokenError(TokenReason.MALFORMED)
    key_id = header.get("kid") if "kid" in header else None
    if "kid" in header and not (isinstance(key_id, str) and is_key_id(key_id)):
        raise TokenError(TokenReason.UNKNOWN_KEY)  # no issuer has it: not worth a look
    key = keys.find(key_id if isinstance(key_id, str) else None, wall_s)
    if key is None:
        raise UnknownKeyError(policy.issuer)
    if key.algorithm != policy.algorithm:  # whatever the source of keys was told
        raise TokenError(TokenReason.WRONG_ALGORITHM)
    return key


def _check_claims(
    claims: dict[str, object], policy: TokenPolicy, key: TokenKey, wall_s: float
) -> Claims:
    try:
        payload = msgspec.convert(claims, _Payload)
    except msgspec.ValidationError:
        raise TokenError(TokenReason.BAD_CLAIMS) from None
    extra = payload.earwitness
    lists = (extra.models, extra.languages, extra.call_owners, extra.calls)
    names = [name for each in lists for name in each or ()]
    if not all(map(_is_clean, (payload.iss, payload.sub, payload.jti, *names))):
        raise TokenError(TokenReason.BAD_CLAIMS)
    audiences = [payload.aud] if isinstance(payload.aud, str) else payload.aud
    is_for_admin = policy.for_admin in audiences
    if (policy.audience in audiences) is is_for_admin:  # for nobody here, or for both
        raise TokenError(TokenReason.WRONG_AUDIENCE)
    _check_times(payload, policy, wall_s)
    return Claims(
        subject=payload.sub,
        issuer=payload.iss,
        token_id=payload.jti,
        key_id=key.key_id,
        issued_at_s=payload.iat,
        expires_at_s=payload.exp,
        scopes=frozenset(payload.scope.split()),
        models=_set_or_none(extra.models),
        languages=_set_or_none(extra.languages),
        limits=Limits(**{f.name: _or_none(getattr(extra, f.name)) for f in fields(Limits)}),
        signed_in_at_s=_or_none(extra.signed_in_at_s),
        call_owners=_set_or_none(extra.call_owners),
        calls=_set_or_none(extra.calls),
        is_for_admin=is_for_admin,
    )


def _check_times(payload: _Payload, policy: TokenPolicy, wall_s: float) -> None:
    if payload.exp <= payload.iat:
        raise TokenError(TokenReason.BAD_CLAIMS)
    if payload.exp - payload.iat > policy.max_lifetime_s:
        raise TokenError(TokenReason.LIFETIME_TOO_LONG)
    starts_s = max(payload.iat, _or_none(payload.nbf) or 0)
    if wall_s + policy.leeway_s < starts_s:
        raise TokenError(TokenReason.NOT_YET_VALID)
    if wall_s - policy.leeway_s >= payload.exp:
        raise TokenError(TokenReason.EXPIRED)
    if policy.max_age_s is not None and wall_s - policy.leeway_s > payload.iat + policy.max_age_s:
        raise TokenError(TokenReason.TOO_OLD)


def _is_clean(text: str) -> bool:
    """Whether no character is a control, format, surrogate, private or unassigned one."""
    return not any(unicodedata.category(character).startswith("C") for character in text)


def _set_or_none(names: list[str] | msgspec.UnsetType) -> frozenset[str] | None:
    return None if names is msgspec.UNSET else frozenset(names)


def _or_none(limit: int | msgspec.UnsetType) -> int | None:
    return None if limit is msgspec.UNSET else limit
