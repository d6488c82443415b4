"""Nothing in, a process that makes the most of its processor out.

Things that libraries do not do by themselves, each measured (docs/recognition.md, docs/audit.md).
A thread that has written to the disk, or recognised, asks for its turn at Python every fifth of a
millisecond, not after five: a busy event loop would keep each such thread, and who waits for what
it did, as long as that several times over. Freed
memory is kept: an engine asks for the same tens of megabytes again and again, which glibc gives
back to the system and fetches afresh, zeroed, page by page, for half of an encoder's time. Numpy's
matrices stay on one thread: theirs are too small to share, and the threads of its BLAS wait by
spinning on the cores that decode. CTranslate2 uses AVX-512 where there is any, also on processors
that are not Intel's. Kept memory is bounded by the largest batches. To be called once the weights
are in memory, whose temporary copies are better given back.
"""

import ctypes
import os
import sys
from pathlib import Path

from threadpoolctl import ThreadpoolController

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # glibc malloc.h
_KEPT_BYTES = 1 << 30
_AVX512 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_TURN_S = 0.0002
_PROCESSOR_FILE = Path("/proc/cpuinfo")


def keep_freed_memory() -> bool:
    """True where it took hold: other allocators than glibc's are left as they are."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    changes = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT_BYTES))
    results = [mallopt(option, value) for option, value in changes]
    return all(result == 1 for result in results)


def take_shorter_turns() -> None:
    """Between threads that run Python; by default one may go on for 5 ms while others wait."""
    sys.setswitchinterval(_TURN_S)


def use_one_thread_for_matrices() -> None:
    """Numpy's; engines have threads of their own."""
    ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def use_widest_vectors(processor_file: Path = _PROCESSOR_FILE) -> None:
    """To be called before CTranslate2 opens its first model; what the operator has set stays."""
    try:
        description = processor_file.read_text(errors="replace")
    except OSError:
        return
    lines = (line.partition(":") for line in description.splitlines())
    known = [set(value.split()) for name, _, value in lines if name.strip() == "flags"]
    if known and all(flags >= _AVX512 for flags in known):
        os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")


def usable_cores() -> int:
    """Those that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
