"""Starts of many sessions in, whether a limit holds and what it costs out:
`python -m bench.door_subjects`.

Three processes want a thousand places of one subject that may have fifty, each holding a place for
a fraction of a second. How many are held is counted apart from the leases, in one step of a script
in Redis: up after a place was got, down before it is given back, so that it is never more than
there are. Then each process takes what it can get, one of them is killed with SIGKILL, and it is
timed until others have got all its places, with the lease that is the default. Redis is Debian's
`redis-server` on this machine.

lease_most_seen      places held at once, of fifty
lease_freed_s_max    from a kill to the last of its places being free
take_place_ms_*      one start, in memory and in Redis, one after another
pace_us_per_frame    the allowance of one frame of 20 ms, the best of some rounds
"""

import argparse
import asyncio
import json
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from redis.asyncio import Redis

from server import errors
from server.errors import RefusedError
from server.pace import Pace, PaceSettings
from server.redis_client import open_redis_client
from server.redis_subjects import RedisSubjects, open_redis_subjects
from server.subject_settings import SubjectSettings
from server.subjects import MemorySubjects, SubjectLimits, SubjectStore
from tests.redis_server import RedisServer

WHO = "bench alice"
N_PROCESSES = 3
N_ACQUIRES = 1000
MOST_PLACES = 50
N_AT_ONCE = 60
"""Sessions of one process that want a place at the same time."""
LONGEST_HOLD_S = 0.2
RETRY_S = 0.02
N_STARTS = 2000
N_FRAMES = 200_000
LIMITS = SubjectLimits(MOST_PLACES, None, None)
_HELD, _MOST_HELD = "bench:held", "bench:most_held"
_COUNT_UP = """
local held = redis.call('INCR', KEYS[1])
if held > tonumber(redis.call('GET', KEYS[2]) or '0') then redis.call('SET', KEYS[2], held) end
"""
_POLL_S = 0.1


async def is_taken(store: SubjectStore, place_id: str) -> bool:
    """Whether there was a place."""
    try:
        await store.take_place(WHO, place_id, LIMITS)
    except RefusedError as refused:
        if refused.refusal is not errors.TOO_MANY_SESSIONS:
            raise
        return False
    return True


@asynccontextmanager
async def open_store(settings: SubjectSettings) -> AsyncIterator[RedisSubjects]:
    """With its leases renewed."""
    async with (
        open_redis_subjects(settings, lambda place_id: None) as store,
        asyncio.TaskGroup() as tasks,
    ):
        renewing = tasks.create_task(store.run())
        yield store
        renewing.cancel()


# --- one of the processes ---


