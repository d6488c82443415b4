"""Leases of several servers, and what happens when Redis is away, begins anew or hangs."""

import asyncio
import random
from collections import Counter
from contextlib import suppress
from dataclasses import replace

import pytest
import structlog
from redis.exceptions import ResponseError

from bench.door_subjects import measure_leases
from server import errors
from server.errors import RefusedError
from server.redis_subjects import RedisSubjects, open_redis_subjects
from server.subject_settings import SubjectSettings
from server.subjects import SubjectLimits, key_of
from tests.redis_server import RedisServer, needs_redis
from tests.server.stores import NO_LIMITS, redis_world

pytestmark = needs_redis
WHO = "tests alice"
ONE_PLACE = replace(NO_LIMITS, concurrent_sessions=1)
PLACES = f"earwitness:{{{key_of(WHO)}}}:places"
UNAVAILABLE = (errors.OVERLOADED, "store_unavailable")
TOO_MANY = (errors.TOO_MANY_SESSIONS, "too_many_sessions")
LEASE_S = 30.0
GIVE_UP_S = 30.0


@pytest.fixture
def redis_server(tmp_path):
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
async def world(redis_server):
    settings = SubjectSettings(redis_url=redis_server.url, lease_s=LEASE_S)
    async with redis_world(settings) as world:
        yield world


async def refusal_of(store, place_id, limits=NO_LIMITS, who=WHO):
    try:
        await store.take_place(who, place_id, limits)
    except RefusedError as refused:
        return refused.refusal, refused.reason
    return None


async def until(condition):
    async with asyncio.timeout(GIVE_UP_S):
        while not await condition():  # noqa: ASYNC110 (Redis tells nobody)
            await asyncio.sleep(0.02)


# --- leases ---


async def test_servers_share_the_places_of_a_subject(world):
    other = world.another()
    await world.store.take_place(WHO, "a", ONE_PLACE)
    assert await refusal_of(other, "b", ONE_PLACE) == TOO_MANY
    await world.store.give_place(WHO, "a")
    assert await refusal_of(other, "b", ONE_PLACE) is None


async def test_a_server_gives_back_only_places_of_its_own(world):
    other = world.another()
    await world.store.take_place(WHO, "a", ONE_PLACE)
    await other.give_place(WHO, "a")
    assert await refusal_of(other, "b", ONE_PLACE) == TOO_MANY


async def test_a_lease_that_is_renewed_does_not_run_out(world):
    await world.store.take_place(WHO, "a", ONE_PLACE)
    for _ in range(4):
        await world.pass_time(20)
        await world.store.renew()
    assert await refusal_of(world.another(), "b", ONE_PLACE) == TOO_MANY
    assert world.lost == []


async def test_the_places_of_a_server_that_died_are_free_when_their_leases_run_out(world):
    await world.another().take_place(WHO, "a", ONE_PLACE)
    await world.pass_time(29)
    assert await refusal_of(world.store, "b", ONE_PLACE) == TOO_MANY
    await world.pass_time(1)
    assert await refusal_of(world.store, "b", ONE_PLACE) is None


async def test_a_lease_that_ran_out_is_taken_again_where_there_is_room(world):
    await world.store.take_place(WHO, "a", ONE_PLACE)
    await world.pass_time(40)
    await world.store.renew()
    assert world.lost == []
    assert await refusal_of(world.another(), "b", ONE_PLACE) == TOO_MANY


async def test_a_place_that_was_given_to_another_is_reported_as_lost(world):
    await world.store.take_place(WHO, "a", ONE_PLACE)
    await world.pass_time(40)
    await world.another().take_place(WHO, "b", ONE_PLACE)
    await world.store.renew()
    await world.store.renew()
    assert world.lost == ["a"]


async def test_a_place_without_a_limit_cannot_be_lost_to_another(world):
    await world.store.take_place(WHO, "a", NO_LIMITS)
    await world.pass_time(40)
    await world.another().take_place(WHO, "b", NO_LIMITS)
    await world.store.renew()
    assert world.lost == []


