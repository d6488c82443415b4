"""Nothing in, a process out whose memory does not fall into a core file or a neighbour's debugger.

Opened weights and keys are plain in memory. A crash must not write them to disk, and another
process of the same account must not attach to read them. Both switches are Linux's; elsewhere
nothing is changed and the answer is False. Neither one stops root.
"""

import sys

_PR_SET_DUMPABLE = 4  # linux/prctl.h


def harden_process() -> bool:  # pragma: no cover - runs in a process of its own
    """Turn core dumps and same-user tracing off; True where both took hold."""
    if sys.platform != "linux":
        return False
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) == 0)
