"""Two sessions in one batch never see each other's words, whatever arrives, dies and fails.

Real threads, a manual clock, and an engine that answers each utterance with the name that is
written into its samples.
"""

import asyncio
import random
import threading
import time
from dataclasses import dataclass, field
from enum import Enum, auto

import numpy as np
import pytest
import structlog

from server.backlog import BacklogSettings
from server.recognition import Hypothesis, Urgency, Utterance
from server.scheduler import EngineFailedError, Key, Scheduler, SchedulerSettings
from tests.fakes import MODEL, ManualClock

N_RUNS = 1000
"""Of each of the tests below."""
N_STEPS = 50
N_SESSIONS = 8
LIMIT_S = 0.004
STEP_S = LIMIT_S / N_STEPS / 2
"""The steps of a run together are shorter than what counts as hung."""
SUBJECTS = ("alice", "bob", "carol")


class Deed(Enum):
    """What an utterance does to the engine that hears it."""

    RAISE = auto()
    MISCOUNT = auto()
    DIE = auto()
    HANG = auto()
    DAWDLE = auto()
    """Takes longer than the scheduler takes to look; no harm in that."""


@dataclass(eq=False)
class Asked:
    """One request, and what may become of it."""

    number: int
    key: Key
    future: asyncio.Future[Hypothesis]
    is_guilty: bool
    was_partial: bool
    is_taken_back: bool = False
    is_outdated: bool = False
    may_fail: bool = False

    def check(self) -> None:
        assert self.future.done(), "never settled"
        if self.future.cancelled():
            assert self.is_taken_back or self.is_outdated, "lost"
        elif self.future.exception() is None:
            assert self.future.result().text == f"{self.key.session_id}:{self.number}"
        else:
            assert isinstance(self.future.exception(), EngineFailedError)
            assert self.is_guilty or self.was_partial or self.may_fail, "blamed"


@dataclass(eq=False)
class Engine:
    """Hears whose audio it is, and does what the audio makes it do."""

    n_workers: int
    deeds: dict[int, list[Deed]]
    """By request; each is done once."""
    card = MODEL
    most_utterances = 8
    may_end: threading.Event = field(default_factory=threading.Event)
    hung: list[set[int]] = field(default_factory=list)
    """The requests of each batch that hangs."""
    n_shared: int = 0
    """Batches of several sessions."""

    def transcribe(self, batch):
        heard = [tuple(map(int, utterance.samples[:2])) for utterance in batch]
        numbers = [number for _, number in heard]
        self.n_shared += len({session for session, _ in heard}) > 1
        answers = [Hypothesis(f"{session}:{number}") for session, number in heard]
        for deed in [self.deeds[number].pop() for number in numbers if self.deeds[number]]:
            match deed:
                case Deed.RAISE:
                    raise RuntimeError
                case Deed.MISCOUNT:
                    answers = answers[1:]
                case Deed.DIE:
                    raise SystemExit
                case Deed.DAWDLE:
                    time.sleep(LIMIT_S)
                case Deed.HANG:
                    self.hung.append(set(numbers))
                    assert self.may_end.wait(30)
        return answers


