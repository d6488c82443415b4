"""Events, failing disks and hasty closings in; a trail with all that was acknowledged out."""

import asyncio
import hashlib
import itertools
import json
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from security.audit_lock import WriteLock
from security.audit_store import AuditStore, SignedAt
from security.audit_writer import AuditWriter
from security.errors import AuditError
from security.trail_settings import TrailSettings
from tests.security.written_trails import (
    assert_whole,
    checkpoints_of,
    counting_clock,
    ended,
    full_disk,
    names_of,
    places_in,
    record_all,
    rows_of,
    started,
)


@pytest.fixture
def places(tmp_path):
    return places_in(tmp_path)


def opened(places, **settings):
    return AuditStore.open(places, counting_clock(), TrailSettings(**settings))


async def narrow(places, **limits):
    """A store with limits of its own, and the statements that it executes from now on."""
    settings = TrailSettings()
    writer = await AuditWriter.open(places, counting_clock(), settings)
    statements = []
    await writer._connection.set_trace_callback(statements.append)
    return AuditStore(writer, counting_clock(), settings, **limits), statements


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def test_a_recorded_event_is_a_row_behind_the_first_which_says_that_the_trail_began(places):
    async with await opened(places) as store:
        assert await store.record(ended()) == 2
        assert store.newest_seq == 2
    began, row = rows_of(places)
    assert began[3] == "trail.began"
    assert row[:6] == (2, 1_001, 0, "session.ended", "success", "s-1")
    assert_whole(places)


async def test_the_trail_of_a_version_before_this_one_is_named_by_its_sum_and_left_alone(places):
    places.former_file.write_bytes(b"rows of yesterday")
    sha256 = hashlib.sha256(b"rows of yesterday").hexdigest()
    async with await opened(places) as store:
        await store.record(ended())
    assert json.loads(rows_of(places)[0][12])["former_sha256"] == sha256
    assert places.former_file.read_bytes() == b"rows of yesterday"


async def test_a_trail_that_does_not_open_leaves_no_file_open(places):
    async with await opened(places) as store:
        await store.record(ended())
    places.segment_file(1).write_bytes(b"not a database" * 1000)
    before = open_descriptors()
    with pytest.raises(AuditError):
        await opened(places)
    assert open_descriptors() == before


async def test_two_stores_write_in_turns_and_lose_nothing(places):
    settings = {"checkpoint_every_rows": 20, "segment_rows": 40}
    async with (
        await opened(places, **settings) as one,
        await opened(places, **settings) as other,
        asyncio.TaskGroup() as crowd,
    ):
        batches = [[ended("one")] * 7, [ended("other")] * 7] * 8
        stores = itertools.cycle([one, other])
        writing = [crowd.create_task(record_all(next(stores), batch)) for batch in batches]
    outcomes = [seq for task in writing for seq in task.result()]
    assert sorted(outcomes) == list(range(2, 114))
    assert len(places.segment_files()) > 1
    assert assert_whole(places) == 113


async def test_the_trail_goes_on_where_it_ended(places):
    for expected in (2, 3, 4):
        async with await opened(places) as store:
            assert await store.record(started()) == expected
    assert assert_whole(places) == 4
    assert [each.size for each in checkpoints_of(places)] == [2, 3, 4]


async def test_events_at_one_time_share_one_commit(places):
    store, statements = await narrow(places)
    async with store:
        seqs = await record_all(store, [ended(str(n)) for n in range(50)])
        inserts = {each for each in statements if each.startswith("INSERT INTO events")}
    assert seqs == list(range(2, 52))
    assert [row[5] for row in rows_of(places)[1:]] == [str(n) for n in range(50)]
    assert 1 <= len(inserts) <= 2


async def test_a_batch_has_a_largest_size(places):
    store, statements = await narrow(places, max_batch=10)
    async with store:
        await record_all(store, [ended() for _ in range(50)])
        inserts = {each for each in statements if each.startswith("INSERT INTO events")}
    assert len(inserts) >= 5


