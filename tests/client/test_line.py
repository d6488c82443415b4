"""A session over a line that breaks, on sockets of this machine."""

import asyncio

import pytest

from client import line, outgoing
from client.errors import (
    ConnectionLostError,
    UnusableError,
)
from client.line import Connection
from server import wire
from tests.client.fake_server import READY, TOKEN, deny, fake_server
from tests.client.keeping_server import (
    KEY,
    KeptSession,
    after_stop,
    at_bytes,
    at_events,
    before,
    keeps,
    never,
    ready,
)
from tests.client.talk import PCM, converse, open_stream, say_all, undisturbed

NEWER = TOKEN[:-1] + "Z"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)


@pytest.mark.parametrize("in_mid_frame", [False, True])
@pytest.mark.parametrize(
    "cuts",
    [
        [],
        [at_bytes(1)],
        [at_events(2), at_events(3), at_events(20)],
        [before(wire.Final)],
        [before(wire.AudioReceived)] * 3,
        [never, before(wire.Ready)],
        [at_bytes(5000), before(wire.Resumed), before(wire.Resumed), before(wire.SpeechStarted)],
        [after_stop],
        [before(wire.Ended)] * 2,
    ],
)
async def test_a_line_that_breaks_loses_and_doubles_nothing(cuts, in_mid_frame):
    kept = KeptSession()
    async with fake_server(keeps(kept, *cuts, in_mid_frame=in_mid_frame)) as fake:
        assert await converse(fake) == undisturbed()
    assert kept.audio == PCM
    assert len(kept.starts) == 1
    assert kept.is_settled


async def test_a_break_before_ready_begins_anew():
    async def leave(session):
        await session.hear_start()
        session.socket.transport.abort()

    kept = KeptSession()
    scripts = iter([leave, leave, keeps(kept)])

    async def script(session):
        await next(scripts)(session)

    async with fake_server(script) as fake:
        assert await converse(fake) == undisturbed()
    assert kept.audio == PCM
    assert [r.headers["Sec-WebSocket-Protocol"] for r in fake.requests] == ["earwitness.v1"] * 3


async def test_the_key_is_offered_beside_the_protocol_and_only_to_go_on():
    async with fake_server(keeps(KeptSession(), at_bytes(1))) as fake:
        await converse(fake)
    first, second = (request.headers["Sec-WebSocket-Protocol"] for request in fake.requests)
    assert first == "earwitness.v1"
    assert second == f"earwitness.v1, resume.{KEY}"


async def test_the_key_is_not_told_to_the_caller():
    async with fake_server(keeps(KeptSession())) as fake, open_stream(fake) as stream:
        assert stream.ready == READY


async def test_the_line_tells_how_it_stands():
    kept = KeptSession()
    async with (
        fake_server(keeps(kept, at_bytes(1), before(wire.Resumed))) as fake,
        open_stream(fake) as stream,
        asyncio.TaskGroup() as group,
    ):
        assert stream.connection is Connection.CONNECTED
        group.create_task(say_all(stream))
        seen = [state async for state in stream.connection_changes()]
    assert seen == [Connection.RECONNECTING, Connection.CONNECTED, Connection.OVER]


@pytest.mark.parametrize("status", [429, 502, 503])
async def test_a_server_that_is_busy_is_asked_again(status):
    refusals = [None, *[deny(status, b"")] * 3]
    async with fake_server(keeps(KeptSession(), at_bytes(1)), denials=refusals) as fake:
        assert await converse(fake) == undisturbed()
    assert len(fake.requests) == 5


async def test_sending_waits_for_room_and_goes_on_when_the_server_has_the_audio(monkeypatch):
    monkeypatch.setattr(outgoing, "MAX_KEPT_BYTES", 10_000)
    may_hear = asyncio.Event()
    kept = KeptSession()

    async def script(session):
        kept.receive(await session.socket.recv())
        await session.say(ready())
        await may_hear.wait()
        await keeps(kept)(session)

    async with (
        fake_server(script) as fake,
        open_stream(fake) as stream,
        asyncio.TaskGroup() as group,
    ):
        sending = group.create_task(say_all(stream))
        await asyncio.wait({sending}, timeout=0.1)
        assert not sending.done()
        may_hear.set()
        assert [event async for event in stream] == undisturbed()
    assert kept.audio == PCM


