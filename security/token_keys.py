"""A JWKS document in, the keys that verify one issuer's tokens out.

A key is bound to one algorithm, and a set of keys to one issuer: a token chooses among the keys of
its issuer by `kid`, and nothing else about them. What does not fit is left out rather than refused,
as RFC 7517 (section 5) asks: keys of another kind or for another use, private and symmetric ones,
RSA below 2048 bits, and those that two keys share a name with. A key may carry an `exp`, the second
from which it is refused; that is how a retired key stays for a while.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
    EllipticCurvePublicNumbers,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from security.errors import TokenKeyError
from security.secret import SecretBytes
from security.spelling import decode_base64url, decode_object, encode_base64url

Algorithm: TypeAlias = Literal["EdDSA", "ES256", "RS256", "HS256"]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey
MAX_KEYS = 100
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2
_MIN_RSA_BITS, _MAX_RSA_BITS = 2048, 8192  # a larger one only costs time
_MAX_RSA_EXPONENT_BITS = 32
_EC_BYTES = 32
_PRIVATE_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FAULTS = (ValueError, UnsupportedAlgorithm, msgspec.ValidationError, TokenKeyError)


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Verifies tokens of one algorithm. Raises TokenKeyError when it could not."""

    key_id: str
    algorithm: Algorithm
    material: PublicKey | SecretBytes = field(repr=False)
    expires_at_s: int | None = None
    """Unix time from which it verifies nothing more."""

    def __post_init__(self) -> None:
        if not is_key_id(self.key_id):
            raise TokenKeyError("a key's id is 1 to 64 letters, digits, dots, dashes, underscores")
        if not _fits(self.algorithm, self.material):
            raise TokenKeyError(f"the key is none for {self.algorithm}, or it is too weak")

    def is_good(self, wall_s: float) -> bool:
        """Whether it still counts at Unix time `wall_s`."""
        return self.expires_at_s is None or wall_s < self.expires_at_s


class KeySet:
    """The keys of one issuer."""

    def __init__(self, keys: Iterable[TokenKey] = ()) -> None:
        self.keys = tuple(keys)
        self._by_id: Mapping[str, TokenKey] = {key.key_id: key for key in self.keys}

    def find(self, key_id: str | None, wall_s: float) -> TokenKey | None:
        """The key of this name; for a token that names none, the only key there is."""
        if key_id is not None:
            key = self._by_id.get(key_id)
            return key if key is not None and key.is_good(wall_s) else None
        good = [key for key in self.keys if key.is_good(wall_s)]
        return good[0] if len(good) == 1 else None


class _Jwk(msgspec.Struct, frozen=True):
    kty: str
    kid: str | None = None
    alg: str | None = None
    use: str | None = None
    key_ops: list[str] | None = None
    exp: int | None = None
    crv: str = ""
    x: str = ""
    y: str = ""
    n: str = ""
    e: str = ""


def is_key_id(text: object) -> bool:
    """Whether it can name a key."""
    return isinstance(text, str) and _KEY_ID.fullmatch(text) is not None


def key_id_of(key: PublicKey) -> str:
    """The `kid` of tokens signed with the private half of `key`, unless its issuer names it."""
    if isinstance(key, Ed25519PublicKey):
        encoded = key.public_bytes_raw()
    else:
        encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).hexdigest()[:16]


def public_token_key(
    algorithm: Algorithm, key: PublicKeyTypes, key_id: str | None = None
) -> TokenKey:
    """Raises TokenKeyError if `key` is none for this algorithm."""
    if not isinstance(key, PublicKey):
        raise TokenKeyError(f"the key is none for {algorithm}")
    return TokenKey(key_id or key_id_of(key), algorithm, key)


def decode_jwks(encoded: bytes, algorithm: Algorithm) -> KeySet:
    """The usable keys of a JWKS document. Raises TokenKeyError if it is none, or holds none."""
    try:
        members = decode_object(encoded).get("keys")
    except ValueError:
        raise TokenKeyError("not a JWKS document") from None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise TokenKeyError(f"not a JWKS document of at most {MAX_KEYS} keys")
    keys = [key for member in members if (key := _usable(member, algorithm)) is not None]
    names = [key.key_id for key in keys]
    kept = [key for key in keys if names.count(key.key_id) == 1]
    if not kept:
        raise TokenKeyError(f"the JWKS document holds no key for {algorithm}")
    return KeySet(kept)


def encode_jwks(keys: Iterable[TokenKey]) -> bytes:
    """A JWKS document of Ed25519 keys, such as retired ones."""
    members = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "use": "sig",
            "alg": key.algorithm,
            "kid": key.key_id,
            "x": encode_base64url(key.material.public_bytes_raw()),
            **({} if key.expires_at_s is None else {"exp": key.expires_at_s}),
        }
        for key in keys
        if isinstance(key.material, Ed25519PublicKey)
    ]
    return json.dumps({"keys": members}, indent=1).encode("ascii") + b"\n"


def _usable(member: object, algorithm: Algorithm) -> TokenKey | None:
    """The key that `member` describes, if it may verify tokens of this algorithm."""
    if not isinstance(member, dict) or not _PRIVATE_MEMBERS.isdisjoint(member):
        return None
    try:
        jwk = msgspec.convert(member, _Jwk)
        if not _is_meant_for(jwk, algorithm):
            return None
        key = _public_key(jwk)
        name = key_id_of(key) if jwk.kid is None else jwk.kid
        return TokenKey(name, algorithm, key, jwk.exp)
    except _FAULTS:
        return None


def _is_meant_for(jwk: _Jwk, algorithm: Algorithm) -> bool:
    return (
        jwk.alg in {None, algorithm}
        and jwk.use in {None, "sig"}
        and (jwk.key_ops is None or "verify" in jwk.key_ops)
    )


def _public_key(jwk: _Jwk) -> PublicKey:
    match jwk.kty, jwk.crv:
        case "OKP", "Ed25519":
            return Ed25519PublicKey.from_public_bytes(decode_base64url(jwk.x))
        case "EC", "P-256":
            x, y = decode_base64url(jwk.x), decode_base64url(jwk.y)
            if not len(x) == len(y) == _EC_BYTES:  # RFC 7518, section 6.2.1.2
                raise ValueError("a coordinate has the wrong length")
            return EllipticCurvePublicNumbers(_integer(x), _integer(y), SECP256R1()).public_key()
        case "RSA", _:
            n, e = decode_base64url(jwk.n), decode_base64url(jwk.e)
            return RSAPublicNumbers(_integer(e), _integer(n)).public_key()
        case _:
            raise ValueError("a kind of key that no algorithm here takes")


def _integer(encoded: bytes) -> int:
    if len(encoded) > _MAX_RSA_BITS // 8 + 1:  # some write a zero in front
        raise ValueError("too large a number")
    return int.from_bytes(encoded, "big")


def _fits(algorithm: Algorithm, material: PublicKey | SecretBytes) -> bool:
    match algorithm, material:
        case "EdDSA", Ed25519PublicKey():
            return True
        case "ES256", EllipticCurvePublicKey():
            return isinstance(material.curve, SECP256R1)
        case "RS256", RSAPublicKey():
            exponent_bits = material.public_numbers().e.bit_length()
            is_sized = _MIN_RSA_BITS <= material.key_size <= _MAX_RSA_BITS
            return is_sized and exponent_bits <= _MAX_RSA_EXPONENT_BITS
        case "HS256", SecretBytes():
            return len(material) >= MIN_SECRET_BYTES
        case _:
            return False
