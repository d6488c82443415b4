"""How much audio came and when in; whether to read on, when to read again, and whether the sender
has been too fast for too long out.

A connection has an allowance: `burst_ms` of audio at once, and from its first audio on so much a
second as the token says. It is not capped: who on the whole is not faster than its pace may make
up for any stall of the network, however long, and is never held back. Who is ahead of it is not
read until the allowance has caught up, so that TCP slows the sender down. A sender that is there
each time we read again, and was never behind for `slack_ms`, did not slow down: after `limit_ms` of
that it is too fast. At that moment it is read from in any case, since only a frame that was waiting
tells a sender that goes on from one that sent too much once. Integers throughout: nothing is
rounded but the clock, to a microsecond.
"""

from dataclasses import dataclass

_US_PER_S = 1_000_000
_UNITS_PER_SAMPLE = 100 * _US_PER_S
"""Audio is counted in samples divided by a hundred for the percent and a million for the
microsecond, so that an allowance grows by a whole number of them.
"""


@dataclass(frozen=True, slots=True)
class PaceSettings:
    """How much faster than its pace a sender may be, and for how long."""

    burst_ms: int = 10_000
    """Audio that may come at once."""
    limit_ms: int = 3_000
    """Ahead for so long without a break is too fast."""
    slack_ms: int = 500
    """Audio that the allowance must be good for when a frame comes, for it to be a break."""


class Pace:
    """One connection's allowance; `receive` is all that happens to it."""

    __slots__ = ("_ahead_since_us", "_growth", "_percent", "_settings", "_spent", "resumes_s")

    def __init__(self, pace_percent: int | None, settings: PaceSettings) -> None:
        """`pace_percent`: of real time; None allows any."""
        self._percent = pace_percent
        self._settings = settings
        self._growth = -1
        """Of the allowance in a microsecond; below zero until the first audio."""
        self._spent = 0
        """Against an allowance that is nothing when the clock is."""
        self._ahead_since_us: int | None = None
        self.resumes_s: float | None = None
        """When to read the socket again; None: it may be read. Stands until the next frame."""

    def receive(self, n_samples: int, rate_hz: int, now_s: float) -> bool:
        """Take a frame; whether the sender is too fast. `rate_hz` is the same all along."""
        if self._percent is None:
            return False
        now_us = round(now_s * 1e6)
        if self._growth < 0:
            self._growth = self._percent * rate_hz
            self._spent = self._growth * now_us - self._units(self._settings.burst_ms, rate_hz)
        allowed = self._growth * now_us
        slack = allowed - self._spent
        self._spent += n_samples * _UNITS_PER_SAMPLE
        if self._ahead_since_us is None and allowed >= self._spent:
            return False
        if slack >= self._units(self._settings.slack_ms, rate_hz):
            self._ahead_since_us = None
        return self._is_too_fast(now_us, self._spent - allowed)

    def _is_too_fast(self, now_us: int, ahead: int) -> bool:
        """For one that is ahead, or was and has made no break since; says when to read again."""
        limit_us = self._settings.limit_ms * 1000
        self.resumes_s = None
        if self._ahead_since_us is not None and now_us - self._ahead_since_us >= limit_us:
            return True
        if ahead > 0:
            if self._ahead_since_us is None:
                self._ahead_since_us = now_us
            resumes_us = self._ahead_since_us + limit_us
            if self._growth:
                resumes_us = min(resumes_us, now_us - -ahead // self._growth)
            self.resumes_s = resumes_us / _US_PER_S
        return False

    @staticmethod
    def _units(duration_ms: int, rate_hz: int) -> int:
        return duration_ms * rate_hz * (_UNITS_PER_SAMPLE // 1000)
