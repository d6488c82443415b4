"""Chunks in, a new file on disk out that is either whole and synced or not there.

A crash between two writes must not leave something that looks finished: a file is written under a
name of its own, never follows a link, and goes away again when anything fails while it is written.
What replaces something takes its name at once, when it is whole.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

_HERE, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h
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


def replace_file(path: Path, temporary: Path, content: bytes, mode: int) -> None:
    """Put `content` in the place of `path`, by way of `temporary` on the same disk."""
    temporary.unlink(missing_ok=True)  # what a killed one has left
    create_file(temporary, [content], mode)
    temporary.rename(path)
    sync_folder(path.parent)


def exchange_folders(one: Path, other: Path) -> None:
    """Let each have the other's name, without a moment in which a name is missing."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        names = os.fsencode(one), os.fsencode(other)
        if libc.renameat2(_HERE, names[0], _HERE, names[1], _RENAME_EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in {errno.ENOSYS, errno.EINVAL}:
            raise OSError(number, os.strerror(number))
    aside = other.with_name(f"{one.name}.aside")  # pragma: no cover - no such call: two renames
    other.rename(aside)  # pragma: no cover
    one.rename(other)  # pragma: no cover
    aside.rename(one)  # pragma: no cover


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
