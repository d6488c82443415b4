"""What a real Asterisk sends to servers made for the occasion: the ground other tests stand on."""

import asyncio
import base64
import http
from contextlib import asynccontextmanager
from uuid import UUID

import msgspec
import pytest
from websockets.asyncio.server import serve

from tests.asterisk import (
    SpeechEngine,
    WebSocketClient,
    asterisk_root,
    needs_asterisk,
    open_prompt,
    over_audiosocket_application,
    over_audiosocket_channel,
    over_speech_engine,
    over_websocket,
    overheard,
    played,
    running_asterisk,
)

pytestmark = [pytest.mark.asterisk, needs_asterisk]
PROMPT, OTHER_PROMPT = "check-number-dial-again", "cannot-complete-as-dialed"
UUID_SENT = UUID("40325ec2-5efd-4bd3-805f-53576e581d13")
TOKEN = "not.a.token"  # noqa: S105
LIMIT_S = 20.0
CUT_SAMPLES = 22
"""Asterisk takes a WAV header off the end of a recording."""
MISSED_SAMPLES = 1600
"""At the begin, before the far side has its turn."""


class Heard:
    """What one connection brought."""

    def __init__(self, connection):
        self.path = connection.request.path
        self.headers = connection.request.headers
        self.frames = []
        self.close_code = None

    @property
    def texts(self):
        return [frame for frame in self.frames if isinstance(frame, str)]

    @property
    def audio(self):
        return b"".join(frame for frame in self.frames if isinstance(frame, bytes))


@asynccontextmanager
async def web_socket_server(answer=None, **options):
    """Its address, and a queue of what each connection brought to its end."""
    ended = asyncio.Queue()

    async def hear(connection):
        heard = Heard(connection)
        async for frame in connection:
            heard.frames.append(frame)
            if answer is not None and (answered := answer(heard)):
                await connection.send(msgspec.json.encode(answered).decode())
        heard.close_code = connection.close_code
        await ended.put(heard)

    def first(_, offered):
        return next(iter(offered), None)

    async with serve(hear, "127.0.0.1", 0, select_subprotocol=first, **options) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"ws://127.0.0.1:{port}/v1/bridges/asterisk", ended


