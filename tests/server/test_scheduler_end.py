"""A server that stops: every future is settled, every thread ends, whatever the engine does."""

import asyncio

import pytest
import structlog

from server.recognition import Urgency
from server.scheduler import SchedulerSettings
from tests.server.held import (  # noqa: F401 (the fixture is found by its name)
    Bench,
    HeldRecognizer,
    engine_threads,
    failed,
    no_thread_is_left,
    raising,
    running,
    text,
    utterance,
)


async def test_everything_is_settled_when_the_server_stops():
    async with running() as bench:
        begun = await bench.occupied()
        waiting = [bench.ask(size, urgency) for size, urgency in enumerate(Urgency, 2)]
    assert [await failed(future) for future in (begun, *waiting)] == [True] * 4
    assert bench.engine.order in ([], [1])


async def test_what_is_asked_for_after_the_end_fails_at_once():
    async with running() as bench:
        await bench.occupied()
    late = bench.ask(9)
    assert late.done()
    assert await failed(late)


async def test_what_an_engine_has_begun_and_never_ends_fails_when_the_server_stops():
    bench = Bench(HeldRecognizer(), SchedulerSettings())
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running_task = tasks.create_task(bench.scheduler.run())
        begun = await bench.occupied()
        running_task.cancel()
    assert begun.done(), "while the engine still works"
    assert await failed(begun)
    bench.engine.may_work.release()


async def test_a_batch_that_fails_after_the_end_is_not_tried_again():
    bench = Bench(HeldRecognizer(answer=raising(2)), SchedulerSettings())
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running_task = tasks.create_task(bench.scheduler.run())
        await bench.occupied()
        pair = [bench.ask(2), bench.ask(3)]
        bench.engine.may_work.release(1)
        await bench.engine.begin()
        [thread] = engine_threads()
        running_task.cancel()
        await asyncio.wait([running_task])
        bench.engine.may_work.release(10)
        await asyncio.to_thread(thread.join, 10)
    assert [await failed(future) for future in pair] == [True, True]
    assert bench.engine.batches == [[1], [2, 3]]


async def test_an_engine_that_does_nothing_when_the_server_stops_ends_its_thread():
    async with running() as bench:
        bench.engine.may_work.release()
        await bench.ask(1)
        [thread] = engine_threads()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


@pytest.mark.parametrize("error", [None, RuntimeError, SystemExit])
def test_an_engine_that_outlives_its_loop_ends_its_thread_in_silence(error, capfd):
    bench = Bench(
        HeldRecognizer(answer=raising(1, error=error) if error else never_mind), SchedulerSettings()
    )

    async def stop_while_the_engine_works():
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            running_task = tasks.create_task(bench.scheduler.run())
            future = await bench.occupied()
            running_task.cancel()
        future.exception()

    with structlog.testing.capture_logs():
        asyncio.run(stop_while_the_engine_works())
        [thread] = engine_threads()
        bench.engine.may_work.release()
        thread.join(10)
    assert not thread.is_alive()
    assert "".join(capfd.readouterr()) == ""


def never_mind(_: int) -> None:
    """Heard without an error."""
