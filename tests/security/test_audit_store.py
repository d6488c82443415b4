"""Events, failing disks and hasty closings in; a trail with all that was acknowledged out."""

import asyncio
import itertools
import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from security import audit_store
from security.audit_events import ModelOpened, ServerStarted
from security.audit_lock import WriteLock
from security.audit_schema import open_connection
from security.audit_store import AuditStore
from security.door_events import SessionEnded, SessionStarted
from security.errors import AuditError

ROOT = Path(audit_store.__file__).parents[1]


def counting_clock():
    return itertools.count(1_000).__next__


def ended(session_id="s-1"):
    return SessionEnded(session_id, "ward-7", "t-1", "tiny.en", 1, 2, 3, 4, 1000, "stopped")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "audit.db"


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def opened(path, **settings):
    """A store, and its connection for the test to watch or to break."""
    connection = await open_connection(path)
    return AuditStore(connection, WriteLock(path), counting_clock(), **settings), connection


async def record_all(store, events):
    """What became of each: a sequence number or an AuditError."""

    async def outcome(event):
        try:
            return await store.record(event)
        except AuditError as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(outcome(event)) for event in events]
    return [task.result() for task in started]


async def test_a_recorded_event_reads_back(path):
    async with await AuditStore.open(path, counting_clock()) as store:
        assert await store.record(ended()) == 1
        (event,) = await store.events()
    assert (event.seq, event.at_utc_ns, event.event) == (1, 1_000, "session.ended")
    assert (event.session_id, event.subject, event.token_id) == ("s-1", "ward-7", "t-1")
    assert event.reason == "stopped"
    assert event.detail["audio_ms"] == 2


async def test_audio_is_summed_by_issuer_and_subject_since_a_moment(path):
    def started(session_id, issuer):
        return SessionStarted(session_id, "ward-7", issuer, "t-1", "::1", None, None, "tiny.en")

    async with await AuditStore.open(path, counting_clock()) as store:
        for session_id, issuer in (("s-1", "a"), ("s-2", "a"), ("s-3", "b")):
            await store.record(started(session_id, issuer))
            await store.record(ended(session_id))
        assert await store.audio_ms_since(0) == {("a", "ward-7"): 4, ("b", "ward-7"): 2}
        assert await store.audio_ms_since(1_003) == {("a", "ward-7"): 2, ("b", "ward-7"): 2}
        assert await store.audio_ms_since(2_000) == {}
    with pytest.raises(AuditError, match="could not be read"):
        await store.audio_ms_since(0)


async def test_a_trail_that_does_not_open_leaves_no_file_open(path):
    path.write_bytes(b"not a database" * 1000)
    before = open_descriptors()
    with pytest.raises(AuditError):
        await AuditStore.open(path, counting_clock())
    assert open_descriptors() == before


async def test_two_stores_write_in_turns_and_lose_nothing(path):
    async with (
        await AuditStore.open(path, counting_clock()) as one,
        await AuditStore.open(path, counting_clock()) as other,
        asyncio.TaskGroup() as crowd,
    ):
        batches = [[ended("one")] * 7, [ended("other")] * 7] * 8
        stores = itertools.cycle([one, other])
        writing = [crowd.create_task(record_all(next(stores), batch)) for batch in batches]
    outcomes = [seq for task in writing for seq in task.result()]
    assert sorted(outcomes) == list(range(1, 113))


async def test_the_trail_goes_on_where_it_ended(path):
    for expected in (1, 2, 3):
        async with await AuditStore.open(path, counting_clock()) as store:
            assert await store.record(ServerStarted("0.1")) == expected


async def test_events_are_found_by_session_and_by_name(path):
    async with await AuditStore.open(path, counting_clock()) as store:
        await record_all(store, [ended("a"), ended("b"), ModelOpened("m", 1, "p", "k"), ended("a")])
        assert [event.seq for event in await store.events(session_id="a")] == [1, 4]
        assert [event.seq for event in await store.events(event="model.opened")] == [3]
        assert await store.events(session_id="a", event="model.opened") == []
        assert [event.seq for event in await store.events(limit=2)] == [3, 4]


