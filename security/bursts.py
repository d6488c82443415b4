"""Events of many keys in, in the order of the trail; out, once for each key and window, that there
were too many.

What counts is how many lie within one window before the newest. A second answer within the window
comes only when a further level is reached. The wall clock may be set back: whatever is further away
than the window, in either direction, has left it. Holds a bounded number of keys (the one that was
quiet for longest goes) and of events of each.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_SEQS = 20
_MOST_EVENTS_A_LEVEL = 4


@dataclass(frozen=True, slots=True)
class Burst:
    """Too many events of one key."""

    level: int
    """Index of the highest level that was reached."""
    n_events: int
    """Within the window; at least, where there were more than are held."""
    seqs: tuple[int, ...]
    """Of the first ones."""
    first_utc_ns: int
    last_utc_ns: int


@dataclass(frozen=True, slots=True)
class _Event:
    at_utc_ns: int
    seq: int
    weights: Sequence[int]
    mark: str | None


@dataclass(slots=True)
class _Window:
    events: deque[_Event]
    told_level: int = -1
    told_utc_ns: int = 0


@dataclass(slots=True)
class Bursts:
    """Of one rule."""

    levels: Sequence[int]
    """How many events reach each level, ascending."""
    window_ns: int
    most_keys: int
    counts_marks: bool = False
    """Different marks count, not events."""
    _windows: OrderedDict[str, _Window] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        """How many keys are held."""
        return len(self._windows)

    def add(
        self, key: str, at_utc_ns: int, seq: int, weights: Sequence[int], mark: str | None = None
    ) -> Burst | None:
        """`weights`: how much the event counts at each level."""
        window = self._window(key)
        window.events.append(_Event(at_utc_ns, seq, weights, mark))
        while abs(window.events[0].at_utc_ns - at_utc_ns) > self.window_ns:
            window.events.popleft()
        if abs(window.told_utc_ns - at_utc_ns) > self.window_ns:
            window.told_level = -1
        counts = [self._count(window.events, level) for level in range(len(self.levels))]
        reached = [level for level, most in enumerate(self.levels) if counts[level] >= most]
        if not reached or reached[-1] <= window.told_level:
            return None
        window.told_level, window.told_utc_ns = reached[-1], at_utc_ns
        seqs = tuple(event.seq for event in window.events)[:MAX_SEQS]
        n_events = max(len(window.events), counts[0])
        return Burst(reached[-1], n_events, seqs, window.events[0].at_utc_ns, at_utc_ns)

    def _window(self, key: str) -> _Window:
        window = self._windows.get(key)
        if window is None:
            most = _MOST_EVENTS_A_LEVEL * max(self.levels)
            window = self._windows[key] = _Window(deque(maxlen=most))
            if len(self._windows) > self.most_keys:
                self._windows.popitem(last=False)
        self._windows.move_to_end(key)
        return window

    def _count(self, events: Sequence[_Event], level: int) -> int:
        if self.counts_marks:
            return len({event.mark for event in events if event.weights[level]})
        return sum(event.weights[level] for event in events)
