"""Requests of many sessions in, each one's own answer out: order, batches, and what raises."""

import asyncio
import weakref

import pytest
import structlog

from server.backlog import BacklogSettings
from server.recognition import Hypothesis, Urgency
from server.scheduler import Key, SchedulerSettings
from tests.server.held import (  # noqa: F401 (the fixture is found by its name)
    FINAL,
    LIKELY,
    PARTIAL,
    Bench,
    HeldRecognizer,
    failed,
    no_thread_is_left,
    raising,
    running,
    text,
    utterance,
)

ONE_BY_ONE = BacklogSettings(most_utterances=1)


# --- one engine ---


async def test_finals_come_before_likely_ones_and_those_before_partials():
    async with running(limits=ONE_BY_ONE) as bench:
        waiting = [await bench.occupied()]
        for size, urgency in ((2, PARTIAL), (3, LIKELY), (4, FINAL), (5, PARTIAL), (6, FINAL)):
            waiting.append(bench.ask(size, urgency))
        bench.engine.may_work.release(10)
        assert [await text(future) for future in waiting] == ["1", "2", "3", "4", "5", "6"]
        assert bench.engine.order == [1, 4, 6, 3, 2, 5]


async def test_what_waits_together_is_decoded_together():
    async with running() as bench:
        await bench.occupied()
        waiting = [bench.ask(size) for size in (2, 3, 4)]
        bench.engine.may_work.release(2)
        assert [await text(future) for future in waiting] == ["2", "3", "4"]
        assert bench.engine.batches == [[1], [2, 3, 4]]


async def test_a_newer_request_for_a_segment_replaces_one_that_has_not_begun():
    async with running(limits=ONE_BY_ONE) as bench:
        begun = bench.ask(1, PARTIAL, name="a")
        await bench.engine.begin()
        old = bench.ask(2, PARTIAL, name="a")
        other = bench.ask(3, PARTIAL, name="b")
        new = bench.ask(4, PARTIAL, name="a")
        bench.engine.may_work.release(10)
        assert [await text(future) for future in (begun, other, new)] == ["1", "3", "4"]
        assert old.cancelled()
        assert bench.engine.order == [1, 4, 3]


@pytest.mark.parametrize("urgency", Urgency)
async def test_a_request_that_was_taken_back_is_not_worked_on(urgency):
    async with running(limits=ONE_BY_ONE) as bench:
        await bench.occupied()
        taken_back = bench.ask(2, urgency)
        last = bench.ask(3, urgency)
        taken_back.cancel()
        await asyncio.sleep(0)
        bench.engine.may_work.release(10)
        assert await text(last) == "3"
        assert bench.engine.order == [1, 3]


async def test_a_request_that_was_taken_back_while_it_was_worked_on_harms_nobody():
    async with running() as bench:
        (await bench.occupied()).cancel()
        last = bench.ask(2)
        bench.engine.may_work.release(10)
        assert await text(last) == "2"


async def test_what_became_final_is_decoded_as_one_and_before_what_is_only_likely():
    async with running(limits=ONE_BY_ONE) as bench:
        await bench.occupied()
        waiting = [bench.ask(2, LIKELY), bench.ask(3, LIKELY)]
        bench.scheduler.reprioritise(Key("alice", "3", 0), FINAL)
        bench.engine.may_work.release(10)
        assert [await text(future) for future in waiting] == ["2", "3"]
        assert bench.engine.order == [1, 3, 2]


async def test_what_became_final_does_not_wait_for_the_partials_budget():
    engine = HeldRecognizer()
    async with running(engine, batch_limit_s=1e9) as bench:
        engine.answer = lambda _: bench.clock.move(1e6)
        engine.may_work.release(10)
        await bench.ask(1, PARTIAL)
        starved = bench.ask(2, PARTIAL)
        await asyncio.sleep(0.01)
        assert not starved.done()
        bench.scheduler.reprioritise(Key("alice", "2", 0), FINAL)
        assert await text(starved) == "2"


async def test_a_starved_partial_is_decoded_when_its_budget_has_refilled():
    engine = HeldRecognizer()
    async with running(engine, batch_limit_s=1e9) as bench:
        engine.answer = lambda _: bench.clock.move(0.16)  # 0.01 s more than there is
        engine.may_work.release(10)
        await bench.ask(1, PARTIAL)
        starved = bench.ask(2, PARTIAL)
        bench.clock.move(0.1)
        assert await text(starved) == "2"