async def test_more_events_than_may_wait_are_refused_at_once_and_counted(places):
    store, _ = await narrow(places, max_waiting=3)
    async with store:
        outcomes = await record_all(store, [ended() for _ in range(5)])
        assert outcomes[:3] in ([2, 3, 4], [3, 4, 5])
        assert all("does not keep up" in str(error) for error in outcomes[3:])
        assert store.n_lost == 2
        await store.record(ended())
    [gap] = [row for row in rows_of(places) if row[3] == "trail.gap"]
    assert gap[4] == "failure"
    assert gap[9] == "queue_full"
    assert '"n_events":2' in gap[12]
    assert_whole(places)


async def test_a_disk_that_refuses_is_told_to_each_waiter_within_a_second_and_the_gap_recorded(
    places,
):
    async with await opened(places) as store:
        assert await store.record(ended("before")) == 2
        with full_disk():
            before_s = time.monotonic()
            outcomes = await record_all(store, [ended() for _ in range(5)])
            await store.note(ended())
            assert time.monotonic() - before_s < 1
            assert store.is_failing
        assert all("check the disk" in str(error) for error in outcomes)
        seq = await store.record(ended("after"))
        assert (store.is_failing, store.n_lost) == (False, 6)
    rows = rows_of(places)
    assert rows[seq - 1][5] == "after"
    gaps = [row for row in rows if row[3] == "trail.gap"]
    assert [row[9] for row in gaps] == ["disk"]
    assert '"first_lost_utc_ns":1002,"last_lost_utc_ns":1007,"n_events":6' in gaps[0][12]
    assert_whole(places)


async def test_the_log_says_once_that_the_trail_fails_and_once_that_it_works_again(places):
    async with await opened(places) as store:
        with capture_logs() as told, full_disk():
            await record_all(store, [ended() for _ in range(5)])
            await record_all(store, [ended() for _ in range(2)])
        assert told == [
            {"event": "the audit trail cannot be written", "log_level": "error", "reason": "disk"}
        ]
        with capture_logs() as told:
            await store.record(ended())
        assert told == [
            {"event": "the audit trail is written again", "log_level": "warning", "n_lost": 7}
        ]
        with capture_logs() as told:
            await store.record(ended())
        assert told == []


async def test_a_trail_that_was_full_says_so_without_being_asked(places):
    async with await opened(places) as store:
        with full_disk():
            await store.note(ended())
        assert await store.until_beyond(1) == 2
        assert not store.is_failing
    assert names_of(places) == ["trail.began", "trail.gap"]


async def test_a_database_that_another_program_has_locked_is_told_within_a_second(places):
    async with await opened(places) as store:
        with closing(sqlite3.connect(places.segment_file(1))) as other:
            other.execute("BEGIN IMMEDIATE")
            before_s = time.monotonic()
            outcomes = await record_all(store, [ended() for _ in range(3)])
            assert time.monotonic() - before_s < 1
            other.rollback()
        assert all("locked by another program" in str(error) for error in outcomes)
        await store.record(ended("after"))
    assert [row[9] for row in rows_of(places) if row[3] == "trail.gap"] == ["locked"]
    assert_whole(places)


async def test_a_turn_that_never_comes_is_told_within_a_second_and_nothing_is_written_later(places):
    async with await opened(places) as store, asyncio.TaskGroup() as tasks:
        lock = WriteLock(places.lock_file)
        async with lock.held():
            before_s = time.monotonic()
            outcomes = await record_all(store, [ended("given up") for _ in range(3)])
            assert 0.5 < time.monotonic() - before_s < 1
            assert store.n_lost == 3
            waiting = tasks.create_task(store.record(ended("patient")))
            await asyncio.sleep(0.1)
            assert store.write_lag_s >= 0.1
        assert isinstance(await waiting, int)
        assert all(isinstance(error, AuditError) for error in outcomes)
        lock.close()
    assert [row[5] for row in rows_of(places)] == [None, None, "patient"]
    assert names_of(places)[1] == "trail.gap"
    assert store.n_lost == 3


