"""The request that opens a connection in, the API key whose owner signed it out: HTTP message
signatures, draft 11 of what became RFC 9421, as Genesys signs an AudioHook upgrade.

What was signed is put together from the request as it came, line by line in the order in which the
signer names its components. The signer's parameters are taken as they are written, so another
spelling than the shortest is refused rather than written anew. The signature is checked before
its age: what the trail says about a time was said by who holds the key. A nonce is remembered
until its signature is too old anyway, and only of those whose signature was right: a stranger can
neither fill that memory nor use up another's nonce.

Refused: a missing or doubled header or component, another algorithm, an unknown parameter, a key id
that is not the API key, a time that is past or to come, a nonce that is short or was seen before;
and, while too many nonces are remembered, everybody. A peer sees one refusal for all but the last.
"""

import hmac
import re
import secrets
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from annotated_types import Ge

from security.secret import SecretBytes
from server import errors
from server.dialects.values import Upgrade
from server.errors import RefusedError

REQUIRED = frozenset(
    {
        "@request-target",
        "@authority",
        "audiohook-organization-id",
        "audiohook-session-id",
        "audiohook-correlation-id",
        "x-api-key",
    }
)
"""Components that every signature covers."""

_ALGORITHM = "hmac-sha256"
_LEAST_NONCE_CHARS = 22
"""128 bits in base 64."""
_MOST_VALUE_CHARS = 256
"""Of a covered header, and of a parameter."""
_MOST_INPUT_CHARS = 2048
_MOST_TARGET_CHARS = 16_384
_MOST_COMPONENTS = 16
_DUMMY_KEY_BYTES = 32

_INPUT = re.compile(
    r"(?P<label>[a-z*][a-z0-9_.*-]{0,31})="
    r'(?P<signed>\((?P<names>"[a-z@][a-z0-9-]*"(?: "[a-z@][a-z0-9-]*")*)\)'
    r'(?P<parameters>(?:;[a-z]+=(?:"[ !#-\[\]-~]*"|[0-9]{1,12}))+))'
)
"""RFC 8941: a dictionary of one inner list of strings, with parameters. An escape in a string is
left out: none is needed.
"""
_PARAMETER = re.compile(r';([a-z]+)=(?:"([^"]*)"|([0-9]+))')
_SIGNATURE = re.compile(r"(?P<label>[a-z*][a-z0-9_.*-]{0,31})=:(?P<base64>[A-Za-z0-9+/]{43}=):")
"""32 bytes."""


@dataclass(frozen=True, slots=True)
class SignatureSettings:
    """How old a signature may be, and how many are remembered."""

    max_age_s: Annotated[int, Ge(1)] = 10
    skew_s: Annotated[int, Ge(0)] = 3
    """By which the signer's clock may be ahead."""
    most_nonces: Annotated[int, Ge(1)] = 10_000


@dataclass(frozen=True, slots=True)
class _Signed:
    """What the headers say; nothing of it is true yet."""

    names: tuple[str, ...]
    text: str = field(repr=False)
    """The list and its parameters, as they came."""
    key_id: str = field(repr=False)
    nonce: str = field(repr=False)
    created_s: int
    expires_s: int | None
    signature: str = field(repr=False)
    """In base 64."""


class SignatureVerifier:
    """The keys and the nonces of one bridge; used from the event loop only."""

    def __init__(
        self,
        keys: Mapping[str, Sequence[SecretBytes]],
        settings: SignatureSettings,
    ) -> None:
        """Of each API key its client secrets, decoded; several while one replaces another."""
        if not all(len(secret) for held in keys.values() for secret in held):
            raise ValueError("a client secret is empty")
        self._keys = keys
        self._settings = settings
        self._nobody = (SecretBytes(bytearray(secrets.token_bytes(_DUMMY_KEY_BYTES))),)
        self._forgotten_s: dict[tuple[str, str], float] = {}
        """When, by key id and nonce; oldest first."""

    def check(self, upgrade: Upgrade, authority: str | None, wall_s: float) -> str:
        """The API key that signed. `authority` is the host, and the port unless it is the usual
        one, as the signer was given it; None: as the request says. Raises RefusedError.
        """
        signed = _decode_signed(upgrade)
        base = _base(upgrade, authority, signed)
        known = self._keys.get(signed.key_id)
        matches = [
            hmac.compare_digest(_signature(secret, base), signed.signature)
            for secret in known or self._nobody
        ]
        if not (known and any(matches)):
            raise _refused("signature_wrong")
        self._check_times(signed, wall_s)
        self._remember(signed, wall_s)
        return signed.key_id

    def _check_times(self, signed: _Signed, wall_s: float) -> None:
        if signed.created_s > wall_s + self._settings.skew_s:
            raise _refused("signature_of_the_future")
        if wall_s - signed.created_s > self._settings.max_age_s:
            raise _refused("signature_too_old")
        if signed.expires_s is not None and wall_s > signed.expires_s:
            raise _refused("signature_expired")

    def _remember(self, signed: _Signed, wall_s: float) -> None:
        while self._forgotten_s:
            oldest, forgotten_s = next(iter(self._forgotten_s.items()))
            if wall_s < forgotten_s:
                break
            del self._forgotten_s[oldest]
        name = (signed.key_id, signed.nonce)
        if name in self._forgotten_s:
            raise _refused("signature_replayed")
        if len(self._forgotten_s) >= self._settings.most_nonces:
            raise RefusedError(errors.OVERLOADED, "nonces_full")
        self._forgotten_s[name] = wall_s + self._settings.max_age_s + self._settings.skew_s


