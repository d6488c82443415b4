"""Requests of many sessions in, batches for the engine out: who is decoded next, and with whom.

Three urgencies. Finals that a client waits for come first; then those that become final if a pause
lasts, which are worth the engine's free time and not its last; then partials, which get only what
the finals leave of it: under load their cadence stretches by itself, until they get none. A
session's newer request for the same segment takes the older one's place in the line. Subjects
share each line by the audio they ask for (start-time fair queueing: Goyal, Vin, Cheng, 1996), so
that fifty streams of one do not stand before the first of another. A batch is as much padded audio
as the engine, at the speed it has shown, decodes within a set time.

No thread, future or clock in here: the scheduler brings them. Nothing is refused; `is_full` says
when the door should.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from server.audio import SAMPLE_RATE_HZ
from server.recognition import Urgency, Utterance

_PADDING_SAMPLES = SAMPLE_RATE_HZ
"""What an utterance costs beyond its own length, whatever its length."""
_LEARNING = 0.2
"""Weight of the newest batch in what is known of the engine's speed."""
_LEAST_SHARE = 0.02


class Key(NamedTuple):
    """Whose request it is; a newer one with the same key takes the place of an older."""

    subject: str
    session_id: str
    segment: int


@dataclass(frozen=True, slots=True)
class BacklogSettings:
    """How much is decoded at a time, and when it is too much."""

    most_utterances: int = 8
    """In a batch."""
    final_batch_s: float = 0.4
    """Engine time of a batch of finals: whoever comes a moment later waits for so long."""
    partial_batch_s: float = 0.15
    """The same for partials, which a final may come upon."""
    busy_share: float = 0.8
    """Of the engine's time, up to which partials may fill it; finals may take all."""
    load_window_s: float = 5.0
    """Time over which the finals' share of the engine is measured."""
    most_final_share: float = 0.9
    """Of the engine's time, taken by finals alone, from which on no new session is taken."""
    most_wait_s: float = 2.0
    """Expected for a new final; beyond it no new session is taken."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One utterance that somebody waits for."""

    number: int
    """Unique; given by the scheduler."""
    key: Key
    utterance: Utterance
    urgency: Urgency
    is_alone: bool = False
    """Was in a batch that failed: decoded by itself, so that it fails nobody else."""


@dataclass(slots=True)
class _Line:
    """The requests of one urgency, in the order of their subjects' turns."""

    waiting: dict[Key, tuple[float, int, Request]] = field(default_factory=dict)
    """With start tag and arrival."""
    ends_by_subject: dict[str, float] = field(default_factory=dict)
    """Virtual time, in samples, up to which a subject has asked."""
    now: float = 0.0
    """Virtual time: the start tag of the last one taken."""
    arrivals: int = 0

    def add(self, request: Request) -> None:
        subject = request.key.subject
        held = self.waiting.get(request.key)
        if held is not None:
            self.waiting[request.key] = (held[0], held[1], request)
            return
        start = max(self.now, self.ends_by_subject.get(subject, 0.0))
        self.ends_by_subject[subject] = start + _cost_samples([request])
        self.arrivals += 1
        self.waiting[request.key] = (start, self.arrivals, request)

    def in_order(self) -> list[Request]:
        return [
            request for _, _, request in sorted(self.waiting.values(), key=lambda held: held[:2])
        ]

    def remove(self, request: Request) -> None:
        held = self.waiting.get(request.key)
        if held is not None and held[2].number == request.number:
            del self.waiting[request.key]

    def serve(self, request: Request) -> None:
        self.now = max(self.now, self.waiting[request.key][0])
        del self.waiting[request.key]
        self.ends_by_subject = {
            subject: end for subject, end in self.ends_by_subject.items() if end > self.now
        }


