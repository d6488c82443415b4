"""The store of subjects that several servers share: leases, starts and days in Redis.

A place is a lease that this server renews as long as it lives; it frees itself when the server
dies, and so does one of which nobody knows whether it was taken. A lease that ran out, because
Redis began anew or this process stood still, is taken again where there is still room, and
otherwise reported as lost.

While Redis is away nobody new is let in. Living sessions go on until their leases have been out for
`outage_limit_s`, then they are lost: until then another server, if it can reach Redis, may have
given their places away, and no limit is exceeded by more than those. Their audio is lent, at most a
day's of each subject, and put onto the day when Redis is back. What nobody knows to have arrived
counts against the subject: audio is rather spent twice than not at all.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from server import errors, redis_scripts
from server.errors import RefusedError
from server.redis_client import open_redis_client
from server.subject_settings import SubjectSettings
from server.subjects import SubjectLimits, key_of

_log = structlog.get_logger()
_RETRY_S = 1.0
"""While Redis is away."""
_NO_LIMIT = -1
_REFUSALS = {
    redis_scripts.STARTS_USED_UP: errors.TOO_MANY_STARTS,
    redis_scripts.PLACES_USED_UP: errors.TOO_MANY_SESSIONS,
    redis_scripts.DAY_USED_UP: errors.QUOTA_DAILY,
}
_Answer = TypeVar("_Answer")


@dataclass(slots=True)
class _Place:
    subject: str
    most: int
    """Places of this subject, as its token says."""
    sure_until_s: float
    """When its lease runs out, if it was not renewed since."""


class RedisSubjects:
    """See `SubjectStore`; used from the event loop only, and `run` beside it."""

    def __init__(
        self,
        client: Redis,
        settings: SubjectSettings,
        on_lost: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        """`on_lost`: told the id of each place that is no longer one."""
        self._client = client
        self._settings = settings
        self._on_lost = on_lost
        self._clock = clock
        self._lease_ms = round(settings.lease_s * 1000)
        self._take = client.register_script(redis_scripts.TAKE)
        self._renew = client.register_script(redis_scripts.RENEW)
        self._spend = client.register_script(redis_scripts.SPEND)
        self._places: dict[str, _Place] = {}
        self._unwanted: dict[str, _Place] = {}
        """Given back or refused, and perhaps still in Redis; until their leases have run out."""
        self._owed_ms: dict[str, int] = {}
        """By subject: audio that was lent."""
        self._is_away = False

    async def take_place(self, who: str, place_id: str, limits: SubjectLimits) -> None:
        """See `SubjectStore`."""
        subject = key_of(who)
        most = _or_no_limit(limits.concurrent_sessions)
        place = _Place(subject, most, self._clock() + self._settings.lease_s)
        keys = [self._key(subject, part) for part in ("places", "starts", "day")]
        most_starts = _or_no_limit(limits.starts_per_minute)
        most_ms = _or_no_limit(limits.audio_ms_per_day)
        try:
            answer = await self._ask(
                self._take(keys, [place_id, self._lease_ms, most, most_starts, most_ms])
            )
        except BaseException:  # whoever asked may also be gone: in either case it may be taken
            self._unwanted[place_id] = place
            raise
        if answer != redis_scripts.TAKEN:
            raise RefusedError(_REFUSALS[answer])
        self._places[place_id] = place

    async def give_place(self, who: str, place_id: str) -> None:
        """See `SubjectStore`."""
        place = self._places.pop(place_id, None)
        if place is not None:
            self._unwanted[place_id] = place
            with suppress(RefusedError):
                await self._remove(place_id, place)

    async def reserve_audio(self, who: str, wanted_ms: int, most_ms_per_day: int) -> int:
        """See `SubjectStore`; never refused, but lent."""
        subject = key_of(who)
        try:
            got_ms = await self._ask(
                self._spend([self._key(subject, "day")], [wanted_ms, most_ms_per_day])
            )
        except RefusedError:
            owed_ms = self._owed_ms.get(subject, 0)
            got_ms = max(min(wanted_ms, max(0, most_ms_per_day - owed_ms)), -owed_ms)
            if got_ms:
                self._owed_ms[subject] = owed_ms + got_ms
        return int(got_ms)

    async def run(self) -> None:
        """Renew what there is, again and again, until cancelled."""
        while True:
            renewal_s = self._settings.renewal_s
            await asyncio.sleep(min(_RETRY_S, renewal_s) if self._is_away else renewal_s)
            await self.renew()

    async def renew(self) -> None:
        """One round: settle what Redis did not hear of, renew the leases, report the lost."""
        now_s = self._clock()
        for place_id, place in list(self._unwanted.items()):
            if now_s > place.sure_until_s + self._settings.answer_limit_s:
                del self._unwanted[place_id]
        with suppress(RefusedError):
            await self._settle()
            await self._renew_places()
        for place_id, place in list(self._places.items()):
            if now_s > place.sure_until_s + self._settings.outage_limit_s:
                self._lose(place_id)

    async def _settle(self) -> None:
        """Give back and pay."""
        for place_id, place in list(self._unwanted.items()):
            await self._remove(place_id, place)
        for subject, owed_ms in list(self._owed_ms.items()):
            await self._ask(self._spend([self._key(subject, "day")], [owed_ms, _NO_LIMIT]))
            self._owed_ms[subject] -= owed_ms  # more may have been lent meanwhile
            if not self._owed_ms[subject]:
                del self._owed_ms[subject]

    async def _renew_places(self) -> None:
        by_subject: defaultdict[str, dict[str, _Place]] = defaultdict(dict)
        for place_id, place in self._places.items():
            by_subject[place.subject][place_id] = place
        for subject, places in by_subject.items():
            sure_until_s = self._clock() + self._settings.lease_s
            arguments = [x for place_id, place in places.items() for x in (place_id, place.most)]
            lost = await self._ask(
                self._renew([self._key(subject, "places")], [self._lease_ms, *arguments])
            )
            for place_id, place in places.items():
                place.sure_until_s = sure_until_s
                if place_id not in self._places:  # given back meanwhile, perhaps before this
                    self._unwanted[place_id] = place
            for place_id in lost:
                self._lose(place_id.decode())

    async def _remove(self, place_id: str, place: _Place) -> None:
        await self._ask(self._client.zrem(self._key(place.subject, "places"), place_id))
        self._unwanted.pop(place_id, None)

    def _lose(self, place_id: str) -> None:
        if self._places.pop(place_id, None) is not None:
            self._on_lost(place_id)

    async def _ask(self, question: Awaitable[_Answer]) -> _Answer:
        """Redis' answer. Raises RefusedError when there is none in time."""
        try:
            async with asyncio.timeout(self._settings.answer_limit_s):
                answer = await question
        except (OSError, RedisError, TimeoutError) as error:
            if not self._is_away:
                _log.warning("Redis does not answer: no new sessions", error=type(error).__name__)
            self._is_away = True
            raise RefusedError(errors.OVERLOADED, "store_unavailable") from None
        if self._is_away:
            _log.info("Redis answers again")
        self._is_away = False
        return answer

    def _key(self, subject: str, part: str) -> str:
        """The braces keep what one script needs on one node of a cluster."""
        return f"{self._settings.key_prefix}:{{{subject}}}:{part}"


def _or_no_limit(limit: int | None) -> int:
    return _NO_LIMIT if limit is None else limit


@asynccontextmanager
async def open_redis_subjects(
    settings: SubjectSettings, on_lost: Callable[[str], None]
) -> AsyncIterator[RedisSubjects]:
    """A store with a client of its own, also while Redis is away. Raises StartError."""
    client = open_redis_client(settings)
    try:
        yield RedisSubjects(client, settings, on_lost, time.monotonic)
    finally:
        await client.aclose()
