"""Writes that a power cut drops or tears in; a trail that opens and holds all that was acknowledged
out, and one that does not, if it is synced less.
"""

import random
import shutil
import sqlite3
import sys
from contextlib import closing

import pytest

from security.audit_store import AuditStore
from tests.e2e.tracing import traced
from tests.security.power_cuts import CALLS, Disk
from tests.security.written_trails import assert_whole, counting_clock, places_in, rows_of

CUTS = 60
CHILD = """
import asyncio, itertools, os, sys
from pathlib import Path
from security.audit_events import ServerStarted
from security.audit_store import AuditStore
from security.trail_places import TrailPlaces
from security.trail_settings import TrailSettings

async def main(folder, synchronous):
    places = TrailPlaces(folder / "audit", folder / "keys")
    settings = TrailSettings(checkpoint_every_rows=15, segment_rows=40)
    async with await AuditStore.open(places, itertools.count(1).__next__, settings) as store:
        await store._writer._connection.execute(f"PRAGMA synchronous = {synchronous}")
        async def record():
            for _ in range(20):
                os.write(1, b"%d\\n" % await store.record(ServerStarted("0.1")))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(5):
                tasks.create_task(record())

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


@pytest.fixture
def data(tmp_path):
    (tmp_path / "of it" / "data").mkdir(parents=True)
    return tmp_path / "of it" / "data"


def calls_of_a_life(data, synchronous):
    done, calls = traced(data, CALLS, sys.executable, "-c", CHILD, str(data), synchronous)
    assert done.returncode == 0, done.stderr.decode()
    return calls


def cuts(data, calls, chance):
    """The disk at moments spread over the life: how many acknowledgements came before each."""
    disk, changes = Disk(data), []
    for index, line in enumerate(calls):
        if disk.receive(line):
            changes.append(index)
    assert len(disk.acknowledged) == 100
    wanted = set(chance.sample(changes, CUTS))
    disk = Disk(data)
    for index, line in enumerate(calls):
        disk.receive(line)
        if index in wanted and disk.acknowledged:
            yield disk


async def kept_after(disk, folder, chance, kept):
    """The rows that are there at the next start."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    disk.write_to(folder, chance, kept)
    places = places_in(folder)
    async with await AuditStore.open(places, counting_clock()):
        pass
    assert_whole(places)
    return {row[0] for row in rows_of(places)}


@pytest.mark.parametrize("kept", [0.0, 0.5, 1.0])
async def test_no_power_cut_takes_what_was_acknowledged(tmp_path, data, kept):
    chance = random.Random(11)  # noqa: S311 (the same cuts each time)
    for disk in cuts(data, calls_of_a_life(data, "FULL"), chance):
        rows = await kept_after(disk, tmp_path / "after", chance, kept)
        assert set(disk.acknowledged) <= rows


async def test_less_syncing_would_lose_what_was_acknowledged(tmp_path, data):
    chance, n_lost = random.Random(11), 0  # noqa: S311 (the same cuts each time)
    for disk in cuts(data, calls_of_a_life(data, "NORMAL"), chance):
        shutil.rmtree(tmp_path / "after", ignore_errors=True)
        (tmp_path / "after").mkdir()
        disk.write_to(tmp_path / "after", chance, kept=0.0)
        rows = set()
        for path in places_in(tmp_path / "after").segment_files():
            with closing(sqlite3.connect(path)) as connection:
                rows |= {seq for (seq,) in connection.execute("SELECT seq FROM events")}
        n_lost += len(set(disk.acknowledged) - rows)
    assert n_lost > 0
