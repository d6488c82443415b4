"""Sessions of many subjects in, in the order of the trail; out, what is unusual for the subject.

Nothing is unusual before there is a habit: a number of sessions, on a number of days.

- Hour: none of the subject's sessions so far began within an hour of this one (UTC). After 50 of
  them, a time of day that has more than 3 in 50 of the sessions would have been seen with 95 %
  certainty (the rule of three). Counts are halved now and then, so that habits may change.
- Length: the audio of a session. Lengths are skewed, so their logarithms are looked at: unusual is
  what lies a number of spreads (standard deviations) above their mean. For 4 spreads that is one in
  30,000 if they are normal. The spread is taken as at least a quarter, or somebody who speaks for
  ten minutes each time would be unusual at eleven; what is shorter than a setting never is.
- Volume: the same for the audio of a day, once for each day.

Mean and spread forget: after 200 values each new one weighs 1/200. Holds a bounded number of
subjects, each in a bounded form; the one that was away for longest goes.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from math import log, sqrt

HOURS = 24
_HOUR_NS = 3600 * 10**9
_DAY_NS = HOURS * _HOUR_NS
_LEAST_SPREAD = 0.25
"""Of logarithms: a factor of 1.28."""
_MOST_VALUES = 200
_MOST_COUNTED = 2000
"""Sessions by hour, before they are halved."""


@dataclass(frozen=True, slots=True)
class HabitLimits:
    """When something is unusual."""

    least_sessions: int
    least_days: int
    spreads: float
    """Above the mean."""
    least_audio_ms: int
    """Less is never unusual."""
    most_subjects: int


@dataclass(slots=True)
class Spread:
    """Mean and spread of the values so far, the newer ones before the older."""

    n_values: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def add(self, value: float) -> None:
        """Welford's step, with a floor to the weight of what is new."""
        self.n_values = min(self.n_values + 1, _MOST_VALUES)
        weight = 1 / self.n_values
        difference = value - self.mean
        self.mean += weight * difference
        self.variance = (1 - weight) * (self.variance + weight * difference * difference)

    def is_above(self, value: float, spreads: float) -> bool:
        """Whether a value lies further above the mean than that."""
        return value > self.mean + spreads * max(sqrt(self.variance), _LEAST_SPREAD)


@dataclass(slots=True)
class _Habit:
    hours: list[int] = field(default_factory=lambda: [0] * HOURS)
    n_days: int = 0
    newest_day: int = -1
    length: Spread = field(default_factory=Spread)
    volume: Spread = field(default_factory=Spread)
    day_ms: int = 0
    """Audio of the newest day."""
    is_day_told: bool = False


class Habits:
    """Of all subjects."""

    def __init__(self, limits: HabitLimits) -> None:
        self._limits = limits
        self._habits: OrderedDict[str, _Habit] = OrderedDict()

    def __len__(self) -> int:
        """How many subjects are held."""
        return len(self._habits)

    def is_hour_unusual(self, subject: str, at_utc_ns: int) -> bool:
        """Take a session that begins."""
        habit = self._habit(subject, at_utc_ns)
        hour = at_utc_ns // _HOUR_NS % HOURS
        around = sum(habit.hours[(hour + beside) % HOURS] for beside in (-1, 0, 1))
        is_unusual = self._is_habit(habit, sum(habit.hours)) and not around
        habit.hours[hour] += 1
        if sum(habit.hours) >= _MOST_COUNTED:
            habit.hours = [count // 2 for count in habit.hours]
        return is_unusual

    def is_length_unusual(self, subject: str, at_utc_ns: int, audio_ms: int) -> bool:
        """Take the audio of a session that ended."""
        length = self._habit(subject, at_utc_ns).length
        value = log(1 + audio_ms)
        is_unusual = (
            self._is_habit(self._habits[subject], length.n_values)
            and audio_ms >= self._limits.least_audio_ms
            and length.is_above(value, self._limits.spreads)
        )
        length.add(value)
        return is_unusual

    def is_volume_unusual(self, subject: str, at_utc_ns: int, audio_ms: int) -> bool:
        """Take the audio of a session that ended; told once a day."""
        habit = self._habit(subject, at_utc_ns)
        habit.day_ms += audio_ms
        is_unusual = (
            habit.volume.n_values >= self._limits.least_days
            and habit.day_ms >= self._limits.least_audio_ms
            and habit.volume.is_above(log(1 + habit.day_ms), self._limits.spreads)
        )
        if habit.is_day_told:
            return False
        habit.is_day_told = is_unusual
        return is_unusual

    def _is_habit(self, habit: _Habit, n_sessions: int) -> bool:
        return n_sessions >= self._limits.least_sessions and habit.n_days > self._limits.least_days

    def _habit(self, subject: str, at_utc_ns: int) -> _Habit:
        habit = self._habits.get(subject)
        if habit is None:
            habit = self._habits[subject] = _Habit()
            if len(self._habits) > self._limits.most_subjects:
                self._habits.popitem(last=False)
        self._habits.move_to_end(subject)
        day = at_utc_ns // _DAY_NS
        if day != habit.newest_day:  # a clock that is set back over midnight makes two days of one
            if habit.day_ms:
                habit.volume.add(log(1 + habit.day_ms))
            habit.newest_day, habit.day_ms, habit.is_day_told = day, 0, False
            habit.n_days += 1
        return habit
