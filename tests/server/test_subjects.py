"""What the sessions of a subject share: places, starts and days, in memory and in Redis alike."""

import random
from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest

from server import errors
from server.errors import RefusedError
from server.subject_settings import SubjectSettings
from server.subjects import DAY_S, MemorySubjects, SubjectLimits, key_of
from tests.fakes import ManualClock
from tests.redis_server import RedisServer, needs_redis
from tests.server.stores import NO_LIMITS, WALL_S, MemoryWorld, redis_world

WHO = "tests alice"
TWO_PLACES = replace(NO_LIMITS, concurrent_sessions=2)
TWO_STARTS = replace(NO_LIMITS, starts_per_minute=2)
A_SECOND = replace(NO_LIMITS, audio_ms_per_day=1000)
LEASE_S = 30.0
N_STEPS = 50
N_RUNS = {"memory": 1000, "redis": 20}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", pytest.param("redis", marks=needs_redis)])
async def world(request):
    if request.param == "memory":
        yield MemoryWorld()
    else:
        server = request.getfixturevalue("redis_server")
        settings = SubjectSettings(redis_url=server.url, lease_s=LEASE_S)
        async with redis_world(settings) as redis:
            yield redis


async def refusal_of(store, place_id, limits, who=WHO):
    try:
        await store.take_place(who, place_id, limits)
    except RefusedError as refused:
        return refused.refusal
    return None


async def test_a_subject_has_as_many_places_as_its_token_says(world):
    for place_id in ("a", "b"):
        assert await refusal_of(world.store, place_id, TWO_PLACES) is None
    assert await refusal_of(world.store, "c", TWO_PLACES) is errors.TOO_MANY_SESSIONS
    assert await refusal_of(world.store, "d", TWO_PLACES, "tests bob") is None


async def test_a_place_that_is_given_back_is_free(world):
    for place_id in ("a", "b"):
        await world.store.take_place(WHO, place_id, TWO_PLACES)
    await world.store.give_place(WHO, "a")
    await world.store.give_place(WHO, "a")
    assert await refusal_of(world.store, "c", TWO_PLACES) is None
    assert await refusal_of(world.store, "d", TWO_PLACES) is errors.TOO_MANY_SESSIONS


async def test_giving_back_what_was_never_taken_does_nothing(world):
    await world.store.give_place(WHO, "a")
    assert await refusal_of(world.store, "a", TWO_PLACES) is None


async def test_the_same_place_taken_twice_is_one(world):
    for place_id in ("a", "a", "b", "b", "a"):
        assert await refusal_of(world.store, place_id, TWO_PLACES) is None
    assert await refusal_of(world.store, "c", TWO_PLACES) is errors.TOO_MANY_SESSIONS


async def test_places_without_a_limit_count_for_tokens_that_have_one(world):
    for place_id in ("a", "b", "c"):
        await world.store.take_place(WHO, place_id, NO_LIMITS)
    assert await refusal_of(world.store, "d", TWO_PLACES) is errors.TOO_MANY_SESSIONS


async def test_a_refused_start_takes_no_place(world):
    await world.store.take_place(WHO, "a", TWO_PLACES)
    await world.store.reserve_audio(WHO, 1000, 1000)
    assert await refusal_of(world.store, "b", A_SECOND) is errors.QUOTA_DAILY
    assert await refusal_of(world.store, "c", TWO_PLACES) is None


async def test_starts_are_as_many_a_minute_as_the_token_says(world):
    for place_id in ("a", "b"):
        assert await refusal_of(world.store, place_id, TWO_STARTS) is None
    assert await refusal_of(world.store, "c", TWO_STARTS) is errors.TOO_MANY_STARTS
    assert await refusal_of(world.store, "c", TWO_STARTS, "tests bob") is None


async def test_who_hammers_at_the_door_stays_outside(world):
    for place_id in ("a", "b"):
        await world.store.take_place(WHO, place_id, TWO_STARTS)
    for _ in range(20):
        await world.pass_time(20)
        assert await refusal_of(world.store, "c", TWO_STARTS) is errors.TOO_MANY_STARTS
    await world.pass_time(60)
    assert await refusal_of(world.store, "c", TWO_STARTS) is None


async def test_who_tries_once_a_minute_gets_in(world):
    limits = replace(NO_LIMITS, starts_per_minute=1)
    for number in range(5):
        assert await refusal_of(world.store, str(number), limits) is None
        await world.pass_time(60)


async def test_a_start_that_is_refused_for_another_reason_counts_as_one(world):
    limits = SubjectLimits(0, 2, None)
    for _ in range(2):
        assert await refusal_of(world.store, "a", limits) is errors.TOO_MANY_SESSIONS
    assert await refusal_of(world.store, "a", limits) is errors.TOO_MANY_STARTS