async def test_nothing_is_left_in_redis_when_a_subject_has_gone(world):
    await world.store.take_place(WHO, "a", SubjectLimits(1, 1, 1000))
    await world.store.reserve_audio(WHO, 10, 1000)
    await world.store.give_place(WHO, "a")
    assert len(await world.keys("places")) == 0
    lives_ms = [await world.client.pttl(key) for key in await world.keys()]
    assert len(lives_ms) == 2
    assert all(0 < life_ms <= 2 * 86_400_000 for life_ms in lives_ms)


async def test_what_a_server_that_died_left_in_redis_goes_by_itself(world):
    await world.another().take_place(WHO, "a", NO_LIMITS)
    assert 0 < await world.client.pttl(PLACES) <= LEASE_S * 1000


async def test_no_key_holds_what_a_stranger_chose(world):
    await world.store.take_place("tests \r\nFLUSHALL", "a", SubjectLimits(1, 1, 1000))
    await world.store.reserve_audio("tests \r\nFLUSHALL", 10, 1000)
    keys = await world.keys()
    assert len(keys) == 3
    assert not [key for key in keys if b"FLUSHALL" in key]


async def test_servers_with_another_prefix_share_nothing(world):
    other = RedisSubjects(
        world.client, replace(world.settings, key_prefix="other"), world.lost.append, world.clock
    )
    await world.store.take_place(WHO, "a", ONE_PLACE)
    assert await refusal_of(other, "b", ONE_PLACE) is None


# --- when questions and answers cross ---


class Slow:
    """A client whose questions and answers come through only when they are let through."""

    def __init__(self, client):
        self._client = client
        self.may_ask = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.is_broken = False
        """For what is asked from now on."""

    def register_script(self, script):
        run = self._client.register_script(script)

        async def ask(keys, arguments):
            if self.is_broken:
                raise ConnectionError
            await self.may_ask.wait()
            answer = await run(keys, arguments)
            await self.may_answer.wait()
            return answer

        return ask

    async def zrem(self, *arguments):
        if self.is_broken:
            raise ConnectionError
        return await self._client.zrem(*arguments)

    def open(self):
        self.may_ask.set()
        self.may_answer.set()

    def __getattr__(self, name):
        return getattr(self._client, name)


def slow_store(world, **settings):
    client = Slow(world.client)
    settings = replace(world.settings, **settings)
    return RedisSubjects(client, settings, world.lost.append, world.clock), client


async def test_a_place_whose_answer_did_not_come_is_given_back(world):
    store, client = slow_store(world, answer_limit_s=0.05)
    client.may_ask.set()
    assert await refusal_of(store, "a", ONE_PLACE) == UNAVAILABLE
    assert await refusal_of(world.store, "b", ONE_PLACE) == TOO_MANY
    await store.renew()
    assert await refusal_of(world.store, "b", ONE_PLACE) is None


async def test_a_place_for_somebody_who_did_not_wait_for_it_is_given_back(world):
    store, client = slow_store(world)
    client.may_ask.set()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(store.take_place(WHO, "a", ONE_PLACE))
        await until(lambda: world.client.exists(PLACES))
        task.cancel()
    await store.renew()
    assert await refusal_of(world.store, "b", ONE_PLACE) is None


async def test_a_place_given_back_while_it_is_renewed_does_not_come_back(world):
    store, client = slow_store(world)
    client.open()
    await store.take_place(WHO, "a", ONE_PLACE)
    client.may_ask.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.renew())
        await asyncio.sleep(0)
        await store.give_place(WHO, "a")
        client.may_ask.set()
    assert await world.client.exists(PLACES)
    await store.renew()
    assert not await world.client.exists(PLACES)


