"""An AES key in a PKCS #11 token, in; pack keys that the token wraps and unwraps, out.

The key is named as in RFC 7512: `pkcs11:token=T;object=O?module-path=/path/of/module.so`, with the
PIN in a closed file (`&pin-source=file:/path`) or in EARWITNESS_PKCS11_PIN. AES-256-GCM with a
nonce of ours, since not every token makes one; the layout is that of a local key. The session is
opened for one call, so that a token pulled out is noticed and none is held. Modules disagree on
how they report a tag that does not fit, and some call it a general fault: then the token is asked
to wrap something, and if it can, it was the tag. A module runs inside this process and can block
it: no limit of ours reaches into it. Refused: a PIN in the URI, and attributes we do not look at.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import quote, unquote

from typing_extensions import override

from security.errors import KekError, KeyFileError
from security.keks.box import BOX_BYTES, NONCE_BYTES, own_pack_key
from security.keks.sources import read_file, read_variable, without_newline
from security.secret import SecretBytes

if TYPE_CHECKING:
    from pkcs11 import Key

PIN_VARIABLE: Final = "EARWITNESS_PKCS11_PIN"
Answer = TypeVar("Answer")
_FORM = "a key in a token is pkcs11:token=T;object=O?module-path=/PATH[&pin-source=file:/PATH]"
_WRONG_PIN = "the token refuses the PIN: a few more wrong ones may lock it"
_NO_GCM = "the key in the token cannot do AES-GCM: make an AES-256 key for encryption"
_REFUSALS: Final = {
    "NoSuchToken": "there is no token of this label: plug it in, or check module-path",
    "MultipleTokensReturned": "there are several tokens of this label: give each its own",
    "NoSuchKey": "the token has not exactly one AES key of this label",
    "PinIncorrect": _WRONG_PIN,
    "PinInvalid": _WRONG_PIN,
    "PinLenRange": _WRONG_PIN,
    "PinLocked": "the token is locked: unlock it with its security officer's PIN",
    "MechanismInvalid": _NO_GCM,
    "KeyTypeInconsistent": _NO_GCM,
}
_MAX_ID_CHARS = 256
_PERCENT = re.compile(r"(?:[\x21-\x24\x26-\x7e]|%[0-9A-Fa-f]{2})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where a key lies."""

    token: str
    """Label of the token."""
    key: str
    """Label of the key."""
    module_path: str
    """The vendor's library; it is loaded and run, so it is as trusted as this program."""
    pin_path: str | None
    """File of the PIN; None if it lies in the variable."""


class Pkcs11Kek:
    """Wraps inside a token."""

    __slots__ = ("_place",)

    def __init__(self, place: KeyPlace) -> None:
        self._place = place

    @property
    def kek_id(self) -> str:
        """Names token and key; not the module, which may lie elsewhere on the next machine."""
        return f"pkcs11:token={quote(self._place.token)};object={quote(self._place.key)}"

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        """The pack key under the key in the token."""
        nonce = os.urandom(NONCE_BYTES)
        plain = bytes(pack_key.expose())
        return nonce + self._ask(lambda key: _encrypted(key, plain, nonce, context))

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        """The pack key; None if the key in the token did not wrap it so."""
        if len(wrapped) != BOX_BYTES:
            return None
        nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
        plain = self._ask(lambda key: _decrypted(key, sealed, nonce, context))
        return None if plain is None else own_pack_key(plain)

    def wipe(self) -> None:
        """Nothing is held between two calls."""

    @override
    def __repr__(self) -> str:
        return f"Pkcs11Kek({self.kek_id!r})"

    def _ask(self, use: "Callable[[Key], Answer]") -> Answer:
        """What `use` makes of the key; what the library raises turns into what to do."""
        try:
            import pkcs11  # noqa: F401 (only to know that it is there)
        except ImportError:
            raise KekError("a token needs a library: pip install 'earwitness[pkcs11]'") from None
        try:
            return self._used(use)
        except RuntimeError as error:  # of which all errors of the library are
            refusal = _REFUSALS.get(type(error).__name__, "the token fails: check module-path")
        raise KekError(refusal)  # out here, the library's own error is let go of

    def _used(self, use: "Callable[[Key], Answer]") -> Answer:
        import pkcs11

        token = pkcs11.lib(self._place.module_path).get_token(token_label=self._place.token)
        with token.open(user_pin=self._pin()) as session:
            wanted = {
                pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
                pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.AES,
                pkcs11.Attribute.LABEL: self._place.key,
            }
            match list(session.get_objects(wanted)):
                case [pkcs11.Key() as key]:
                    return use(key)
                case _:
                    raise pkcs11.NoSuchKey

    def _pin(self) -> str:
        path = self._place.pin_path
        try:
            secret = read_file(path) if path is not None else read_variable(PIN_VARIABLE)
        except KeyFileError as error:
            raise KekError(f"the PIN: {error}") from None
        with secret as text:
            return str(without_newline(text.expose()), "utf-8", "replace")


def open_pkcs11_kek(rest: str) -> Pkcs11Kek:
    """The key that an RFC 7512 URI names, given without its `pkcs11:`."""
    path, _, query = rest.partition("?")
    names = _attributes(path, ";", {"token", "object", "type"})
    ways = _attributes(query, "&", {"module-path", "pin-source"})
    if not {"token", "object"} <= names.keys() or names.get("type", "secret-key") != "secret-key":
        raise KekError(_FORM)
    module_path, pin_source = ways.get("module-path", ""), ways.get("pin-source")
    pin_path = None if pin_source is None else pin_source.removeprefix("file:")
    if not module_path.startswith("/") or not (pin_path is None or pin_path.startswith("/")):
        raise KekError(_FORM)
    kek = Pkcs11Kek(KeyPlace(names["token"], names["object"], module_path, pin_path))
    if len(kek.kek_id) > _MAX_ID_CHARS:
        raise KekError("the labels of token and key are too long")
    return kek


def _attributes(text: str, separator: str, known: set[str]) -> dict[str, str]:
    """The attributes by name, each known and there once."""
    found: dict[str, str] = {}
    for attribute in filter(None, text.split(separator)):
        name, _, value = attribute.partition("=")
        if name not in known or name in found or not _PERCENT.fullmatch(value):
            raise KekError(_FORM)
        found[name] = unquote(value, errors="replace")
        if not found[name].isprintable():
            raise KekError(_FORM)
    return found


def _encrypted(key: "Key", plain: bytes, nonce: bytes, context: bytes) -> bytes:
    import pkcs11

    if not isinstance(key, pkcs11.EncryptMixin):
        raise pkcs11.MechanismInvalid
    param = pkcs11.GCMParams(nonce, aad=context)
    return _whole(key.encrypt(plain, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=param))


def _decrypted(key: "Key", sealed: bytes, nonce: bytes, context: bytes) -> bytes | None:
    """None if the tag does not fit."""
    import pkcs11

    if not isinstance(key, pkcs11.DecryptMixin):
        raise pkcs11.MechanismInvalid
    param = pkcs11.GCMParams(nonce, aad=context)
    try:
        return _whole(
            key.decrypt(sealed, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=param)
        )
    except (pkcs11.EncryptedDataInvalid, pkcs11.EncryptedDataLenRange):
        return None
    except (pkcs11.GeneralError, pkcs11.FunctionFailed):
        _encrypted(key, b"", os.urandom(NONCE_BYTES), context)
        return None


def _whole(answer: bytes | Iterator[bytes]) -> bytes:
    """In one piece, as it is when it was asked for in one."""
    return answer if isinstance(answer, bytes) else b"".join(answer)
