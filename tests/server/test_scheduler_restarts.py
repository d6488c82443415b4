"""An engine that hangs or whose thread dies is opened again, and its finals are decoded."""

import asyncio
import threading

import pytest
import structlog

from server.recognition import Urgency
from server.scheduler import DIED, HUNG, SchedulerSettings
from tests.server.held import (  # noqa: F401 (the fixture is found by its name)
    FINAL,
    LIKELY,
    LIMIT_S,
    PARTIAL,
    Bench,
    HeldRecognizer,
    engine_threads,
    failed,
    no_thread_is_left,
    raising,
    running,
    text,
)


def willing(**parts) -> HeldRecognizer:
    """Never waits to be let."""
    return HeldRecognizer(may_work=threading.Semaphore(1000), **parts)


def never() -> HeldRecognizer:
    raise OSError("the weights are gone")


async def looked_after() -> None:
    """Long enough for the scheduler to have looked at its engine."""
    await asyncio.sleep(LIMIT_S)


# --- hangs ---


@pytest.mark.parametrize("urgency", [FINAL, LIKELY])
async def test_what_hung_in_an_engine_is_decoded_by_the_next_one(urgency):
    async with running(reopens=willing) as bench:
        hung = [bench.ask(2, urgency), bench.ask(3, urgency)]
        await bench.engine.begin()
        bench.clock.move(LIMIT_S * 1.01)
        following = await bench.opened.get()
        assert [await text(future) for future in hung] == ["2", "3"]
        assert bench.reasons == [HUNG]
        assert sorted(following.order) == [2, 3]


async def test_a_partial_that_hung_is_not_decoded_again():
    async with running(reopens=willing) as bench:
        hung = bench.ask(2, PARTIAL)
        await bench.engine.begin()
        bench.clock.move(LIMIT_S * 1.01)
        following = await bench.opened.get()
        assert await failed(hung)
        assert await text(bench.ask(3)) == "3"
        assert following.order == [3]


async def test_what_waited_behind_a_hung_engine_is_decoded_by_the_next_one():
    async with running(reopens=willing) as bench:
        await bench.occupied()
        waiting = [bench.ask(2), bench.ask(3, PARTIAL)]
        bench.clock.move(LIMIT_S * 1.01)
        assert [await text(future) for future in waiting] == ["2", "3"]


async def test_an_engine_that_works_for_less_than_the_limit_is_left_alone():
    async with running(reopens=willing) as bench:
        slow = await bench.occupied()
        bench.clock.move(LIMIT_S * 0.99)
        await looked_after()
        bench.engine.may_work.release()
        assert await text(slow) == "1"
        assert bench.reasons == []


async def test_an_engine_that_does_nothing_does_not_hang():
    async with running(reopens=willing) as bench:
        bench.engine.may_work.release()
        await bench.ask(1)
        bench.clock.move(1e6)
        await looked_after()
        assert bench.reasons == []


async def test_the_limit_counts_for_each_batch_by_itself():
    async with running(reopens=willing) as bench:
        first, second = await bench.occupied(), bench.ask(2)
        bench.clock.move(LIMIT_S * 0.9)
        bench.engine.may_work.release()
        await bench.engine.begin()
        bench.clock.move(LIMIT_S * 0.9)
        await looked_after()
        bench.engine.may_work.release()
        assert [await text(first), await text(second)] == ["1", "2"]
        assert bench.reasons == []


async def test_a_late_answer_of_an_engine_that_was_let_go_reaches_nobody():
    async with running() as bench:
        hung = await bench.occupied()
        [old_thread] = engine_threads()
        bench.clock.move(LIMIT_S * 1.01)
        following = await bench.opened.get()
        await following.begin()
        bench.engine.may_work.release()
        await asyncio.to_thread(old_thread.join, 10)
        assert bench.engine.order == [1]
        await asyncio.sleep(0)
        assert not hung.done()
        following.may_work.release()
        assert await text(hung) == "1"


async def test_the_thread_of_an_engine_that_was_let_go_takes_nothing_more():
    async with running() as bench:
        await bench.occupied()
        [old_thread] = engine_threads()
        bench.clock.move(LIMIT_S * 1.01)
        following = await bench.opened.get()
        await following.begin()
        bench.ask(2)
        bench.engine.may_work.release(10)
        await asyncio.to_thread(old_thread.join, 10)
        assert not old_thread.is_alive()
        assert bench.engine.order == [1]


async def test_what_hangs_twice_fails_and_the_others_are_answered():
    async with running(reopens=HeldRecognizer) as bench:
        await bench.occupied()
        guilty, innocent = bench.ask(13), bench.ask(2)
        bench.engine.may_work.release()
        await bench.engine.begin()
        bench.clock.move(LIMIT_S * 1.01)
        second = await bench.opened.get()
        await second.begin()
        bench.clock.move(LIMIT_S * 1.01)
        third = await bench.opened.get()
        third.may_work.release(10)
        assert await failed(guilty)
        assert await text(innocent) == "2"
        assert third.batches == [[2]]


async def test_the_log_names_the_reason_of_a_restart():
    with structlog.testing.capture_logs() as logs:
        async with running(reopens=willing) as bench:
            await bench.occupied()
            bench.clock.move(LIMIT_S * 1.01)
            await bench.opened.get()
    assert logs == [{"event": "engine restarts", "reason": HUNG, "log_level": "error"}]


# --- deaths ---

