"""Segments in every state in; a connection that only appends, or one line of advice, out."""

import os
import resource
import sqlite3
import stat
from contextlib import closing

import pytest

from security.audit_schema import (
    APPLICATION_ID,
    MIGRATIONS,
    SegmentStart,
    close_segment,
    create_segment,
    is_closed,
    open_segment,
)
from security.errors import AuditError

COLUMNS = "(seq, at_utc_ns, epoch, event, outcome, detail, mac)"
VALUES = "1, 0, 'server.started', 'success', '{}', zeroblob(32))"
ROW = f"INSERT INTO events {COLUMNS} VALUES (1, {VALUES}"  # noqa: S608 (constants)
OTHER = f"INTO events {COLUMNS} VALUES (1, {VALUES.replace('server.started', 'x')}"
START = SegmentStart("earwitness/audit/0123456789abcdef")


@pytest.fixture
def path(tmp_path):
    """An empty segment."""
    create_segment(tmp_path / "segment", START)
    return tmp_path / "segment"


@pytest.fixture
async def segment(path):
    """With one row."""
    connection = await open_segment(path)
    await connection.execute(ROW)
    await connection.commit()
    yield connection
    await connection.close()


async def reopened(path):
    connection = await open_segment(path)
    await connection.close()


async def scalar(connection, query):
    (row,) = await connection.execute_fetchall(query)
    return row[0]


def raw(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            found = connection.execute(statement).fetchall()
        connection.commit()
    return found


async def test_what_is_committed_is_on_the_disk(segment):
    assert await scalar(segment, "PRAGMA journal_mode") == "wal"
    assert await scalar(segment, "PRAGMA synchronous") == 2
    assert await scalar(segment, "PRAGMA trusted_schema") == 0


async def test_the_file_says_what_it_is_and_how_new(segment):
    assert await scalar(segment, "PRAGMA application_id") == APPLICATION_ID
    assert await scalar(segment, "PRAGMA user_version") == len(MIGRATIONS)


async def test_a_segment_says_what_came_before_it(tmp_path):
    start = SegmentStart("earwitness/audit/ab", 4, b"m" * 32, (b"a" * 32, b"b" * 32))
    create_segment(tmp_path / "segment", start)
    [row] = raw(tmp_path / "segment", "SELECT * FROM segment")
    assert row == (4, b"m" * 32, b"a" * 32 + b"b" * 32, "earwitness/audit/ab")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        raw(tmp_path / "segment", ROW)
    raw(tmp_path / "segment", ROW.replace("VALUES (1", "VALUES (4"))


async def test_opening_again_keeps_the_events(path, segment):
    await segment.close()
    again = await open_segment(path)
    assert await scalar(again, "SELECT count(*) FROM events") == 1
    await again.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET event = 'x'",
        "DELETE FROM events",
        f"INSERT OR REPLACE {OTHER}",
        f"REPLACE {OTHER}",
        f"INSERT {OTHER} ON CONFLICT (seq) DO UPDATE SET event = 'x'",
        ROW.replace("VALUES (1", "VALUES (3"),
        ROW.replace("VALUES (1", "VALUES (0"),
        ROW.replace("VALUES (1", "VALUES (NULL"),
    ],
)
async def test_an_event_is_neither_changed_nor_deleted_nor_replaced_nor_out_of_turn(
    segment, statement
):
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        await segment.execute(statement)
    assert await scalar(segment, "SELECT group_concat(event) FROM events") == "server.started"


@pytest.mark.parametrize("table", ["checkpoints", "segment"])
async def test_what_is_said_of_the_rows_is_as_little_changed(path, table):
    row = {
        "checkpoints": "INSERT INTO checkpoints VALUES (5, 'note', zeroblob(32))",
        "segment": "INSERT INTO segment VALUES (5, zeroblob(32), zeroblob(0), 'x')",
    }[table]
    if table == "checkpoints":
        raw(path, row)
    changes = [
        f"DELETE FROM {table}",  # noqa: S608 (constants)
        row,
        row.replace("INSERT", "INSERT OR REPLACE"),
        row.replace("5", "1"),
        f"UPDATE {table} SET frontier = zeroblob(32)",  # noqa: S608 (constants)
    ]
    for change in changes:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            raw(path, change)


