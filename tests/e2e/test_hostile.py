"""Everything a stranger may try, while an honest session runs beside it and is not harmed."""

import asyncio
import socket
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from security.limits import Limits
from server.wire import ErrorEvent, decode_server_event
from tests.e2e.test_stream import converse, pcm_of, text_of, words_of
from tests.fakes import speech

START = '{"type":"start","sample_rate_hz":16000}'


@asynccontextmanager
async def honest_session(server, recordings):
    """A session beside the attack: it must hear every word."""
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        honest = tasks.create_task(converse(server, pcm_of(recordings[1])))
        yield
    assert words_of(text_of(honest.result()[1])) == words_of(recordings[1].text)


@pytest.fixture
def beside(live_server, english_recordings):
    return lambda: honest_session(live_server, english_recordings)


@pytest.fixture
def recorded(live_server):
    """Waits until the trail says why a session ended that did so in this test; others, of a test
    before, may end meanwhile.
    """
    before = [row.seq for row in live_server.trail()][-1:]

    def is_there(reason: str) -> bool:
        rows = live_server.trail(event="session.ended")
        return any(row.reason == reason for row in rows if [row.seq] > before)

    async def wait(reason: str) -> None:
        async with asyncio.timeout(20):
            while not is_there(reason):  # noqa: ASYNC110 (a trail tells nobody)
                await asyncio.sleep(0.05)

    return wait


@asynccontextmanager
async def stranger(server, token, **options):
    headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
    async with websockets.connect(
        server.stream_url, additional_headers=headers, compression=None, proxy=None, **options
    ) as socket_:
        yield socket_


async def refused_at_the_door(server, token, **options) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with stranger(server, token, **options):
            raise AssertionError("was let in")
    response = refused.value.response
    assert response.headers["content-type"] == "application/json"
    return response.status_code, response.body.decode()


async def ended_with(websocket) -> tuple[str, int]:
    """The error event and the close code."""
    code = ""
    try:
        while True:
            event = decode_server_event(await websocket.recv())
            code = event.code if isinstance(event, ErrorEvent) else code
    except ConnectionClosed as closed:
        return code, closed.rcvd.code if closed.rcvd else 1006


@pytest.mark.parametrize(
    ("make_token", "status", "reason"),
    [
        pytest.param(lambda s: None, 401, "token_missing", id="none"),
        pytest.param(lambda s: "garbage", 401, "token_malformed", id="garbage"),
        pytest.param(lambda s: s.token(age_s=-700), 401, "token_expired", id="expired"),
        pytest.param(lambda s: s.token()[:-6] + "AAAAAA", 401, "token_bad_signature", id="forged"),
        pytest.param(lambda s: "A" * 7000, 401, "token_malformed", id="long"),
        pytest.param(
            lambda s: s.token(policy=replace(s.settings.token_policy, audience="other")),
            401,
            "token_wrong_audience",
            id="for another",
        ),
        pytest.param(lambda s: s.token(scopes={"audit"}), 403, "scope_missing", id="no scope"),
        pytest.param(
            lambda s: s.token(limits=Limits(concurrent_sessions=0)),
            429,
            "too_many_sessions",
            id="no place",
        ),
    ],
)
async def test_a_token_that_is_not_good_is_refused_before_accept(
    live_server, beside, make_token, status, reason
):
    token = make_token(live_server)
    async with beside():
        got_status, body = await refused_at_the_door(live_server, token)
    assert got_status == status
    assert token is None or token not in body
    row = live_server.last_row("handshake.refused")
    assert (row.reason, row.detail["http_status"]) == (reason, status)


async def test_strangers_cannot_fill_the_log(live_server, capfd):
    for token in (None, "garbage", "eyJhbGciOiJub25lIn0.e30."):
        await refused_at_the_door(live_server, token)
    for request in (
        b"GARBAGE\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        handshake("not a token", "X: \x01"),
    ):
        assert await answer_to(live_server, request)
    async with stranger(live_server, live_server.token()) as websocket:
        websocket.transport.write(b"\x81\x82\0\0\0\0\xff\xfe")  # text that is no UTF-8
        assert await ended_with(websocket) == ("", 1007)
    assert "".join(capfd.readouterr()) == ""


