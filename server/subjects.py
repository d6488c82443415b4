"""A subject and its limits in; a place, a share of the day's audio, or a refusal out: what all
sessions of one subject have in common.

A stranger chose who a subject is, so it is hashed before it is a key. Every attempt to start counts
as a start, whatever comes of it, and one that is too many takes the place of the oldest: who
hammers at the door stays outside, and who tries once a minute gets in with any limit above zero. A
refused start takes no place. A day is one of UTC; what is given back after midnight is given back
to the new day, which it never takes below nothing.

The window of starts is our own. `limits` 5.8 reads the clock itself, walks all its keys with a
thread for each, in a task that nobody owns, at every start, and trusts the clocks of several
servers in Redis; and start, place and day could not be decided in one step.

Kept in memory: a subject with places, one that has spent audio today, and one that tried to start
within the last minute, with at most as many times as it may try.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from server import errors
from server.errors import RefusedError
from server.text_hash import hash_of

START_WINDOW_S = 60
DAY_S = 86_400
_LOOKED_AT = 2
"""Subjects at each call; more than one, or those of a past day would never get fewer."""


@dataclass(frozen=True, slots=True)
class SubjectLimits:
    """What one token allows all sessions of its subject together; None is no limit."""

    concurrent_sessions: int | None
    starts_per_minute: int | None
    audio_ms_per_day: int | None


class SubjectStore(Protocol):
    """Counts for all sessions of a subject: here, or for several servers."""

    async def take_place(self, who: str, place_id: str, limits: SubjectLimits) -> None:
        """Count a start, and take a place unless the subject has used up one of its limits.

        Raises RefusedError: TOO_MANY_STARTS, TOO_MANY_SESSIONS, QUOTA_DAILY, or OVERLOADED for
        `store_unavailable`.
        """
        ...

    async def give_place(self, who: str, place_id: str) -> None:
        """The session has ended; no harm if there is no such place any more."""
        ...

    async def reserve_audio(self, who: str, wanted_ms: int, most_ms_per_day: int) -> int:
        """Take up to `wanted_ms` of what is left of the day; says how much was got. Below zero it
        gives back what was not used.
        """
        ...


def key_of(who: str) -> str:
    """A subject as a key: of one length, and without a stranger's characters."""
    return hash_of(who).hex()


@dataclass(slots=True)
class _Subject:
    places: set[str] = field(default_factory=set)
    starts_s: deque[float] = field(default_factory=deque)
    """When it tried, within the last minute; monotonic."""
    day: int = 0
    spent_ms: int = 0
    """Of `day`."""


class MemorySubjects:
    """The store of a server that is alone; used from the event loop only."""

    def __init__(
        self,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        spent_today: Mapping[str, int] | None = None,
    ) -> None:
        """`spent_today`: milliseconds of audio by subject, after a restart."""
        self._clock = clock
        self._wall_clock = wall_clock
        today = self._today()
        self._subjects = {
            key_of(who): _Subject(day=today, spent_ms=spent_ms)
            for who, spent_ms in (spent_today or {}).items()
        }

    def __len__(self) -> int:
        """Subjects that are kept."""
        return len(self._subjects)

    async def take_place(self, who: str, place_id: str, limits: SubjectLimits) -> None:
        """See `SubjectStore`."""
        subject = self._subject(who)
        if self._is_start_too_many(subject, limits.starts_per_minute):
            raise RefusedError(errors.TOO_MANY_STARTS)
        most_places = limits.concurrent_sessions
        if most_places is not None and len(subject.places - {place_id}) >= most_places:
            raise RefusedError(errors.TOO_MANY_SESSIONS)
        most_ms = limits.audio_ms_per_day
        if most_ms is not None and subject.spent_ms >= most_ms:
            raise RefusedError(errors.QUOTA_DAILY)
        subject.places.add(place_id)

    async def give_place(self, who: str, place_id: str) -> None:
        """See `SubjectStore`."""
        self._subject(who).places.discard(place_id)

    async def reserve_audio(self, who: str, wanted_ms: int, most_ms_per_day: int) -> int:
        """See `SubjectStore`."""
        subject = self._subject(who)
        left_ms = max(0, most_ms_per_day - subject.spent_ms)
        got_ms = max(min(wanted_ms, left_ms), -subject.spent_ms)
        subject.spent_ms += got_ms
        return got_ms

    def _today(self) -> int:
        return int(self._wall_clock() // DAY_S)

    def _subject(self, who: str) -> _Subject:
        """Its entry, with its last minute and of today; forgets some that have neither."""
        now_s, today = self._clock(), self._today()
        for key in list(islice(self._subjects, _LOOKED_AT)):
            subject = self._subjects.pop(key)
            _turn(subject, now_s, today)
            if subject.places or subject.starts_s or subject.spent_ms:
                self._subjects[key] = subject  # at the end of the queue
        subject = self._subjects.setdefault(key_of(who), _Subject(day=today))
        _turn(subject, now_s, today)
        return subject

    def _is_start_too_many(self, subject: _Subject, most: int | None) -> bool:
        if most is None:
            return False
        former = len(subject.starts_s)
        subject.starts_s.append(self._clock())
        if former and former >= most:  # as many as are needed to say no
            subject.starts_s.popleft()
        return former >= most


def _turn(subject: _Subject, now_s: float, today: int) -> None:
    """Forget what lies before the last minute and before today."""
    while subject.starts_s and subject.starts_s[0] <= now_s - START_WINDOW_S:
        subject.starts_s.popleft()
    if not subject.day - 1 <= today <= subject.day:  # a clock set back over midnight gains nothing
        subject.day, subject.spent_ms = today, 0
