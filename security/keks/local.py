"""A 32-byte key at hand, in; pack keys wrapped under it, out, without asking anybody.

For one machine, or for a secret that an orchestrator mounts. The key's name is a fingerprint of
it, derived by HKDF and so of no help in finding it: an operator who lost track of which file
belongs to which slot can tell, and a slot of another key is not even tried. The layout is nonce,
ciphertext and tag.
"""

from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from typing_extensions import override

from security.errors import KekError
from security.keks.box import open_box, seal_box
from security.keks.sources import decode_key, read_descriptor, read_variable
from security.keys import KEY_BYTES, open_key_file
from security.secret import SecretBytes

_FINGERPRINT_INFO = b"earwitness-kek-id/1"
_FINGERPRINT_BYTES = 8


class LocalKek:
    """Wraps under a key that this process holds."""

    __slots__ = ("_kek_id", "_key")

    def __init__(self, key: SecretBytes) -> None:
        """Takes over `key`, of 32 bytes."""
        if len(key) != KEY_BYTES:
            raise KekError(f"a local key has {KEY_BYTES} bytes")
        fingerprint = HKDF(SHA256(), _FINGERPRINT_BYTES, None, _FINGERPRINT_INFO)
        self._kek_id = "local:" + fingerprint.derive(key.expose()).hex()
        self._key = key

    @property
    def kek_id(self) -> str:
        """`local:` and 16 hex digits that tell this key from others."""
        return self._kek_id

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        """The pack key under this key."""
        return seal_box(self._key.expose(), pack_key, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        """The pack key; None if this key did not wrap it so."""
        return open_box(self._key.expose(), wrapped, context)

    def wipe(self) -> None:
        """Forget the key."""
        self._key.wipe()

    @override
    def __repr__(self) -> str:
        return f"LocalKek({self._kek_id!r})"


def open_file_kek(path: str) -> LocalKek:
    """`file:PATH`, a key file. Raises KeyFileError."""
    if not path or "\0" in path:
        raise KekError("file: needs the path of a key file")
    return LocalKek(open_key_file(Path(path)))


def open_variable_kek(name: str) -> LocalKek:
    """`env:NAME`, the text of a key file in a variable."""
    return LocalKek(decode_key(read_variable(name), f"the environment variable {name}"))


def open_descriptor_kek(number: str) -> LocalKek:
    """`fd:N`, the text of a key file in an inherited descriptor."""
    return LocalKek(decode_key(read_descriptor(number), f"descriptor {number}"))
