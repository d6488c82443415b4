"""From the door to a running session; what HTTP makes of it is in `test_app` and `test_rest`."""

import asyncio

import pytest
from starlette.requests import HTTPConnection

from security.door_events import SessionEnded
from security.limits import Limits
from server.reception import caller_of
from server.revoking import revocation_of
from tests.joined import NOW_S, POLICY, Joined, bearer
from tests.server.test_connection import START, STOP, FakeWebSocket


def peer_with(headers, kind="websocket"):
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection(
        {"type": kind, "headers": encoded, "query_string": b"", "client": ("127.0.0.1", 5)}
    )


@pytest.fixture
def joined(tmp_path):
    return Joined(tmp_path)


async def test_what_is_revoked_between_the_door_and_the_session_ends_it_at_once(joined):
    websocket = FakeWebSocket()
    async with joined.reception.enter(peer_with(bearer())) as run:
        assert await joined.revoking.revoke(revocation_of(POLICY, NOW_S, subject="alice")) == 0
        await run(websocket)
    assert websocket.close_code == 4401
    assert isinstance(joined.records[-1], SessionEnded)
    assert joined.records[-1].reason == "revoked"
    assert joined.live.total == 0


async def test_the_time_between_the_door_and_the_session_is_the_tokens(joined):
    websocket = FakeWebSocket()
    async with joined.reception.enter(peer_with(bearer())) as run, asyncio.TaskGroup() as tasks:
        await asyncio.sleep(0.05)
        running = tasks.create_task(run(websocket))
        await asyncio.sleep(0)
        [session] = joined.live.sessions
        assert session.connection.grant.expires_in_s <= 599.95
        websocket.vanish()
        await running


@pytest.mark.parametrize(("kind", "pace_percent"), [("websocket", 125), ("http", None)])
async def test_what_is_uploaded_whole_has_no_pace_and_what_is_streamed_has(
    joined, kind, pace_percent
):
    websocket = FakeWebSocket()
    websocket.put(START, STOP)
    peer = peer_with(bearer(limits=Limits(pace_percent=125)), kind)
    async with joined.reception.enter(peer) as run:
        await run(websocket)
    assert websocket.sent[0]["limits"]["pace_percent"] == pace_percent


async def test_a_place_is_given_back_when_nothing_comes_of_it(joined):
    async def leave():
        async with joined.reception.enter(peer_with(bearer())):
            assert joined.live.total == 1
            raise LookupError

    with pytest.raises(LookupError):
        await leave()
    assert joined.live.total == 0


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.1", 5), "192.0.2.1:5"),
        (("2001:db8::1", 5), "[2001:db8::1]:5"),
        (("192.0.2.1", 0), "192.0.2.1"),
        (("2001:db8::1", 0), "2001:db8::1"),
        (None, ""),
    ],
)
def test_an_address_is_written_as_one_that_nobody_takes_for_another(client, address):
    peer = HTTPConnection({"type": "http", "headers": [], "query_string": b"", "client": client})
    assert caller_of(peer).address == address
