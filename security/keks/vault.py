"""A key in HashiCorp Vault's transit engine, in; pack keys that Vault wraps and unwraps, out.

The key never leaves Vault; the pack key passes through it. Where Vault is and what it knows us by
come from its usual variables (VAULT_ADDR, VAULT_TOKEN or VAULT_TOKEN_FILE, VAULT_NAMESPACE,
VAULT_CACERT), the token anew each time, since Vault's agent renews it. No redirect is followed,
since the token would go along. Vault says that a ciphertext is wrong by text alone, and, from 1.5
on, with the status of a fault of its own: these two texts mean "not this key", and every other
refusal means that nobody can say. Refused: an address without TLS, but on this machine.
"""

import ipaddress
import os
import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from typing_extensions import override

from security.errors import KekError, KeyFileError
from security.keks.box import own_pack_key
from security.keks.sources import read_file, read_variable, without_newline
from security.secret import SecretBytes

CONNECT_TIMEOUT_S: Final = 2.0
READ_TIMEOUT_S: Final = 3.0
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_PLACE = re.compile(rf"((?:{_NAME}/){{1,3}})({_NAME})", re.ASCII)
_WRAPPED = re.compile(rb"vault:v[1-9][0-9]{0,9}:[A-Za-z0-9+/]+={0,2}")
_TOKEN = re.compile(r"[\x21-\x7e]+")
_STRANGE = "Vault does not answer as the transit engine does: check VAULT_ADDR"
_NOT_THIS_KEY = ("invalid ciphertext", "message authentication failed")


class VaultKek:
    """Wraps by asking Vault."""

    __slots__ = ("_key", "_mount")

    def __init__(self, mount: str, key: str) -> None:
        self._mount = mount
        self._key = key

    @property
    def kek_id(self) -> str:
        """`vault:`, the engine's mount and the key's name; not which Vault."""
        return f"vault:{self._mount}/{self._key}"

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        """The pack key under the newest version of the key."""
        plaintext = b64encode(pack_key.expose()).decode()
        answer = self._ask("encrypt", {"plaintext": plaintext}, context)
        match answer:
            case {"data": {"ciphertext": str(ciphertext)}} if ciphertext.isascii():
                return ciphertext.encode()
            case _:
                raise KekError(_STRANGE)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        """The pack key; None if this key did not wrap it so."""
        if not _WRAPPED.fullmatch(wrapped):
            return None
        answer = self._ask("decrypt", {"ciphertext": wrapped.decode()}, context)
        match answer:
            case None:
                return None
            case {"data": {"plaintext": str(plaintext)}}:
                return _decoded(plaintext)
            case _:
                raise KekError(_STRANGE)

    def wipe(self) -> None:
        """Nothing is held between two calls."""

    @override
    def __repr__(self) -> str:
        return f"VaultKek({self.kek_id!r})"

    def _ask(self, verb: str, body: Mapping[str, str], context: bytes) -> object:
        """Vault's answer; None if it says that the ciphertext is wrong."""
        try:
            import hvac
            import requests
        except ImportError:
            raise KekError("Vault needs a library: pip install 'earwitness[vault]'") from None
        address = _address()
        client = hvac.Client(
            url=address.geturl(),
            token=_token(),
            namespace=os.environ.get("VAULT_NAMESPACE") or None,
            timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            allow_redirects=False,
        )
        if address.scheme == "http":  # no proxy is to see the token
            client.adapter.session.trust_env = False
        transit = client.secrets.transit
        call = transit.encrypt_data if verb == "encrypt" else transit.decrypt_data
        bound = b64encode(context).decode()
        try:
            return call(self._key, mount_point=self._mount, associated_data=bound, **body)
        except hvac.exceptions.VaultError as error:
            if verb == "decrypt" and any(text in str(error.args) for text in _NOT_THIS_KEY):
                return None
            refusal = self._refusal(type(error).__name__)
        except requests.RequestException:
            refusal = "cannot be reached: check VAULT_ADDR, the network and VAULT_CACERT"
        finally:
            client.adapter.close()
        raise KekError(f"Vault {refusal}")  # out here, the library's own error is let go of

    def _refusal(self, kind: str) -> str:
        """What to do about an error of Vault's, by the name of hvac's type for it."""
        mount, key = self._mount, self._key
        match kind:
            case "Unauthorized" | "Forbidden":
                return (
                    "refuses the token: renew it, and let its policy update "
                    f"{mount}/encrypt/{key} and {mount}/decrypt/{key}"
                )
            case "InvalidRequest" | "InvalidPath":
                return (
                    f"has no such key in service: vault write -f {mount}/keys/{key}, "
                    "and check its type and min_decryption_version"
                )
            case "VaultDown" | "VaultNotInitialized":
                return "is sealed or not set up: unseal it"
            case _:
                return "answers with a fault of its own: see its log"


def open_vault_kek(place: str) -> VaultKek:
    """`vault:MOUNT/KEY`, say `vault:transit/earwitness`."""
    found = _PLACE.fullmatch(place)
    if not found:
        raise KekError("a key in Vault is vault:MOUNT/KEY, say vault:transit/earwitness")
    return VaultKek(found[1].rstrip("/"), found[2])


def _address() -> SplitResult:
    """VAULT_ADDR, if a token may be sent there."""
    try:
        address = urlsplit(os.environ.get("VAULT_ADDR", ""))
        host, _ = address.hostname, address.port
    except ValueError:
        raise KekError("VAULT_ADDR is no address: https://HOST:8200 is expected") from None
    if not host or address.username is not None or address.query or address.fragment:
        raise KekError("VAULT_ADDR is not set to an address: https://HOST:8200 is expected")
    if address.scheme != "https" and not (address.scheme == "http" and _is_loopback(host)):
        raise KekError("VAULT_ADDR must be https: only on this machine may it be http")
    return address


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _token() -> str:
    """From VAULT_TOKEN, else from the file that VAULT_TOKEN_FILE names."""
    path = os.environ.get("VAULT_TOKEN_FILE")
    try:
        secret = read_file(path) if path and not os.environ.get("VAULT_TOKEN") else None
    except KeyFileError as error:
        raise KekError(f"VAULT_TOKEN_FILE: {error}") from None
    with secret or read_variable("VAULT_TOKEN") as text:
        token = str(without_newline(text.expose()), "latin-1")
    if not _TOKEN.fullmatch(token):
        raise KekError("the token for Vault is empty or holds more than visible characters")
    return token


def _decoded(plaintext: str) -> SecretBytes | None:
    try:
        return own_pack_key(b64decode(plaintext, validate=True))
    except (Base64Error, ValueError):
        return None
