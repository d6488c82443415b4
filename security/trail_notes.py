"""Signed checkpoints in, files that they are appended to and read back from out.

A note that a crash has cut short was never counted on: it is cut off before the next one, so that
a reader can tell where each ends. Copies are only ever appended to: they may lie where nothing can
be taken back.
"""

import os
from pathlib import Path

from security.checkpoint import split_notes

_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_TAIL_BYTES = 64 * 1024
"""In which the newest notes are; one is about 400 bytes."""
_SIGNED_END = "— "


def append_note(path: Path, note: str) -> None:
    """To the trail's own file, durably. Raises OSError."""
    descriptor = os.open(path, _APPEND, 0o600)
    try:
        length_bytes = os.fstat(descriptor).st_size
        torn_bytes = len(_torn_end(_tail(descriptor)).encode("utf-8", "surrogateescape"))
        if torn_bytes:
            os.ftruncate(descriptor, length_bytes - torn_bytes)
        _write_all(descriptor, note.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append_copy(path: Path, note: str) -> None:
    """To a copy, durably where it can be. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, note.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def newest_notes(path: Path) -> list[str]:
    """The last ones, oldest first; whole ones and what looks like one. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    try:
        return split_notes(_tail(descriptor))
    finally:
        os.close(descriptor)


def _tail(descriptor: int) -> str:
    length_bytes = os.fstat(descriptor).st_size
    content = os.pread(descriptor, _TAIL_BYTES, max(0, length_bytes - _TAIL_BYTES))
    return content.decode("utf-8", "surrogateescape")


def _torn_end(tail: str) -> str:
    """What stands behind the last whole note."""
    if not tail:
        return ""
    last_line = tail.splitlines(keepends=True)[-1]
    if last_line.startswith(_SIGNED_END) and last_line.endswith("\n"):
        return ""
    return split_notes(tail)[-1]


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
