"""Connections that break under a session, against a real server and a real model."""

import asyncio
import json
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import pytest
import websockets
from websockets.asyncio.client import connect

from security.limits import Limits
from tests.e2e.test_stream import pcm_of, words_of
from tests.fakes import silence

START = '{"type":"start","sample_rate_hz":16000,"partials":false,"resumable":true}'


@asynccontextmanager
async def socket_of(server, token, key=None):
    subprotocols = ["earwitness.v1", *([f"resume.{key}"] if key else [])]
    async with connect(
        server.stream_url,
        subprotocols=subprotocols,
        additional_headers={"Authorization": f"Bearer {token}"},
        compression=None,
    ) as socket:
        yield socket


async def until(socket, kind):
    while True:
        event = json.loads(await socket.recv())
        if event["type"] == kind:
            return event


async def begun(socket):
    await socket.send(START)
    ready = await until(socket, "ready")
    return ready["session_id"], ready["resume"]["key"]


async def refused(server, token, key):
    with pytest.raises(websockets.InvalidStatus) as refusal:
        async with socket_of(server, token, key):
            pass
    response = refusal.value.response
    return response.status_code, json.loads(response.body)["code"]


async def test_a_broken_connection_is_gone_on_with_and_on_record(live_server, english_recordings):
    fox = english_recordings[1]
    pcm = pcm_of(fox) + silence(800)
    token = live_server.token(subject="resumer", limits=Limits(concurrent_sessions=1))
    async with asyncio.timeout(60):
        async with socket_of(live_server, token) as first:
            session_id, key = await begun(first)
            await first.send(pcm[:30_000])
            assert (await until(first, "speech_started"))["segment"] == 0
            first.transport.abort()
        async with socket_of(live_server, live_server.token(subject="resumer"), key) as second:
            await second.send('{"type":"resume","events":1}')
            resumed = json.loads(await second.recv())
            assert resumed["type"] == "resumed"
            await second.send(pcm[resumed["bytes"] :])
            await second.send('{"type":"stop"}')
            final = await until(second, "final")
            await until(second, "ended")
            await second.send('{"type":"events_received","events":4}')
            await second.wait_closed()
    assert second.close_code == 1000
    assert words_of(final["text"]) == words_of(fox.text)
    rows = live_server.trail(session_id=session_id)
    names = [row.event for row in rows]
    assert names[0] == "session.started"
    assert names[-1] == "session.ended"
    assert "session.resumed" in names
    assert rows[-1].reason == "stopped"
    assert rows[-1].bytes_received == len(pcm)


async def test_a_key_opens_nothing_for_anybody_else(live_server):
    async with asyncio.timeout(60), socket_of(live_server, live_server.token()) as socket:
        _, key = await begun(socket)
        mallory = live_server.token(subject="mallory")
        assert await refused(live_server, mallory, key) == (410, "session_gone")
        assert await refused(live_server, "x.y.z", key) == (401, "unauthenticated")
        admin = live_server.token(scopes={"audit"})
        assert (await refused(live_server, admin, key))[0] in {401, 403}
        await socket.send('{"type":"stop"}')
        await until(socket, "ended")
        await socket.send('{"type":"events_received","events":1}')
        await socket.wait_closed()
    assert await refused(live_server, live_server.token(), key) == (410, "session_gone")
    assert live_server.last_row("handshake.refused").reason == "session_gone"


async def test_a_page_is_told_whether_its_session_can_be_gone_on_with(live_server):
    token = live_server.token(subject="page", limits=Limits(concurrent_sessions=1))

    def answer(key, token=token):
        headers = {"authorization": f"Bearer {token}", "earwitness-resume": key}
        request = urllib.request.Request(  # noqa: S310 (our own server)
            f"{live_server.page_url}/v1/whoami", headers=headers, method="POST"
        )
        try:
            with urllib.request.urlopen(request) as response:  # noqa: S310 (our own server)
                return response.status
        except urllib.error.HTTPError as refused:
            return refused.code

    async with asyncio.timeout(60), socket_of(live_server, token) as socket:
        _, key = await begun(socket)
        assert await asyncio.to_thread(answer, key) == 200
        assert await asyncio.to_thread(answer, "x" * 22) == 410
        assert await asyncio.to_thread(answer, key, live_server.token(subject="mallory")) == 410
        await socket.send('{"type":"stop"}')
        await until(socket, "ended")
        await socket.send('{"type":"events_received","events":1}')
        await socket.wait_closed()
    assert await asyncio.to_thread(answer, key) == 410


@pytest.mark.parametrize("key", ["", "x", "a" * 22, "a" * 4000])
async def test_a_key_that_was_never_given_is_refused(live_server, key):
    token = live_server.token()
    assert await refused(live_server, token, key or "-") == (410, "session_gone")


async def test_a_new_session_takes_the_place_of_one_whose_client_stays_away(live_server):
    token = live_server.token(subject="one-place", limits=Limits(concurrent_sessions=1))
    async with asyncio.timeout(60):
        async with socket_of(live_server, token) as first:
            session_id, key = await begun(first)
            first.transport.abort()
        while True:
            try:
                async with socket_of(live_server, token) as second:
                    await begun(second)
                    break
            except websockets.InvalidStatus:  # too many sessions, as yet
                await asyncio.sleep(0.3)
        assert await refused(live_server, token, key) == (410, "session_gone")
    assert live_server.trail(session_id=session_id)[-1].reason == "client_gone"
