"""A command and a folder in; what became of processes that crashed, were spied on or were killed
there, as a line of JSON each, out.

A program of its own, because it forks hundreds of times: a test's process may hold threads, which a
fork does not take along. Killing works at a random moment, or at one exact stop: a killed process
is traced as `strace` does it, and each of its system calls is one stop before and one after. Run as
`python -m tests.e2e.pack_children COMMAND FOLDER …`.
"""

import ctypes
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from security.errors import PackError
from security.process import harden_process
from security.rotation import rotate_slot, slots_of
from security.sealing import reseal_pack
from security.weights import OpenedPack, open_pack
from tests.pack_fakes import CANARY, FILES, FakeKek, seal_of, trust_of

NOBODY = 65534
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4  # linux/prctl.h
PTRACE_TRACEME, PTRACE_SYSCALL, PTRACE_SETOPTIONS = 0, 24, 0x4200  # linux/ptrace.h
PTRACE_O_EXITKILL = 0x100000
SEED = 7
OLD, NEW = "fake:a", "fake:b"

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


@dataclass(frozen=True, slots=True)
class Killed:
    """A pack after a process that was changing it got killed."""

    moment: str
    """`end` if the kill came too late."""
    opened_by: str | None
    """Id of the key; None if it did not open."""
    version: int
    is_whole: bool
    is_sealed: bool
    """No file of the pack, and none beside it, has a plain byte of it."""
    kek_ids: tuple[str, ...]
    """Of the slots, after the same change went through undisturbed."""
    names_beside: tuple[str, ...]
    """What lies in the pack's own parent then."""


def forked(work: Callable[[], object]) -> int:
    """Id of a child that does it and ends."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child


def ended(child: int) -> int:
    return os.waitpid(child, 0)[1]


def trace(request: int, child: int, data: int = 0) -> None:
    if LIBC.ptrace(request, child, None, data) != 0:
        raise OSError(ctypes.get_errno(), "no process can be traced here")


def killed_at_stop(work: Callable[[], object], stop: int) -> bool:
    """Do it up to the n-th side of a system call; False if it ended before."""

    def traced() -> None:
        trace(PTRACE_TRACEME, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()

    child = forked(traced)
    ended(child)  # stopped, for now
    trace(PTRACE_SETOPTIONS, child, PTRACE_O_EXITKILL)
    for _ in range(stop):
        trace(PTRACE_SYSCALL, child)
        status = ended(child)
        if not os.WIFSTOPPED(status):
            return was_killed(status)
    os.kill(child, signal.SIGKILL)
    return was_killed(ended(child))


def killed_at_moment(work: Callable[[], object], moment_s: float) -> bool:
    """The same by the clock."""
    child = forked(work)
    signal.sigtimedwait([], moment_s)
    os.kill(child, signal.SIGKILL)
    return was_killed(ended(child))


def was_killed(status: int) -> bool:
    if status not in {0, signal.SIGKILL}:
        raise ChildProcessError(f"the work itself failed: status {status}")
    return status != 0


def every_kill(
    work: Callable[[], object], step: int, n_at_moments: int, most_s: float
) -> Iterator[str]:
    """Kill it at every `step`-th of its stops, then so often at random; tells when it was."""
    stop = 1
    while killed_at_stop(work, stop):
        yield f"stop {stop}"
        stop += step
    yield "end"
    chance = random.Random(SEED)  # noqa: S311 (moments, not keys)
    while n_at_moments:
        moment_s = chance.uniform(0, most_s)
        is_killed = killed_at_moment(work, moment_s)
        n_at_moments -= is_killed
        yield f"{moment_s * 1000:.2f} ms" if is_killed else "end"


def looked_at(pack_dir: Path, moment: str, mend: Callable[[str], object]) -> Killed:
    """What opens, and what is there once `mend` has made the change whole."""
    opened_by, version, is_whole = None, 0, False
    with suppress(PackError), open_pack(pack_dir, trust_of(NEW, OLD)) as pack:
        opened_by, version = pack.card.kek_id, pack.card.version
        is_whole = {name: bytes(view) for name, view in pack.files.items()} == FILES
    files = [path for path in pack_dir.parent.rglob("*") if path.is_file()]
    is_sealed = not any(CANARY in path.read_bytes() for path in files)
    mend(opened_by or OLD)
    names = tuple(sorted(path.name for path in pack_dir.parent.iterdir()))
    kek_ids = slots_of(pack_dir, trust_of())
    return Killed(moment, opened_by, version, is_whole, is_sealed, kek_ids, names)


def rotate(pack_dir: Path) -> None:
    def work() -> None:
        rotate_slot(pack_dir, trust_of(OLD), FakeKek(NEW))

    def mend(opened_by: str) -> None:
        rotate_slot(pack_dir, trust_of(opened_by), FakeKek(OLD))

    for moment in every_kill(work, step=1, n_at_moments=50, most_s=0.006):
        tell(looked_at(pack_dir, moment, mend))


def reseal(pack_dir: Path) -> None:
    def work() -> None:
        reseal_pack(pack_dir, trust_of(OLD), seal_of(OLD))

    for moment in every_kill(work, step=9, n_at_moments=10, most_s=0.03):
        tell(looked_at(pack_dir, moment, lambda opened_by: work()))


def tell(killed: Killed) -> None:
    print(json.dumps(asdict(killed)), flush=True)  # noqa: T201 (a program's output)


def crash(pack_dir: Path, number: str) -> None:
    """Die with an opened pack, where a core file may be as large as the system allows."""
    reading, writing = os.pipe()

    def die() -> None:
        _, most_bytes = resource.getrlimit(resource.RLIMIT_CORE)
        if os.geteuid() == 0:
            most_bytes = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_CORE, (most_bytes, most_bytes))
        harden_process()
        with open_pack(pack_dir, trust_of(OLD)):
            limits = resource.getrlimit(resource.RLIMIT_CORE)
            dumpable = LIBC.prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
            os.write(writing, json.dumps([*limits, dumpable]).encode())
            os.kill(os.getpid(), int(number))

    status = ended(forked(die))
    told = json.loads(os.read(reading, 100))
    print(json.dumps([os.WTERMSIG(status), os.WCOREDUMP(status), told]))  # noqa: T201


def spy(pack_dir: Path, state: str) -> None:
    """Read what another process of the same account, which is not root's, has opened."""
    reading, writing = os.pipe()

    def hold() -> None:
        with open_pack(pack_dir, trust_of(OLD)) as pack:
            become_nobody()
            LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as after any start
            if state == "hardened":
                harden_process()
            os.write(writing, str(address_in(pack)).encode())
            signal.pause()

    holder = forked(hold)
    address = int(os.read(reading, 100))
    become_nobody()
    try:
        with Path(f"/proc/{holder}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            found = "read" if memory.read(len(CANARY)) == CANARY else "read something else"
    except PermissionError:
        found = "refused"
    print(found)  # noqa: T201 (a program's output)
    os.kill(holder, signal.SIGKILL)
    ended(holder)


def become_nobody() -> None:
    """Stay who one is, if that is not root."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


def address_in(pack: OpenedPack) -> int:
    return np.frombuffer(pack.files["model.bin"], np.uint8).ctypes.data


COMMANDS: dict[str, Callable[..., None]] = {
    "rotate": rotate,
    "reseal": reseal,
    "crash": crash,
    "spy": spy,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
