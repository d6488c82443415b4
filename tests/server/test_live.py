"""Places, and who has how many."""

import asyncio
from dataclasses import replace

import pytest

from server import errors
from server.errors import RefusedError
from server.live import LiveSessions
from tests.fakes import GRANT


class FakeConnection:
    def __init__(self):
        self.refusals = []

    def refuse(self, refusal):
        self.refusals.append(refusal)


def refusal_of(live, grant=GRANT):
    with pytest.raises(RefusedError) as refused, live.place(grant):
        raise AssertionError("there was a place")
    return refused.value.refusal


async def test_a_subject_has_as_many_places_as_its_token_says():
    live, grant = LiveSessions(10), replace(GRANT, concurrent_sessions=2)
    with live.place(grant), live.place(grant):
        assert refusal_of(live, grant) is errors.TOO_MANY_SESSIONS
        with live.place(replace(grant, subject="bob")), live.place(replace(grant, issuer="other")):
            assert live.total == 4
    with live.place(grant):
        assert live.total == 1


async def test_the_server_has_as_many_places_as_its_settings_say():
    live = LiveSessions(1)
    with live.place(GRANT):
        assert refusal_of(live) is errors.OVERLOADED
    assert live.total == 0


async def test_a_place_is_given_back_when_its_session_fails():
    live = LiveSessions(1)
    with pytest.raises(ValueError, match="x"), live.place(GRANT):
        raise ValueError("x")
    assert live.total == 0


async def test_a_token_for_no_session_gets_none():
    assert refusal_of(LiveSessions(1), replace(GRANT, concurrent_sessions=0)).http_status == 429


async def test_draining_ends_all_and_lets_nobody_in():
    live, connection = LiveSessions(10), FakeConnection()
    with live.place(GRANT), live.running(connection):
        assert not await live.drain(0.01)
        assert connection.refusals == [errors.SHUTTING_DOWN]
        assert refusal_of(live) is errors.SHUTTING_DOWN
    assert await live.drain(0.01)


async def test_one_that_was_still_at_the_door_when_draining_began_is_ended_too():
    live, connection = LiveSessions(10), FakeConnection()
    with live.place(GRANT):
        assert not await live.drain(0.01)
        with live.running(connection):
            assert connection.refusals == [errors.SHUTTING_DOWN]


async def test_draining_waits_for_the_last_to_leave():
    live = LiveSessions(10)
    place = live.place(GRANT)
    place.__enter__()
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(live.drain(5.0))
        await asyncio.sleep(0)
        place.__exit__(None, None, None)
    assert draining.result()
