"""A real Asterisk, whose calls are heard by a real server with the real model, and read by whoever
follows them; through its own speech recognition in the dialplan, too.
"""

import asyncio
import json
import socket
import urllib.request
from uuid import UUID

import pytest

from server.config import load_settings
from tests.asterisk import (
    SpeechEngine,
    WebSocketClient,
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
from tests.e2e.calls import bridge_url, follow, said_by, until_last
from tests.e2e.conftest import copy_data, serving
from tests.e2e.test_stream import words_of

pytestmark = [pytest.mark.asterisk, needs_asterisk]
PROMPT, OTHER_PROMPT = "cannot-complete-as-dialed", "conf-onlyone"
LIMIT_S = 60.0


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@pytest.fixture(scope="module")
def pbx_server(embedded_model_pack, tmp_path_factory, canaries):
    folder = tmp_path_factory.mktemp("asterisk")
    copy_data(embedded_model_pack, folder / "data")
    settings = load_settings(
        data_folder=folder / "data",
        listen={"port": 0, "access_log": False},
        bridges=[
            {"name": "aeap", "dialect": "aeap", "end_of_speech_ms": 700},
            {"name": "asterisk", "dialect": "asterisk"},
        ],
        audiosocket={"port": free_port(), "role": "customer"},
        calls={"rejoin_s": 0.5, "wait_s": 20.0},
    )
    with serving(settings) as server:
        server.mark = canaries.mark_token
        yield server


@pytest.fixture(scope="module")
def words():
    return words_of(open_prompt(PROMPT).text)


def uuid_ticket(server, call_id: str, role: str = "customer") -> UUID:
    request = urllib.request.Request(  # noqa: S310 (loopback)
        server.page_url + "/v1/calls/tickets",
        data=json.dumps({"call_id": call_id, "role": role}).encode(),
        headers={
            "Authorization": f"Bearer {server.token()}",
            "Content-Type": "application/json",
        },
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        return UUID(json.loads(response.read())["ticket"])


async def heard(server, folder, call_id, far, **given):
    """What a follower reads of a call whose far side is this dialplan."""
    dialplan = [played("say", PROMPT, stays_s=1.5), far]
    following = asyncio.create_task(follow(server, call_id))  # noqa: TID251 (awaited below)
    async with asyncio.timeout(LIMIT_S), running_asterisk(folder, dialplan, **given) as asterisk:
        await asterisk.originate("far", "say")
        return await following


@pytest.mark.parametrize(
    ("control", "codec"),
    [("json", "slin16"), ("plain-text", "ulaw"), ("json", "alaw")],
)
async def test_a_websocket_channel_is_heard(pbx_server, tmp_path, words, control, codec):
    call_id = f"pbx-{control}-{codec}"
    client = WebSocketClient("us", bridge_url(pbx_server, "asterisk"), token=pbx_server.token())
    parameters = {"call": call_id, "track": "customer"}
    far = over_websocket("far", "us", codec, control, parameters)
    events = await heard(pbx_server, tmp_path, call_id, far, websocket_clients=[client])
    assert said_by(events, "customer") == words
    assert pbx_server.last_row("call.started").detail["dialect"] == "asterisk"


async def test_two_parties_of_one_call_are_kept_apart(pbx_server, tmp_path, words):
    """Each by a channel of its own that listens to it."""
    token = pbx_server.token()
    client = WebSocketClient("us", bridge_url(pbx_server, "asterisk"), token=token)
    legs = [
        over_websocket(f"leg-{role}", "us", parameters={"call": "pbx-two", "track": role})
        for role in ("customer", "agent")
    ]
    dialplan = [
        played("say", PROMPT, after_s=2.0, stays_s=6.0),
        played("answer", OTHER_PROMPT, after_s=6.0, stays_s=2.0),
        overheard("call", "answer", own_leg="leg-customer", others_leg="leg-agent"),
        *legs,
    ]
    following = asyncio.create_task(follow(pbx_server, "pbx-two"))  # noqa: TID251 (awaited below)
    async with (
        asyncio.timeout(LIMIT_S),
        running_asterisk(tmp_path, dialplan, [client]) as asterisk,
    ):
        await asterisk.originate("call", "say")
        events = await following
    assert said_by(events, "customer") == words
    assert said_by(events, "agent") == words_of(open_prompt(OTHER_PROMPT).text)


async def test_a_websocket_channel_without_a_token_is_refused(pbx_server, tmp_path):
    client = WebSocketClient("us", bridge_url(pbx_server, "asterisk"))
    far = over_websocket("far", "us", parameters={"call": "pbx-nobody"})
    async with (
        asyncio.timeout(LIMIT_S),
        running_asterisk(tmp_path, [played("say", PROMPT), far], [client]) as asterisk,
    ):
        await asterisk.originate("far", "say")
        assert await asterisk.line_from("ended <") == "ended <CHANUNAVAIL>"
    assert pbx_server.last_row("handshake.refused").reason == "token_missing"


async def test_the_audiosocket_application_is_heard(pbx_server, tmp_path, words):
    uuid = await asyncio.to_thread(uuid_ticket, pbx_server, "pbx-app")
    address = f"127.0.0.1:{pbx_server.settings.audiosocket.port}"
    far = over_audiosocket_application("far", uuid, address)
    events = await heard(pbx_server, tmp_path, "pbx-app", far)
    assert said_by(events, "customer") == words
    assert pbx_server.last_row("call.started").detail["dialect"] == "audiosocket"


async def test_the_audiosocket_channel_is_heard(pbx_server, tmp_path, words):
    uuid = await asyncio.to_thread(uuid_ticket, pbx_server, "pbx-channel", "agent")
    address = f"127.0.0.1:{pbx_server.settings.audiosocket.port}"
    far = over_audiosocket_channel("far", uuid, address)
    events = await heard(pbx_server, tmp_path, "pbx-channel", far)
    assert said_by(events, "agent") == words


async def test_the_dialplan_gets_the_words_through_aeap(pbx_server, tmp_path, words):
    url = bridge_url(pbx_server, "aeap") + "?call=pbx-aeap"
    engine = SpeechEngine("us", url, {"token": pbx_server.token()})
    dialplan = [played("say", PROMPT, stays_s=2.0), over_speech_engine("far", "us")]
    following = asyncio.create_task(follow(pbx_server, "pbx-aeap"))  # noqa: TID251 (awaited below)
    async with (
        asyncio.timeout(LIMIT_S),
        running_asterisk(tmp_path, dialplan, speech_engines=[engine]) as asterisk,
    ):
        await asterisk.originate("far", "say")
        line = await asterisk.line_from("heard <")
        assert words_of(line.partition("<")[2].partition(">")[0]) == words
        events = await following
    assert said_by(events, "unknown") == words


async def test_aeap_without_a_token_gets_no_words(pbx_server, tmp_path):
    engine = SpeechEngine("us", bridge_url(pbx_server, "aeap"))
    dialplan = [played("say", PROMPT), over_speech_engine("far", "us")]
    async with (
        asyncio.timeout(LIMIT_S),
        running_asterisk(tmp_path, dialplan, speech_engines=[engine]) as asterisk,
    ):
        await asterisk.originate("far", "say")
        await asterisk.calls_ended()
    assert pbx_server.last_row("handshake.refused").reason == "token_missing"


async def test_an_audiosocket_ticket_is_good_once(pbx_server):
    uuid = await asyncio.to_thread(uuid_ticket, pbx_server, "pbx-once")
    audio = b"\x10\x01\x40" + bytes(320)

    async def dial() -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", pbx_server.settings.audiosocket.port
        )
        writer.write(b"\x01\x00\x10" + uuid.bytes + audio * 3)
        writer.write(b"\x00\x00\x00")
        async with asyncio.timeout(LIMIT_S):
            while await reader.read(4096):
                pass
        writer.close()

    await dial()
    await until_last(pbx_server, "call.ended", lambda row: row.detail["call_id"] == "pbx-once")
    await dial()
    replayed = "ticket_replayed"
    await until_last(pbx_server, "handshake.refused", lambda row: row.reason == replayed)
