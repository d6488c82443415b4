"""Files of a trail in, rows out: while others write, close, drop and damage them."""

import asyncio
import sqlite3
import threading

import pytest

from security.audit_query import Query, TrailFilter
from security.audit_reader import BATCH_ROWS, MAX_READ_ROWS, TrailReader
from security.errors import AuditError
from security.trail_places import TrailPlaces
from tests.security.trails import NOON_NS, add_segment, append, make_trail, row

SLOW = Query(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000000) "
    "SELECT count(*) FROM n",
    (),
)


def rows_of(*names):
    return [row(name, at_utc_ns=NOON_NS + at) for at, name in enumerate(names)]


def seqs(records):
    return [record.seq for record in records]


@pytest.fixture
def places(tmp_path):
    """Nine rows in three segments."""
    return make_trail(
        tmp_path, rows_of("a.x", "b", "a.y"), rows_of("b", "b", "a.x"), rows_of("c", "b", "a/z")
    )


async def test_a_row_reads_back_with_all_its_columns(tmp_path):
    columns = {
        "session_id": "s-1",
        "subject": "ward-7",
        "token_hash": "ab",
        "address": "10.0.0.1",
        "reason": "stopped",
        "audio_ms": 5,
        "bytes_received": 6,
    }
    places = make_trail(
        tmp_path, [row("session.ended", "failure", model="m", note=None, **columns)]
    )
    async with TrailReader(places) as reader:
        record = await reader.record(1)
    assert (record.seq, record.at_utc_ns) == (1, NOON_NS)
    assert (record.event, record.outcome) == ("session.ended", "failure")
    assert {name: getattr(record, name) for name in columns} == columns
    assert record.detail == {"model": "m", "note": None}


async def test_the_newest_come_by_default_and_the_oldest_after_a_number(places):
    async with TrailReader(places) as reader:
        assert seqs(await reader.records(limit=4)) == [6, 7, 8, 9]
        assert seqs(await reader.records(limit=4, before_seq=6)) == [2, 3, 4, 5]
        assert seqs(await reader.records(limit=4, after_seq=0)) == [1, 2, 3, 4]
        assert seqs(await reader.records(limit=4, after_seq=2)) == [3, 4, 5, 6]
        assert seqs(await reader.records(after_seq=2, before_seq=5)) == [3, 4]
        assert seqs(await reader.records(after_seq=9)) == []
        assert seqs(await reader.records(limit=0)) == []


@pytest.mark.parametrize("beyond", [1 << 63, 10**24])
async def test_beyond_all_numbers_there_is_no_row_and_no_fault(places, beyond):
    async with TrailReader(places) as reader:
        assert [await reader.record(each) for each in (beyond, -beyond)] == [None, None]
        assert seqs(await reader.records(limit=2, before_seq=beyond)) == [8, 9]
        assert await reader.records(after_seq=beyond) == []
        assert await reader.records(TrailFilter(since_utc_ns=beyond)) == []
        assert len(await reader.records(TrailFilter(since_utc_ns=-beyond))) == 9


async def test_pages_put_together_are_the_whole(places):
    wanted = TrailFilter(("b", "c"))
    async with TrailReader(places) as reader:
        pages, before = [], None
        while page := await reader.records(wanted, limit=2, before_seq=before):
            pages, before = [*seqs(page), *pages], page[0].seq
        assert pages == seqs(await reader.records(wanted)) == [2, 4, 5, 7, 8]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (TrailFilter(("a.x",)), [1, 6]),
        (TrailFilter(("a.*",)), [1, 3, 6]),
        (TrailFilter(("a.y", "c")), [3, 7]),
        (TrailFilter(("c", "a.*")), [1, 3, 6, 7]),
        (TrailFilter(outcome="failure"), []),
        (TrailFilter(since_utc_ns=NOON_NS + 1, until_utc_ns=NOON_NS + 2), [2, 5, 8]),
        (TrailFilter(("b",), since_utc_ns=NOON_NS + 1), [2, 5, 8]),
    ],
)
async def test_what_is_wanted_is_found_in_every_segment(places, wanted, found):
    async with TrailReader(places) as reader:
        assert seqs(await reader.records(wanted)) == found