@pytest.mark.parametrize(
    "row",
    [
        ROW.replace("(1, 1,", "(1, 'now',"),
        ROW.replace("'server.started'", "NULL"),
        ROW.replace("zeroblob(32)", "'text'"),
    ],
)
async def test_a_row_of_the_wrong_types_is_refused(path, row):
    with pytest.raises(sqlite3.IntegrityError):
        raw(path, row)


async def test_every_file_of_a_segment_is_closed_to_others_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        create_segment(tmp_path / "segment", START)
        connection = await open_segment(tmp_path / "segment")
        await connection.execute(ROW)
        await connection.commit()
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await connection.close()
    finally:
        os.umask(before)
    assert modes == {0o600}


async def test_a_segment_left_open_to_others_is_closed_to_them(path):
    path.chmod(0o644)
    await reopened(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_segment_is_whole_or_not_there(tmp_path):
    (tmp_path / "segment.new").write_bytes(b"what a crash has left")
    (tmp_path / "segment.new-journal").write_bytes(b"what a crash has left")
    create_segment(tmp_path / "segment", START)
    assert [path.name for path in tmp_path.iterdir()] == ["segment"]
    with pytest.raises(OSError, match="No such file"):
        create_segment(tmp_path / "none" / "segment", START)


async def test_a_closed_segment_is_one_file_that_is_read_alone(path, segment):
    await segment.close()
    assert close_segment(path)
    assert is_closed(path)
    assert [each.name for each in path.parent.iterdir()] == ["segment"]
    address = f"file:{path}?mode=ro&immutable=1"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


async def test_a_segment_that_somebody_reads_is_closed_later(path, segment):
    await segment.close()
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("SELECT * FROM events").fetchone()
        assert not close_segment(path)
    assert not is_closed(path)
    assert close_segment(path)
    assert not close_segment(path.with_name("none") / "segment")


async def test_a_segment_that_is_gone_is_not_made(path):
    path.unlink()
    with pytest.raises(AuditError, match="it must be ours"):
        await open_segment(path)
    assert not path.exists()


async def test_a_folder_a_link_and_a_pipe_are_no_segment(tmp_path, path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe"):
        with pytest.raises(AuditError):
            await open_segment(tmp_path / name)


@pytest.mark.parametrize("content", [b"garbage", b"garbage " * 1000, b"SQLite format 3\0" * 100])
async def test_a_file_that_is_no_database_is_refused_and_kept(path, content):
    path.write_bytes(content)
    with pytest.raises(AuditError, match=r"run\.py audit verify, then run\.py audit set-aside"):
        await open_segment(path)
    assert path.read_bytes() == content


async def test_a_damaged_segment_is_refused(path):
    content = bytearray(path.read_bytes())
    content[100:3000] = b"\xff" * 2900
    path.write_bytes(content)
    with pytest.raises(AuditError, match="damaged"):
        await open_segment(path)


async def test_a_database_of_another_program_is_refused_and_untouched(tmp_path):
    raw(tmp_path / "recipes", "CREATE TABLE recipes (name TEXT)")
    before = (tmp_path / "recipes").read_bytes()
    with pytest.raises(AuditError, match="another program"):
        await open_segment(tmp_path / "recipes")
    assert (tmp_path / "recipes").read_bytes() == before


async def test_a_segment_of_a_newer_version_is_refused(path):
    raw(path, "PRAGMA user_version = 99")
    with pytest.raises(AuditError, match="newer version: upgrade"):
        await open_segment(path)


async def test_a_segment_of_an_older_version_is_brought_up_to_date(tmp_path):
    raw(tmp_path / "old", f"PRAGMA application_id = {APPLICATION_ID}")
    await reopened(tmp_path / "old")
    assert raw(tmp_path / "old", "PRAGMA user_version") == [(len(MIGRATIONS),)]
    assert raw(tmp_path / "old", "SELECT count(*) FROM events") == [(0,)]


async def test_a_disk_that_takes_no_more_is_named(path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(AuditError, match="check its folder and disk"):
            await open_segment(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
