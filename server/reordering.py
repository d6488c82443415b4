"""Frames of one track in as they come, frames out in the order of their numbers.

A frame whose turn it is passes at once; one that overtook others waits for them, but not for long:
past a few frames or milliseconds what is missing is lost, and late if it does come. Small numbers
after many are no late frames: the peer began again. Numbers count from 1; frames without one are
in order as they come. Holds no more frames than the window has.
"""

from collections import deque
from dataclasses import dataclass, replace

from server.dialects.values import Audio

_REMEMBERED_LOSSES = 32
"""Runs of lost numbers; what is older is taken for a duplicate, and dropped like what is late."""
_RESTART_FRAMES = 50
"""Only after so many is one of the first numbers a new beginning."""


@dataclass(frozen=True, slots=True, eq=False)
class Arrived:
    """A frame, and when it came; `begins_anew` says that the peer's numbers did."""

    audio: Audio
    arrived_s: float
    begins_anew: bool = False


class Reordering:
    """Of one track. Sans-I/O."""

    def __init__(self, window_frames: int, window_s: float) -> None:
        self._window_frames = window_frames
        self._window_s = window_s
        self._next_number: int | None = None
        self._begins_anew = False
        """The next frame to go on is the first after the numbers did."""
        self._held: dict[int, Arrived] = {}
        self._lost: deque[range] = deque(maxlen=_REMEMBERED_LOSSES)
        self.n_lost = 0
        """Numbers that were not waited for any longer."""
        self.n_late = 0
        """Of those, the ones that came after all."""
        self.n_duplicate = 0

    @property
    def next_deadline_s(self) -> float | None:
        """When what is held is held no longer."""
        if not self._held:
            return None
        return min(frame.arrived_s for frame in self._held.values()) + self._window_s

    def receive(self, audio: Audio, now_s: float) -> list[Arrived]:
        """What can go on, in order."""
        number = audio.number
        if number is None:
            return [Arrived(audio, now_s)]
        if number == self._next_number and not self._held:
            self._next_number = number + 1
            return [Arrived(audio, now_s)]
        return self._receive_out_of_turn(audio, number, now_s)

    def expire(self, now_s: float) -> list[Arrived]:
        """What has waited long enough; with what follows it."""
        freed: list[Arrived] = []
        deadline_s = self.next_deadline_s
        while deadline_s is not None and now_s >= deadline_s:
            freed += self._give_up()
            deadline_s = self.next_deadline_s
        return freed

    def end(self) -> list[Arrived]:
        """Everything that is held: nothing follows."""
        freed: list[Arrived] = []
        while self._held:
            freed += self._give_up()
        return freed

    def _receive_out_of_turn(self, audio: Audio, number: int, now_s: float) -> list[Arrived]:
        freed = self.expire(now_s)
        is_small = number <= self._window_frames + 1
        if self._next_number is None:
            self._next_number = min(number, 1) if is_small else number
        elif is_small and self._next_number - number >= _RESTART_FRAMES:
            freed += self.end()
            self._lost.clear()
            self._next_number, self._begins_anew = min(number, 1), True
        if number < self._next_number:
            self._count(number)
        elif number in self._held:
            self.n_duplicate += 1
        else:
            self._held[number] = Arrived(audio, now_s)
            freed += self._in_turn()
        while len(self._held) > self._window_frames:
            freed += self._give_up()
        return freed

    def _count(self, number: int) -> None:
        if any(number in lost for lost in self._lost):
            self.n_late += 1
        else:
            self.n_duplicate += 1

    def _in_turn(self) -> list[Arrived]:
        assert self._next_number is not None  # noqa: S101 - set by the first number
        freed: list[Arrived] = []
        while (frame := self._held.pop(self._next_number, None)) is not None:
            if self._begins_anew:
                frame, self._begins_anew = replace(frame, begins_anew=True), False
            freed.append(frame)
            self._next_number += 1
        return freed

    def _give_up(self) -> list[Arrived]:
        """Wait no longer for what comes before the first that is held."""
        assert self._next_number is not None  # noqa: S101 - what is held has a number
        first = min(self._held)
        self._lost.append(range(self._next_number, first))
        self.n_lost += first - self._next_number
        self._next_number = first
        return self._in_turn()
