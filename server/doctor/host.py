"""What Linux says of this machine and process in; findings on clock, memory and account out.

Elsewhere the questions have no answer, and the finding says so.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

from server.doctor.finding import Finding, ok, warn

_STA_UNSYNC = 0x40  # linux/timex.h
_TIMEX_BYTES, _STATUS_OFFSET_BYTES = 512, 40  # more than the struct takes; on 64 bits
_PR_GET_DUMPABLE = 3  # linux/prctl.h
_UNKNOWN = "this system does not say."


def check_clock(is_synchronised: bool | None) -> Finding:
    """Whether tokens end when they should, and rows have the time of the others."""
    check = "clock"
    if is_synchronised is None:
        return warn(check, _UNKNOWN, "see to it that a time service runs.")
    if not is_synchronised:
        text = "it is not synchronised: tokens end early or late, and the trail's times are off."
        return warn(check, text, "run a time service, such as chrony.")
    return ok(check, "it is synchronised.")


def check_cores(core_limit_bytes: int | None, is_dumpable: bool | None) -> Finding:
    """Whether a crash could write opened weights and keys to a disk."""
    check = "core files"
    if core_limit_bytes is None or is_dumpable is None:
        return warn(check, _UNKNOWN, "turn core files off for this account.")
    if core_limit_bytes or is_dumpable:
        text = "a crash may write keys and weights to a disk."
        return warn(check, text, "set LimitCORE=0, and look why prctl is refused.")
    return ok(check, "there are none of this process.")


def check_tracing(ptrace_scope: int | None) -> Finding:
    """Whether processes of one account may look into each other."""
    check = "tracing"
    if ptrace_scope is None:
        return warn(check, _UNKNOWN, "let no other program run under this account.")
    if ptrace_scope == 0:
        text = "processes of one account may trace each other; the server itself is closed."
        return warn(check, text, "sysctl kernel.yama.ptrace_scope=1.")
    return ok(check, "processes of one account may not trace each other.")


def check_swap(swaps: str | None, is_encrypted: Callable[[str], bool]) -> Finding:
    """Whether opened weights could be written to a disk; `swaps` is the text of /proc/swaps."""
    check = "swap"
    if swaps is None:
        return warn(check, _UNKNOWN, "turn swap off, or encrypt it.")
    places = [line.split()[0] for line in swaps.splitlines()[1:] if line.strip()]
    plain = [place for place in places if not is_encrypted(place)]
    if plain:
        text = "memory may be written to a disk in plain."
        return warn(check, text, "turn swap off, or encrypt it.", plain[0])
    return ok(check, "no memory is written to a disk in plain.")


def check_account(euid: int) -> Finding:
    """Whether a hole in the server would be a hole in the machine."""
    check = "account"
    if euid == 0:
        text = "it is root: a hole in the server opens the whole machine."
        return warn(check, text, "run the server under an account of its own.")
    return ok(check, "it is not root.")


def is_clock_synchronised() -> bool | None:
    """As the kernel has it from the time service; None where it cannot be asked."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None) if sys.platform == "linux" else None
    if adjtimex is None or ctypes.sizeof(ctypes.c_long) != 8:  # pragma: no cover - not Linux
        return None
    answer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: nothing is set
    if adjtimex(answer) < 0:  # pragma: no cover - a container may forbid it
        return None
    status = ctypes.c_int.from_buffer(answer, _STATUS_OFFSET_BYTES)
    return not status.value & _STA_UNSYNC


def core_limit_bytes() -> int | None:
    """How large a core file of this process may be."""
    if sys.platform != "linux":  # pragma: no cover
        return None
    import resource

    return resource.getrlimit(resource.RLIMIT_CORE)[0]


def is_dumpable() -> bool | None:
    """Whether this process may be dumped, and traced by others of its account."""
    if sys.platform != "linux":  # pragma: no cover
        return None
    return bool(ctypes.CDLL(None).prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0))


def read_text(path: Path) -> str | None:
    """The text of a file of the kernel's; None if it is not there."""
    try:
        return path.read_text()
    except OSError:
        return None


def ptrace_scope(path: Path = Path("/proc/sys/kernel/yama/ptrace_scope")) -> int | None:
    """Yama's; None without it."""
    text = read_text(path)
    return int(text) if text and text.strip().isdigit() else None


def is_swap_encrypted(place: str, blocks: Path = Path("/sys/class/block")) -> bool:
    """Whether a line of /proc/swaps names a device of dm-crypt, or memory itself (zram)."""
    name = os.path.realpath(place).rpartition("/")[2]
    uuid = read_text(blocks / name / "dm" / "uuid") or ""
    return name.startswith("zram") or uuid.startswith("CRYPT-")