async def test_what_was_noted_and_lost_is_no_error(places):
    async with await opened(places) as store:
        await store.note(ended())
        await store.close()
        await store.note(ended())
    assert names_of(places) == ["trail.began", "session.ended"]


async def test_a_connection_that_was_lost_is_told_to_each_waiter_and_made_anew(places):
    async with await opened(places) as store:
        await store._writer._connection.close()
        outcomes = await record_all(store, [ended() for _ in range(5)])
        assert all(isinstance(error, AuditError) for error in outcomes)
        await store.record(ended("after"))
    assert names_of(places) == ["trail.began", "trail.gap", "session.ended"]
    assert_whole(places)


async def test_a_clock_out_of_range_is_told_and_does_not_end_the_writer(places):
    times = iter([1, 1 << 80, 1, 1, 1, 1, 1])
    async with await AuditStore.open(places, lambda: next(times)) as store:
        with pytest.raises(AuditError):
            await store.record(ended())


async def test_a_folder_that_is_not_there_and_one_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(AuditError, match="its folder must exist") as caught:
        await opened(places_in(tmp_path / "none"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "none").exists()
    with pytest.raises(AuditError, match="cannot be"):
        await opened(places_in(Path("/proc")))  # where not even root can make a file


async def test_a_disk_that_takes_no_more_is_named_and_the_next_start_begins(places):
    places.folder.mkdir()
    with full_disk(), pytest.raises(AuditError, match="cannot be"):
        await opened(places)
    async with await opened(places) as store:
        await store.record(ended())
    assert_whole(places)


async def test_whoever_waits_for_news_is_told_also_of_rows_of_others(places):
    async with await opened(places) as store, asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(store.until_beyond(1))
        await asyncio.sleep(0)
        await store.record(ended())
        assert await waiting == 2
        assert await store.until_beyond(0) == 2
        waiting = tasks.create_task(store.until_beyond(2))
        async with await opened(places) as other:
            await other.record(ended())
        assert await waiting == 3
        tasks.create_task(store.close())
        with pytest.raises(AuditError, match="closed"):
            await store.until_beyond(3)


async def test_a_checkpoint_signs_all_rows_and_ends_the_epoch(places):
    async with await opened(places) as store:
        assert store.newest_checkpoint is None
        await store.record(ended())
        await store.checkpoint()
        assert store.newest_checkpoint == SignedAt(2, 1_002)
        await store.checkpoint()  # nothing is new
        await store.record(ended())
    assert [(each.size, each.epoch) for each in checkpoints_of(places)] == [(2, 0), (3, 1)]
    assert [row[2] for row in rows_of(places)] == [0, 0, 1]
    with pytest.raises(AuditError, match="closed"):
        await store.checkpoint()


async def test_checkpoints_come_by_time_and_by_rows(places):
    async with await opened(places, checkpoint_every_rows=10) as store:
        await record_all(store, [ended() for _ in range(12)])
        await store.record(ended())
        assert store.newest_checkpoint is not None
    assert_whole(places)


async def test_a_segment_that_is_full_is_closed_behind_a_checkpoint(places):
    async with await opened(places, checkpoint_every_rows=5, segment_rows=10) as store:
        for _ in range(30):
            await store.record(ended())
    *closed, _ = places.segment_files()
    assert len(closed) >= 2
    assert all(path.stat().st_mode & 0o777 == 0o400 for path in closed)
    assert not list(places.folder.glob("*-wal"))
    assert assert_whole(places) == 31


async def test_a_segment_that_is_old_is_closed(places):
    now = iter(range(0, 10**15, 10**9))
    settings = TrailSettings(segment_s=5)
    async with await AuditStore.open(places, lambda: next(now), settings) as store:
        for _ in range(5):
            await store.record(ended())
        await store.checkpoint()
        assert len(places.segment_files()) == 2
        assert await store.record(ended()) == 7
    assert assert_whole(places) == 7


async def test_copies_of_checkpoints_are_written_and_one_that_fails_is_an_event(places, tmp_path):
    copies = (tmp_path / "none" / "copy", tmp_path / "copy")
    async with await opened(places, checkpoint_copies=copies) as store:
        await store.record(ended())
        await store.checkpoint()
        await store.until_beyond(2)
    assert copies[1].read_text() == places.checkpoints_file.read_text()
    [failed] = [row for row in rows_of(places) if row[3] == "checkpoint.copy_failed"]
    assert failed[9] == "enoent"


async def test_a_copy_that_goes_on_failing_has_one_row(places, tmp_path):
    copies = (tmp_path / "none" / "copy",)
    async with await opened(places, checkpoint_copies=copies) as store:
        for _ in range(3):
            await store.record(ended())
            await store.checkpoint()
            async with asyncio.timeout(5):
                while "checkpoint.copy_failed" not in names_of(places):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
    assert names_of(places).count("checkpoint.copy_failed") == 1
    assert_whole(places)


async def test_a_copy_that_fails_while_the_trail_is_closed_is_an_event_too(places, tmp_path):
    copies = (tmp_path / "none" / "copy",)
    async with await opened(places, checkpoint_copies=copies) as store:
        await store.record(ended())
    assert names_of(places)[2:] == ["checkpoint.copy_failed"]
    assert_whole(places)


async def test_closing_writes_what_waits(places):
    async with await opened(places) as store, asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(store.record(ended())) for _ in range(600)]
        await asyncio.sleep(0)
        await store.close()
    assert [task.result() for task in waiting] == list(range(2, 602))
    assert assert_whole(places) == 601


