"""Paths of key files in, keys out; and new key files made where none was.

A pack key is 32 random bytes, kept as 64 hex digits and a newline. A signing key is Ed25519 in
PKCS#8 PEM, with its public half beside it under `.pub`. A secret file is refused unless it is a
regular file (no link), owned by this account and closed to group and others: a key that others
could read is treated as lost, not repaired. A new key never replaces an old one. The key reaches
Python's immutable objects only while it is made, in a short-lived command.
"""

import os
import secrets
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from security.durable import create_file, sync_folder
from security.errors import KeyFileError
from security.secret import SecretBytes

KEY_BYTES = 32
_HEX_DIGITS = b"0123456789abcdef"
_MAX_FILE_BYTES = 4096
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def new_key() -> SecretBytes:
    """A random key, which was never anything but a buffer that can be wiped."""
    key = bytearray(KEY_BYTES)
    with open("/dev/urandom", "rb", buffering=0) as random:  # noqa: PTH123 (Path.open has no readinto)
        random.readinto(key)
    return SecretBytes(key)


def create_key_file(path: Path) -> None:
    """Write a new random key to `path`, which must not exist yet."""
    _create(path, secrets.token_hex(KEY_BYTES).encode() + b"\n", 0o600)


def open_key_file(path: Path) -> SecretBytes:
    """The pack key in `path`."""
    with SecretBytes(read_checked(path, is_secret=True)) as text:
        view = text.expose()
        is_key = len(view) == 2 * KEY_BYTES + 1 and view[-1] == ord("\n")
        key = decode_hex(view[:-1]) if is_key else None
    if key is None:
        raise KeyFileError(f"{path} does not hold a key: 64 hex digits and a newline are expected")
    return SecretBytes(key)


def create_signing_key(path: Path) -> None:
    """Write a new signing key to `path` and its public half to `path`.pub; neither may exist."""
    key = Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public_path = public_half(path)
    _create(public_path, public, 0o644)
    try:
        _create(path, private, 0o600)
    except KeyFileError:
        public_path.unlink()
        raise


def create_public_half(path: Path) -> None:
    """Write it anew, from the signing key in `path`; it may not exist."""
    public = open_signing_key(path).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    _create(public_half(path), pem, 0o644)


def public_half(path: Path) -> Path:
    """Where the public half of the key in `path` lies."""
    return path.with_name(path.name + ".pub")


def open_signing_key(path: Path) -> Ed25519PrivateKey:
    """The signing key in `path`."""
    with SecretBytes(read_checked(path, is_secret=True)) as pem:
        try:
            key = load_pem_private_key(pem.expose(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path} does not hold an Ed25519 private key in PEM without passphrase")
    return key


def open_verifying_key(path: Path) -> Ed25519PublicKey:
    """The public key in `path`. It is no secret, but nobody else may be able to change it."""
    pem = read_checked(path, is_secret=False)
    try:
        key = load_pem_public_key(bytes(pem))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path} does not hold an Ed25519 public key in PEM")
    return key


def decode_hex(digits: memoryview) -> bytearray | None:
    """Decoded without an immutable copy on the way; None if it is not lower-case hex."""
    key = bytearray(len(digits) // 2)
    for index in range(len(key)):
        high = _HEX_DIGITS.find(digits[2 * index])
        low = _HEX_DIGITS.find(digits[2 * index + 1])
        if high < 0 or low < 0:
            return None
        key[index] = high << 4 | low
    return key


def read_checked(path: Path, *, is_secret: bool, most_bytes: int = _MAX_FILE_BYTES) -> bytearray:
    """The content of a key file, if nobody else could read or change it. Raises KeyFileError."""
    try:
        descriptor = os.open(path, _OPEN_FLAGS)
    except OSError as error:
        hint = "it must not be a link" if path.is_symlink() else error.strerror
        raise KeyFileError(f"{path} cannot be opened: {hint}") from None
    buffer = bytearray(most_bytes)
    try:
        _check(path, os.fstat(descriptor), is_secret=is_secret, most_bytes=most_bytes)
        length = os.readv(descriptor, [buffer])
    except OSError as error:  # pragma: no cover - a disk that fails
        raise KeyFileError(f"{path} cannot be read: {error.strerror}") from None
    finally:
        os.close(descriptor)
    content = buffer[:length]
    with memoryview(buffer) as view:
        view[:] = bytes(len(view))
    return content


def _create(path: Path, content: bytes, mode: int) -> None:
    try:
        create_file(path, [content], mode)
        sync_folder(path.parent)
    except FileExistsError:
        raise KeyFileError(f"{path} exists; a key is never overwritten, move it away") from None
    except OSError as error:
        raise KeyFileError(f"{path} cannot be written: {error.strerror}") from None


def _check(path: Path, status: os.stat_result, *, is_secret: bool, most_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise KeyFileError(f"{path} is not a regular file")
    owners = {os.geteuid()} if is_secret else {os.geteuid(), 0}
    if status.st_uid not in owners:
        raise KeyFileError(f"{path} belongs to another account: chown it to the one that runs this")
    if is_secret and status.st_mode & 0o077:
        raise KeyFileError(f"{path} is open to other accounts: chmod 600 {path}")
    if status.st_mode & 0o022:
        raise KeyFileError(f"{path} can be changed by other accounts: chmod 644 {path}")
    if not 0 < status.st_size < most_bytes:
        raise KeyFileError(f"{path} has the wrong length for a key file")
