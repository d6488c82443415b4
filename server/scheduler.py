"""Utterances of many sessions in, a hypothesis for each out, from one thread that owns the engine.

Finals come before partials, and among equals first come, first served. A session's newer request
for the same segment replaces an older one that has not begun: nobody waits for a caption that is
already out of date. Every future is settled: with a hypothesis, with `EngineFailedError` when the
engine raised or the server stops, or cancelled when it was replaced or its session has gone. When
too much waits, `is_full` says so, and the door turns new sessions away.
"""

import asyncio
import heapq
import itertools
import threading
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from server.audio import SAMPLE_RATE_HZ
from server.recognition import Hypothesis, Recognizer, Utterance

_log = structlog.get_logger()


class EngineFailedError(Exception):
    """The engine raised; its own error stays in the log, without the audio or the text."""


class Key(NamedTuple):
    """Whose request it is; a newer one with the same key replaces it."""

    session_id: str
    segment: int


@dataclass(frozen=True, slots=True)
class SchedulerSettings:
    """How much may wait."""

    most_waiting_s: float = 120.0
    """Audio waiting for the engine before no new session is taken."""


@dataclass(order=True, slots=True)
class _Request:
    is_partial: bool
    number: int
    key: Key = field(compare=False)
    utterance: Utterance = field(compare=False)
    future: asyncio.Future[Hypothesis] = field(compare=False)


class Scheduler:
    """One for the process; `run` inside the application's task group, `submit` from any task of
    the loop.
    """

    def __init__(self, engine: Recognizer, settings: SchedulerSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._waiting: list[_Request] = []
        self._begun: _Request | None = None
        self._numbers = itertools.count()
        self._wakes = threading.Condition()
        self._is_stopping = False

    @property
    def is_full(self) -> bool:
        """Whether another session would break what was promised to those that run."""
        with self._wakes:
            n_samples = sum(r.utterance.samples.size for r in self._waiting if not r.future.done())
        return n_samples > self._settings.most_waiting_s * SAMPLE_RATE_HZ

    def submit(self, key: Key, utterance: Utterance) -> asyncio.Future[Hypothesis]:
        """Ask for a hypothesis; cancel the future to take it back."""
        future: asyncio.Future[Hypothesis] = asyncio.get_running_loop().create_future()
        request = _Request(not utterance.is_final, next(self._numbers), key, utterance, future)
        with self._wakes:
            if self._is_stopping:
                future.set_exception(EngineFailedError())
                return future
            self._drop_settled(but_for=key)
            heapq.heappush(self._waiting, request)
            self._wakes.notify()
        return future

    def _drop_settled(self, but_for: Key) -> None:
        """Nobody waits for these, and one that finals always overtake would keep its audio here."""
        for request in self._waiting:
            if request.key == but_for:
                request.future.cancel()
        self._waiting = [request for request in self._waiting if not request.future.done()]
        heapq.heapify(self._waiting)

    async def run(self) -> None:
        """Work until cancelled; what waits then fails, and what is in an engine that hangs."""
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._work, args=(loop,), name="engine", daemon=True)
        thread.start()
        try:
            await asyncio.Event().wait()
        finally:
            with self._wakes:
                self._is_stopping = True
                left, self._waiting = self._waiting, []
                if self._begun is not None:
                    left.append(self._begun)
                self._wakes.notify()
            for request in left:
                _settle(request.future, EngineFailedError())

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        while (request := self._take()) is not None:
            outcome = self._transcribe(request.utterance)
            try:
                loop.call_soon_threadsafe(_settle, request.future, outcome)
            except RuntimeError:  # the loop was closed while the engine worked
                return

    def _take(self) -> _Request | None:
        with self._wakes:
            self._begun = None
            while not self._is_stopping:
                while self._waiting:
                    request = heapq.heappop(self._waiting)
                    if not request.future.done():
                        self._begun = request
                        return request
                self._wakes.wait()
        return None

    def _transcribe(self, utterance: Utterance) -> Hypothesis | EngineFailedError:
        try:
            return self._engine.transcribe([utterance])[0]
        except Exception as error:  # noqa: BLE001 - one bad batch must not end the worker; the type alone is logged
            _log.error("engine failed", error=type(error).__name__)
            return EngineFailedError()


def _settle(future: asyncio.Future[Hypothesis], outcome: Hypothesis | EngineFailedError) -> None:
    if future.done():
        return
    if isinstance(outcome, EngineFailedError):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