async def test_a_closed_trail_takes_nothing(places):
    async with await opened(places) as store:
        await store.close()
        with pytest.raises(AuditError, match="closed"):
            await store.record(ended())
        await store.close()


async def test_a_trail_that_was_never_entered_takes_nothing_and_closes(places):
    store = await opened(places)
    with pytest.raises(AuditError, match="closed"):
        await store.record(ended())
    await store.close()


async def test_two_may_close_it_at_one_time(places):
    async with await opened(places) as store, asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(store.close())


async def test_an_error_inside_passes_through_as_it_is(places):
    with pytest.raises(KeyError):
        async with await opened(places):
            raise KeyError


async def test_a_waiter_who_is_cancelled_leaves_the_event_and_the_others(places):
    async with await opened(places) as store, asyncio.TaskGroup() as tasks:
        first = tasks.create_task(store.record(ended("first")))
        second = tasks.create_task(store.record(ended("second")))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == 3
    assert [row[5] for row in rows_of(places)[1:]] == ["first", "second"]


def assert_no_thread_beyond(threads):
    """The worker of aiosqlite answers the last call a moment before it ends."""
    for thread in set(threading.enumerate()) - threads:
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("turns", range(12))
async def test_a_server_cancelled_at_any_turn_leaves_no_waiter_and_no_thread(places, turns):
    threads = set(threading.enumerate())
    waiting = []
    is_serving = asyncio.Event()

    async def server():
        async with await opened(places) as store:
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
    async with await opened(places):
        pass
    assert {row[0] for row in rows_of(places)} >= set(acknowledged)
    assert_whole(places)


@pytest.mark.parametrize("times", [2, 3, 4, 5])
async def test_a_server_cancelled_again_and_again_still_settles_all_and_ends(places, times):
    threads = set(threading.enumerate())
    waiting = []
    is_serving = asyncio.Event()

    async def server():
        async with await opened(places) as store:
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
    async with await opened(places):
        pass
    assert_whole(places)
