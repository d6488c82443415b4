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
from typing import Annotated, NamedTuple

from annotated_types import Ge, Gt, Interval

from server.audio import SAMPLE_RATE_HZ
from server.recognition import Urgency, Utterance

_BATCH_SAMPLES = 16 * SAMPLE_RATE_HZ
"""What a batch costs however small it is: a decoder's steps take long for one utterance too."""
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

    most_utterances: Annotated[int, Ge(1)] | None = None
    """In a batch; None: as many as the engine takes."""
    likely_hold_s: float = 0.25
    """How long a final to be waits, where finals fill the engine, for its pause to prove itself."""
    final_batch_s: float = 0.3
    """Engine time of a batch of finals: whoever comes a moment later waits for so long. Half of
    what waits, if that is more: larger batches are what there is against a queue.
    """
    partial_batch_s: float = 0.15
    """The same for partials, which a final may come upon."""
    busy_share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Of the engine's time, up to which partials may fill it; finals may take all."""
    load_window_s: Annotated[float, Gt(0)] = 5.0
    """Time over which the finals' share of the engine is measured."""
    most_final_share: Annotated[float, Interval(ge=0, le=1)] = 0.9
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
    asked_s: float = -math.inf
    """When, by the scheduler's clock."""


@dataclass(slots=True)
class _Line:
    """The requests of one urgency, in the order of their subjects' turns."""

    waiting: dict[Key, tuple[int, Request]] = field(default_factory=dict)
    """With arrival."""
    served_to: dict[str, float] = field(default_factory=dict)
    """Virtual time, in samples, up to which a subject was served; none is kept that has passed."""
    now: float = 0.0
    """Virtual time: where the last one taken began."""
    arrivals: int = 0

    def add(self, request: Request) -> None:
        self.arrivals += 1
        arrival, _ = self.waiting.get(request.key, (self.arrivals, request))
        self.waiting[request.key] = (arrival, request)

    def in_order(self) -> list[Request]:
        """As they would be served: whose subject has had least, and of one subject the first."""
        had = dict(self.served_to)
        by_turn: list[tuple[float, int, Request]] = []
        for arrival, request in sorted(self.waiting.values(), key=lambda held: held[0]):
            start = max(self.now, had.get(request.key.subject, 0.0))
            had[request.key.subject] = start + _line_cost_samples(request)
            by_turn.append((start, arrival, request))
        return [request for _, _, request in sorted(by_turn, key=lambda turn: turn[:2])]

    def remove(self, request: Request) -> None:
        held = self.waiting.get(request.key)
        if held is not None and held[1].number == request.number:
            self._take_out(request)

    def serve(self, request: Request) -> None:
        subject = request.key.subject
        self.now = max(self.now, self.served_to.get(subject, 0.0))
        self.served_to[subject] = self.now + _line_cost_samples(request)
        self.served_to = {subject: end for subject, end in self.served_to.items() if end > self.now}
        self._take_out(request)

    def _take_out(self, request: Request) -> None:
        """Of a line that nobody stands in, nothing is remembered."""
        del self.waiting[request.key]
        if not self.waiting:
            self.served_to.clear()


class Backlog:
    """What waits for one engine that runs `n_workers` batches at a time, each of up to
    `most_utterances`.
    """

    def __init__(
        self, settings: BacklogSettings, n_workers: int = 1, most_utterances: int = 8
    ) -> None:
        self._settings = settings
        self._most_utterances = settings.most_utterances or most_utterances
        self._n_workers = n_workers
        self._lines = {urgency: _Line() for urgency in Urgency}
        self._engine_s_per_sample = {True: 7e-3 / SAMPLE_RATE_HZ, False: 3e-3 / SAMPLE_RATE_HZ}
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

    @property
    def n_waiting(self) -> dict[Urgency, int]:
        """Requests in each line."""
        return {urgency: len(line.waiting) for urgency, line in self._lines.items()}

    def final_share(self, now_s: float) -> float:
        """Of the engine's time, what finals have taken lately: 0 to 1."""
        self._advance(now_s)
        return self._share()

    def expected_wait_s(self) -> float:
        """Until a new final would be decoded, as far as what waits before it tells."""
        finals = self._lines[Urgency.FINAL].waiting.values()
        n_samples = sum(_line_cost_samples(request) for _, request in finals)
        return n_samples * self._engine_s_per_sample[True] / self._n_workers

    def is_full(self, now_s: float) -> bool:
        """Whether another session would break what was promised to those that run."""
        settings = self._settings
        is_busy = self.final_share(now_s) > settings.most_final_share
        return is_busy or self.expected_wait_s() > settings.most_wait_s

    def holds(self, key: Key, newer_than: int = -1) -> bool:
        """Whether something waits under `key` that came after the request of that number."""
        held = self._find(key)
        return held is not None and held.number > newer_than

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
        due_s = now_s - self._hold_s()
        likely = self._lines[Urgency.LIKELY].in_order()
        finals = self._lines[Urgency.FINAL].in_order()
        finals += [request for request in likely if request.asked_s <= due_s]
        limit_s = max(self._settings.final_batch_s, self.expected_wait_s() / 2)
        batch = self._batch_of(finals, limit_s)
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
            window_s = self._settings.load_window_s
            self._final_busy_s += window_s * -math.expm1(-took_s / window_s)
        else:
            self._partial_budget_s += self._expected_s(batch) - took_s
        shown = took_s / _cost_samples(batch)
        known = self._engine_s_per_sample[is_final]
        self._engine_s_per_sample[is_final] = known + _LEARNING * (shown - known)

    def next_s(self, now_s: float) -> float | None:
        """When `take` may give something without anything new; None when nothing waits."""
        self._advance(now_s)
        times_s: list[float] = []
        if self._lines[Urgency.FINAL].waiting:
            times_s.append(now_s)
        likely = self._lines[Urgency.LIKELY].waiting.values()
        times_s += [request.asked_s + self._hold_s() for _, request in likely]
        if self._lines[Urgency.PARTIAL].waiting:
            times_s.append(now_s + max(0.0, -self._partial_budget_s) / self._partial_rate())
        return max(now_s, min(times_s)) if times_s else None

    def drain(self) -> list[Request]:
        """Everything that waits; nothing waits afterwards."""
        left = [request for line in self._lines.values() for request in line.in_order()]
        self._lines = {urgency: _Line() for urgency in Urgency}
        return left

    def _find(self, key: Key) -> Request | None:
        for line in self._lines.values():
            if key in line.waiting:
                return line.waiting[key][1]
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
            if len(batch) == self._most_utterances:
                break
        return batch

    def _expected_s(self, batch: list[Request]) -> float:
        if not batch:
            return 0.0
        return _cost_samples(batch) * self._engine_s_per_sample[batch[0].utterance.is_final]

    def _hold_s(self) -> float:
        """A pause that speech follows costs nothing but time while the engine has any."""
        return self._settings.likely_hold_s * min(1.0, max(0.0, (self._share() - 0.4) / 0.4))

    def _partial_rate(self) -> float:
        """Engine seconds a second that finals leave to partials."""
        return max(_LEAST_SHARE, self._settings.busy_share - self._share()) * self._n_workers

    def _share(self) -> float:
        return self._final_busy_s / (self._settings.load_window_s * self._n_workers)

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
    return _BATCH_SAMPLES + len(batch) * (longest + _PADDING_SAMPLES)


def _line_cost_samples(request: Request) -> int:
    """One utterance's part of a batch."""
    return request.utterance.samples.size + _PADDING_SAMPLES