async def test_a_token_with_fewer_starts_does_not_forget_those_of_another(world):
    many = replace(NO_LIMITS, starts_per_minute=5)
    for _ in range(5):
        await world.store.take_place(WHO, "a", many)
    for limit in (0, 1):
        few = replace(NO_LIMITS, starts_per_minute=limit)
        assert await refusal_of(world.store, "b", few) is errors.TOO_MANY_STARTS
        assert await refusal_of(world.store, "b", many) is errors.TOO_MANY_STARTS


async def test_no_starts_at_all_are_none(world):
    limits = replace(NO_LIMITS, starts_per_minute=0)
    for _ in range(2):
        assert await refusal_of(world.store, "a", limits) is errors.TOO_MANY_STARTS


async def test_of_a_day_no_more_is_got_than_is_left(world):
    assert await world.store.reserve_audio(WHO, 600, 1000) == 600
    assert await world.store.reserve_audio(WHO, 600, 1000) == 400
    assert await world.store.reserve_audio(WHO, 600, 1000) == 0
    assert await world.store.reserve_audio(WHO, 600, 500) == 0
    assert await world.store.reserve_audio("tests bob", 600, 1000) == 600


async def test_what_was_not_used_is_given_back(world):
    await world.store.reserve_audio(WHO, 1000, 1000)
    assert await world.store.reserve_audio(WHO, -300, 1000) == -300
    assert await world.store.reserve_audio(WHO, 600, 1000) == 300
    assert await world.store.reserve_audio(WHO, -2000, 1000) == -1000


async def test_who_has_used_up_the_day_is_let_in_after_midnight(world):
    await world.store.reserve_audio(WHO, 1000, 1000)
    assert await refusal_of(world.store, "a", A_SECOND) is errors.QUOTA_DAILY
    await world.pass_midnight()
    assert await refusal_of(world.store, "a", A_SECOND) is None
    assert await world.store.reserve_audio(WHO, -300, 1000) == 0
    assert await world.store.reserve_audio(WHO, 2000, 1000) == 1000


async def test_a_clock_set_back_over_midnight_gains_nothing(world):
    await world.store.reserve_audio(WHO, 600, 1000)
    await world.pass_midnight()
    await world.store.reserve_audio(WHO, 700, 1000)
    await world.set_back_over_midnight()
    assert await world.store.reserve_audio(WHO, 700, 1000) == 300


async def test_a_clock_that_was_far_ahead_takes_no_day_away(world):
    await world.store.reserve_audio(WHO, 1000, 1000)
    for _ in range(2):
        await world.set_back_over_midnight()
    assert await world.store.reserve_audio(WHO, 1000, 1000) == 1000


def test_a_subject_is_hashed_before_it_is_a_key():
    assert len({key_of(who) for who in ("a", "A", "", "a" * 10_000, "\ud800")}) == 5
    assert {len(key_of(who)) for who in ("", "a" * 10_000)} == {64}


async def test_what_was_spent_before_a_restart_is_known_after_it():
    store = MemorySubjects(ManualClock(), ManualClock(WALL_S), {WHO: 700})
    assert await store.reserve_audio(WHO, 600, 1000) == 300


async def test_subjects_with_neither_places_nor_a_last_minute_nor_a_day_are_forgotten():
    world = MemoryWorld()
    for number in range(1000):
        who = f"tests {number}"
        await world.store.take_place(who, "a", TWO_STARTS)
        await world.store.give_place(who, "a")
        await world.store.reserve_audio(who, 1, 1000)
    assert len(world.store) == 1000
    await world.pass_time(60)
    await world.pass_midnight()
    for number in range(1000):
        await world.store.take_place(WHO, str(number), NO_LIMITS)
    assert len(world.store) == 1


async def test_subjects_with_a_place_are_remembered():
    world = MemoryWorld()
    await world.store.take_place(WHO, "a", NO_LIMITS)
    await world.pass_time(10 * DAY_S)
    for number in range(100):
        await world.store.give_place(f"tests {number}", "b")
    assert len(world.store) <= 4
    limits = replace(NO_LIMITS, concurrent_sessions=1)
    assert await refusal_of(world.store, "b", limits) is errors.TOO_MANY_SESSIONS


# --- whatever happens, against an oracle ---