def _refused(reason: str) -> RefusedError:
    return RefusedError(errors.UNAUTHENTICATED, reason)


def _decode_signed(upgrade: Upgrade) -> _Signed:
    described = upgrade.header("signature-input")
    shown = upgrade.header("signature")
    if described is None or shown is None:
        raise _refused("signature_missing")
    if len(described) > _MOST_INPUT_CHARS:
        raise _refused("signature_input_malformed")
    matched = _INPUT.fullmatch(described)
    if matched is None:
        raise _refused("signature_input_malformed")
    found = _SIGNATURE.fullmatch(shown)
    if found is None or found["label"] != matched["label"]:
        raise _refused("signature_malformed")
    names = tuple(name.strip('"') for name in matched["names"].split(" "))
    _check_names(names)
    texts, numbers = _decode_parameters(matched["parameters"])
    return _Signed(
        names=names,
        text=matched["signed"],
        key_id=_checked_key_id(texts, upgrade),
        nonce=_checked_nonce(texts),
        created_s=numbers["created"],
        expires_s=numbers.get("expires"),
        signature=found["base64"],
    )


def _check_names(names: Sequence[str]) -> None:
    if len(names) > _MOST_COMPONENTS or len(set(names)) < len(names):
        raise _refused("signature_components_malformed")
    if not set(names) >= REQUIRED:
        raise _refused("signature_covers_too_little")


def _decode_parameters(text: str) -> tuple[dict[str, str], dict[str, int]]:
    """The strings and the integers."""
    found = _PARAMETER.findall(text)
    texts = {name: value for name, value, number in found if not number}
    numbers = {name: int(number) for name, _, number in found if number}
    if len(texts) + len(numbers) < len(found) or set(texts) & set(numbers):
        raise _refused("signature_parameters_doubled")
    is_known = set(texts) == {"keyid", "nonce", "alg"} and (
        {"created"} <= set(numbers) <= {"created", "expires"}
    )
    if not is_known or any(len(value) > _MOST_VALUE_CHARS for value in texts.values()):
        raise _refused("signature_parameters_wrong")
    if texts["alg"] != _ALGORITHM:
        raise _refused("signature_algorithm_wrong")
    return texts, numbers


def _checked_key_id(texts: Mapping[str, str], upgrade: Upgrade) -> str:
    if texts["keyid"] != upgrade.header("x-api-key"):
        raise _refused("signature_of_another_key")
    return texts["keyid"]


def _checked_nonce(texts: Mapping[str, str]) -> str:
    if len(texts["nonce"]) < _LEAST_NONCE_CHARS:
        raise _refused("nonce_too_short")
    return texts["nonce"]


def _base(upgrade: Upgrade, authority: str | None, signed: _Signed) -> bytes:
    """The signature base, section 2.3 of the draft."""
    lines = [f'"{name}": {_component(name, upgrade, authority)}' for name in signed.names]
    return "\n".join([*lines, f'"@signature-params": {signed.text}']).encode("ascii")


def _component(name: str, upgrade: Upgrade, authority: str | None) -> str:
    if name == "@request-target":
        value, most_chars = upgrade.target, _MOST_TARGET_CHARS
    elif name == "@authority":
        given = authority if authority is not None else upgrade.header("host")
        value, most_chars = (given or "").lower().removesuffix(":443"), _MOST_VALUE_CHARS
    else:
        value, most_chars = (upgrade.header(name) or "").strip(" \t"), _MOST_VALUE_CHARS
    if not (0 < len(value) <= most_chars and value.isascii() and value.isprintable()):
        raise _refused("signed_component_missing")
    return value


def _signature(secret: SecretBytes, base: bytes) -> str:
    """In base 64, whose every spelling of 32 bytes but one is thereby wrong."""
    digest = hmac.digest(secret.expose(), base, "sha256")
    return b2a_base64(digest, newline=False).decode("ascii")
