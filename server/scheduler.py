"""Utterances of many sessions in, a hypothesis for each out, from threads that own the engine.

What is decoded next is the backlog's to say; this file brings it the clock, the threads and the
futures. Every future is settled: with a hypothesis; with `EngineFailedError` when the engine
raised or the server stops; or cancelled when a newer request took its place or its session has
gone. A batch that fails is decoded again, each final by itself, so that one session's audio cannot
take another's words. An engine that hangs beyond its time, or whose thread dies, is let go and
opened again, and its finals are decoded once more; where it cannot be opened, `run` raises and the
server ends.
"""

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Annotated

import structlog
from annotated_types import Gt

from server.backlog import Backlog, BacklogSettings, Key, Request
from server.figures import Figures
from server.recognition import Hypothesis, Recognizer, Urgency, Utterance

_log = structlog.get_logger()
_WATCH_S = 0.5
HUNG = "hung"
DIED = "died"


class EngineFailedError(Exception):
    """The engine raised; its own error stays in the log, without the audio or the text."""


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How much is decoded at a time, when it is too much, and when the engine is given up."""

    batch_limit_s: Annotated[float, Gt(0)] = 30.0
    """One batch in the engine; then it counts as hung and is opened again."""
    backlog: BacklogSettings = field(default_factory=BacklogSettings)


Outcome = list[Hypothesis] | EngineFailedError
Reopen = Callable[[str], Awaitable[Recognizer]]
"""Opens the engine again, for `HUNG` or `DIED`; what it raises ends the scheduler."""
Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Load:
    """What the engine has to do now."""

    n_waiting: dict[Urgency, int]
    expected_wait_s: float
    """Of a new final."""
    final_share: float
    """Of the engine's time, 0 to 1, that finals have taken lately."""
    is_full: bool


@dataclass(slots=True, eq=False)
class _Worker:
    """One thread. Let go, it answers for nothing any more and ends as soon as it can."""

    engine: Recognizer
    batch: list[Request] = field(default_factory=list)
    begun_s: float = 0.0
    is_let_go: bool = False
    has_died: bool = False