@pytest.mark.parametrize("column", ["session_id", "subject", "token_hash", "address", "reason"])
async def test_each_column_that_is_asked_for_filters(tmp_path, column):
    rows = [row(**{column: "one"}), row(**{column: "other"}), row()]
    async with TrailReader(make_trail(tmp_path, rows, rows)) as reader:
        assert seqs(await reader.records(TrailFilter(**{column: "one"}))) == [1, 4]


async def test_one_row_is_found_by_its_number(places):
    async with TrailReader(places) as reader:
        assert [(await reader.record(seq)).seq for seq in (1, 5, 9)] == [1, 5, 9]
        assert await reader.record(10) is None
        assert await reader.record(0) is None
        assert await reader.newest_seq() == 9


async def test_a_trail_that_was_never_written_is_empty(tmp_path):
    async with TrailReader(TrailPlaces(tmp_path / "audit", tmp_path / "keys")) as reader:
        assert await reader.records() == []
        assert await reader.newest_seq() == 0
        assert [batch async for batch in reader.batches()] == []
        assert await reader.audio_ms_since(0) == {}


async def test_the_newest_number_is_found_behind_an_empty_segment(tmp_path):
    async with TrailReader(make_trail(tmp_path, rows_of("a", "b"), [])) as reader:
        assert await reader.newest_seq() == 2


async def test_rows_and_segments_that_come_meanwhile_are_seen(places):
    async with TrailReader(places) as reader:
        assert await reader.newest_seq() == 9
        append(places, *rows_of("d"))
        assert seqs(await reader.records(after_seq=8)) == [9, 10]
        add_segment(places, 11, rows_of("e", "e"), is_open=True)
        assert seqs(await reader.records(after_seq=9)) == [10, 11, 12]


async def test_a_segment_that_retention_drops_is_no_longer_there(places):
    async with TrailReader(places) as reader:
        assert seqs(await reader.records(after_seq=0, limit=2)) == [1, 2]
        places.segment_files()[0].unlink()
        assert seqs(await reader.records(after_seq=0, limit=2)) == [4, 5]


async def test_a_segment_that_goes_between_listing_and_opening_is_passed_over(places):
    class Vanishing(TrailPlaces):
        def segment_files(self):
            found = super().segment_files()
            return [*found[:1], Gone(found[1]), *found[2:]]

    class Gone(type(places.folder)):
        """Goes once it was looked at."""

        def stat(self, **kwargs):
            result = super().stat(**kwargs)
            self.unlink()
            return result

    async with TrailReader(Vanishing(places.folder, places.keys_folder)) as reader:
        assert seqs(await reader.records()) == [1, 2, 3, 7, 8, 9]


async def test_a_segment_that_goes_while_it_is_looked_for_is_passed_over(places):
    class Stale(TrailPlaces):
        def segment_files(self):
            return [self.folder / "segment-000000000000.sqlite3", *super().segment_files()]

    async with TrailReader(Stale(places.folder, places.keys_folder)) as reader:
        assert await reader.newest_seq() == 9


async def test_a_trail_begun_anew_under_the_same_names_is_read_and_not_the_former(places, tmp_path):
    async with TrailReader(places) as reader:
        assert len(await reader.records()) == 9
        places.folder.rename(tmp_path / "aside")
        make_trail(tmp_path, rows_of("new"), [])
        assert [record.event for record in await reader.records()] == ["new"]


async def test_reading_does_not_keep_the_store_from_closing_its_segment(places):
    open_segment = places.segment_files()[-1]
    async with TrailReader(places) as reader:
        assert len(await reader.records()) == 9
        connection = sqlite3.connect(open_segment, isolation_level=None)
        assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
        connection.close()
        assert len(await reader.records()) == 9


async def test_rows_cannot_be_written_by_a_reader(places):
    async with TrailReader(places) as reader:
        for text in ("DELETE FROM events", "CREATE TABLE t (a)"):
            with pytest.raises(AuditError, match="could not be read"):
                await reader.ask_each(Query(text, ()))


async def test_a_damaged_segment_is_told(places):
    path = places.segment_files()[1]
    path.chmod(0o600)
    path.write_bytes(b"not a database" * 1000)
    async with TrailReader(places) as reader:
        assert seqs(await reader.records(limit=2)) == [8, 9]
        with pytest.raises(AuditError, match="could not be read"):
            await reader.records()
        with pytest.raises(AuditError, match="could not be read"):
            await reader.ask_each(Query("SELECT 1 FROM events", ()))


