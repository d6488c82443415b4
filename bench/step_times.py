"""Measured times of batches in, what any batch takes out; and how many streams that is.

The scheduler's own `Backlog` decides, on a clock that is moved by hand; only the engine is a table.
Every stream speaks for 2 to 8 s, is silent for a second, and asks as a track does: for captions
while somebody speaks, for what may be the final when a pause begins, for the final when it has
lasted.
"""

import bisect
import heapq
import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from server.audio import SAMPLE_RATE_HZ
from server.backlog import Backlog, BacklogSettings, Key, Request
from server.recognition import Samples, Urgency, Utterance

FIRST_PARTIAL_S, EAGER_S, EAGER_CADENCE_S, CADENCE_S = 0.35, 1.0, 0.25, 0.5
PAUSE_S, CLOSE_S = 0.192, 0.436
"""After speech ended: when the final is decoded ahead, and when the segment is closed."""
GAP_S = 1.0
LIMIT_S = 0.5
WARM_UP_S = 20.0


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds that a batch took, by the length of its audio in seconds and its utterances."""

    finals: Mapping[float, Mapping[int, float]]
    partials: Mapping[float, Mapping[int, float]]

    def of(self, batch: list[Request]) -> float:
        """Between what was measured, straight lines; every utterance is as long as the longest."""
        table = self.finals if batch[0].utterance.is_final else self.partials
        longest_s = max(request.utterance.samples.size for request in batch) / SAMPLE_RATE_HZ
        by_length = {
            length_s: _between(times, float(len(batch))) for length_s, times in table.items()
        }
        return _between(by_length, longest_s)


@dataclass(slots=True)
class Latencies:
    """Of finals, in seconds."""

    after_close_s: list[float] = field(default_factory=list)
    """From the end of the segment; below zero if the final was there before."""

    def p95_s(self) -> float:
        """What a client waits at worst in 95 of 100 cases, once the segment is closed."""
        return float(np.percentile([max(0.0, s) for s in self.after_close_s], 95))


class _Streams:
    """Events of many streams by time."""

    def __init__(self, n_streams: int, duration_s: float, seed: int) -> None:
        dice = random.Random(seed)  # noqa: S311 - no secret
        self.events: list[tuple[float, int, Key, Urgency, bool, float]] = []
        """When, a number to tell them apart, whose, how urgent, whether it only became so, and of
        how many seconds.
        """
        self._numbers = itertools.count()
        for stream in range(n_streams):
            at_s, segment = dice.uniform(0, 6), 0
            while at_s < duration_s:
                length_s = dice.uniform(2, 8)
                self._speak(Key(f"s{stream}", "", segment), at_s, length_s)
                at_s += length_s + GAP_S
                segment += 1
        heapq.heapify(self.events)

    def _speak(self, key: Key, at_s: float, length_s: float) -> None:
        said_s = FIRST_PARTIAL_S
        while said_s < length_s:
            self._add(at_s + said_s, key, Urgency.PARTIAL, said_s)
            said_s += EAGER_CADENCE_S if said_s < EAGER_S else CADENCE_S
        self._add(at_s + length_s + PAUSE_S, key, Urgency.LIKELY, length_s + PAUSE_S)
        self._add(at_s + length_s + CLOSE_S, key, Urgency.FINAL, length_s + PAUSE_S, is_same=True)

    def _add(
        self, at_s: float, key: Key, urgency: Urgency, length_s: float, *, is_same: bool = False
    ) -> None:
        self.events.append((at_s, next(self._numbers), key, urgency, is_same, length_s))


def simulate(
    times: StepTimes, n_streams: int, most_utterances: int, duration_s: float = 90.0
) -> Latencies:
    """Latencies of finals after the first seconds."""
    backlog = Backlog(BacklogSettings(), 1, most_utterances)
    events = _Streams(n_streams, duration_s, seed=n_streams).events
    closed_s: dict[Key, float] = {}
    done_s: dict[Key, float] = {}
    now_s, busy_until_s, batch = 0.0, 0.0, []
    while events or batch or not backlog.is_empty:
        if batch and now_s >= busy_until_s:
            backlog.finish(batch, times.of(batch), now_s)
            done_s |= {r.key: now_s for r in batch if r.urgency is not Urgency.PARTIAL}
            batch = []
        while events and events[0][0] <= now_s:
            _, number, key, urgency, is_same, length_s = heapq.heappop(events)
            if urgency is Urgency.FINAL:
                closed_s[key] = now_s
            if is_same:
                backlog.reprioritise(key, urgency)
            else:
                utterance = Utterance(_nothing(length_s), urgency is not Urgency.PARTIAL)
                backlog.add(Request(number, key, utterance, urgency, asked_s=now_s))
        if not batch and (batch := backlog.take(now_s)):
            busy_until_s = now_s + times.of(batch)
        next_s = busy_until_s if batch else (backlog.next_s(now_s) or float("inf"))
        now_s = max(now_s + 1e-4, min(next_s, events[0][0] if events else next_s))
    return Latencies([done_s[key] - at_s for key, at_s in closed_s.items() if at_s > WARM_UP_S])


def most_streams(times: StepTimes, most_utterances: int, limit_s: float = LIMIT_S) -> int:
    """As many as there can be with 95 of 100 finals within `limit_s` of their segment's end."""

    def is_fast(n_streams: int) -> bool:
        return simulate(times, n_streams, most_utterances).p95_s() <= limit_s

    if not is_fast(1):
        return 0
    low = 1
    while is_fast(2 * low):
        low *= 2
    counts = range(low, 2 * low, max(1, low // 16))
    return counts[bisect.bisect_left(counts, x=True, key=lambda n: not is_fast(n)) - 1]


def _between(known: Mapping[float, float] | Mapping[int, float], at: float) -> float:
    """Straight lines between the known, and beyond the last two."""
    places = sorted(known)
    if len(places) == 1:
        return known[places[0]]
    right = min(max(bisect.bisect_left(places, at), 1), len(places) - 1)
    left_at, right_at = places[right - 1], places[right]
    share = (at - left_at) / (right_at - left_at)
    return max(1e-4, known[left_at] + share * (known[right_at] - known[left_at]))


def _nothing(length_s: float) -> Samples:
    """So many samples, in no memory."""
    return np.broadcast_to(np.float32(0), (int(length_s * SAMPLE_RATE_HZ),))
