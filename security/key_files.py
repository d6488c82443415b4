"""Paths of key files in, the keys of one issuer out, always those that the files hold now.

Each look costs a `stat` of each file and no thread; a file that has changed is read again, so that
a rotation needs no restart. A file that cannot be used any more leaves the keys read before in
use, and a line in the log: an editor that saves in two steps must not turn everybody away.

A public key lies in a PEM file or a JWKS document, which nobody else may be able to change; the
secret of HS256 is the content of a file closed to others, less one newline at its end.
"""

from collections.abc import Callable
from pathlib import Path

import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from security.errors import KeyFileError, TokenKeyError
from security.keys import read_checked
from security.secret import SecretBytes
from security.token_keys import Algorithm, KeySet, TokenKey, decode_jwks, public_token_key

_log = structlog.get_logger()
_MAX_FILE_BYTES = 256 * 1024
_SECRET_ID = "hs256"  # noqa: S105 (a name; a digest would let others try secrets against it)
_Stamp = tuple[int, int, int] | None
Reader = Callable[[], KeySet]
"""Raises KeyFileError."""


class KeyFiles:
    """The keys of one issuer, from one file or several."""

    def __init__(self, *sources: tuple[Path, Reader]) -> None:
        """Raises KeyFileError. What is written first in a rotation comes last in `sources`."""
        self._sources = sources
        self._stamps = self._all_stamps()
        self._keys = self._read()

    def find(self, key_id: str | None, wall_s: float) -> TokenKey | None:
        """See `VerifyingKeys`."""
        stamps = self._all_stamps()
        if stamps != self._stamps:
            self._stamps = stamps
            try:
                self._keys = self._read()
            except KeyFileError as error:
                _log.warning("the keys read before stay in use", fault=str(error))
        return self._keys.find(key_id, wall_s)

    def _all_stamps(self) -> list[_Stamp]:
        return [_stamp(path) for path, _ in self._sources]

    def _read(self) -> KeySet:
        sets = [read() for _, read in self._sources]
        by_id = {key.key_id: key for keys in reversed(sets) for key in keys.keys}
        return KeySet(by_id.values())


def issuer_keys(path: Path, algorithm: Algorithm, key_id: str | None = None) -> KeyFiles:
    """The keys that an issuer has in a file; `key_id` names a single one. Raises KeyFileError."""
    if algorithm == "HS256":
        return KeyFiles((path, lambda: _read_secret(path, key_id)))
    return KeyFiles((path, lambda: _read_public(path, algorithm, key_id)))


def local_keys(public_path: Path, retired_path: Path) -> KeyFiles:
    """Our own key, and those that a rotation retired until they expire. Raises KeyFileError."""
    return KeyFiles(
        (public_path, lambda: _read_public(public_path, "EdDSA", None)),
        (retired_path, lambda: read_retired(retired_path)),
    )


def read_retired(path: Path) -> KeySet:
    """The keys that were ours, each with its end; none if there is no file. Raises KeyFileError."""
    return _read_public(path, "EdDSA", None) if path.exists() else KeySet()


def _read_public(path: Path, algorithm: Algorithm, key_id: str | None) -> KeySet:
    content = bytes(read_checked(path, is_secret=False, most_bytes=_MAX_FILE_BYTES))
    try:
        if not content.lstrip().startswith(b"-----BEGIN"):
            return decode_jwks(content, algorithm)
        return KeySet([public_token_key(algorithm, load_pem_public_key(content), key_id)])
    except TokenKeyError as error:
        raise KeyFileError(f"{path} cannot be used: {error}") from None
    except (ValueError, UnsupportedAlgorithm):
        text = f"{path} does not hold a public key for {algorithm} in PEM, nor a JWKS document"
        raise KeyFileError(text) from None


def _read_secret(path: Path, key_id: str | None) -> KeySet:
    content = read_checked(path, is_secret=True)
    if content.endswith(b"\n"):
        content.pop()
    secret = SecretBytes(content)
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(bytes(secret.expose()))
        return KeySet([TokenKey(key_id or _SECRET_ID, "HS256", secret)])
    except jwt.InvalidKeyError:  # the text of another key, as in confused deployments
        raise KeyFileError(f"{path} holds a key of another kind, not a secret") from None
    except TokenKeyError as error:
        raise KeyFileError(f"{path} cannot be used: {error}") from None


def _stamp(path: Path) -> _Stamp:
    """Changes when the file does, or another takes its name; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
