"""Two processes' shares in; one turn at a time out."""

import asyncio
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from security import audit_lock
from security.audit_lock import UseLock, WriteLock
from security.errors import AuditError

ROOT = Path(audit_lock.__file__).parents[1]
HOLDER = """
import asyncio, sys
from pathlib import Path
from security.audit_lock import WriteLock

async def hold():
    async with WriteLock(Path(sys.argv[1])).held():
        print("held", flush=True)
        sys.stdin.read()

asyncio.run(hold())
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


async def test_a_second_share_waits_for_the_first(path):
    first, second, order = WriteLock(path), WriteLock(path), []

    async def wait():
        async with second.held():
            order.append("second")

    async with asyncio.TaskGroup() as tasks, first.held():
        tasks.create_task(wait())
        await asyncio.sleep(0.01)
        order.append("first")
    assert order == ["first", "second"]
    first.close()
    second.close()


async def test_a_process_that_is_killed_gives_up_its_turn(path):
    with subprocess.Popen(  # noqa: S603, ASYNC220 (our own interpreter, constant text)
        [sys.executable, "-c", HOLDER, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        lock = WriteLock(path)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05), lock.held():
                pass
        holder.kill()
        async with asyncio.timeout(30), lock.held():
            pass
    lock.close()


async def test_it_may_be_closed_while_it_is_held_and_again(path):
    lock = WriteLock(path)
    async with lock.held():
        lock.close()
        lock.close()
    async with WriteLock(path).held():
        pass


def test_a_trail_in_use_is_shared_but_not_held_alone(path):
    with closing(UseLock(path)) as use, closing(UseLock(path)):
        with pytest.raises(AuditError, match="is open in another process: stop it first"):
            UseLock(path, is_alone=True)
        use.close()
    with closing(UseLock(path, is_alone=True)), pytest.raises(AuditError, match="set aside"):
        UseLock(path)


def test_a_folder_that_is_not_there_is_told(path):
    with pytest.raises(AuditError, match="cannot be opened"):
        UseLock(path / "no" / "trail")
    with pytest.raises(AuditError, match="cannot be opened"):
        WriteLock(path / "no" / "trail")