async def test_a_place_of_whose_giving_back_redis_did_not_hear_is_given_back_later(world):
    store, client = slow_store(world)
    client.open()
    await store.take_place(WHO, "a", ONE_PLACE)
    client.is_broken = True
    await store.give_place(WHO, "a")
    client.is_broken = False
    assert await refusal_of(world.store, "b", ONE_PLACE) == TOO_MANY
    await store.renew()
    assert await refusal_of(world.store, "b", ONE_PLACE) is None


async def test_a_place_given_back_while_it_is_found_lost_is_not_reported(world):
    store, client = slow_store(world)
    client.open()
    await store.take_place(WHO, "a", ONE_PLACE)
    await world.pass_time(40)
    await world.store.take_place(WHO, "b", ONE_PLACE)
    client.may_ask.clear()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.renew())
        await asyncio.sleep(0)
        await store.give_place(WHO, "a")
        client.may_ask.set()
    assert world.lost == []


async def test_what_is_lent_while_a_debt_is_paid_is_still_owed(world):
    store, client = slow_store(world)
    client.is_broken = True
    await store.reserve_audio(WHO, 100, 1000)
    client.is_broken = False
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(store.renew())
        await asyncio.sleep(0)
        client.is_broken = True
        await store.reserve_audio(WHO, 20, 1000)
        client.is_broken = False
        client.open()
    await store.renew()
    assert await world.store.reserve_audio(WHO, 1000, 1000) == 880


async def test_no_answer_reaches_another_who_asks(world):
    dice = random.Random(6)  # noqa: S311 (a seed, to be played again)
    wrong, n_answered = [], 0

    async def ask(number):
        nonlocal n_answered
        with suppress(TimeoutError):
            async with asyncio.timeout(dice.random() * 0.02):
                got_ms = await world.store.reserve_audio(f"tests {number}", number, 10**6)
                n_answered += 1
                if got_ms != number:
                    wrong.append(got_ms)

    for first in range(0, 1000, 50):
        async with asyncio.TaskGroup() as tasks:
            for number in range(first, first + 50):
                tasks.create_task(ask(number))
    assert 0 < n_answered < 1000
    assert wrong == []
    for number in range(2000, 2100):  # and every connection is still good for something
        assert await world.store.reserve_audio(f"tests {number}", number, 10**6) == number


# --- when Redis is away ---


async def test_a_start_is_refused_and_a_session_goes_on_while_redis_is_away(world, redis_server):
    await world.store.take_place(WHO, "a", ONE_PLACE)
    world.clock.move(3600)
    await world.store.renew()
    redis_server.stop()
    assert await refusal_of(world.store, "b") == UNAVAILABLE
    world.clock.move(LEASE_S + world.settings.outage_limit_s - 1)
    await world.store.renew()
    assert world.lost == []


async def test_a_session_whose_lease_is_out_for_too_long_is_lost(world, redis_server):
    await world.store.take_place(WHO, "a", ONE_PLACE)
    redis_server.stop()
    world.clock.move(LEASE_S + world.settings.outage_limit_s + 1)
    await world.store.renew()
    assert world.lost == ["a"]


async def test_all_is_as_before_when_redis_is_back(world, redis_server):
    await world.store.take_place(WHO, "a", ONE_PLACE)
    await world.store.take_place("tests bob", "b", ONE_PLACE)
    redis_server.stop()
    await world.store.renew()
    await world.store.give_place("tests bob", "b")
    redis_server.start()
    await world.store.renew()
    assert await refusal_of(world.another(), "c", ONE_PLACE) == TOO_MANY
    assert await refusal_of(world.another(), "c", ONE_PLACE, "tests bob") is None
    assert world.lost == []


async def test_a_redis_that_hangs_refuses_a_start_within_a_second(world, redis_server):
    await world.store.take_place(WHO, "a", ONE_PLACE)
    redis_server.pause()
    async with asyncio.timeout(GIVE_UP_S), asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(refusal_of(world.store, f"b{n}")) for n in range(40)]
    assert {task.result() for task in asked} == {UNAVAILABLE}
    redis_server.go_on()
    await until(lambda: is_let_in(world.store, "c"))


