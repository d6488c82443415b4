"""A trail that is whole, and every way in which it is not."""

import asyncio
import sqlite3

import pytest

from security.audit_events import ServerStarted
from security.audit_store import AuditStore
from server.doctor.trail import check_order, check_space, check_sqlite, check_trail, space_finding

AT_NS = 1_800_000_000 * 10**9


@pytest.fixture
def path(tmp_path):
    """Holds one row."""
    path = tmp_path / "a trail?.sqlite3"

    async def record():
        async with await AuditStore.open(path, lambda: AT_NS) as store:
            await store.record(ServerStarted("1"))

    asyncio.run(record())
    return path


def execute(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_a_whole_trail_is_well_and_tells_when_its_newest_row_was_written(path):
    before = path.read_bytes()
    finding, newest_ns = check_trail(path)
    assert (finding.level, newest_ns) == ("ok", AT_NS)
    assert path.read_bytes() == before


def test_a_trail_is_checked_while_a_server_writes_it(path):
    async def beside():
        async with await AuditStore.open(path, lambda: AT_NS + 1) as store:
            await store.record(ServerStarted("2"))
            return await asyncio.to_thread(check_trail, path)

    finding, newest_ns = asyncio.run(beside())
    assert (finding.level, newest_ns) == ("ok", AT_NS + 1)


def test_no_trail_yet_is_well(tmp_path):
    finding, newest_ns = check_trail(tmp_path / "audit.sqlite3")
    assert (finding.level, newest_ns) == ("ok", None)
    assert list(tmp_path.iterdir()) == []


def test_a_trail_without_a_row_has_no_time(path):
    execute(path, "DROP TRIGGER events_are_not_deleted")
    execute(path, "DELETE FROM events")
    assert check_trail(path)[1] == 0


def damage(path):
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda path: path.write_bytes(b"not a database" * 1000), "damaged"),
        (damage, "damaged"),
        (lambda path: execute(path, "PRAGMA application_id = 7"), "another program"),
        (lambda path: execute(path, "PRAGMA user_version = 99"), "newer version"),
        (lambda path: path.chmod(0o644), "other accounts"),
    ],
)
def test_a_trail_that_the_server_would_not_take_is_bad(path, harm, said):
    harm(path)
    finding, _ = check_trail(path)
    assert finding.level == "bad"
    assert said in finding.text


def test_a_page_that_is_not_where_it_belongs_is_damage(path):
    execute(path, "DROP TRIGGER events_are_not_updated")
    # an index that lacks a row: SQLite opens it, and finds it only when it is asked to look
    execute(path, "PRAGMA writable_schema = ON")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'events_by_session'")
    connection.commit()
    connection.close()
    assert check_trail(path)[0].text in {"it is damaged.", "it is damaged or no audit trail."}


def test_a_lock_that_cannot_be_opened_is_told(path):
    lock = path.with_name(path.name + ".lock")
    lock.unlink()
    lock.symlink_to("elsewhere")
    assert "cannot be opened" in check_trail(path)[0].text


@pytest.mark.parametrize(
    ("free_bytes", "level"),
    [(1 << 30, "ok"), ((1 << 30) - 1, "warn"), (100 << 20, "warn"), ((100 << 20) - 1, "bad")],
)
def test_a_disk_that_fills_is_told_in_time(free_bytes, level):
    assert space_finding(free_bytes, "data").level == level


def test_the_disk_of_a_folder_that_is_gone_cannot_be_looked_at(tmp_path):
    assert check_space(tmp_path / "x").level == "bad"
    assert check_space(tmp_path).about == str(tmp_path)


@pytest.mark.parametrize(
    ("version", "level"), [((3, 40, 1), "warn"), ((3, 51, 2), "warn"), ((3, 51, 3), "ok")]
)
def test_an_sqlite_with_the_wal_reset_fault_is_told(version, level):
    assert check_sqlite(version).level == level


@pytest.mark.parametrize(
    ("newest_ns", "level"), [(None, "ok"), (AT_NS, "ok"), (AT_NS + 2 * 10**9, "bad")]
)
def test_a_clock_behind_the_trail_is_wrong(newest_ns, level):
    assert check_order(newest_ns, AT_NS).level == level
