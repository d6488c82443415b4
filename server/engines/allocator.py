"""Nothing in, a process out whose freed memory stays its own.

An engine on the CPU asks for the same tens of megabytes again and again. Glibc gives such blocks
back to the system at once and fetches them afresh, zeroed and page by page: half of the time of an
encoder, measured (docs/recognition.md). Kept memory is bounded by the largest batch. Called once
the weights are in memory, whose temporary copies are better given back. Other allocators are left
as they are.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # glibc malloc.h
_KEPT_BYTES = 1 << 30


def keep_freed_memory() -> bool:
    """True where it took hold."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    changes = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES))
    results = [mallopt(option, value) for option, value in changes]
    return all(result == 1 for result in results)
