"""Places, and who has how many."""

import asyncio
import time
from dataclasses import dataclass, field, replace

import pytest

from server import errors
from server.errors import RefusedError
from server.live import LiveSession, LiveSessions
from server.subjects import MemorySubjects
from tests.fakes import CALLER, GRANT, limited


@dataclass
class FakeConnection:
    grant: object = GRANT
    refusals: list = field(default_factory=list)
    is_ending: bool = False

    is_given_up: bool = False
    may_come_back: bool = True
    on_give_up: object = None

    @property
    def grants(self):
        return (self.grant,)

    def refuse(self, refusal):
        self.refusals.append(refusal)

    def give_up(self):
        self.on_give_up()


def living(session_id="s-1", grant=GRANT, resume_key=""):
    return LiveSession(session_id, CALLER, 0.0, FakeConnection(grant), resume_key)


def sessions(most=10):
    return LiveSessions(most, MemorySubjects(time.monotonic, lambda: 0.0))


async def refusal_of(live, grant=GRANT):
    with pytest.raises(RefusedError) as refused:
        async with live.place(grant, "s-9"):
            raise AssertionError("there was a place")
    return refused.value.refusal


async def test_a_subject_has_as_many_places_as_its_token_says():
    live, grant = sessions(), limited(concurrent_sessions=2)
    async with live.place(grant, "1"), live.place(grant, "2"):
        assert await refusal_of(live, grant) is errors.TOO_MANY_SESSIONS
        bob, other = replace(grant, subject="bob"), replace(grant, issuer="other")
        async with live.place(bob, "3"), live.place(other, "4"):
            assert live.total == 4
    async with live.place(grant, "5"):
        assert live.total == 1


async def test_the_server_has_as_many_places_as_its_settings_say():
    live = sessions(1)
    async with live.place(GRANT, "1"):
        assert await refusal_of(live) is errors.OVERLOADED
    assert live.total == 0


async def test_a_place_is_given_back_when_its_session_fails():
    live, grant = sessions(1), limited(concurrent_sessions=1)
    with pytest.raises(ValueError, match="x"):
        async with live.place(grant, "1"):
            raise ValueError("x")
    async with live.place(grant, "2"):
        assert live.total == 1


async def test_a_token_for_no_session_gets_none():
    live = sessions(1)
    assert (await refusal_of(live, limited(concurrent_sessions=0))).http_status == 429
    assert live.total == 0


async def test_a_store_that_does_not_answer_holds_nobody_back_who_leaves():
    class Silent:
        async def take_place(self, who, place_id, limits):
            pass

        async def give_place(self, who, place_id):
            await asyncio.sleep(3600)

    live = LiveSessions(1, Silent())
    async with asyncio.timeout(10):
        async with live.place(GRANT, "1"):
            pass
    assert live.total == 0


async def test_those_that_are_meant_are_ended_and_no_others():
    live = sessions()
    alice, bob = living("a"), living("b", replace(GRANT, subject="bob"))
    with live.running(alice), live.running(bob):
        assert [each.session_id for each in live.sessions] == ["a", "b"]
        is_bob = lambda each: each.connection.grant.subject == "bob"  # noqa: E731
        assert live.end(is_bob, errors.REVOKED) == 1
    assert (alice.connection.refusals, bob.connection.refusals) == ([], [errors.REVOKED])
    assert live.end(lambda each: True, errors.REVOKED) == 0


async def test_who_is_first_to_end_a_session_is_told_so_and_nobody_after():
    live, session, ending = sessions(), living("a"), living("b")
    with live.running(session), live.running(ending):
        assert live.find("a") is session
        assert [live.claim_end(session) for _ in range(3)] == [True, False, False]
        ending.connection.is_ending = True
        assert not live.claim_end(ending)
    assert live.find("a") is None
    with live.running(session):
        assert live.claim_end(session)


async def test_draining_ends_all_and_lets_nobody_in():
    live, session = sessions(), living()
    assert not live.is_stopping
    async with live.place(GRANT, "1"):
        with live.running(session):
            assert not await live.drain(0.01)
            assert live.is_stopping
            assert session.connection.refusals == [errors.SHUTTING_DOWN]
            assert await refusal_of(live) is errors.SHUTTING_DOWN
    assert await live.drain(0.01)


async def test_one_that_was_still_at_the_door_when_draining_began_is_ended_too():
    live, session = sessions(), living()
    async with live.place(GRANT, "1"):
        assert not await live.drain(0.01)
        with live.running(session):
            assert session.connection.refusals == [errors.SHUTTING_DOWN]


async def test_draining_waits_for_the_last_to_leave():
    live = sessions()
    first, last = live.place(GRANT, "1"), live.place(GRANT, "2")
    await first.__aenter__()
    await last.__aenter__()
    async with asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(live.drain(5.0))
        await asyncio.sleep(0)
        await first.__aexit__(None, None, None)
        for _ in range(5):
            await asyncio.sleep(0)
        assert not draining.done()
        await last.__aexit__(None, None, None)
    assert draining.result()


def test_a_session_is_found_by_its_key_and_its_subject_while_its_peer_may_come_back():
    live, session = sessions(), living(resume_key="k")
    assert live.find_resumable("k", GRANT.who) is None
    with live.running(session):
        assert live.find_resumable("k", GRANT.who) is session
        assert live.find_resumable("other", GRANT.who) is None
        assert live.find_resumable("k", replace(GRANT, subject="bob").who) is None
        session.connection.may_come_back = False
        assert live.find_resumable("k", GRANT.who) is None
        session.connection.may_come_back = True
    assert live.find_resumable("k", GRANT.who) is None


async def test_who_insists_gets_the_place_of_a_session_whose_peer_stays_away():
    live, grant = sessions(), limited(concurrent_sessions=1)
    session, is_over = living(grant=grant), asyncio.Event()
    session.connection.on_give_up = is_over.set

    async def stay():
        async with live.place(grant, "s-1"):
            with live.running(session):
                await is_over.wait()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stay())
        await asyncio.sleep(0)
        with pytest.raises(RefusedError):
            async with live.place(grant, "s-2", insists=True):
                pass
        session.connection.is_given_up = True
        assert await refusal_of(live, grant) is errors.TOO_MANY_SESSIONS, "who only asks"
        async with live.place(grant, "s-3", insists=True):
            assert is_over.is_set()