async def test_every_one_of_many_gets_its_own_answer():
    async with running() as bench:
        bench.engine.may_work.release(1000)
        futures = [bench.ask(size) for size in range(20, 70)]
        assert [await text(future) for future in futures] == [str(size) for size in range(20, 70)]


async def test_audio_that_nobody_waits_for_is_let_go_though_finals_overtake_it():
    async with running() as bench:
        await bench.occupied()
        spoken = utterance(2, PARTIAL)
        audio = weakref.ref(spoken.samples)
        bench.scheduler.submit(Key("alice", "b", 0), spoken, PARTIAL).cancel()
        del spoken
        bench.ask(3)
        await asyncio.sleep(0)
        assert audio() is None


# --- the door ---


async def test_it_is_full_when_a_new_final_would_wait_too_long():
    async with running(limits=BacklogSettings(most_wait_s=0.03)) as bench:
        await bench.occupied()
        fits = bench.ask(48_000)
        assert not bench.scheduler.is_full
        bench.ask(32_000)
        assert bench.scheduler.is_full
        fits.cancel()
        await asyncio.sleep(0)
        assert not bench.scheduler.is_full


async def test_it_is_full_before_it_runs_and_after():
    bench = Bench(HeldRecognizer(), SchedulerSettings())
    assert bench.scheduler.is_full
    async with running() as bench:
        await bench.occupied()
        assert not bench.scheduler.is_full
    assert bench.scheduler.is_full


# --- two batches at once ---


async def test_two_workers_run_two_batches_at_once():
    async with running(HeldRecognizer(n_workers=2)) as bench:
        first = await bench.occupied()
        second = bench.ask(2)
        await bench.engine.begin()
        assert not first.done()
        bench.engine.may_work.release(2)
        assert [await text(first), await text(second)] == ["1", "2"]
        assert sorted(bench.engine.batches) == [[1], [2]]


async def test_one_worker_runs_one_batch_at_a_time():
    async with running() as bench:
        await bench.occupied()
        bench.ask(2)
        assert not await asyncio.to_thread(bench.engine.has_begun.acquire, timeout=0.05)


# --- an engine that raises ---


async def test_an_engine_that_raises_fails_one_request_and_works_on():
    async with running(HeldRecognizer(answer=raising(13))) as bench:
        bench.engine.may_work.release(10)
        failing = bench.ask(13)
        assert await failed(failing)
        assert str(failing.exception()) == ""
        assert failing.exception().__context__ is None
        assert await text(bench.ask(5)) == "5"


@pytest.mark.parametrize("urgency", [FINAL, LIKELY])
async def test_of_a_batch_that_raises_only_the_guilty_one_fails(urgency):
    async with running(HeldRecognizer(answer=raising(13))) as bench:
        await bench.occupied()
        innocent = [bench.ask(2, urgency), bench.ask(3, urgency)]
        guilty = bench.ask(13, urgency)
        bench.engine.may_work.release(10)
        assert await failed(guilty)
        assert [await text(future) for future in innocent] == ["2", "3"]
        assert bench.engine.batches == [[1], [2, 3, 13], [2], [3], [13]]
        assert bench.reasons == []


async def test_what_failed_by_itself_is_not_tried_again():
    async with running(HeldRecognizer(answer=raising(13))) as bench:
        bench.engine.may_work.release(10)
        assert await failed(bench.ask(13))
        assert await text(bench.ask(2)) == "2"
        assert bench.engine.batches == [[13], [2]]


async def test_partials_that_failed_are_not_tried_again():
    async with running(HeldRecognizer(answer=raising(13))) as bench:
        await bench.occupied()
        partials = [bench.ask(2, PARTIAL), bench.ask(13, PARTIAL)]
        bench.engine.may_work.release(10)
        assert [await failed(future) for future in partials] == [True, True]
        assert bench.engine.batches == [[1], [2, 13]]


async def test_what_was_taken_back_from_a_batch_that_failed_is_not_tried_again():
    async with running(HeldRecognizer(answer=raising(13))) as bench:
        await bench.occupied()
        taken_back, guilty = bench.ask(2), bench.ask(13)
        bench.engine.may_work.release(1)
        await bench.engine.begin()
        taken_back.cancel()
        await asyncio.sleep(0)
        bench.engine.may_work.release(10)
        assert await failed(guilty)
        assert bench.engine.batches == [[1], [2, 13], [13]]


