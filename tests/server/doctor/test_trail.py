"""A trail that is whole, and every way in which it is not."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from security.audit_events import ServerStarted
from security.audit_store import AuditStore
from security.trail_places import TrailPlaces
from server.doctor.trail import check_order, check_space, check_sqlite, check_trail, space_finding

AT_NS = 1_800_000_000 * 10**9


@pytest.fixture
def places(tmp_path):
    """Of a trail with two rows."""
    places = TrailPlaces(tmp_path / "a trail?", tmp_path / "keys")

    async def record():
        async with await AuditStore.open(places, lambda: AT_NS) as store:
            await store.record(ServerStarted("1"))

    asyncio.run(record())
    return places


def execute(places, *statements):
    with closing(sqlite3.connect(places.segment_file(1))) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def test_a_whole_trail_is_well_and_tells_when_its_newest_row_was_written(places):
    before = places.segment_file(1).read_bytes()
    finding, newest_ns = check_trail(places)
    assert (finding.level, newest_ns) == ("ok", AT_NS)
    assert places.segment_file(1).read_bytes() == before


def test_a_trail_is_checked_while_a_server_writes_it(places):
    async def beside():
        async with await AuditStore.open(places, lambda: AT_NS + 1) as store:
            await store.record(ServerStarted("2"))
            return await asyncio.to_thread(check_trail, places)

    finding, newest_ns = asyncio.run(beside())
    assert (finding.level, newest_ns) == ("ok", AT_NS + 1)


def test_no_trail_yet_is_well(tmp_path):
    finding, newest_ns = check_trail(TrailPlaces(tmp_path / "audit", tmp_path / "keys"))
    assert (finding.level, newest_ns) == ("ok", None)
    assert list(tmp_path.iterdir()) == []


def test_a_trail_that_was_taken_away_from_its_key_is_bad(places):
    places.segment_file(1).unlink()
    finding, newest_ns = check_trail(places)
    assert (finding.level, newest_ns) == ("bad", None)
    assert "its key is there" in finding.text


@pytest.mark.parametrize("name", ["chain_key_file", "head_file", "signing_key_file"])
def test_a_file_that_is_missing_beside_it_is_named(places, name):
    path = getattr(places, name)
    path.unlink()
    finding, _ = check_trail(places)
    assert finding.level == "bad"
    assert str(path) in str(finding)
    assert "put it back from a backup, or run.py audit set-aside" in str(finding)


def test_a_trail_without_a_row_has_no_time(places):
    execute(places, "DROP TRIGGER events_are_not_deleted", "DELETE FROM events")
    assert check_trail(places)[1] == 0


def damage(places):
    path = places.segment_file(1)
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda places: places.segment_file(1).write_bytes(b"not a database" * 1000), "damaged"),
        (damage, "damaged"),
        (lambda places: execute(places, "PRAGMA application_id = 7"), "another program"),
        (lambda places: execute(places, "PRAGMA user_version = 99"), "newer version"),
        (lambda places: places.segment_file(1).chmod(0o644), "other accounts"),
        (lambda places: places.folder.chmod(0o755), "other accounts can read it"),
    ],
)
def test_a_trail_that_the_server_would_not_take_is_bad(places, harm, said):
    harm(places)
    finding, _ = check_trail(places)
    assert finding.level == "bad"
    assert said in finding.text


def test_a_page_that_is_not_where_it_belongs_is_damage(places):
    # an index that lacks a row: SQLite opens it, and finds it only when it is asked to look
    execute(
        places,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = 2 WHERE name = 'events_by_session'",
    )
    assert check_trail(places)[0].text in {"it is damaged.", "it is damaged or no audit trail."}


def test_a_lock_that_cannot_be_opened_is_told(places):
    places.lock_file.unlink()
    places.lock_file.symlink_to("elsewhere")
    assert "cannot be opened" in check_trail(places)[0].text


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
