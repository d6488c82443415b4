"""Requests of many sessions, one engine."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import pytest

from server.recognition import Hypothesis, Utterance
from server.scheduler import EngineFailedError, Key, Scheduler, SchedulerSettings
from tests.fakes import FakeRecognizer


class HeldRecognizer(FakeRecognizer):
    """Works only while it is let."""

    def __init__(self):
        super().__init__(answer=lambda utterance: Hypothesis(str(utterance.samples.size)))
        self.may_work = threading.Semaphore(0)
        self.has_begun = threading.Semaphore(0)

    def transcribe(self, batch):
        self.has_begun.release()
        assert self.may_work.acquire(timeout=10)
        if batch[0].samples.size == 13:
            raise RuntimeError("boom")
        return super().transcribe(batch)

    async def begin(self):
        assert await asyncio.to_thread(self.has_begun.acquire, timeout=10)

    @property
    def order(self):
        return [utterance.samples.size for utterance in self.heard]


def utterance(n_samples: int, *, is_final: bool = True) -> Utterance:
    return Utterance(np.zeros(n_samples, np.float32), is_final)


@asynccontextmanager
async def running(most_waiting_s: float = 120.0) -> AsyncIterator[tuple[Scheduler, HeldRecognizer]]:
    engine = HeldRecognizer()
    scheduler = Scheduler(engine, SchedulerSettings(most_waiting_s))
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(scheduler.run())
        try:
            yield scheduler, engine
        finally:
            task.cancel()
            await asyncio.wait([task])  # stopped first: the engine must not answer in between
            engine.may_work.release(100)


async def test_finals_come_before_partials_and_equals_in_order():
    async with running() as (scheduler, engine):
        waiting = [scheduler.submit(Key("a", 0), utterance(1))]
        await engine.begin()
        for number, is_final in ((2, False), (3, True), (4, False), (5, True)):
            waiting.append(
                scheduler.submit(Key(str(number), 0), utterance(number, is_final=is_final))
            )
        engine.may_work.release(10)
        await asyncio.wait(waiting)
        assert engine.order == [1, 3, 5, 2, 4]
        assert [future.result().text for future in waiting] == ["1", "2", "3", "4", "5"]


async def test_a_newer_request_for_a_segment_replaces_one_that_has_not_begun():
    async with running() as (scheduler, engine):
        begun = scheduler.submit(Key("a", 0), utterance(1, is_final=False))
        await engine.begin()
        old = scheduler.submit(Key("a", 0), utterance(2, is_final=False))
        other = scheduler.submit(Key("a", 1), utterance(3, is_final=False))
        new = scheduler.submit(Key("a", 0), utterance(4, is_final=False))
        engine.may_work.release(10)
        await asyncio.wait([begun, old, other, new])
        assert old.cancelled()
        assert engine.order == [1, 3, 4]


async def test_a_request_that_was_taken_back_is_not_worked_on():
    async with running() as (scheduler, engine):
        begun = scheduler.submit(Key("a", 0), utterance(1))
        await engine.begin()
        taken_back = scheduler.submit(Key("b", 0), utterance(2))
        last = scheduler.submit(Key("c", 0), utterance(3))
        taken_back.cancel()
        engine.may_work.release(10)
        await asyncio.wait([begun, last])
        assert engine.order == [1, 3]


async def test_an_engine_that_raises_fails_one_request_and_works_on():
    async with running() as (scheduler, engine):
        engine.may_work.release(10)
        failing = scheduler.submit(Key("a", 0), utterance(13))
        working = scheduler.submit(Key("b", 0), utterance(5))
        await asyncio.wait([failing, working])
        assert isinstance(failing.exception(), EngineFailedError)
        assert str(failing.exception()) == ""
        assert working.result().text == "5"


async def test_everything_is_settled_when_the_server_stops():
    async with running() as (scheduler, engine):
        begun = scheduler.submit(Key("a", 0), utterance(1))
        await engine.begin()
        waiting = [scheduler.submit(Key(str(n), 0), utterance(n)) for n in range(2, 6)]
    for future in waiting:
        assert isinstance(future.exception(), EngineFailedError)
    late = scheduler.submit(Key("z", 0), utterance(9))
    assert isinstance(late.exception(), EngineFailedError)
    with suppress(EngineFailedError):
        await asyncio.wait_for(begun, 5)


async def test_what_an_engine_has_begun_and_never_ends_fails_when_the_server_stops():
    engine = HeldRecognizer()
    scheduler = Scheduler(engine, SchedulerSettings())
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        running_task = tasks.create_task(scheduler.run())
        begun = scheduler.submit(Key("a", 0), utterance(1))
        await engine.begin()
        running_task.cancel()
    assert begun.done(), "while the engine still works"
    assert isinstance(begun.exception(), EngineFailedError)
    engine.may_work.release()


async def test_audio_that_nobody_waits_for_is_let_go_though_finals_overtake_it():
    async with running() as (scheduler, engine):
        scheduler.submit(Key("a", 0), utterance(1))
        await engine.begin()
        spoken = utterance(2, is_final=False)
        audio = weakref.ref(spoken.samples)
        scheduler.submit(Key("b", 0), spoken).cancel()
        del spoken
        scheduler.submit(Key("c", 0), utterance(3))
        await asyncio.sleep(0)
        assert audio() is None


def test_an_engine_that_outlives_its_loop_ends_its_thread_in_silence(capsys):
    engine, others = HeldRecognizer(), set(threading.enumerate())

    async def stop_while_the_engine_works():
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            scheduler = Scheduler(engine, SchedulerSettings())
            running_task = tasks.create_task(scheduler.run())
            future = scheduler.submit(Key("a", 0), utterance(1))
            await engine.begin()
            running_task.cancel()
        future.exception()

    asyncio.run(stop_while_the_engine_works())
    [worker] = [thread for thread in set(threading.enumerate()) - others if thread.daemon]
    engine.may_work.release()
    worker.join(10)
    assert not worker.is_alive()
    assert "".join(capsys.readouterr()) == ""


async def test_it_is_full_when_more_waits_than_the_limit():
    async with running(most_waiting_s=1.0) as (scheduler, engine):
        scheduler.submit(Key("a", 0), utterance(1))
        await engine.begin()
        fits = scheduler.submit(Key("b", 0), utterance(16_000))
        assert not scheduler.is_full
        scheduler.submit(Key("c", 0), utterance(1))
        assert scheduler.is_full
        fits.cancel()
        assert not scheduler.is_full


@pytest.mark.parametrize("n_sessions", [50])
async def test_every_one_of_many_gets_its_own_answer(n_sessions):
    async with running() as (scheduler, engine):
        engine.may_work.release(1000)
        futures = [scheduler.submit(Key(str(n), 0), utterance(n + 20)) for n in range(n_sessions)]
        await asyncio.wait(futures)
        assert [future.result().text for future in futures] == [
            str(n + 20) for n in range(n_sessions)
        ]