async def test_a_folder_that_cannot_be_opened_as_a_segment_is_told(places):
    path = places.segment_files()[1]
    path.unlink()
    path.mkdir()
    async with TrailReader(places) as reader:
        with pytest.raises(AuditError, match="could not be read"):
            await reader.records()


async def test_a_closed_reader_reads_no_more(places):
    async with TrailReader(places) as reader:
        pass
    with pytest.raises(AuditError, match="not open"):
        await reader.records()


async def test_batches_are_everything_there_was_at_the_beginning(tmp_path):
    places = make_trail(tmp_path, rows_of(*"ab" * BATCH_ROWS), rows_of(*"ab" * 10))
    found = []
    async with TrailReader(places) as reader:
        async for batch in reader.batches():
            append(places, *rows_of("late"))
            assert len(batch) <= BATCH_ROWS
            found += seqs(batch)
        assert found == list(range(1, 2 * BATCH_ROWS + 21))
        wanted = TrailFilter(("a",))
        some = [seq async for batch in reader.batches(wanted, after_seq=3) for seq in seqs(batch)]
        assert some == list(range(5, 2 * BATCH_ROWS + 20, 2))


async def test_no_answer_is_longer_than_the_most(tmp_path):
    places = make_trail(tmp_path, rows_of(*["a"] * (MAX_READ_ROWS + 5)))
    async with TrailReader(places) as reader:
        assert len(await reader.records(limit=10**9)) == MAX_READ_ROWS


async def test_a_long_question_keeps_neither_the_loop_nor_a_short_one_waiting(places):
    loop = asyncio.get_running_loop()
    async with TrailReader(places) as reader, asyncio.TaskGroup() as tasks:
        long = tasks.create_task(reader.ask_each(SLOW))
        await asyncio.sleep(0.1)
        began_s = loop.time()
        await asyncio.sleep(0.01)
        assert loop.time() - began_s < 0.2
        long.cancel()
    async with TrailReader(places) as reader:
        assert await reader.newest_seq() == 9


def connection_threads():
    return {thread for thread in threading.enumerate() if "connection" in thread.name}


async def test_whoever_gives_up_interrupts_the_question(places):
    others = connection_threads()
    async with TrailReader(places) as reader:
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.ask_each(SLOW)
        for _ in range(500):  # one that was only being opened ends by itself
            if connection_threads() <= others:
                break
            await asyncio.sleep(0.01)
        assert connection_threads() <= others
        async with asyncio.timeout(5):
            assert await reader.newest_seq() == 9


async def test_many_questions_take_their_turns(places):
    async with TrailReader(places) as reader, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(reader.records()) for _ in range(40)]
    assert {len(task.result()) for task in asked} == {9}


async def test_few_connections_are_kept(tmp_path):
    places = make_trail(tmp_path, *[rows_of("a")] * 20)
    async with TrailReader(places) as reader:
        assert len(await reader.records()) == 20
        assert len(reader._kept) == 6
    assert reader._kept == {}


async def test_audio_is_summed_by_issuer_and_subject_since_a_moment(tmp_path):
    def ended(at_utc_ns, subject, issuer):
        columns = {"subject": subject, "issuer": issuer, "audio_ms": 2, "at_utc_ns": at_utc_ns}
        return row("session.ended", **columns)

    segments = [
        [row("session.started", subject="a", audio_ms=9), ended(1, "a", "x"), ended(2, "a", "x")],
        [ended(3, "a", "y"), ended(4, "b", "x"), row("session.ended", subject="c", issuer="x")],
    ]
    async with TrailReader(make_trail(tmp_path, *segments)) as reader:
        spent = {("x", "a"): 4, ("y", "a"): 2, ("x", "b"): 2, ("x", "c"): 0}
        assert await reader.audio_ms_since(0) == spent
        later = await reader.audio_ms_since(3)
        assert later == {("y", "a"): 2, ("x", "b"): 2, ("x", "c"): 0}
        assert await reader.audio_ms_since(NOON_NS + 1) == {}
