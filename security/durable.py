"""Chunks in, a new file on disk out that is either whole and synced or not there.

A crash between two writes must not leave something that looks finished: a file never replaces
another one, never follows a link, and goes away again when anything fails while it is written.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create_file(path: Path, chunks: Iterable[bytes | memoryview], mode: int) -> None:
    """Write `chunks` to `path`, which must not exist, and sync it; `sync_folder` is left to do."""
    descriptor = os.open(path, _CREATE_FLAGS, mode)
    is_complete = False
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            os.fchmod(descriptor, mode)  # whatever the umask
            for chunk in chunks:
                _write_all(file.fileno(), memoryview(chunk))
            os.fsync(descriptor)
        is_complete = True
    finally:
        if not is_complete:
            path.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make names that were created or moved in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, chunk: memoryview) -> None:
    while chunk:
        chunk = chunk[os.write(descriptor, chunk) :]