async def work(name: str, settings: SubjectSettings, n_acquires: int) -> None:
    """Get and give back so many places, then, on a line, all that can be got, to be killed with."""
    dice = random.Random(name)  # noqa: S311 - how long a session lasts
    client = open_redis_client(settings)
    count_up = client.register_script(_COUNT_UP)
    turns = iter(range(n_acquires))

    async def have_sessions(store: SubjectStore) -> None:
        for turn in turns:
            place_id = f"{name}-{turn}"
            while not await is_taken(store, place_id):  # noqa: ASYNC110 - as clients do
                await asyncio.sleep(RETRY_S)
            await count_up([_HELD, _MOST_HELD])
            await asyncio.sleep(dice.random() * LONGEST_HOLD_S)
            await client.decr(_HELD)
            await store.give_place(WHO, place_id)

    async with open_store(settings) as store:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(N_AT_ONCE):
                tasks.create_task(have_sessions(store))
        print("done", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        n_held = 0
        while n_held <= MOST_PLACES // 2 and await is_taken(store, f"{name}-kept-{n_held}"):
            n_held += 1
        print(n_held, flush=True)
        await asyncio.to_thread(sys.stdin.readline)


# --- who starts them and looks on ---


class Worker:
    """A process of its own."""

    def __init__(self, name: str, settings: SubjectSettings, n_acquires: int) -> None:
        told = {
            "redis_url": settings.redis_url,
            "lease_s": settings.lease_s,
            "renewal_s": settings.renewal_s,
        }
        command = [sys.executable, "-m", "bench.door_subjects", "--worker", name]
        command += ["--acquires", str(n_acquires), "--settings", json.dumps(told)]
        self._process = subprocess.Popen(  # noqa: S603 - this very file
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def line(self) -> str:
        """What it says next."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it do the next thing."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """Without a word of farewell."""
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate()


async def measure_leases(settings: SubjectSettings) -> dict[str, float]:
    """Whether the limit holds among processes, and when one that was killed has left."""
    share = -(-N_ACQUIRES // N_PROCESSES)
    workers = [Worker(f"w{number}", settings, share) for number in range(N_PROCESSES)]
    try:
        for worker in workers:
            assert await asyncio.to_thread(worker.line) == "done", "a process has failed"
        client = open_redis_client(settings)
        most_seen = int(await client.get(_MOST_HELD) or 0)
        held = []
        for worker in workers:
            worker.go_on()
            held.append(int(await asyncio.to_thread(worker.line)))
        assert sum(held) == MOST_PLACES, "places were not given back, or too many were"
        async with open_store(settings) as store:
            assert not await is_taken(store, "one-too-many")
            workers[0].kill()
            killed_s = time.monotonic()
            for number in range(held[0]):
                while not await is_taken(store, f"freed-{number}"):  # noqa: ASYNC110 - as clients
                    await asyncio.sleep(_POLL_S)
            freed_s = time.monotonic() - killed_s
            assert not await is_taken(store, "one-too-many")
        await client.aclose()
    finally:
        for worker in workers:
            worker.kill()
    return {"lease_most_seen": most_seen, "lease_freed_s_max": round(freed_s, 2)}


async def measure_starts(store: SubjectStore) -> list[float]:
    """Milliseconds of each."""
    limits = SubjectLimits(N_STARTS, N_STARTS, 10**9)
    times_ms = []
    for number in range(N_STARTS):
        started_s = time.perf_counter()
        await store.take_place(f"bench {number % 100}", str(number), limits)
        times_ms.append((time.perf_counter() - started_s) * 1000)
    return times_ms


async def bench(url: str, settings: SubjectSettings) -> dict[str, float]:
    """Everything that is asked of Redis."""
    figures = await measure_leases(settings)
    client = Redis.from_url(url)
    await client.flushall()
    await client.aclose()
    memory = MemorySubjects(time.monotonic, lambda: 1e9)
    async with open_redis_subjects(settings, lambda place_id: None) as store:
        for name, times_ms in (
            ("memory", await measure_starts(memory)),
            ("redis", await measure_starts(store)),
        ):
            quantiles_ms = statistics.quantiles(times_ms, n=100)
            figures[f"take_place_ms_p50_{name}"] = round(quantiles_ms[49], 4)
            figures[f"take_place_ms_p99_{name}"] = round(quantiles_ms[98], 4)
    return figures


def leases(folder: Path = Path("build/bench/redis")) -> dict[str, float]:
    """Figures of the stores of subjects."""
    folder.mkdir(parents=True, exist_ok=True)
    with RedisServer(folder) as server:
        return asyncio.run(bench(server.url, SubjectSettings(redis_url=server.url)))


def pace_us_per_frame() -> dict[str, float]:
    """Of an allowance that is kept to, in frames of 20 ms, and of none."""

    def best_us(percent: int | None) -> float:
        return min(_round_us(Pace(percent, PaceSettings()).receive) for _ in range(5))

    return {
        "pace_us_per_frame": round(best_us(125), 3),
        "pace_us_per_frame_without": round(best_us(None), 3),
    }


def _round_us(receive: Callable[[int, int, float], bool]) -> float:
    times_s = [1000.0 + 0.02 * number for number in range(N_FRAMES)]
    started_s = time.perf_counter()
    for now_s in times_s:
        receive(320, 16_000, now_s)
    return (time.perf_counter() - started_s) * 1e6 / N_FRAMES


def main() -> None:
    """Run the bench, or one process of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--acquires", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--settings", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        settings = SubjectSettings(**arguments.settings)
        asyncio.run(work(arguments.worker, settings, arguments.acquires))
    else:
        print(json.dumps(pace_us_per_frame() | leases(), indent=2))


if __name__ == "__main__":
    main()