async def is_let_in(store, place_id):
    return await refusal_of(store, place_id) is None


async def test_what_nobody_can_give_back_is_kept_only_until_it_has_run_out(world, redis_server):
    redis_server.stop()
    for number in range(100):
        assert await refusal_of(world.store, str(number)) == UNAVAILABLE
    world.clock.move(LEASE_S + 1)
    await world.store.renew()
    redis_server.start()
    asked = Counter()
    zrem = world.client.zrem
    world.client.zrem = lambda *arguments: asked.update(["zrem"]) or zrem(*arguments)
    await world.store.renew()
    assert asked["zrem"] == 0


async def test_audio_is_lent_while_redis_is_away_and_paid_when_it_is_back(world, redis_server):
    await world.store.reserve_audio(WHO, 300, 1000)
    redis_server.stop()
    assert await world.store.reserve_audio(WHO, 700, 1000) == 700
    assert await world.store.reserve_audio(WHO, 700, 1000) == 300
    assert await world.store.reserve_audio(WHO, 700, 1000) == 0
    assert await world.store.reserve_audio(WHO, -100, 1000) == -100
    assert await world.store.reserve_audio(WHO, -5000, 1000) == -900
    assert await world.store.reserve_audio(WHO, -1, 1000) == 0
    assert await world.store.reserve_audio(WHO, 250, 1000) == 250
    redis_server.start()
    await world.store.renew()
    await world.store.renew()
    assert await world.another().reserve_audio(WHO, 1000, 1000) == 750


async def test_that_redis_is_away_is_said_once_and_without_its_address(world, redis_server):
    redis_server.stop()
    with structlog.testing.capture_logs() as lines:
        for number in range(3):
            await refusal_of(world.store, str(number))
        redis_server.start()
        for number in range(3):
            await refusal_of(world.store, str(number))
    assert [line["event"] for line in lines] == [
        "Redis does not answer: no new sessions",
        "Redis answers again",
    ]
    assert str(redis_server.port) not in str(lines)


async def test_a_key_of_another_kind_is_no_reason_to_fail(world):
    await world.client.set(PLACES, "not ours")
    with pytest.raises(ResponseError):
        await world.client.zcard(PLACES)
    assert await refusal_of(world.store, "a") == UNAVAILABLE


# --- beside everything else ---


async def test_run_renews_by_itself_and_goes_on_after_an_outage(redis_server):
    settings = SubjectSettings(
        redis_url=redis_server.url, lease_s=4.0, renewal_s=0.1, answer_limit_s=0.5
    )
    lost = []
    async with (
        redis_world(settings) as world,
        open_redis_subjects(settings, lost.append) as store,
        asyncio.TaskGroup() as tasks,
    ):
        renewing = tasks.create_task(store.run())
        await store.take_place(WHO, "a", ONE_PLACE)
        await until_renewed(world.client)
        redis_server.stop()
        with structlog.testing.capture_logs() as lines:
            await until(lambda: asyncio.sleep(0, bool(lines)))
        redis_server.start()
        await until_renewed(world.client)
        renewing.cancel()
    assert lost == []


async def until_renewed(client):
    """The end of the lease has moved, and again."""
    ends = set()

    async def has_moved():
        ends.add(await client.zscore(PLACES, "a"))
        return len(ends - {None}) > 2

    await until(has_moved)


# --- several processes ---


async def test_three_processes_never_have_more_places_than_allowed_and_a_killed_one_none(
    redis_server,
):
    settings = SubjectSettings(redis_url=redis_server.url, lease_s=4.0, renewal_s=1.0)
    async with asyncio.timeout(10 * GIVE_UP_S):
        figures = await measure_leases(settings)
    assert 40 < figures["lease_most_seen"] <= 50
