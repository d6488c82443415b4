"""Rows, checkpoints, new segments, other writers and crashes in any order in; a trail that opens,
whose MACs and roots are right, and which holds what was acknowledged, out.
"""

import asyncio
import itertools
import os
import shutil
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security.audit import row_of
from security.audit_writer import AuditWriter
from security.errors import AuditError
from security.trail_settings import TrailSettings
from tests.security.written_trails import assert_whole, counting_clock, ended, places_in, rows_of

SMALL = TrailSettings(checkpoint_every_rows=4, segment_rows=7)
STEPS = st.lists(
    st.tuples(st.sampled_from(["rows", "checkpoint", "reopen", "vanish"]), st.integers(0, 1)),
    max_size=12,
)


@pytest.fixture
def places(tmp_path):
    return places_in(tmp_path)


def opened(places, trail=SMALL):
    return AuditWriter.open(places, counting_clock(), trail)


def rows(n_rows, subject="s"):
    return [(number, row_of(ended(f"{subject}-{number}"))) for number in range(n_rows)]


def vanish(writer):
    """As if it were killed."""
    connection = writer._connection
    writer.stop()
    if connection is not None:
        connection._thread.join()


async def commit(writer, n_rows, subject="s"):
    return await writer.commit(lambda: rows(n_rows, subject))


@given(steps=STEPS, n_rows=st.integers(1, 5))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_two_writers_do_the_trail_is_what_a_list_would_be(tmp_path, steps, n_rows):
    folder = tmp_path / "trail"
    folder.mkdir()

    async def play():
        places, model = places_in(folder), [None]
        writers = [await opened(places), await opened(places)]
        for number, (step, which) in enumerate(steps):
            match step:
                case "rows":
                    first_seq = await commit(writers[which], n_rows, str(number))
                    assert first_seq == len(model) + 1
                    model += [f"{number}-{each}" for each in range(n_rows)]
                case "checkpoint":
                    await writers[which].checkpoint()
                case "reopen":
                    await writers[which].close()
                    writers[which] = await opened(places)
                case "vanish":  # as if it were killed: nothing is signed or told
                    vanish(writers[which])
                    writers[which] = await opened(places)
        for writer in writers:
            await writer.close()
        assert [row[5] for row in rows_of(places)] == model
        assert assert_whole(places) == len(model)

    try:
        asyncio.run(play())
    finally:
        shutil.rmtree(folder)


class CrashError(Exception):
    """Stands for a process that is not there any more."""


def crashing_at(monkeypatch, at):
    """The process ends before step number `at` of all that touch the disk."""
    steps = itertools.count()

    def watched(work):
        def run(*args, **kwargs):
            if next(steps) >= at:
                raise CrashError
            return work(*args, **kwargs)

        return run

    for name in ("open", "pwrite", "write", "fsync", "link", "unlink", "ftruncate", "rename"):
        monkeypatch.setattr(os, name, watched(getattr(os, name)))


@pytest.mark.parametrize("at", range(60))
async def test_a_crash_between_any_two_steps_of_a_checkpoint_and_of_a_new_segment_is_survived(
    places, monkeypatch, at
):
    writer = await opened(places, TrailSettings(segment_rows=3))
    await commit(writer, 3)
    with monkeypatch.context() as context:
        crashing_at(context, at)
        with suppress(CrashError, AuditError):
            await writer.checkpoint()
        vanish(writer)
    await _assert_goes_on(places, 4)


async def _assert_goes_on(places, n_rows):
    again = await opened(places)
    assert again.standing.chain.size == n_rows
    assert await commit(again, 2) == n_rows + 1
    await again.checkpoint()
    await again.close()
    assert assert_whole(places) == n_rows + 2
    assert not list(places.keys_folder.glob("*.new")) + list(places.keys_folder.glob("*.former"))


@pytest.mark.parametrize("at", range(60))
async def test_a_crash_while_a_trail_begins_is_begun_again(places, monkeypatch, at):
    with monkeypatch.context() as context:
        crashing_at(context, at)
        with suppress(CrashError, AuditError):
            vanish(await opened(places))
    await _assert_goes_on(places, 1)


async def test_a_head_that_the_disk_does_not_give_is_told_as_that(places, monkeypatch):
    def broken(*_args):
        raise OSError(5, "Input/output error")

    writer = await opened(places)
    try:
        with monkeypatch.context() as disk:
            disk.setattr(os, "pread", broken)
            with pytest.raises(AuditError, match="head"):
                await writer.seq_on_disk()
        assert await writer.seq_on_disk() == 1
    finally:
        await writer.close()
