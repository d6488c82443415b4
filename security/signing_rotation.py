"""The file of the signing key in, a new key in its place out; tokens of the former still pass.

The former public key goes to the retired ones, with the second at which it ends; then the new
public key takes its place, and last the new private one. So whatever signs now and whatever was
signed before is verified at every moment, also by a server that looks at the files in between. A
process killed at any step leaves keys that work, and calling this again goes on. The trail is the
caller's.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from security.durable import replace_file, sync_folder
from security.errors import KeyFileError
from security.key_files import read_retired
from security.keys import create_signing_key, open_signing_key, public_half
from security.token_keys import MAX_KEYS, TokenKey, encode_jwks, key_id_of


def rotate_signing_key(
    path: Path, retired_path: Path, overlap_s: int, wall_s: float
) -> tuple[str, str]:
    """Gives the ids of the former and the new key. Raises KeyFileError and OSError."""
    with _one_rotation(path.parent):
        former = open_signing_key(path).public_key()
        coming = path.with_name(path.name + ".next")
        new = _coming_key(coming).public_key()
        _retire(former, retired_path, int(wall_s) + overlap_s, wall_s)
        _replace(public_half(path), _pem(new))
        coming.replace(path)
        public_half(coming).unlink(missing_ok=True)
        sync_folder(path.parent)
        return key_id_of(former), key_id_of(new)


def _coming_key(path: Path) -> Ed25519PrivateKey:
    """A new one, or that of a rotation that was killed; nothing was signed with it yet."""
    try:
        return open_signing_key(path)
    except KeyFileError:
        path.unlink(missing_ok=True)
        public_half(path).unlink(missing_ok=True)
        create_signing_key(path)
        return open_signing_key(path)


def _retire(key: Ed25519PublicKey, path: Path, expires_at_s: int, wall_s: float) -> None:
    retired = TokenKey(key_id_of(key), "EdDSA", key, expires_at_s)
    others = [
        other
        for other in read_retired(path).keys
        if other.is_good(wall_s) and other.key_id != retired.key_id
    ]
    if len(others) >= MAX_KEYS:
        raise KeyFileError(f"{path} is full: wait until a retired key has expired")
    _replace(path, encode_jwks([*others, retired]))


def _replace(path: Path, content: bytes) -> None:
    replace_file(path, path.with_name(f".{path.name}.new"), content, 0o644)


def _pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@contextmanager
def _one_rotation(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise KeyFileError(f"the keys in {folder} are being rotated: try again") from None
    finally:
        os.close(descriptor)