class Run:
    """Fifty things that happen to a scheduler."""

    def __init__(self, seed: int, n_workers: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 (a seed, to be played again)
        self.clock = ManualClock()
        self.deeds: dict[int, list[Deed]] = {}
        self.engines = [Engine(n_workers, self.deeds)]
        limits = BacklogSettings(
            most_utterances=self.dice.randint(1, 8),
            final_batch_s=self.dice.choice([0.05, 0.4]),
            partial_batch_s=self.dice.choice([0.05, 10.0]),
        )
        settings = SchedulerSettings(LIMIT_S, limits)
        self.scheduler = Scheduler(self.engines[0], settings, self.reopen, self.clock)
        self.reopens_badly = self.dice.random() < 0.1
        self.asked: list[Asked] = []
        self.sessions = list(range(N_SESSIONS))
        self.has_ended = False

    async def reopen(self, reason: str) -> Engine:
        if self.dice.random() < 0.5:
            self.engines[-1].may_end.set()  # its late answers come while the next one works
        if self.reopens_badly and self.dice.random() < 0.5:
            self.end()
            raise OSError(reason)
        await asyncio.sleep(0)
        self.engines.append(Engine(self.engines[0].n_workers, self.deeds))
        return self.engines[-1]

    # --- what happens ---

    def step(self) -> None:
        happening = self.dice.choices(
            [self.ask, self.take_back, self.hurry, self.die, self.pass_time],
            [60, 8, 16, 4, 12],
        )
        happening[0]()

    def key(self) -> Key:
        session = self.dice.choice(self.sessions)
        return Key(SUBJECTS[session % 3], str(session), self.dice.randrange(2))

    def ask(self) -> None:
        key, urgency, number = self.key(), self.dice.choice(list(Urgency)), len(self.asked)
        deeds = self.dice.choices(
            [[], [Deed.DAWDLE], [self.dice.choice(list(Deed))] * self.dice.randint(1, 3)],
            [85, 5, 10],
        )[0]
        self.deeds[number] = list(deeds)
        samples = np.zeros(self.dice.choice([2, 400, 80_000]), np.float32)
        samples[:2] = int(key.session_id), number
        future = self.scheduler.submit(
            key, Utterance(samples, urgency is not Urgency.PARTIAL), urgency
        )
        for asked in self.asked:
            asked.is_outdated |= asked.key == key
        is_guilty = bool(set(deeds) - {Deed.DAWDLE})
        is_partial = urgency is Urgency.PARTIAL
        self.asked.append(
            Asked(number, key, future, is_guilty, is_partial, may_fail=self.has_ended)
        )

    def take_back(self) -> None:
        if self.asked:
            asked = self.dice.choice(self.asked[-10:])
            asked.is_taken_back |= asked.future.cancel()

    def hurry(self) -> None:
        key, urgency = self.key(), self.dice.choice(list(Urgency))
        self.scheduler.reprioritise(key, urgency)
        for asked in self.asked:
            asked.was_partial |= asked.key == key and urgency is Urgency.PARTIAL

    def die(self) -> None:
        """A session goes, and another comes."""
        place = self.dice.randrange(N_SESSIONS)
        for asked in self.asked:
            if asked.key.session_id == str(self.sessions[place]):
                asked.is_taken_back |= asked.future.cancel()
        self.sessions[place] = max(self.sessions) + 1

    def pass_time(self) -> None:
        self.clock.move(STEP_S)

    # --- what the clock does to an engine that hangs ---

    @property
    def waiting(self) -> list[Asked]:
        return [asked for asked in self.asked if not asked.future.done()]

    def give_up_on_hung(self) -> None:
        """Lets time run out for an engine in which nobody innocent is being decoded."""
        engine = self.engines[-1]
        hung = set().union(*engine.hung)
        others = [asked for asked in self.waiting if asked.number not in hung]
        if hung and (
            len(engine.hung) == engine.n_workers or all(asked.was_partial for asked in others)
        ):
            self.clock.move(LIMIT_S * 1.1)

    async def play(self) -> None:
        """Every step, then until nothing but partials waits, or at once to the end."""
        ends_early = self.dice.random() < 0.2
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(self.run())
            for _ in range(N_STEPS):
                self.step()
                if self.dice.random() < 0.5:
                    await asyncio.sleep(0)
                    self.give_up_on_hung()
            while not (ends_early or running.done()):
                if all(asked.was_partial for asked in self.waiting):
                    break
                self.give_up_on_hung()
                await asyncio.sleep(0.0005)
            self.end()
            running.cancel()
        await asyncio.sleep(0)
        for engine in self.engines:
            engine.may_end.set()
        await asyncio.sleep(0)

    async def run(self) -> None:
        try:
            await self.scheduler.run()
        except OSError:
            assert self.reopens_badly

    def end(self) -> None:
        """What waits now may fail, and what is asked for from now on."""
        self.has_ended = True
        for asked in self.waiting:
            asked.may_fail = True


async def play_all(n_workers: int) -> list[Run]:
    runs = []
    with structlog.testing.capture_logs():
        for seed in range(N_RUNS):
            run = Run(seed, n_workers)
            await run.play()
            for asked in run.asked:
                asked.check()
            runs.append(run)
    return runs


@pytest.mark.parametrize("n_workers", [1, 2])
async def test_every_request_is_settled_with_its_own_words_or_for_its_own_fault(n_workers):
    runs = await play_all(n_workers)
    assert len(runs) == N_RUNS
    engines = [engine for run in runs for engine in run.engines]
    assert len(engines) > 1.2 * N_RUNS, "too few restarts to show anything"
    assert sum(engine.n_shared for engine in engines) > N_RUNS, "too few batches of several"