async def test_a_client_that_pings_and_never_reads_is_cut_off(live_server, beside, recorded):
    host, port = live_server.page_url.removeprefix("http://").split(":")

    def flood() -> None:
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(handshake(live_server.token()))
            assert b" 101 " in client.recv(1000)
            pings = (b"\x89\xfd\0\0\0\0" + bytes(125)) * 1000
            for _ in range(2000):
                client.sendall(pings)

    async with beside():
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(flood)
    await recorded("client_gone")


def handshake(token: str, *headers: str) -> bytes:
    lines = (
        *("GET /v1/stream HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket"),
        *("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
        *(f"Authorization: Bearer {token}", *headers, "", ""),
    )
    return "\r\n".join(lines).encode()


async def answer_to(server, request: bytes) -> bytes:
    """The first line of what the server says to these bytes."""
    host, port = server.page_url.removeprefix("http://").split(":")
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request)
            return await reader.readline()
        finally:
            writer.close()


async def test_a_page_from_elsewhere_is_refused(live_server):
    status, body = await refused_at_the_door(
        live_server, live_server.token(), origin="https://evil.example"
    )
    assert (status, "origin_refused" in body) == (403, True)
    assert live_server.last_row("handshake.refused").detail["origin"] == "https://evil.example"


async def test_a_browser_brings_its_token_beside_the_protocol(live_server):
    subprotocols = ["earwitness.v1", f"bearer.{live_server.token()}"]
    async with stranger(live_server, None, subprotocols=subprotocols) as websocket:
        assert websocket.subprotocol == "earwitness.v1"


@pytest.mark.parametrize(
    ("limits", "code"),
    [(Limits(session_audio_s=1), "quota_audio"), (Limits(session_bytes=40_000), "quota_bytes")],
)
async def test_a_quota_that_runs_out_ends_only_its_own_session(
    live_server, beside, recorded, limits, code
):
    async with beside(), stranger(live_server, live_server.token(limits=limits)) as websocket:
        await websocket.send(START)
        for _ in range(30):
            await websocket.send(speech(100))
        assert await ended_with(websocket) == (code, 4413)
    await recorded(code)


@pytest.mark.parametrize(
    ("frames", "code", "close_code"),
    [
        pytest.param(["not json"], "bad_message", 4400, id="garbage text"),
        pytest.param([b"\xff" * 1000], "bad_message", 4400, id="garbage before start"),
        pytest.param([START, START], "bad_message", 4400, id="two starts"),
        pytest.param([START, " " * 5000], "bad_message", 4400, id="long text"),
        pytest.param([START, "x" * 10_000_000], "", 1009, id="10 MB of text"),
        pytest.param([START, b"x" * 10_000_000], "", 1009, id="10 MB of binary"),
    ],
)
async def test_frames_that_are_not_the_protocol_end_only_their_own_session(
    live_server, beside, recorded, frames, code, close_code
):
    async with beside(), stranger(live_server, live_server.token()) as websocket:
        try:
            for frame in frames:
                await websocket.send(frame)
        except ConnectionClosed:
            pass
        assert await ended_with(websocket) == (code, close_code)
    await recorded(code or "message_too_big")


async def test_random_bytes_as_audio_harm_nobody(live_server, beside):
    async with beside(), stranger(live_server, live_server.token()) as websocket:
        await websocket.send(START)
        for index in range(50):
            await websocket.send(bytes((index * n * 7919) % 256 for n in range(999)))
        await websocket.send('{"type":"stop"}')
        assert await ended_with(websocket) == ("", 1000)


async def test_a_client_that_vanishes_is_recorded(live_server, beside, recorded):
    async with beside():
        async with stranger(live_server, live_server.token()) as websocket:
            await websocket.send(START)
            await websocket.send(speech(1000))
            await websocket.recv()
            websocket.transport.abort()
        await recorded("client_gone")


async def test_connections_that_say_nothing_disturb_nobody(live_server, beside):
    host, port = live_server.page_url.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(50)]
    try:
        async with beside():
            pass
    finally:
        for connection in silent:
            connection.close()
