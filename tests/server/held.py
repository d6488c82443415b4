"""A scheduler that runs, with engines that work only while a test lets them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from server.backlog import BacklogSettings
from server.recognition import Hypothesis, Urgency, Utterance
from server.scheduler import EngineFailedError, Key, Scheduler, SchedulerSettings
from tests.fakes import MODEL, ManualClock

FINAL, LIKELY, PARTIAL = Urgency.FINAL, Urgency.LIKELY, Urgency.PARTIAL
LIMIT_S = 0.02
"""Of a manual clock, which no test waits for; it is also looked at four times as often."""


@dataclass
class HeldRecognizer:
    """Works only while it is let, and names what it heard by the number of its samples."""

    n_workers: int = 1
    card = MODEL
    most_utterances = 8
    answer: Callable[[int], None] = lambda n_samples: None
    """What happens when an utterance of so many samples is heard; may raise."""
    may_work: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    has_begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    batches: list[list[int]] = field(default_factory=list)
    """Sizes, of those it was let work on."""

    def transcribe(self, batch):
        self.has_begun.release()
        assert self.may_work.acquire(timeout=10)
        sizes = [utterance.samples.size for utterance in batch]
        self.batches.append(sizes)
        for size in sizes:
            self.answer(size)
        return [Hypothesis(str(size)) for size in sizes]

    async def begin(self):
        assert await asyncio.to_thread(self.has_begun.acquire, timeout=10)

    @property
    def order(self):
        return [size for sizes in self.batches for size in sizes]


def raising(*guilty: int, error: type[BaseException] = RuntimeError) -> Callable[[int], None]:
    def answer(n_samples: int) -> None:
        if n_samples in guilty:
            raise error("heard: secret words")

    return answer


@dataclass
class Bench:
    """A scheduler that runs, its engines in the order in which they were opened, and its clock."""

    engine: HeldRecognizer
    settings: SchedulerSettings
    clock: ManualClock = field(default_factory=ManualClock)
    reasons: list[str] = field(default_factory=list)
    reopens: Callable[[], HeldRecognizer] = HeldRecognizer
    """Makes the engine that follows; may raise."""
    may_reopen: asyncio.Event = field(default_factory=asyncio.Event)
    engines: list[HeldRecognizer] = field(default_factory=list)
    opened: asyncio.Queue[HeldRecognizer] = field(default_factory=asyncio.Queue)
    """Those that followed the first."""
    reopening: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self):
        self.engines.append(self.engine)
        self.scheduler = Scheduler(self.engine, self.settings, self.reopen, self.clock)
        self.may_reopen.set()

    async def reopen(self, reason: str) -> HeldRecognizer:
        self.reasons.append(reason)
        self.reopening.set()
        await self.may_reopen.wait()
        engine = self.reopens()
        self.engines.append(engine)
        self.opened.put_nowait(engine)
        return engine

    def ask(
        self,
        n_samples: int,
        urgency: Urgency = FINAL,
        *,
        name: str | None = None,
        subject: str = "alice",
    ) -> asyncio.Future[Hypothesis]:
        key = Key(subject, name or str(n_samples), 0)
        return self.scheduler.submit(key, utterance(n_samples, urgency), urgency)

    async def occupied(self) -> asyncio.Future[Hypothesis]:
        """What is asked for next waits, since the engine works."""
        future = self.ask(1)
        await self.engine.begin()
        return future


def utterance(n_samples: int, urgency: Urgency = FINAL) -> Utterance:
    return Utterance(np.zeros(n_samples, np.float32), urgency is not PARTIAL)


async def failed(future: asyncio.Future[Hypothesis]) -> bool:
    await asyncio.wait([future])
    return not future.cancelled() and isinstance(future.exception(), EngineFailedError)


async def text(future: asyncio.Future[Hypothesis]) -> str:
    return (await future).text


@asynccontextmanager
async def running(
    engine: HeldRecognizer | None = None,
    limits: BacklogSettings | None = None,
    *,
    batch_limit_s: float = LIMIT_S,
    reopens: Callable[[], HeldRecognizer] = HeldRecognizer,
) -> AsyncIterator[Bench]:
    settings = SchedulerSettings(batch_limit_s, limits or BacklogSettings())
    bench = Bench(engine or HeldRecognizer(), settings, reopens=reopens)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(bench.scheduler.run())
        try:
            yield bench
        finally:
            task.cancel()
            await asyncio.wait([task])  # stopped first: the engine must not answer in between
            for opened in bench.engines:
                opened.may_work.release(1000)


_of_others: set[threading.Thread] = set()
"""That were there before the test began: of a server that lives as long as all tests."""


def engine_threads() -> list[threading.Thread]:
    """All that the test made; it leaves none behind."""
    engines = (thread for thread in threading.enumerate() if thread.name == "engine")
    return [thread for thread in engines if thread not in _of_others]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    _of_others.clear()
    _of_others.update(engine_threads())
    yield
    for thread in engine_threads():
        thread.join(10)
        assert not thread.is_alive()
