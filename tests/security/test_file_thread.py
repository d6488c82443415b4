"""Work in, its result out, one after the other."""

import asyncio
import threading

import pytest

from security.file_thread import FileThread


@pytest.fixture
def files():
    thread = FileThread()
    yield thread
    thread.close()
    thread.close()


async def test_work_is_done_in_its_turn_off_the_loop(files):
    names = [await files.run(lambda: threading.current_thread().name) for _ in range(2)]
    assert names[0] == names[1] != threading.current_thread().name
    with pytest.raises(ZeroDivisionError):
        await files.run(lambda: 1 // 0)
    assert await files.run(max, 3, 4) == 4


@pytest.mark.parametrize("fails", [True, False])
async def test_whoever_is_cancelled_is_let_go_when_the_work_is_done(files, fails):
    may_end, has_ended = threading.Event(), []

    def work():
        may_end.wait(5)
        has_ended.append(True)
        if fails:
            raise OSError

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(files.run(work))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.sleep(0.01)
        assert not waiting.done()
        may_end.set()
    assert has_ended
    assert waiting.cancelled()