@asynccontextmanager
async def tcp_server():
    """Its address, and a queue of the frames, (kind, payload), of each connection."""
    ended = asyncio.Queue()

    async def hear(reader, writer):
        frames = []
        while head := await reader.read(1):
            size = int.from_bytes(await reader.readexactly(2), "big")
            frames.append((head[0], await reader.readexactly(size)))
        writer.close()
        await ended.put(frames)

    async with await asyncio.start_server(hear, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", ended


async def next_of(queue):
    async with asyncio.timeout(LIMIT_S):
        return await queue.get()


@pytest.fixture
def heard_by_websocket(tmp_path):
    """A call whose far side is a WebSocket; gives what came over it."""

    async def call(**leg):
        async with web_socket_server() as (url, ended):
            client = WebSocketClient("us", url, token=TOKEN, more={"protocols": "media"})
            dialplan = [played("say", PROMPT, digits="5"), over_websocket("far", "us", **leg)]
            async with running_asterisk(tmp_path, dialplan, [client]) as asterisk:
                await asterisk.originate("far", "say")
                return await next_of(ended)

    return call


@pytest.fixture
def heard_by_audiosocket(tmp_path):
    async def call(far_side, **leg):
        async with tcp_server() as (address, ended):
            far = far_side("far", UUID_SENT, address, **leg)
            dialplan = [played("say", PROMPT, digits="5"), far]
            async with running_asterisk(tmp_path, dialplan) as asterisk:
                await asterisk.originate("far", "say")
                return await next_of(ended)

    return call


def is_whole(prompt, n_samples):
    sent = len(open_prompt(prompt).pcm) // 2 - CUT_SAMPLES
    return sent - MISSED_SAMPLES <= n_samples <= sent


async def test_the_prompt_comes_over_a_websocket_with_json_beside_it(heard_by_websocket):
    heard = await heard_by_websocket(codec="slin16", control="json")
    start, digit = (msgspec.json.decode(text) for text in heard.texts)
    assert heard.frames[0] == heard.texts[0]
    assert (start["event"], start["connection_id"]) == ("MEDIA_START", "us")
    assert (start["format"], start["optimal_frame_size"], start["ptime"]) == ("slin16", 640, 20)
    channel_id = start["channel_id"]
    assert digit == {"event": "DTMF_END", "channel_id": channel_id, "digit": "5"}
    assert is_whole(PROMPT, len(heard.audio) // 4)
    assert heard.close_code == 1000


async def test_the_prompt_comes_over_a_websocket_with_plain_text_beside_it(heard_by_websocket):
    heard = await heard_by_websocket(codec="ulaw", control="plain-text")
    start, digit = heard.texts
    assert start.startswith("MEDIA_START connection_id:us channel:WebSocket/us/0x")
    assert start.endswith(" format:ulaw optimal_frame_size:160 ptime:20")
    assert digit.startswith("DTMF_END digit:5 channel_id:")
    assert is_whole(PROMPT, len(heard.audio))


async def test_a_token_comes_as_basic_and_a_parameter_in_the_address(heard_by_websocket):
    heard = await heard_by_websocket(parameters={"call": "1"})
    basic = base64.b64encode(f"jwt:{TOKEN}".encode()).decode()
    assert heard.headers["Authorization"] == f"Basic {basic}"
    assert heard.headers["Sec-WebSocket-Protocol"] == "media"
    assert "Origin" not in heard.headers
    assert heard.path == "/v1/bridges/asterisk?call=1"


async def test_a_refused_upgrade_ends_the_leg(tmp_path):
    def refuse(connection, _):
        return connection.respond(http.HTTPStatus.UNAUTHORIZED, "")

    async with web_socket_server(process_request=refuse) as (url, _):
        client = WebSocketClient("us", url, more={"reconnect_attempts": "1"})
        dialplan = [played("say", PROMPT), over_websocket("far", "us")]
        async with running_asterisk(tmp_path, dialplan, [client]) as asterisk:
            await asterisk.originate("far", "say")
            assert await asterisk.line_from("ended <") == "ended <CHANUNAVAIL>"
            await asterisk.calls_ended()


async def test_the_prompt_comes_over_audiosocket_at_8_khz_from_the_application(
    heard_by_audiosocket,
):
    frames = await heard_by_audiosocket(over_audiosocket_application)
    audio = b"".join(payload for kind, payload in frames if kind == 0x10)
    assert frames[0] == (0x01, UUID_SENT.bytes)
    assert [frame for frame in frames[1:] if frame[0] != 0x10] == [(0x03, b"5")]
    assert audio in open_prompt(PROMPT).pcm
    assert is_whole(PROMPT, len(audio) // 2)


async def test_the_prompt_comes_over_audiosocket_at_16_khz_from_the_channel(heard_by_audiosocket):
    frames = await heard_by_audiosocket(over_audiosocket_channel, codec="slin16")
    assert frames[0] == (0x01, UUID_SENT.bytes)
    assert {kind for kind, _ in frames[1:]} == {0x03, 0x12}
    assert is_whole(PROMPT, sum(len(payload) for kind, payload in frames if kind == 0x12) // 4)


async def test_what_a_speech_engine_heard_is_in_the_dialplan(tmp_path):
    result = {"text": "check the number", "score": 93, "best": 0, "grammar": ""}

    def answer(heard):
        if len(heard.frames) == 1:
            asked = msgspec.json.decode(heard.texts[0])
            return {"response": "setup", "id": asked["id"], "codecs": asked["codecs"]}
        if len(heard.frames) == 51:  # a second of sound
            return {"request": "set", "id": "our-1", "params": {"results": [result]}}
        return None

    async with web_socket_server(answer) as (url, ended):
        engine = SpeechEngine("us", url, {"language": "en-US", "token": TOKEN})
        dialplan = [played("say", PROMPT), over_speech_engine("far", "us")]
        async with running_asterisk(tmp_path, dialplan, [], [engine]) as asterisk:
            await asterisk.originate("far", "say")
            line = await asterisk.line_from("heard <")
            heard = await next_of(ended)
    asked, told = (msgspec.json.decode(text) for text in heard.texts)
    assert line == "heard <check the number> score 93"
    assert asked == {
        "request": "setup",
        "id": asked["id"],
        "version": "0.1.0",
        "codecs": [{"name": "ulaw"}],
        "params": {"language": "en-US", "token": TOKEN},
    }
    assert told == {"response": "set", "id": "our-1"}
    assert heard.headers["Sec-WebSocket-Protocol"] == "speech_to_text"
    assert "Authorization" not in heard.headers
    assert len(heard.audio) % 160 == 0


async def test_two_parties_are_heard_apart(tmp_path):
    async with web_socket_server() as (url, ended):
        dialplan = [
            played("customer", PROMPT, after_s=1.5, stays_s=10),
            played("agent", OTHER_PROMPT, after_s=4.5),
            over_websocket("customers_leg", "us", "slin", parameters={"track": "customer"}),
            over_websocket("agents_leg", "us", "slin", parameters={"track": "agent"}),
            overheard("call", "agent", own_leg="customers_leg", others_leg="agents_leg"),
        ]
        async with running_asterisk(tmp_path, dialplan, [WebSocketClient("us", url)]) as asterisk:
            await asterisk.originate("call", "customer")
            legs = [await next_of(ended), await next_of(ended)]
    audio = {leg.path.rpartition("=")[2]: leg.audio for leg in legs}
    assert is_whole(PROMPT, len(audio["customer"]) // 2)
    assert is_whole(OTHER_PROMPT, len(audio["agent"]) // 2)


async def test_nothing_of_it_stays_on_the_disk(tmp_path):
    client = WebSocketClient("us", "ws://127.0.0.1:9/", token=TOKEN)
    async with running_asterisk(tmp_path, [], [client]) as asterisk:
        assert TOKEN in (tmp_path / "asterisk" / "websocket_client.conf").read_text()
        assert "Asterisk" in await asterisk.told("core show version")
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_in_a_prompt_is_known():
    assert asterisk_root() is not None
    assert open_prompt(PROMPT).text == "Please check the number and dial again."