class Backlog:
    """What waits for one engine that runs `n_workers` batches at a time."""

    def __init__(self, settings: BacklogSettings, n_workers: int = 1) -> None:
        self._settings = settings
        self._n_workers = n_workers
        self._lines = {urgency: _Line() for urgency in Urgency}
        self._engine_s_per_sample = {True: 2e-2 / SAMPLE_RATE_HZ, False: 1e-2 / SAMPLE_RATE_HZ}
        """By whether it is for finals; learned."""
        self._final_busy_s = 0.0
        """Engine time of finals, fading with `load_window_s`."""
        self._partial_budget_s = settings.partial_batch_s
        """Engine time that partials may take now; below 0 they wait."""
        self._now_s = -math.inf

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not any(line.waiting for line in self._lines.values())

    def final_share(self, now_s: float) -> float:
        """Of the engine's time, what finals have taken lately: 0 to 1."""
        self._advance(now_s)
        return self._final_busy_s / (self._settings.load_window_s * self._n_workers)

    def expected_wait_s(self) -> float:
        """Until a new final would be decoded, as far as what waits before it tells."""
        finals = self._lines[Urgency.FINAL].waiting.values()
        n_samples = sum(_cost_samples([request]) for _, _, request in finals)
        return n_samples * self._engine_s_per_sample[True] / self._n_workers

    def is_full(self, now_s: float) -> bool:
        """Whether another session would break what was promised to those that run."""
        settings = self._settings
        is_busy = self.final_share(now_s) > settings.most_final_share
        return is_busy or self.expected_wait_s() > settings.most_wait_s

    def holds(self, key: Key) -> bool:
        """Whether something waits under `key`."""
        return self._find(key) is not None

    def add(self, request: Request) -> Request | None:
        """Take a request; gives back the one whose place it took."""
        replaced = self._find(request.key)
        if replaced is not None and replaced.urgency is not request.urgency:
            self.remove(replaced)
        self._lines[request.urgency].add(request)
        return replaced

    def remove(self, request: Request) -> None:
        """Nobody waits for it any more; one that does not wait here is nobody's loss."""
        for line in self._lines.values():
            line.remove(request)

    def reprioritise(self, key: Key, urgency: Urgency) -> None:
        """What waits under `key` has become more urgent, or less; nothing there is no error."""
        request = self._find(key)
        if request is None or request.urgency is urgency:
            return
        self.remove(request)
        utterance = replace(request.utterance, is_final=urgency is not Urgency.PARTIAL)
        self._lines[urgency].add(replace(request, utterance=utterance, urgency=urgency))

    def take(self, now_s: float) -> list[Request]:
        """The next batch, none when nothing is due; its time is to be told to `finish`."""
        self._advance(now_s)
        finals = self._lines[Urgency.FINAL].in_order() + self._lines[Urgency.LIKELY].in_order()
        batch = self._batch_of(finals, self._settings.final_batch_s)
        if not batch and self._partial_budget_s > 0:
            partials = self._lines[Urgency.PARTIAL].in_order()
            batch = self._batch_of(partials, self._settings.partial_batch_s)
            self._partial_budget_s -= self._expected_s(batch)
        for request in batch:
            self._lines[request.urgency].serve(request)
        return batch

    def finish(self, batch: list[Request], took_s: float, now_s: float) -> None:
        """A batch that was taken has been decoded, or has failed, after `took_s`."""
        self._advance(now_s)
        is_final = batch[0].utterance.is_final
        if is_final:
            self._final_busy_s += took_s
        else:
            self._partial_budget_s += self._expected_s(batch) - took_s
        shown = took_s / _cost_samples(batch)
        known = self._engine_s_per_sample[is_final]
        self._engine_s_per_sample[is_final] = known + _LEARNING * (shown - known)

    def next_s(self, now_s: float) -> float | None:
        """When `take` may give something without anything new; None when nothing waits."""
        if self.is_empty:
            return None
        if len(self._lines[Urgency.PARTIAL].waiting) < sum(
            len(line.waiting) for line in self._lines.values()
        ):
            return now_s
        self._advance(now_s)
        return now_s + max(0.0, -self._partial_budget_s) / self._partial_rate()

    def drain(self) -> list[Request]:
        """Everything that waits; nothing waits afterwards."""
        left = [request for line in self._lines.values() for request in line.in_order()]
        self._lines = {urgency: _Line() for urgency in Urgency}
        return left

    def _find(self, key: Key) -> Request | None:
        for line in self._lines.values():
            if key in line.waiting:
                return line.waiting[key][2]
        return None

    def _batch_of(self, requests: Iterable[Request], limit_s: float) -> list[Request]:
        """From the front, while it is expected to end in time; the first in any case."""
        batch: list[Request] = []
        for request in requests:
            if batch and (request.is_alone or batch[0].is_alone):
                break
            if batch and self._expected_s([*batch, request]) > limit_s:
                break
            batch.append(request)
            if len(batch) == self._settings.most_utterances:
                break
        return batch

    def _expected_s(self, batch: list[Request]) -> float:
        if not batch:
            return 0.0
        return _cost_samples(batch) * self._engine_s_per_sample[batch[0].utterance.is_final]

    def _partial_rate(self) -> float:
        """Engine seconds a second that finals leave to partials."""
        share = self._final_busy_s / (self._settings.load_window_s * self._n_workers)
        return max(_LEAST_SHARE, self._settings.busy_share - share) * self._n_workers

    def _advance(self, now_s: float) -> None:
        """Let time pass over what fades and what fills."""
        passed_s = now_s - self._now_s
        if passed_s <= 0:
            return
        self._now_s = now_s
        self._partial_budget_s = min(
            self._settings.partial_batch_s,
            self._partial_budget_s + min(passed_s, 3600.0) * self._partial_rate(),
        )
        self._final_busy_s *= math.exp(-passed_s / self._settings.load_window_s)


def _cost_samples(batch: list[Request]) -> int:
    """Padded audio: every utterance of a batch costs what its longest does."""
    longest = max(request.utterance.samples.size for request in batch)
    return len(batch) * (longest + _PADDING_SAMPLES)
