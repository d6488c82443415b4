"""The file of revocations in, one more line, or all that counts, out.

One JSON object a line, appended under a lock by whoever revokes, commands and servers alike, and
synced before it counts. A server looks at the file every now and then: a `stat`, and the whole of
it when it has changed. A line without its end is of a process that died while it wrote: it never
counted, and the next append takes it away. A whole line that says nothing is told, and the others
count. What has expired is left out when the file is written anew, at a start.

The lock has a file of its own, because the list may be replaced while somebody waits.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from security.durable import replace_file, sync_folder
from security.errors import RevocationError
from security.revocations import (
    Revocation,
    Revocations,
    decode_revocation,
    encode_revocation,
    is_past,
)

_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
KEPT_S = 7 * 86_400
"""Beyond the end, for a clock that was far ahead at one start."""
_Stamp = tuple[int, int, int]


def append_revocation(path: Path, revocation: Revocation) -> None:
    """When it returns, it counts. Takes milliseconds: in a server, a thread. RevocationError."""
    try:
        with _lock(path):
            is_new = not path.exists()
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | _FLAGS, 0o600)
            try:
                _cut_torn_line(descriptor)
                os.write(descriptor, encode_revocation(revocation))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if is_new:
                sync_folder(path.parent)
    except OSError as error:
        raise RevocationError(f"{path} cannot be written: {error.strerror}") from None


class RevocationFile:
    """The list as it is on the disk."""

    def __init__(self, path: Path, wall_s: float) -> None:
        """Reads it, and leaves out what is past. Raises RevocationError, also for a bad line."""
        self._path = path
        self.current = Revocations()
        """What counts now; another object after each change."""
        self._stamp: _Stamp | None = None
        try:
            self._compact(wall_s)
        except OSError as error:
            raise RevocationError(f"{path} cannot be read: {error.strerror}") from None
        self.poll()

    def poll(self) -> bool:
        """Whether there was something new, which counts from now on. Cheap if not.

        Raises RevocationError once for each change of a list that cannot be read, or not wholly;
        what can be read counts.
        """
        stamp = _stamp(self._path)
        if stamp is None or stamp == self._stamp:  # a list that vanished still counts
            return False
        self._stamp = stamp
        try:
            with os.fdopen(os.open(self._path, os.O_RDONLY | _FLAGS), "rb") as file:
                self._stamp = _stamp_of(os.fstat(file.fileno()))
                lines = file.read().split(b"\n")[:-1]
        except OSError as error:
            raise RevocationError(f"{self._path} cannot be read: {error.strerror}") from None
        self._take(lines)
        return True

    def _take(self, lines: list[bytes]) -> None:
        """All of it anew: a file of the same number need not be the same file."""
        revocations, n_bad = Revocations(), 0
        for line in lines:
            try:
                revocations.add(decode_revocation(line))
            except RevocationError:
                n_bad += 1
        self.current = revocations
        if n_bad:
            text = f"{self._path}: {n_bad} lines say nothing; find out what they were, revoke again"
            raise RevocationError(text)

    def _compact(self, wall_s: float) -> None:
        if _stamp(self._path) is None:
            return
        with _lock(self._path):
            lines = self._path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if not _is_past(line, wall_s - KEPT_S)]
            if len(kept) < len(lines):
                temporary = self._path.with_name(f".{self._path.name}.new")
                replace_file(self._path, temporary, b"".join(kept), 0o600)


def _is_past(line: bytes, wall_s: float) -> bool:
    try:
        return not line.endswith(b"\n") or is_past(decode_revocation(line), wall_s)
    except RevocationError:  # kept, and told when it is read
        return False


def _cut_torn_line(descriptor: int) -> None:
    end = os.fstat(descriptor).st_size
    content = os.pread(descriptor, end, 0)
    os.ftruncate(descriptor, content.rfind(b"\n") + 1)


def _stamp(path: Path) -> _Stamp | None:
    try:
        return _stamp_of(path.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None


def _stamp_of(status: os.stat_result) -> _Stamp:
    return status.st_ino, status.st_size, status.st_mtime_ns


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Our turn at the list, until the end of the block."""
    flags = os.O_RDWR | os.O_CREAT | _FLAGS
    descriptor = os.open(path.with_name(path.name + ".lock"), flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # gives up the turn