async def test_audio_can_be_sent_while_there_is_no_line():
    kept = KeptSession()
    is_away = asyncio.Event()

    async def script(session):
        if len(fake.sessions) == 1:
            await keeps(kept, at_bytes(1))(session)
        else:
            await is_away.wait()
            await keeps(kept)(session)

    async with fake_server(script) as fake, open_stream(fake) as stream:
        await stream.send(PCM[:640])
        await anext(stream.connection_changes())
        await stream.send(PCM[640:])
        await stream.stop()
        is_away.set()
        assert [event async for event in stream] == undisturbed()
    assert kept.audio == PCM


async def test_leaving_while_there_is_no_line_ends_at_once_and_leaves_no_task():
    async def script(session):
        if len(fake.sessions) == 1:
            await keeps(KeptSession(), at_bytes(1))(session)
        else:
            await session.socket.wait_closed()

    before_it = asyncio.all_tasks()
    async with fake_server(script) as fake:
        async with open_stream(fake) as stream:
            await stream.send(PCM)
            await anext(stream.connection_changes())
        with pytest.raises(ConnectionLostError, match="left"):
            await anext(stream)
    assert asyncio.all_tasks() == before_it


async def test_cancelling_a_wait_for_the_line_ends_it():
    async with fake_server(keeps(KeptSession(), at_bytes(1)), denials=[None]) as fake:
        with pytest.raises(TimeoutError):
            await wait_for_the_line(fake)


async def wait_for_the_line(fake):
    async with asyncio.timeout(None) as limit, open_stream(fake) as stream:
        await stream.send(PCM)
        await anext(stream.connection_changes())
        limit.reschedule(0)
        await asyncio.Event().wait()


async def test_leaving_a_session_that_is_kept_closes_it_cleanly():
    async with fake_server(keeps(KeptSession())) as fake:
        async with open_stream(fake):
            pass
        await fake.sessions[0].socket.wait_closed()
        assert fake.sessions[0].socket.close_code == 1000


async def test_a_line_without_a_sign_of_life_is_broken_off(monkeypatch):
    monkeypatch.setattr(line, "STALL_S", 0.02)
    monkeypatch.setattr(line, "REPORT_INTERVAL_S", 0.01)
    kept = KeptSession()

    async def script(session):
        if len(fake.sessions) > 1:
            await keeps(kept)(session)
            return
        kept.receive(await session.socket.recv())
        await session.say(ready())
        kept.break_off()
        await session.socket.wait_closed()

    async with fake_server(script) as fake:
        assert await converse(fake) == undisturbed()
    assert kept.audio == PCM


async def test_the_newest_token_is_shown_on_the_way_back():
    tokens = iter([TOKEN, NEWER])
    async with fake_server(keeps(KeptSession(), at_bytes(1))) as fake:
        await converse(fake, token=lambda: next(tokens))
    assert [r.headers["Authorization"] for r in fake.requests] == [
        f"Bearer {TOKEN}",
        f"Bearer {NEWER}",
    ]


@pytest.mark.parametrize("token", [TOKEN, lambda: TOKEN])
async def test_a_token_that_was_shown_later_is_newer(token):
    async with (
        fake_server(keeps(KeptSession(), at_bytes(1))) as fake,
        open_stream(fake, token=token) as stream,
    ):
        await stream.refresh(NEWER)
        await stream.send(PCM)
        await stream.stop()
        assert wire.TokenRefreshed(1) in [event async for event in stream]
    assert fake.requests[1].headers["Authorization"] == f"Bearer {NEWER}"


async def test_a_token_source_that_has_none_is_an_error_before_anyone_is_called():
    def find_none():
        raise UnusableError("no token")

    async with fake_server() as fake:
        with pytest.raises(UnusableError, match="no token"):
            async with open_stream(fake, token=find_none):
                pytest.fail("there is no session")
    assert fake.requests == []
