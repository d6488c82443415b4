"""Events at full speed, at an even pace and before kills in; events a second, milliseconds until
they are durable, and milliseconds until a start is done, out.

The events are those of a busy door: sessions of 1,000 subjects from 1,000 addresses begin and end.
All runs on two cores, in the event loop and with the settings that the server has.
"""

import asyncio
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from security.audit_events import AuditEvent
from security.audit_store import AuditStore
from security.door_events import SessionEnded, SessionStarted
from security.errors import AuditError
from security.keys import public_half
from security.trail_places import TrailPlaces
from security.verify_trail import Means, verify_folder
from server.engines import processor

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "build" / "bench" / "trail"
N_EVENTS = 120_000
N_RECORDERS = 400
EVENTS_PER_S = 20_000
PACED_S = 6
TICK_S = 0.005
KILLS = 30
N_CORES = 2
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def throughput() -> dict[str, object]:
    """How many events a second are recorded, how long each waits then, and what verifying takes."""

    async def run(places: TrailPlaces) -> dict[str, object]:
        acks_s: list[float] = []
        async with await AuditStore.open(places, time.time_ns) as store:
            each = iter(list(events(N_EVENTS)))  # the trail is timed, not the making of events

            async def recorder() -> None:
                for event in each:
                    began_s = time.perf_counter()
                    await store.record(event)
                    acks_s.append(time.perf_counter() - began_s)

            began_s, began_cpu_s = time.perf_counter(), time.process_time()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(N_RECORDERS):
                    tasks.create_task(recorder())
            took_s = time.perf_counter() - began_s
        return {
            "events_per_s": round(N_EVENTS / took_s),
            "ack_ms_p99_at_full_speed": _p99_ms(acks_s),
            "cpu_us_per_event": round((time.process_time() - began_cpu_s) / N_EVENTS * 1e6, 1),
        }

    with _folder() as places:
        figures = _on_two_cores(run(places))
        began_s = time.perf_counter()
        means = Means(
            public_half(places.signing_key_file),
            places.auditor_key_file,
            places.chain_key_file,
            places.head_file,
        )
        result = verify_folder(places.folder, means, N_CORES)
        took_s = time.perf_counter() - began_s
        assert not result.problems
        return {**figures, "verify_events_per_s": round(result.last_seq / took_s)}


def acknowledgement() -> dict[str, object]:
    """How long events wait that come at an even pace, from when each was to come."""

    async def run() -> dict[str, object]:
        acks_s: list[float] = []
        per_tick = round(EVENTS_PER_S * TICK_S)
        with _folder() as places:
            async with await AuditStore.open(places, time.time_ns) as store:

                async def record(event: AuditEvent, due_s: float) -> None:
                    try:
                        await store.record(event)
                    except AuditError:
                        return
                    acks_s.append(time.perf_counter() - due_s)

                each = iter(list(events(EVENTS_PER_S * PACED_S)))
                began_s = time.perf_counter()
                async with asyncio.TaskGroup() as tasks:
                    for tick in range(round(PACED_S / TICK_S)):
                        due_s = began_s + tick * TICK_S
                        await asyncio.sleep(due_s - time.perf_counter())
                        for event in itertools.islice(each, per_tick):
                            tasks.create_task(record(event, due_s))
                took_s = time.perf_counter() - began_s
            n_refused = store.n_lost
        return {
            "ack_ms_p99": _p99_ms(acks_s),
            "paced_events_per_s": round(len(acks_s) / took_s),
            "paced_refused": n_refused,
        }

    return _on_two_cores(run())


def restarts() -> dict[str, object]:
    """How long a start takes after a kill at full speed, with nothing signed since 9,999 rows."""

    async def reopen(places: TrailPlaces) -> float:
        began_s = time.perf_counter()
        store = await AuditStore.open(places, time.time_ns)
        took_s = time.perf_counter() - began_s
        await store.close()
        return took_s

    chance, took_s = random.Random(3), []  # noqa: S311 (the same kills each time)
    with _folder() as places:
        for _ in range(KILLS):
            child = subprocess.Popen(
                [sys.executable, "-m", "bench.audit_store"], cwd=ROOT, stdout=subprocess.PIPE
            )
            with child:
                assert child.stdout is not None
                assert child.stdout.readline() == b"recording\n"
                time.sleep(chance.uniform(0.05, 0.6))
                child.send_signal(signal.SIGKILL)
            took_s.append(asyncio.run(reopen(places)))
    return {"restart_ms_max": round(max(took_s) * 1000, 1)}


def events(n_events: int) -> Iterator[AuditEvent]:
    """Sessions that begin and end."""
    for number in range(n_events // 2):
        session_id, subject = f"{number:032x}", f"user-{number * 7919 % 1000}"
        address, token_id = f"10.0.{number % 4}.{number * 31 % 250}", f"token-{number % 1000}"
        yield SessionStarted(
            session_id=session_id,
            subject=subject,
            issuer="earwitness",
            token_id=token_id,
            peer_address=address,
            peer_port=40_000 + number % 20_000,
            origin="https://page.test",
            user_agent=_AGENT,
            model="tiny.en",
            pack_version=1,
            kek="local:0123456789abcdef",
        )
        yield SessionEnded(
            session_id=session_id,
            subject=subject,
            issuer="earwitness",
            token_id=token_id,
            peer_address=address,
            model="tiny.en",
            bytes_received=320_000,
            audio_ms=10_000,
            speech_ms=7_000,
            segments=3,
            close_code=1000,
            reason="stopped",
        )


@contextmanager
def _folder() -> Iterator[TrailPlaces]:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    try:
        yield _places()
    finally:
        shutil.rmtree(FOLDER)


def _places() -> TrailPlaces:
    return TrailPlaces(FOLDER / "audit", FOLDER / "keys")


def _on_two_cores(work: Coroutine[None, None, dict[str, object]]) -> dict[str, object]:
    former = os.sched_getaffinity(0)
    processor.take_shorter_turns()  # as the server does
    os.sched_setaffinity(0, sorted(former)[:N_CORES])
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    finally:
        os.sched_setaffinity(0, former)


def _p99_ms(took_s: list[float]) -> float:
    return round(sorted(took_s)[len(took_s) * 99 // 100] * 1000, 2)


async def _record_until_killed() -> None:
    """What `restarts` kills."""
    async with await AuditStore.open(_places(), time.time_ns) as store:
        each = itertools.cycle(list(events(2000)))

        async def recorder() -> None:
            for event in each:
                await store.record(event)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(N_RECORDERS):
                tasks.create_task(recorder())
            print("recording", flush=True)


if __name__ == "__main__":
    asyncio.run(_record_until_killed())