async def test_what_failed_is_not_tried_again_when_a_newer_request_waits():
    pairs = BacklogSettings(most_utterances=2)
    async with running(HeldRecognizer(answer=raising(13)), pairs) as bench:
        await bench.occupied()
        old, guilty = bench.ask(2, name="a"), bench.ask(13)
        bench.engine.may_work.release(1)
        await bench.engine.begin()
        others = [bench.ask(5), bench.ask(6)]
        new = bench.ask(4, name="a")
        bench.engine.may_work.release(1)
        await bench.engine.begin()
        await asyncio.wait([old])
        assert old.cancelled()
        bench.engine.may_work.release(10)
        assert await failed(guilty)
        assert [await text(future) for future in (*others, new)] == ["5", "6", "4"]


async def test_a_newer_request_that_fails_too_is_the_one_that_is_tried_again():
    pairs = BacklogSettings(most_utterances=2)
    async with running(HeldRecognizer(answer=raising(13, 14)), pairs) as bench:
        await bench.occupied()
        old, guilty = bench.ask(2, name="a"), bench.ask(13)
        bench.engine.may_work.release()
        await bench.engine.begin()
        new, guilty_too, last = bench.ask(3, name="a"), bench.ask(14), bench.ask(5)
        for _ in range(2):  # both batches fail before the loop learns of the first
            bench.engine.may_work.release()
            assert bench.engine.has_begun.acquire(timeout=10)
        bench.engine.may_work.release(10)
        assert [await failed(guilty), await failed(guilty_too)] == [True, True]
        await asyncio.wait([old, new, last])
        assert not new.cancelled()
        assert new.result().text == "3"
        assert old.cancelled()


async def test_what_became_final_in_a_batch_that_fails_is_tried_again_as_a_final():
    pairs = BacklogSettings(most_utterances=2)
    async with running(HeldRecognizer(answer=raising(13)), pairs) as bench:
        await bench.occupied()
        hurried, guilty = bench.ask(2, LIKELY), bench.ask(13, LIKELY)
        bench.engine.may_work.release(1)
        await bench.engine.begin()
        bench.scheduler.reprioritise(Key("alice", "2", 0), FINAL)
        likely = [bench.ask(size, LIKELY) for size in (4, 5, 6, 7)]
        bench.engine.may_work.release(1)
        await bench.engine.begin()
        await asyncio.sleep(0.01)
        bench.engine.may_work.release(10)
        assert await failed(guilty)
        assert [await text(future) for future in (hurried, *likely)] == ["2", "4", "5", "6", "7"]
        assert bench.engine.batches.index([2]) < bench.engine.batches.index([6, 7])


@pytest.mark.parametrize("n_hypotheses", [0, 1, 3])
async def test_an_engine_that_returns_another_number_of_hypotheses_has_failed(n_hypotheses):
    class Miscounting(HeldRecognizer):
        def transcribe(self, batch):
            heard = super().transcribe(batch)
            return heard if len(batch) == 1 else [Hypothesis("whose?")] * n_hypotheses

    async with running(Miscounting()) as bench:
        await bench.occupied()
        pair = [bench.ask(2), bench.ask(3)]
        bench.engine.may_work.release(10)
        assert [await text(future) for future in pair] == ["2", "3"]
        assert bench.engine.batches == [[1], [2, 3], [2], [3]]


async def test_no_word_of_the_engines_error_is_logged():
    with structlog.testing.capture_logs() as logs:
        async with running(HeldRecognizer(answer=raising(13))) as bench:
            bench.engine.may_work.release(10)
            assert await failed(bench.ask(13))
    assert logs == [{"event": "engine failed", "error": "RuntimeError", "log_level": "error"}]


# --- for whoever watches ---


async def test_an_engine_is_there_while_its_threads_run():
    async with running() as bench:
        await bench.occupied()
        scheduler = bench.scheduler
        assert scheduler.has_engine
        bench.ask(2)
        assert scheduler.load.n_waiting == {FINAL: 1, LIKELY: 0, PARTIAL: 0}
        assert not scheduler.load.is_full
    assert not scheduler.has_engine
    assert scheduler.load.is_full


async def test_each_batch_is_told_with_its_audio_and_its_work():
    async with running() as bench:
        bench.engine.may_work.release(10)
        await text(bench.ask(3))
        await text(bench.ask(1, PARTIAL))
        figures = bench.scheduler._figures
        assert [sum(figures.decode_s[is_final].counts) for is_final in (True, False)] == [1, 1]
        assert figures.decoded_samples[True] == utterance(3, FINAL).samples.size
