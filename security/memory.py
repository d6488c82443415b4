"""A length in bytes in, memory for plain weights out, which is wiped when it ends.

It is anonymous: it goes to no file, no core dump and no child process, and comes in huge pages
where the kernel has them, because touching three gigabytes in small ones takes longer than opening
them. Not locked into memory: swap is the machine's affair.
"""

import mmap
import sys
from contextlib import suppress
from threading import local
from typing import Protocol

from security.sealed import SEGMENT_BYTES
from security.secret import wipe_buffer

_HUGE_PAGE_BYTES = 2 << 20


class Destination(Protocol):
    """Where the plain bytes of one file go; called from several threads."""

    def buffer(self, start: int, end: int) -> memoryview:
        """Writable memory for the bytes from `start` to `end`, until they are delivered.

        It must not wait for what another thread has yet to deliver: that one may have failed.
        """

    def deliver(self, start: int, end: int) -> None:
        """Those bytes are in the buffer and verified."""

    def wipe(self) -> None:
        """Opening has failed: forget all of it."""


class PrivateMemory:
    """Memory that belongs to no file; a `Destination`."""

    def __init__(self, n_bytes: int) -> None:
        """All zeros. Raises MemoryError if there is no room."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        try:
            self._region = mmap.mmap(-1, max(1, n_bytes), flags=flags)
        except OSError:
            raise MemoryError("no room for the opened model") from None
        if sys.platform == "linux":  # pragma: no branch
            self._region.madvise(mmap.MADV_DONTDUMP)
            self._region.madvise(mmap.MADV_DONTFORK)
            if n_bytes >= _HUGE_PAGE_BYTES:
                with suppress(OSError):  # a kernel without huge pages: slower, not wrong
                    self._region.madvise(mmap.MADV_HUGEPAGE)
        self._whole = memoryview(self._region)
        self.view = self._whole[:n_bytes]

    def buffer(self, start: int, end: int) -> memoryview:
        """See `Destination`."""
        return self.view[start:end]

    def deliver(self, start: int, end: int) -> None:
        """See `Destination`: they are where they belong."""

    def wipe(self) -> None:
        """Zero it and give it back."""
        wipe_buffer(self._whole)
        # an array made from a view keeps the memory mapped until it goes; it holds zeros
        with suppress(BufferError):
            self.view.release()
            self._whole.release()
            self._region.close()


class Nowhere:
    """A `Destination` for checking only: what is verified is forgotten."""

    def __init__(self) -> None:
        self._of_thread = local()

    def buffer(self, start: int, end: int) -> memoryview:
        """See `Destination`."""
        if not hasattr(self._of_thread, "scratch"):
            self._of_thread.scratch = memoryview(bytearray(SEGMENT_BYTES))
        scratch: memoryview = self._of_thread.scratch
        return scratch[: end - start]

    def deliver(self, start: int, end: int) -> None:
        """See `Destination`."""
        wipe_buffer(self.buffer(start, end))

    def wipe(self) -> None:
        """See `Destination`: a segment that fails is wiped where it was opened."""