@dataclass
class Oracle:
    """Every attempt, place and millisecond, by subject, and nothing clever."""

    now_s: float = 0.0
    attempts_s: defaultdict = field(default_factory=lambda: defaultdict(list))
    places: defaultdict = field(default_factory=lambda: defaultdict(dict))
    """Ends of leases by place; a place is gone once its end has come."""
    spent_ms: defaultdict = field(default_factory=lambda: defaultdict(int))

    def held(self, who):
        return {place for place, end_s in self.places[who].items() if end_s > self.now_s}

    def take(self, who, place_id, limits, lease_s):
        if limits.starts_per_minute is not None:
            recent_s = [s for s in self.attempts_s[who] if s > self.now_s - 60]
            if len(recent_s) >= limits.starts_per_minute:
                self.attempts_s[who] = [*recent_s[1:], self.now_s]
                return errors.TOO_MANY_STARTS
            self.attempts_s[who] = [*recent_s, self.now_s]
        most = limits.concurrent_sessions
        if most is not None and len(self.held(who)) >= most:
            return errors.TOO_MANY_SESSIONS
        if limits.audio_ms_per_day is not None and self.spent_ms[who] >= limits.audio_ms_per_day:
            return errors.QUOTA_DAILY
        self.places[who][place_id] = self.now_s + lease_s
        return None

    def reserve(self, who, wanted_ms, most_ms):
        got_ms = max(min(wanted_ms, max(0, most_ms - self.spent_ms[who])), -self.spent_ms[who])
        self.spent_ms[who] += got_ms
        return got_ms


class Run:
    """Fifty things that happen to a store and to an oracle."""

    def __init__(self, world, seed):
        self.world = world
        self.dice = random.Random(seed)  # noqa: S311 (a seed, to be played again)
        self.oracle = Oracle()
        self.is_leased = not isinstance(world, MemoryWorld)
        self.living = {}
        """Places that nobody gave back and whose server lives, with whose they are."""
        self.n_refused = 0
        self.most = {who: self.dice.randint(0, 4) for who in ("a", "b", "c")}
        self.prefix = f"{seed}-"

    def who(self):
        return self.dice.choice("abc")

    async def play(self):
        steps = [self.take, self.give, self.reserve, self.pass_time, self.crash, self.midnight]
        for number in range(N_STEPS):
            step = self.dice.choices(steps, [8, 4, 4, 4, 1, 1])[0]
            await step(f"{self.prefix}{number}")
            for who, most in self.most.items():
                assert len(self.oracle.held(who)) <= most
        for place_id, who in self.living.items():
            await self.world.store.give_place(who, place_id)

    async def take(self, place_id):
        who = self.who()
        limits = SubjectLimits(
            self.most[who], self.dice.choice([None, 0, 1, 3, 10]), self.dice.choice([None, 0, 500])
        )
        refusal = await refusal_of(self.world.store, place_id, limits, self.prefix + who)
        lease_s = LEASE_S if self.is_leased else float("inf")
        assert refusal is self.oracle.take(who, place_id, limits, lease_s)
        self.n_refused += refusal is not None
        if refusal is None:
            self.living[place_id] = self.prefix + who

    async def give(self, _place_id):
        if not self.living:
            return
        place_id = self.dice.choice(list(self.living))
        who = self.living.pop(place_id)
        await self.world.store.give_place(who, place_id)
        self.oracle.places[who.removeprefix(self.prefix)].pop(place_id)

    async def reserve(self, _place_id):
        who, wanted_ms = self.who(), self.dice.randint(-200, 400)
        got_ms = await self.world.store.reserve_audio(self.prefix + who, wanted_ms, 500)
        assert got_ms == self.oracle.reserve(who, wanted_ms, 500)
        assert 0 <= self.oracle.spent_ms[who] <= 500

    async def pass_time(self, _place_id):
        duration_s = self.dice.choice([10.0, 20.0, 60.0])
        if self.is_leased:  # renewed before they can run out
            duration_s = self.dice.choice([10.0, 20.0])
        await self.world.pass_time(duration_s)
        self.oracle.now_s += duration_s
        if self.is_leased:
            await self.world.store.renew()
            for place_id, who in self.living.items():
                places = self.oracle.places[who.removeprefix(self.prefix)]
                places[place_id] = self.oracle.now_s + LEASE_S

    async def crash(self, _place_id):
        """Of a server; in memory, all goes but what the trail knows."""
        self.living.clear()
        if self.is_leased:
            self.world.store = self.world.another()
            return
        spent = {self.prefix + who: ms for who, ms in self.oracle.spent_ms.items()}
        world = self.world
        world.store = MemorySubjects(world.clock, world.wall_clock, spent)
        self.oracle.places.clear()
        self.oracle.attempts_s.clear()

    async def midnight(self, _place_id):
        await self.world.pass_midnight()
        self.oracle.spent_ms.clear()


@pytest.mark.parametrize("slice_of", range(10))
async def test_no_limit_is_ever_exceeded_and_nothing_is_left_behind(world, slice_of):
    kind = "memory" if isinstance(world, MemoryWorld) else "redis"
    n_refused = 0
    for seed in range(N_RUNS[kind] // 10):
        if kind == "memory":
            world = MemoryWorld()
        run = Run(world, 1000 * slice_of + seed)
        await run.play()
        n_refused += run.n_refused
        await run.world.pass_time(60)
        await run.world.pass_midnight()
        assert await run.world.left_behind() == []
    assert n_refused
