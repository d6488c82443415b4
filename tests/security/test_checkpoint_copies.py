"""Checkpoints in; copies, and one word of each that fails, out."""

import asyncio
import os

import pytest

from security.checkpoint_copies import CheckpointCopies


@pytest.fixture
async def copying(tmp_path):
    """Copies to a file in a folder that is not there yet, and what is told of them."""
    told = []
    copies = CheckpointCopies([tmp_path / "away" / "copy"], told.append)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(copies.run())
        yield copies, told
        await copies.end(running)


async def until(is_so):
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - files tell nobody
            await asyncio.sleep(0.001)


async def test_a_copy_that_fails_is_told_once_until_it_works_again(copying, tmp_path):
    copies, told = copying
    copy = tmp_path / "away" / "copy"
    for note in "ab":
        copies.add(note)
    await until(lambda: told)
    await asyncio.sleep(0.05)
    copy.parent.mkdir()
    copies.add("c")
    await until(copy.exists)
    await until(copy.read_text)
    assert told == ["enoent"]
    copy.unlink()
    copy.mkdir()
    copies.add("d")
    await until(lambda: len(told) == 2)
    assert told[1] == "eisdir"


async def test_a_copy_that_takes_no_end_is_told_when_it_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("security.checkpoint_copies._END_LIMIT_S", 0.05)
    told = []
    os.mkfifo(tmp_path / "copy")
    copies = CheckpointCopies([tmp_path / "copy"], told.append)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(copies.run())
        copies.add("a")
        await asyncio.sleep(0.01)
        await copies.end(running)
    with (tmp_path / "copy").open():  # lets the thread go
        pass
    assert told == ["too_slow"]