class Scheduler:
    """One for the process; `run` inside the application's task group, the rest from any task of
    the loop.
    """

    def __init__(
        self,
        engine: Recognizer,
        settings: SchedulerSettings,
        reopen: Reopen,
        clock: Clock,
        figures: Figures | None = None,
    ) -> None:
        """`clock` is monotonic, in seconds, and is read from the threads too."""
        self._figures = figures or Figures()
        self._engine = engine
        self._settings = settings
        self._reopen = reopen
        self._clock = clock
        self._backlog = Backlog(settings.backlog, engine.n_workers, engine.most_utterances)
        self._futures: dict[int, asyncio.Future[Hypothesis]] = {}
        self._workers: list[_Worker] = []
        self._numbers = itertools.count()
        self._wakes = threading.Condition()
        self._is_stopping = False

    @property
    def is_full(self) -> bool:
        """Whether another session would break what was promised to those that run."""
        with self._wakes:
            return not self._workers or self._backlog.is_full(self._clock())

    @property
    def has_engine(self) -> bool:
        """Whether it is open, and neither given up nor being opened again."""
        return bool(self._workers)

    @property
    def load(self) -> Load:
        """For whoever watches."""
        with self._wakes:
            now_s, backlog = self._clock(), self._backlog
            return Load(
                backlog.n_waiting,
                backlog.expected_wait_s(),
                backlog.final_share(now_s),
                not self._workers or backlog.is_full(now_s),
            )

    def submit(
        self, key: Key, utterance: Utterance, urgency: Urgency
    ) -> asyncio.Future[Hypothesis]:
        """Ask for a hypothesis; cancel the future to take it back."""
        future: asyncio.Future[Hypothesis] = asyncio.get_running_loop().create_future()
        if self._is_stopping:
            future.set_exception(EngineFailedError())
            return future
        request = Request(next(self._numbers), key, utterance, urgency, asked_s=self._clock())
        self._futures[request.number] = future
        future.add_done_callback(lambda _: self._forget(request))
        with self._wakes:
            replaced = self._backlog.add(request)
            self._wakes.notify()
        if replaced is not None:
            self._futures[replaced.number].cancel()
        return future

    def reprioritise(self, key: Key, urgency: Urgency) -> None:
        """What waits under `key` has become more urgent, or less; what has begun goes on."""
        with self._wakes:
            self._backlog.reprioritise(key, urgency)
            for worker in self._workers:  # should it fail, it is tried again as that
                worker.batch[:] = [
                    replace(request, urgency=urgency) if request.key == key else request
                    for request in worker.batch
                ]
            self._wakes.notify()

    async def run(self) -> None:
        """Work until cancelled. What then waits fails, and so does what is in the engine."""
        self._begin()
        try:
            while True:
                await asyncio.sleep(min(_WATCH_S, self._settings.batch_limit_s / 4))
                fault = self._fault()
                if fault is not None:
                    _log.error("engine restarts", reason=fault)
                    self._let_go()
                    self._engine = await self._reopen(fault)
                    self._begin()
        finally:
            self._is_stopping = True
            self._let_go()
            with self._wakes:
                self._backlog.drain()
            for future in list(self._futures.values()):
                _fail(future)

    # --- of the loop ---

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        self._workers = [_Worker(self._engine) for _ in range(self._engine.n_workers)]
        for worker in self._workers:
            threading.Thread(
                target=self._work, args=(worker, loop), name="engine", daemon=True
            ).start()

    def _let_go(self) -> None:
        """Answer for the workers' batches ourselves."""
        with self._wakes:
            workers, self._workers = self._workers, []
            to_blame = [worker for worker in workers if self._fault_of(worker) is not None]
            for worker in workers:
                worker.is_let_go = True
            self._wakes.notify_all()
        for worker in workers:
            self._again(worker.batch, is_to_blame=worker in to_blame)

    def _fault(self) -> str | None:
        with self._wakes:
            faults = [self._fault_of(worker) for worker in self._workers]
        return next((fault for fault in faults if fault is not None), None)

    def _fault_of(self, worker: _Worker) -> str | None:
        if worker.has_died:
            return DIED
        is_hung = self._clock() - worker.begun_s > self._settings.batch_limit_s
        return HUNG if worker.batch and is_hung else None

    def _forget(self, request: Request) -> None:
        del self._futures[request.number]
        with self._wakes:
            self._backlog.remove(request)

    def _settle(self, batch: list[Request], outcome: Outcome) -> None:
        if isinstance(outcome, EngineFailedError):
            self._again(batch, is_alone=len(batch) == 1)
            return
        for request, hypothesis in zip(batch, outcome, strict=True):
            future = self._futures.get(request.number)
            if future is not None and not future.done():
                future.set_result(hypothesis)

    def _again(
        self, batch: list[Request], *, is_to_blame: bool = True, is_alone: bool = False
    ) -> None:
        """Give every final one more chance, by itself; `is_alone`: this was it. A batch that is not
        to blame waits again as it was.
        """
        for request in batch:
            future = self._futures.get(request.number)
            if future is None:
                continue
            has_chance = request.urgency is not Urgency.PARTIAL and not request.is_alone
            if is_alone or self._is_stopping or (is_to_blame and not has_chance):
                _fail(future)
                continue
            is_final = request.urgency is not Urgency.PARTIAL
            again = replace(
                request,
                utterance=replace(request.utterance, is_final=is_final),
                is_alone=request.is_alone or is_to_blame,
            )
            with self._wakes:
                is_outdated = self._backlog.holds(request.key, newer_than=request.number)
                replaced = None if is_outdated else self._backlog.add(again)
                self._wakes.notify()
            if is_outdated:
                future.cancel()
            elif replaced is not None:
                self._futures[replaced.number].cancel()

    # --- of the threads ---

    def _work(self, worker: _Worker, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while batch := self._take(worker):
                outcome = _transcribe(worker.engine, [request.utterance for request in batch])
                if not self._finish(worker):
                    return
                with suppress(RuntimeError):  # the loop was closed while the engine worked
                    loop.call_soon_threadsafe(self._settle, batch, outcome)
        except BaseException as error:  # noqa: BLE001 - whatever ended the thread, its sessions wait
            _log.error("engine thread died", error=type(error).__name__)
            worker.has_died = True

    def _take(self, worker: _Worker) -> list[Request]:
        with self._wakes:
            while not worker.is_let_go:
                now_s = self._clock()
                worker.batch = self._backlog.take(now_s)
                worker.begun_s = now_s
                if worker.batch:
                    return worker.batch
                next_s = self._backlog.next_s(now_s)
                self._wakes.wait(None if next_s is None else max(next_s - now_s, 0.001))
        return []

    def _finish(self, worker: _Worker) -> bool:
        with self._wakes:
            if worker.is_let_go:
                return False
            now_s = self._clock()
            took_s = now_s - worker.begun_s
            self._backlog.finish(worker.batch, took_s, now_s)
            heard = [request.utterance for request in worker.batch]
            n_samples = sum(utterance.samples.size for utterance in heard)
            self._figures.receive_batch(len(heard), n_samples, took_s, is_final=heard[0].is_final)
            worker.batch = []
            return True


def _transcribe(engine: Recognizer, utterances: list[Utterance]) -> Outcome:
    try:
        hypotheses = engine.transcribe(utterances)
    except Exception as error:  # noqa: BLE001 - one bad batch must not end the worker; the type alone is logged
        _log.error("engine failed", error=type(error).__name__)
        return EngineFailedError()
    return hypotheses if len(hypotheses) == len(utterances) else EngineFailedError()


def _fail(future: asyncio.Future[Hypothesis]) -> None:
    if not future.done():
        future.set_exception(EngineFailedError())