async def test_events_at_one_time_share_one_commit(path):
    store, connection = await opened(path)
    statements = []
    async with store:
        await connection.set_trace_callback(statements.append)
        seqs = await record_all(store, [ended(str(n)) for n in range(50)])
        assert [event.session_id for event in await store.events()] == [str(n) for n in range(50)]
    assert seqs == list(range(1, 51))
    assert statements.count("COMMIT") <= 2


async def test_a_reader_never_sees_what_is_not_yet_durable(path):
    store, connection = await opened(path)
    statements = []
    async with store, asyncio.TaskGroup() as tasks:
        await connection.set_trace_callback(statements.append)
        for _ in range(10):
            tasks.create_task(store.record(ended()))
            tasks.create_task(store.events())
            await asyncio.sleep(0)
            tasks.create_task(store.events())
            await asyncio.sleep(0.001)
    kinds = [statement.split()[0] for statement in statements if "max(seq)" not in statement]
    assert {kinds[index + 1] for index, kind in enumerate(kinds) if kind == "BEGIN"} == {"INSERT"}
    assert {kinds[index - 1] for index, kind in enumerate(kinds) if kind == "COMMIT"} == {"INSERT"}
    assert kinds.count("SELECT") == 20


async def test_a_batch_has_a_largest_size(path):
    store, connection = await opened(path, max_batch=10)
    statements = []
    async with store:
        await connection.set_trace_callback(statements.append)
        await record_all(store, [ended() for _ in range(50)])
    assert statements.count("COMMIT") >= 5


async def test_more_events_than_may_wait_are_refused_at_once(path):
    store, _ = await opened(path, max_waiting=3)
    async with store:
        outcomes = await record_all(store, [ended() for _ in range(5)])
        assert outcomes[:3] == [1, 2, 3]
        assert all("does not keep up" in str(error) for error in outcomes[3:])
        assert await store.record(ended()) == 4


