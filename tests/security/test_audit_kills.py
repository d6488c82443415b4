"""Kills and power cuts at any moment under load in; every row that was acknowledged, out."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from security import audit_store
from security.audit_store import AuditStore
from tests.security.written_trails import assert_whole, counting_clock, places_in, rows_of

ROOT = Path(audit_store.__file__).parents[1]
KILLS = 200
CHILD = """
import asyncio, itertools, os, sys
from pathlib import Path
from security.audit_events import ServerStarted
from security.audit_store import AuditStore
from security.trail_places import TrailPlaces
from security.trail_settings import TrailSettings

async def main(folder):
    places = TrailPlaces(folder / "audit", folder / "keys")
    settings = TrailSettings(checkpoint_every_rows=40, segment_rows=300)
    async with await AuditStore.open(places, itertools.count(1).__next__, settings) as store:
        async def keep_recording():
            while True:
                os.write(1, b"%d\\n" % await store.record(ServerStarted("0.1")))
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(keep_recording())

if __name__ == "__main__":
    for line in sys.stdin:  # a process is made ready before its life is wanted
        pid = os.fork()
        if pid == 0:
            asyncio.run(main(Path(line.strip())))
        os.write(1, b"pid %d\\n" % pid)
        os.waitpid(pid, 0)
        os.write(1, b"dead\\n")
"""


@pytest.fixture
def nursery():
    """Forks a life for each folder that it is told: its imports are done once."""
    with subprocess.Popen(  # noqa: S603 (our own interpreter, constant text)
        [sys.executable, "-c", CHILD], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        yield child


def life(nursery, folder, acknowledgements):
    """What was acknowledged in a life that ends soon after so many, and how long it took to the
    first.
    """
    nursery.stdin.write(f"{folder}\n".encode())
    nursery.stdin.flush()
    began_s, acknowledged, pid, first_s = time.monotonic(), [], 0, 0.0
    for line in iter(nursery.stdout.readline, b"dead\n"):
        if line.startswith(b"pid "):
            pid = int(line.split()[1])
        else:
            acknowledged.append(int(line))
            first_s = first_s or time.monotonic() - began_s
        if pid and len(acknowledged) >= acknowledgements:
            os.kill(pid, signal.SIGKILL)
            pid = 0
            acknowledgements = 1 << 60
    return acknowledged, first_s


async def test_what_was_acknowledged_survives_two_hundred_kills_under_load(tmp_path, nursery):
    places, chance = places_in(tmp_path), random.Random(7)  # noqa: S311 (the same kills each time)
    acknowledged = []
    for _ in range(KILLS):
        more, _ = life(nursery, tmp_path, chance.randrange(1, 80))
        acknowledged += more
    async with await AuditStore.open(places, counting_clock()) as store:
        n_rows = store.newest_seq
    kept = [row[0] for row in rows_of(places)]
    assert len(acknowledged) == len(set(acknowledged)) >= KILLS
    assert set(acknowledged) <= set(kept)
    assert kept == list(range(1, n_rows + 1))
    assert len(places.segment_files()) > 5
    assert_whole(places)
