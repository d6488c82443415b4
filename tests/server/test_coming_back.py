"""Who is let back to a session, how often, and whose session it is from then on."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from security.door_events import HandshakeRefused, SessionEnded, SessionResumed
from server import errors
from server.errors import RefusedError
from server.line import ConnectionSettings
from server.revoking import revocation_of
from tests.joined import NOW_S, POLICY, Joined, bearer
from tests.server.test_connection import FakeWebSocket
from tests.server.test_line import START, resume
from tests.server.test_reception import peer_with

STOLEN = revocation_of(POLICY, NOW_S, token_id="stolen")  # noqa: S106 (an id)


async def answered(socket):
    while not socket.sent:  # noqa: ASYNC110 (of things that know no events)
        await asyncio.sleep(0)


@pytest.fixture
def joined(tmp_path):
    return Joined(tmp_path, connection_settings=ConnectionSettings(most_resumes=2))


def coming_back(key, **claims):
    peer = peer_with(bearer(**claims))
    peer.scope["subprotocols"] = ["earwitness.v1", f"resume.{key}"]
    return peer


@asynccontextmanager
async def away(joined):
    """A session without its peer; its key."""
    websocket = FakeWebSocket()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:

        async def live():
            async with joined.reception.enter(peer_with(bearer())) as run:
                await run(websocket)

        running = tasks.create_task(live())
        websocket.put(START)
        await answered(websocket)
        websocket.vanish()
        yield websocket.sent[0]["resume"]["key"]
        for session in joined.live.sessions:
            session.connection.refuse(errors.SHUTTING_DOWN)
        await running


async def test_who_comes_back_and_says_nothing_can_do_that_so_often_and_no_more(joined):
    async with away(joined) as key:
        for _ in range(2):
            async with joined.reception.enter(coming_back(key)):
                pass
        with pytest.raises(RefusedError) as refused:
            async with joined.reception.enter(coming_back(key)):
                pass
        assert refused.value.refusal is errors.SESSION_GONE
    assert len(joined.records_of(SessionResumed)) == 2
    assert [row.reason for row in joined.records_of(HandshakeRefused)] == ["resumed_too_often"]


@pytest.mark.parametrize("has_said_so", [True, False])
async def test_revoking_the_token_that_its_peer_came_back_with_ends_a_session(joined, has_said_so):
    async with away(joined) as key, asyncio.TaskGroup() as tasks:
        second = FakeWebSocket()
        async with joined.reception.enter(coming_back(key, token_id=STOLEN.token_id)) as run:
            if has_said_so:
                second.put(resume(0))
                tasks.create_task(run(second))
                await answered(second)
            assert await joined.revoking.revoke(STOLEN) == 1
            second.vanish(1000)
    assert [row.reason for row in joined.records_of(SessionEnded)] == ["revoked"]


async def test_revoking_another_token_of_the_subject_leaves_it(joined):
    async with away(joined) as key, joined.reception.enter(coming_back(key)):
        assert await joined.revoking.revoke(STOLEN) == 0
