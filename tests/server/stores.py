"""Both stores of subjects behind the same few things that a test lets happen to them."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from redis.asyncio import Redis

from server.redis_client import open_redis_client
from server.redis_subjects import RedisSubjects
from server.subject_settings import SubjectSettings
from server.subjects import DAY_S, MemorySubjects, SubjectLimits, SubjectStore
from tests.fakes import ManualClock

NO_LIMITS = SubjectLimits(None, None, None)
WALL_S = 20_000 * DAY_S + 7.0


class World(Protocol):
    """A store, and time that passes when a test says so."""

    store: SubjectStore

    async def pass_time(self, duration_s: float) -> None: ...

    async def pass_midnight(self) -> None: ...

    async def set_back_over_midnight(self) -> None: ...

    async def left_behind(self) -> list[str] | list[bytes]: ...


@dataclass
class MemoryWorld:
    clock: ManualClock = field(default_factory=ManualClock)
    wall_clock: ManualClock = field(default_factory=lambda: ManualClock(WALL_S))

    def __post_init__(self) -> None:
        self.store = MemorySubjects(self.clock, self.wall_clock)

    async def pass_time(self, duration_s: float) -> None:
        """Without a midnight in it."""
        self.clock.move(duration_s)

    async def pass_midnight(self) -> None:
        self.wall_clock.move(DAY_S)

    async def set_back_over_midnight(self) -> None:
        self.wall_clock.move(-DAY_S)

    async def left_behind(self) -> list[str]:
        """Subjects that are still kept after everybody has had time to be forgotten."""
        for _ in range(len(self.store)):
            await self.store.give_place("nobody", "nothing")
        await self.store.give_place("nobody", "nothing")
        kept = len(self.store)
        return ["subject"] * (kept - 1)


class RedisWorld:
    """Redis' clock cannot be moved; what it keeps is made older instead."""

    def __init__(self, client: Redis, settings: SubjectSettings) -> None:
        self.client = client
        self.settings = settings
        self.clock = ManualClock()
        self.lost: list[str] = []
        self.store = self.another()

    def another(self) -> RedisSubjects:
        """A further server."""
        return RedisSubjects(self.client, self.settings, self.lost.append, self.clock)

    async def pass_time(self, duration_s: float) -> None:
        self.clock.move(duration_s)
        by_ms = round(duration_s * 1000)
        for key in await self.keys("places"):
            for place in await self.client.zrange(key, 0, -1):
                await self.client.zincrby(key, -by_ms, place)
        for key in await self.keys("starts"):
            for index, start_ms in enumerate(await self.client.lrange(key, 0, -1)):
                await self.client.lset(key, index, int(start_ms) - by_ms)

    async def pass_midnight(self) -> None:
        for key in await self.keys("day"):
            await self.client.hincrby(key, "day", -1)

    async def set_back_over_midnight(self) -> None:
        for key in await self.keys("day"):
            await self.client.hincrby(key, "day", 1)

    async def left_behind(self) -> list[bytes]:
        """Keys without an end, and places of nobody."""
        places = await self.keys("places")
        for key in places:
            await self.client.zremrangebyscore(key, "-inf", time.time() * 1000)  # noqa: TID251
        kept = await self.keys()
        return [key for key in kept if await self.client.pttl(key) < 0 or key.endswith(b":places")]

    async def keys(self, part: str = "*") -> list[bytes]:
        return [key async for key in self.client.scan_iter(f"{self.settings.key_prefix}:*:{part}")]


@asynccontextmanager
async def redis_world(settings: SubjectSettings) -> AsyncIterator[RedisWorld]:
    client = open_redis_client(settings)
    await client.flushall()
    try:
        yield RedisWorld(client, settings)
    finally:
        await client.aclose()
