"""1,000 logins a second in, what the trail adds to each out.

Two receptions take the same logins at the same even pace, one after the other and several times:
one's trail is a list in memory, the other's is the real one on the disk. A login is a token that is
verified, a place that is taken and given back, and two rows: that the session began, which the peer
waits for, and that it ended. What is added is the difference of their 99th percentiles.
"""

import asyncio
import itertools
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import uvloop
from starlette.requests import HTTPConnection

from security.audit_events import AuditEvent
from security.audit_store import AuditStore
from security.audit_waiting import WRITE_LIMIT_S
from security.trail_places import TrailPlaces
from server.engines import processor
from server.errors import RefusedError
from tests.joined import Joined, bearer

FOLDER = Path(__file__).parent.parent / "build" / "bench" / "logins"
LOGINS_PER_S = 1000
RUN_S = 5
N_RUNS = 3
TICK_S = 0.005
N_SUBJECTS = 1000


class Trail(Protocol):
    """Where logins are recorded."""

    async def record(self, event: AuditEvent) -> int:
        """Once it is there."""

    async def note(self, event: AuditEvent) -> None:
        """Once it is there, or lost."""


class _Memory:
    """Is nowhere else."""

    async def record(self, event: AuditEvent) -> int:
        return 1

    async def note(self, event: AuditEvent) -> None:
        return None


def logins() -> dict[str, object]:
    """The median of several runs each."""
    processor.take_shorter_turns()  # as the server does
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    tokens = [bearer(subject=f"subject-{n}", token_id=f"token-{n}") for n in range(N_SUBJECTS)]
    without_ms, with_ms = [], []
    for n in range(N_RUNS):
        without_ms.append(uvloop.run(_run(_Memory(), tokens)))
        with_ms.append(uvloop.run(_run_on_disk(FOLDER / str(n), tokens)))
    without, recorded = sorted(without_ms)[N_RUNS // 2], sorted(with_ms)[N_RUNS // 2]
    return {
        "handshake_added_ms_p99": round(recorded - without, 2),
        "handshake_ms_p99_recorded": round(recorded, 2),
        "handshake_ms_p99_not_recorded": round(without, 2),
    }


async def _run_on_disk(folder: Path, tokens: list[dict[str, str]]) -> float:
    keys = folder / "keys"
    keys.mkdir(parents=True, mode=0o700)
    async with await AuditStore.open(TrailPlaces(folder / "audit", keys), time.time_ns) as store:
        return await _run(store, tokens)


async def _run(trail: Trail, tokens: list[dict[str, str]]) -> float:
    """The 99th percentile of how long a login takes, in milliseconds."""
    joined = Joined(FOLDER, most_sessions=100_000, trail=trail)
    each, took_s = itertools.cycle(tokens), []

    async def login() -> None:
        peer = _peer(next(each))
        began_s = time.perf_counter()
        with suppress(RefusedError):  # waits longer than the trail may take: it counts as that
            async with joined.reception.enter(peer):
                took_s.append(time.perf_counter() - began_s)
                return
        took_s.append(WRITE_LIMIT_S)

    n_begun, began_s = 0, time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        while (spent_s := time.perf_counter() - began_s) < RUN_S:
            while n_begun < spent_s * LOGINS_PER_S:
                tasks.create_task(login())
                n_begun += 1
            await asyncio.sleep(TICK_S)
    return sorted(took_s)[len(took_s) * 99 // 100] * 1000


def _peer(headers: dict[str, str]) -> HTTPConnection:
    shown = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "websocket", "headers": shown, "query_string": b"", "subprotocols": []}
    return HTTPConnection({**scope, "client": ("192.0.2.1", 40_000)})
