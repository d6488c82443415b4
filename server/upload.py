"""Chunks of a file in, as they come; all of them in one stretch of private memory out.

The memory is reserved at its largest and costs what is written to it: a buffer that grows is
copied while it does, and 25 MB are long enough a copy to keep every other session waiting. It goes
to no file and no core dump, and is wiped. Refuses: more than it was made for.
"""

from security.memory import PrivateMemory
from server import errors
from server.errors import RefusedError


class Upload:
    """One file; whoever made it wipes it."""

    def __init__(self, most_bytes: int) -> None:
        self._memory = PrivateMemory(most_bytes)
        self._n_bytes = 0

    @property
    def view(self) -> memoryview:
        """What has come so far. Release it, or what is left of the memory stays, as zeros."""
        return self._memory.view[: self._n_bytes]

    def append(self, part: bytes | memoryview) -> None:
        """Raises RefusedError when it does not fit."""
        end = self._n_bytes + len(part)
        if end > len(self._memory.view):
            raise RefusedError(errors.MESSAGE_TOO_BIG, "upload_too_big")
        self._memory.view[self._n_bytes : end] = part
        self._n_bytes = end

    def wipe(self) -> None:
        """Once, at the end."""
        self._memory.wipe()
