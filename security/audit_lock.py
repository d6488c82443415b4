"""The trail's lock file in; a turn at writing to the trail, between processes, out.

SQLite before 3.51.3 can lose what was committed when two connections write or checkpoint at once
(the WAL-reset bug), and Python brings its own SQLite, often an older one. The server and the
commands that an administrator runs beside it therefore take turns around each commit. A process
that dies gives up its turn. The lock has a file of its own: the trail is many files, and closing a
database a second time would drop the locks that SQLite holds on it.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from security.errors import AuditError

_RETRY_S = 0.002


class WriteLock:
    """One process's share in the turns."""

    def __init__(self, path: Path) -> None:
        """Makes the file if it is not there. Raises AuditError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise AuditError(f"{path} cannot be opened: {error.strerror}") from None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Our turn, from entry to exit; not for two tasks of one process."""
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(_RETRY_S)
        try:
            yield
        finally:
            if self._descriptor >= 0:  # closing it gave up the turn
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file; may be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class UseLock:
    """That a trail is open in this process, shared by all that have it open."""

    def __init__(self, path: Path, *, is_alone: bool = False) -> None:
        """Makes the file if it is not there; `is_alone`: nobody else may have the trail open.

        Raises AuditError.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            self._descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise AuditError(f"{path} cannot be opened: {error.strerror}") from None
        kind = fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except OSError:
            self.close()
            what = "is open in another process: stop it first" if is_alone else "is being set aside"
            raise AuditError(f"{path.parent} {what}") from None

    def close(self) -> None:
        """Let go of it; may be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