DEADLY = pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])


@DEADLY
async def test_what_a_dead_thread_left_is_decoded_by_the_next_one(error):
    dying = willing(answer=raising(13, error=error))
    async with running(dying, reopens=willing) as bench:
        assert await text(bench.ask(13)) == "13"
        assert bench.reasons == [DIED]


async def test_what_kills_twice_fails_and_the_others_are_answered():
    dying = HeldRecognizer(answer=raising(13, error=SystemExit))
    async with running(
        dying, reopens=lambda: willing(answer=raising(13, error=SystemExit))
    ) as bench:
        await bench.occupied()
        guilty, innocent = bench.ask(13), bench.ask(2)
        bench.engine.may_work.release(2)
        assert await failed(guilty)
        assert await text(innocent) == "2"
        assert bench.reasons == [DIED, DIED]


async def test_the_log_of_a_dead_thread_holds_no_word_of_its_error():
    dying = willing(answer=raising(13, error=SystemExit))
    with structlog.testing.capture_logs() as logs:
        async with running(dying, reopens=willing) as bench:
            await bench.ask(13)
    assert [(log["event"], log.get("error")) for log in logs] == [
        ("engine thread died", "SystemExit"),
        ("engine restarts", None),
    ]


# --- two workers, of which one is at fault ---


async def test_a_batch_beside_the_one_that_hung_is_decoded_again_too():
    async with running(HeldRecognizer(n_workers=2), reopens=willing) as bench:
        hung = await bench.occupied()
        bench.clock.move(LIMIT_S * 0.9)
        beside = bench.ask(2)
        await bench.engine.begin()
        bench.clock.move(LIMIT_S * 0.2)
        assert [await text(hung), await text(beside)] == ["1", "2"]


async def test_what_was_decoded_beside_a_thread_that_died_is_not_blamed_for_it():
    is_decoded, may_end = threading.Event(), threading.Event()

    def kill_while_another_is_decoded(n_samples: int) -> None:
        if n_samples == 13:
            assert is_decoded.wait(10)
            raise SystemExit
        is_decoded.set()
        assert may_end.wait(10)

    engines = iter([willing(n_workers=2, answer=kill_while_another_is_decoded), willing()])
    first = HeldRecognizer(answer=raising(13, error=SystemExit))
    async with running(first, reopens=lambda: next(engines)) as bench:
        await bench.occupied()
        guilty, innocent = bench.ask(13), bench.ask(2)  # in one batch, which kills the thread
        first.may_work.release(2)
        assert await failed(guilty)
        may_end.set()
        assert await text(innocent) == "2"


async def test_a_newer_request_beside_an_older_one_in_a_hung_engine_is_the_one_that_is_answered():
    async with running(HeldRecognizer(n_workers=2), reopens=willing) as bench:
        old = bench.ask(2, name="a")
        await bench.engine.begin()
        new = bench.ask(3, name="a")
        await bench.engine.begin()
        bench.clock.move(LIMIT_S * 1.01)
        await bench.opened.get()
        await asyncio.wait([old, new])
        assert not new.cancelled()
        assert new.result().text == "3"


# --- reopening ---


async def test_it_is_full_while_the_engine_is_opened_again():
    async with running(reopens=willing) as bench:
        bench.may_reopen.clear()
        hung = await bench.occupied()
        assert not bench.scheduler.is_full
        bench.clock.move(LIMIT_S * 1.01)
        await bench.reopening.wait()
        assert bench.scheduler.is_full
        bench.may_reopen.set()
        await hung
        assert not bench.scheduler.is_full


async def test_what_is_asked_for_while_the_engine_is_opened_again_is_decoded_afterwards():
    async with running(reopens=willing) as bench:
        bench.may_reopen.clear()
        await bench.occupied()
        bench.clock.move(LIMIT_S * 1.01)
        await bench.reopening.wait()
        asked = bench.ask(2)
        bench.may_reopen.set()
        assert await text(asked) == "2"


async def test_the_next_engine_is_given_up_too_when_it_hangs():
    async with running(reopens=HeldRecognizer) as bench:
        for _ in range(3):
            await bench.occupied()
            bench.clock.move(LIMIT_S * 1.01)
            bench.engine = await bench.opened.get()
            bench.engine.may_work.release()
            await bench.engine.begin()
        assert bench.reasons == [HUNG] * 3


async def test_an_engine_that_cannot_be_opened_again_ends_the_scheduler_and_settles_everything():
    bench = Bench(HeldRecognizer(), SchedulerSettings(LIMIT_S), reopens=never)
    futures = [bench.ask(size, urgency) for size, urgency in enumerate(Urgency, 1)]

    async def hang():
        await bench.engine.begin()
        futures.append(bench.ask(9))
        bench.clock.move(LIMIT_S * 1.01)

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(hang())
        with pytest.raises(OSError, match="the weights are gone"):
            await bench.scheduler.run()
    assert [await failed(future) for future in futures] == [True] * 4
    assert await failed(bench.ask(9))
    bench.engine.may_work.release()


async def test_stopping_while_the_engine_is_opened_again_settles_everything():
    async with running(reopens=willing) as bench:
        bench.may_reopen.clear()
        begun = await bench.occupied()
        bench.clock.move(LIMIT_S * 1.01)
        await bench.reopening.wait()
        waiting = bench.ask(2)
    assert await failed(begun)
    assert await failed(waiting)
    assert bench.engines == [bench.engine]