async def test_a_disk_that_refuses_is_told_to_each_waiter_and_tried_afresh(path):
    async with await AuditStore.open(path, counting_clock()) as store:
        assert await store.record(ended()) == 1
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
        try:
            outcomes = await record_all(store, [ended() for _ in range(5)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert all("check the disk" in str(error) for error in outcomes)
        assert await store.record(ended()) == 2
        assert len(await store.events()) == 2


async def test_a_connection_that_was_lost_is_told_to_each_waiter(path):
    store, connection = await opened(path)
    async with store:
        await connection.close()
        outcomes = await record_all(store, [ended() for _ in range(5)])
        assert all(isinstance(error, AuditError) for error in outcomes)
        with pytest.raises(AuditError, match="could not be read"):
            await store.events()


async def test_a_clock_out_of_range_is_told_and_does_not_end_the_writer(path):
    times = iter([1 << 80, 1])
    store = AuditStore(await open_connection(path), WriteLock(path), lambda: next(times))
    async with store:
        with pytest.raises(AuditError):
            await store.record(ended())
        assert await store.record(ended()) == 1


async def test_closing_writes_what_waits(path):
    async with await AuditStore.open(path, counting_clock()) as store, asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(store.record(ended())) for _ in range(250)]
        await asyncio.sleep(0)
        await store.close()
    assert [task.result() for task in waiting] == list(range(1, 251))
    async with await AuditStore.open(path, counting_clock()) as store:
        assert len(await store.events()) == 250


async def test_a_closed_trail_takes_nothing(path):
    async with await AuditStore.open(path, counting_clock()) as store:
        await store.close()
        with pytest.raises(AuditError, match="closed"):
            await store.record(ended())
        with pytest.raises(AuditError):
            await store.events()
        await store.close()


async def test_a_trail_that_was_never_entered_takes_nothing_and_closes(path):
    store = await AuditStore.open(path, counting_clock())
    with pytest.raises(AuditError, match="closed"):
        await store.record(ended())
    await store.close()


async def test_two_may_close_it_at_one_time(path):
    async with await AuditStore.open(path, counting_clock()) as store, asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(store.close())


async def test_an_error_inside_passes_through_as_it_is(path):
    with pytest.raises(KeyError):
        async with await AuditStore.open(path, counting_clock()):
            raise KeyError


async def test_a_waiter_who_is_cancelled_leaves_the_event_and_the_others(path):
    async with await AuditStore.open(path, counting_clock()) as store, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(store.record(ended("first")))
        second = tasks.create_task(store.record(ended("second")))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 2
        assert [event.session_id for event in await store.events()] == ["first", "second"]


def assert_no_thread_beyond(threads):
    """The worker of aiosqlite answers the last call a moment before it ends."""
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("turns", range(12))
async def test_a_server_cancelled_at_any_turn_leaves_no_waiter_and_no_thread(path, turns):
    threads = set(threading.enumerate())
    waiting = []
    is_serving = asyncio.Event()

    async def server():
        async with await AuditStore.open(path, counting_clock()) as store:
            waiting.extend(crowd.create_task(record_all(store, [ended()])) for _ in range(20))
            is_serving.set()
            await asyncio.sleep(3600)

    async with asyncio.TaskGroup() as crowd:
        task = crowd.create_task(server())
        await is_serving.wait()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
    acknowledged = [task.result()[0] for task in waiting if isinstance(task.result()[0], int)]
    assert all(task.done() for task in waiting)
    assert_no_thread_beyond(threads)
    async with await AuditStore.open(path, counting_clock()) as store:
        assert {event.seq for event in await store.events()} >= set(acknowledged)


@pytest.mark.parametrize("times", [2, 3, 4, 5])
async def test_a_server_cancelled_again_and_again_still_settles_all_and_ends(path, times):
    threads = set(threading.enumerate())
    waiting = []
    is_serving = asyncio.Event()

    async def server():
        async with await AuditStore.open(path, counting_clock()) as store:
            waiting.extend(crowd.create_task(record_all(store, [ended()])) for _ in range(20))
            is_serving.set()
            await asyncio.sleep(3600)

    async with asyncio.TaskGroup() as crowd:
        task = crowd.create_task(server())
        await is_serving.wait()
        for _ in range(times):
            await asyncio.sleep(0)
            task.cancel()
    assert all(task.done() for task in waiting)
    assert_no_thread_beyond(threads)


KILLED = """
import asyncio, itertools, sys
from pathlib import Path
from security.audit_events import ServerStarted
from security.audit_store import AuditStore

async def main():
    async with await AuditStore.open(Path(sys.argv[1]), itertools.count().__next__) as store:
        async def keep_recording():
            while True:
                print(await store.record(ServerStarted("0.1")), flush=True)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(keep_recording())

asyncio.run(main())
"""


@pytest.mark.parametrize("acknowledgements", [1, 20, 333])
async def test_what_was_acknowledged_survives_a_kill(path, acknowledgements):
    child = subprocess.Popen(  # noqa: S603, ASYNC220 (our own interpreter, constant text)
        [sys.executable, "-c", KILLED, path], cwd=ROOT, stdout=subprocess.PIPE
    )
    with child:
        seen = [int(child.stdout.readline()) for _ in range(acknowledgements)]
        os.kill(child.pid, signal.SIGKILL)
        seen += [int(line) for line in child.stdout.read().split(b"\n")[:-1]]
    async with await AuditStore.open(path, counting_clock()) as store:
        kept = [event.seq for event in await store.events(limit=10_000)]
    assert set(seen) <= set(kept)
    assert kept == list(range(1, len(kept) + 1))
