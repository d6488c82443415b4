"""Audit files in every state in; a connection that only appends, or one line of advice, out."""

import os
import re
import resource
import sqlite3
import stat
from pathlib import Path

import pytest

from security.audit_schema import APPLICATION_ID, MIGRATIONS, open_connection
from security.errors import AuditError

ROW = (
    "INSERT INTO events (at_utc_ns, event, detail)"
    " VALUES (1, 'server.started', '{\"version\":\"1\"}')"
)


@pytest.fixture
async def trail(tmp_path):
    connection = await open_connection(tmp_path / "audit.db")
    await connection.execute(ROW)
    yield connection
    await connection.close()


async def reopened(path):
    connection = await open_connection(path)
    await connection.close()


async def scalar(connection, query):
    (row,) = await connection.execute_fetchall(query)
    return row[0]


def raw(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_what_is_committed_is_on_the_disk(trail):
    assert await scalar(trail, "PRAGMA journal_mode") == "wal"
    assert await scalar(trail, "PRAGMA synchronous") == 2
    assert await scalar(trail, "PRAGMA trusted_schema") == 0


async def test_the_file_says_what_it_is_and_how_new(trail):
    assert await scalar(trail, "PRAGMA application_id") == APPLICATION_ID
    assert await scalar(trail, "PRAGMA user_version") == len(MIGRATIONS)


async def test_opening_again_keeps_the_events(tmp_path, trail):
    await trail.close()
    again = await open_connection(tmp_path / "audit.db")
    assert await scalar(again, "SELECT count(*) FROM events") == 1
    await again.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET event = 'x'",
        "DELETE FROM events",
        "INSERT OR REPLACE INTO events (seq, at_utc_ns, event, detail) VALUES (1, 2, 'x', '{}')",
        "REPLACE INTO events (seq, at_utc_ns, event, detail) VALUES (1, 2, 'x', '{}')",
        "INSERT INTO events (seq, at_utc_ns, event, detail) VALUES (1, 2, 'x', '{}')"
        " ON CONFLICT (seq) DO UPDATE SET event = 'x'",
    ],
)
async def test_an_event_is_neither_changed_nor_deleted_nor_replaced(trail, statement):
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        await trail.execute(statement)
    assert await scalar(trail, "SELECT event FROM events") == "server.started"


@pytest.mark.parametrize("values", ["('now', 'x', '{}')", "(1, NULL, '{}')", "(1, 'x', NULL)"])
async def test_a_row_of_the_wrong_types_is_refused(trail, values):
    with pytest.raises(sqlite3.IntegrityError):
        await trail.execute(f"INSERT INTO events (at_utc_ns, event, detail) VALUES {values}")  # noqa: S608


async def test_every_file_of_the_trail_is_closed_to_others_under_any_umask(tmp_path):
    before = os.umask(0)
    try:
        connection = await open_connection(tmp_path / "audit.db")
        await connection.execute(ROW)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        await connection.close()
    finally:
        os.umask(before)
    assert modes == {0o600}


async def test_a_trail_left_open_to_others_is_closed_to_them(tmp_path):
    await reopened(tmp_path / "audit.db")
    (tmp_path / "audit.db").chmod(0o644)
    await reopened(tmp_path / "audit.db")
    assert stat.S_IMODE((tmp_path / "audit.db").stat().st_mode) == 0o600


async def test_a_missing_folder_is_named_and_not_made(tmp_path):
    with pytest.raises(AuditError, match="its folder must exist"):
        await open_connection(tmp_path / "none" / "audit.db")
    assert not (tmp_path / "none").exists()


async def test_a_folder_that_cannot_be_written_is_named():
    folder = Path("/proc")  # where not even root can make a file
    with pytest.raises(AuditError, match=re.escape("/proc/audit.db")):
        await open_connection(folder / "audit.db")


async def test_a_folder_a_link_and_a_pipe_are_no_trail(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "audit.db")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "link", "pipe"):
        with pytest.raises(AuditError):
            await open_connection(tmp_path / name)
    assert not (tmp_path / "audit.db").exists()


@pytest.mark.parametrize("content", [b"garbage", b"garbage " * 1000, b"SQLite format 3\0" * 100])
async def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path, content):
    (tmp_path / "audit.db").write_bytes(content)
    with pytest.raises(AuditError, match="move it away"):
        await open_connection(tmp_path / "audit.db")
    assert (tmp_path / "audit.db").read_bytes() == content


async def test_a_damaged_trail_is_refused(tmp_path):
    await reopened(tmp_path / "audit.db")
    content = bytearray((tmp_path / "audit.db").read_bytes())
    content[100:3000] = b"\xff" * 2900
    (tmp_path / "audit.db").write_bytes(content)
    with pytest.raises(AuditError, match="damaged"):
        await open_connection(tmp_path / "audit.db")


async def test_a_database_of_another_program_is_refused_and_untouched(tmp_path):
    raw(tmp_path / "audit.db", "CREATE TABLE recipes (name TEXT)")
    before = (tmp_path / "audit.db").read_bytes()
    with pytest.raises(AuditError, match="another program"):
        await open_connection(tmp_path / "audit.db")
    assert (tmp_path / "audit.db").read_bytes() == before


async def test_a_trail_of_a_newer_version_is_refused(tmp_path):
    await reopened(tmp_path / "audit.db")
    raw(tmp_path / "audit.db", "PRAGMA user_version = 99")
    with pytest.raises(AuditError, match="newer version: upgrade"):
        await open_connection(tmp_path / "audit.db")


async def test_a_disk_that_takes_no_more_is_named(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(AuditError, match="check its folder and disk"):
            await open_connection(tmp_path / "audit.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_every_refusal_is_one_line(tmp_path):
    with pytest.raises(AuditError) as caught:
        await open_connection(tmp_path / "none" / "audit.db")
    assert "\n" not in str(caught.value)
