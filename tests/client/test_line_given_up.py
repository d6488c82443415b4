"""A session whose line breaks for good: what ends it, and as which error."""

import pytest

from client import line
from client.errors import ConnectionLostError, RefusedError, SessionError, SessionGoneError
from client.line import Connection
from server import wire
from tests.client.fake_server import READY, deny, ended, fake_server, final
from tests.client.keeping_server import KEY, KeptSession, at_bytes, at_events, keeps, ready
from tests.client.talk import PCM, open_stream


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)


async def events_and_failure(stream):
    events = []
    try:
        async for event in stream:
            events.append(event)
    except Exception as error:  # noqa: BLE001 - what it is is the test's
        return events, error
    return events, None


async def test_a_session_that_is_gone_is_a_lost_connection_after_all_that_was_heard():
    body = b'{"code":"session_gone","message":"Over."}'
    kept = KeptSession()
    async with (
        fake_server(keeps(kept, at_events(12)), denials=[None, deny(410, body)]) as fake,
        open_stream(fake) as stream,
    ):
        await stream.send(PCM)
        events, error = await events_and_failure(stream)
        with pytest.raises(ConnectionLostError, match="too long"):
            await stream.send(PCM)
        assert stream.connection is Connection.OVER
    assert isinstance(error, SessionGoneError)
    assert "transcript so far is kept" in str(error)
    assert events == kept.events[: len(events)]


@pytest.mark.parametrize("close_code", [4410, 1000])
async def test_a_session_can_be_gone_behind_the_door_too(close_code):
    async def script(session):
        if len(fake.sessions) == 1:
            await keeps(KeptSession(), at_bytes(1))(session)
        else:
            await session.socket.recv()
            if close_code == 1000:
                gone = wire.ErrorEvent("session_gone", "Over.", False)
                await session.say(gone, ended("session_gone"))
            await session.socket.close(close_code)

    async with fake_server(script) as fake, open_stream(fake) as stream:
        await stream.send(PCM)
        assert isinstance((await events_and_failure(stream))[1], SessionGoneError)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_who_is_refused_on_the_way_back_gives_up(status):
    denials = [None, deny(status, b'{"code":"some_code","message":"No."}')]
    async with (
        fake_server(keeps(KeptSession(), at_bytes(1)), denials=denials) as fake,
        open_stream(fake) as stream,
    ):
        await stream.send(PCM)
        _, error = await events_and_failure(stream)
    assert isinstance(error, RefusedError)
    assert (error.code, error.http_status) == ("some_code", status)


async def test_who_finds_no_way_back_within_the_grace_time_gives_up(monkeypatch):
    monkeypatch.setattr(line, "MAX_GRACE_S", 0.05)
    kept = KeptSession()
    async with (
        fake_server(keeps(kept, at_bytes(1)), denials=[None], denial=deny(503, b"")) as fake,
        open_stream(fake) as stream,
    ):
        await stream.send(PCM)
        _, error = await events_and_failure(stream)
    assert isinstance(error, SessionGoneError)
    assert len(fake.requests) > 1


async def test_a_server_that_does_not_answer_on_the_way_back_is_left_when_the_time_is_over(
    monkeypatch,
):
    monkeypatch.setattr(line, "MAX_GRACE_S", 0.05)

    async def script(session):
        if len(fake.sessions) == 1:
            await keeps(KeptSession(), at_bytes(1))(session)
        else:
            await session.socket.wait_closed()

    async with fake_server(script) as fake, open_stream(fake) as stream:
        await stream.send(PCM)
        assert isinstance((await events_and_failure(stream))[1], SessionGoneError)


async def test_a_line_that_breaks_before_every_ready_is_given_up(monkeypatch):
    monkeypatch.setattr(line, "START_GRACE_S", 0.05)

    async def leave(session):
        session.socket.transport.abort()

    async with fake_server(leave) as fake:
        with pytest.raises(ConnectionLostError, match="again and again"):
            async with open_stream(fake):
                pytest.fail("there is no session")
    assert len(fake.sessions) > 1


async def test_who_wants_no_resuming_is_told_of_the_break():
    async def leave(session):
        await session.hear_start()
        session.socket.transport.abort()

    async with fake_server(leave) as fake:
        with pytest.raises(ConnectionLostError):
            async with open_stream(fake, resume=False):
                pytest.fail("there is no session")
    assert fake.sessions[0].start == wire.Start(16_000)
    assert len(fake.sessions) == 1


@pytest.mark.parametrize(
    "resume", [None, wire.Resumption(KEY, 0), wire.Resumption("two words", 30)]
)
async def test_where_nothing_is_kept_a_break_is_the_end(resume):
    async def leave(session):
        await session.hear_start()
        await session.say(
            wire.Ready(*(getattr(READY, name) for name in READY.__struct_fields__[:-1]), resume)
        )
        session.socket.transport.abort()

    async with fake_server(leave) as fake, open_stream(fake) as stream:
        with pytest.raises(ConnectionLostError) as lost:
            await anext(stream)
    assert lost.value.close_code == 1006
    assert len(fake.sessions) == 1


async def test_a_count_that_cannot_be_ends_the_session():
    async def boast(session):
        await session.hear_start()
        await session.say(ready(), wire.AudioReceived(1))
        await session.socket.wait_closed()

    async with fake_server(boast) as fake, open_stream(fake) as stream:
        with pytest.raises(SessionError) as wrong:
            await anext(stream)
    assert wrong.value.code == "wrong_protocol"


async def test_a_frame_of_no_server_is_not_asked_for_again():
    async def shout(session):
        await session.hear_start()
        await session.say(ready(), final(0, "a" * 300_000))
        await session.socket.wait_closed()

    async with fake_server(shout) as fake, open_stream(fake) as stream:
        with pytest.raises(ConnectionLostError) as lost:
            await anext(stream)
    assert lost.value.close_code == 1009
    assert len(fake.sessions) == 1
