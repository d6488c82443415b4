"""Calls of Genesys Cloud, from a simulated client to whoever follows them, with the real model."""

import asyncio
import base64
import hmac
import json
import secrets
import time

import pytest
import websockets
from websockets.exceptions import InvalidStatus

from server.audio import Encoding
from server.config import load_settings
from tests.e2e.calls import bridge_url, follow, narrow_pcm_of, said_by
from tests.e2e.conftest import copy_data, serving
from tests.e2e.test_stream import words_of
from tests.server.dialects.audiohook_client import CONVERSATION, NIL, ORGANIZATION, SESSION
from tests.server.dialects.media_simulator import encode

API_KEY, SECRET = "SGVsbG8sIEkgYW0gdGhlIEFQSSBrZXkh", secrets.token_bytes(32)
ADDRESS = "wss://calls.example/v1/bridges/genesys"
FRAME_MS = 200


@pytest.fixture(scope="module")
def hook_server(embedded_model_pack, tmp_path_factory, canaries):
    folder = tmp_path_factory.mktemp("hook")
    copy_data(embedded_model_pack, folder / "data")
    secret_file = folder / "genesys.secret"
    secret_file.write_text(f"{API_KEY} {base64.b64encode(SECRET).decode()}\n")
    secret_file.chmod(0o600)
    bridge = {
        "name": "genesys",
        "dialect": "audiohook",
        "secret_file": str(secret_file),
        "address": ADDRESS,
        "subject": "genesys",
        "roles": {"external": "customer", "internal": "agent"},
        "end_of_speech_ms": 350,
    }
    settings = load_settings(
        data_folder=folder / "data",
        listen={"port": 0, "access_log": False},
        bridges=[bridge],
        calls={"rejoin_s": 0.5, "wait_s": 8.0},
    )
    with serving(settings) as server:
        server.mark = canaries.mark_token
        yield server


def signed(secret: bytes = SECRET) -> dict[str, str]:
    """The headers of an upgrade, as the vendor signs them."""
    named = {
        "audiohook-organization-id": ORGANIZATION,
        "audiohook-session-id": SESSION,
        "audiohook-correlation-id": "e160e428-53e2-487c-977d-96989bf5c99d",
        "x-api-key": API_KEY,
    }
    created_s = int(time.time())  # noqa: TID251 (a signature says when it was made)
    nonce = secrets.token_urlsafe(24)
    fields = " ".join(f'"{name}"' for name in ("@request-target", "@authority", *named))
    parameters = (
        f'({fields});keyid="{API_KEY}";nonce="{nonce}";alg="hmac-sha256";'
        f"created={created_s};expires={created_s + 60}"
    )
    lines = [
        '"@request-target": /v1/bridges/genesys',
        '"@authority": calls.example',
        *(f'"{name}": {value}' for name, value in named.items()),
        f'"@signature-params": {parameters}',
    ]
    signature = base64.b64encode(hmac.digest(secret, "\n".join(lines).encode(), "sha256"))
    return {
        **named,
        "signature-input": f"sig1={parameters}",
        "signature": f"sig1=:{signature.decode()}:",
    }


class Caller:
    """A client that says things and keeps what it hears."""

    def __init__(self, websocket):
        self.websocket = websocket
        self.seq = self.serverseq = 0
        self.position_ms = 0
        self.heard = []

    async def say(self, kind, **parameters):
        self.seq += 1
        message = {
            "version": "2",
            "type": kind,
            "id": SESSION,
            "seq": self.seq,
            "serverseq": self.serverseq,
            "position": f"PT{self.position_ms / 1000}S",
            "parameters": parameters,
        }
        await self.websocket.send(json.dumps(message))

    async def open(self, conversation=CONVERSATION, participant=ORGANIZATION):
        media = {"type": "audio", "format": "PCMU", "channels": ["external", "internal"]}
        await self.say(
            "open",
            organizationId=ORGANIZATION,
            conversationId=conversation,
            participant={"id": participant, "ani": "+15550100", "aniName": "", "dnis": "+15550199"},
            media=[{**media, "rate": 8000}] if conversation != NIL else [],
            language="en-US",
        )

    async def listen(self, until):
        """Everything up to a message of this kind, which is given back."""
        async with asyncio.timeout(30):
            while True:
                message = json.loads(await self.websocket.recv())
                assert message["seq"] == self.serverseq + 1
                self.serverseq += 1
                self.heard.append(message)
                if message["type"] == until:
                    return message


def connect(server, headers):
    return websockets.connect(
        bridge_url(server, "genesys"), additional_headers=headers, compression=None, proxy=None
    )


def interleaved(one: bytes, other: bytes) -> bytes:
    n_samples = max(len(one), len(other))
    return bytes(
        code
        for pair in zip(one.ljust(n_samples, b"\xff"), other.ljust(n_samples, b"\xff"), strict=True)
        for code in pair
    )


async def test_both_parties_are_read_apart_and_told_to_the_vendor(hook_server, english_recordings):
    by_name = {recording.name: recording for recording in english_recordings}
    parties = [by_name["hello_world"], by_name["quick_brown_fox"]]
    codes = [encode(narrow_pcm_of(each), Encoding.MULAW) for each in parties]
    audio, step_bytes = interleaved(*codes), FRAME_MS * 8 * 2
    following = asyncio.create_task(follow(hook_server, CONVERSATION, subject="genesys"))  # noqa: TID251
    async with connect(hook_server, signed()) as websocket:
        caller = Caller(websocket)
        await caller.open()
        opened = await caller.listen("opened")
        assert opened["parameters"]["media"][0]["channels"] == ["external", "internal"]
        await caller.say("ping")
        assert (await caller.listen("pong"))["clientseq"] == caller.seq
        for start in range(0, len(audio), step_bytes):
            await websocket.send(audio[start : start + step_bytes])
            caller.position_ms += FRAME_MS
            await asyncio.sleep(FRAME_MS / 1000 / 4)
        await caller.say("close", reason="end")
        await caller.listen("closed")
    events = await following
    for role, recording in zip(("customer", "agent"), parties, strict=True):
        assert said_by(events, role) == words_of(recording.text)
    entities = [
        e for m in caller.heard if m["type"] == "event" for e in m["parameters"]["entities"]
    ]
    for channel, recording in enumerate(parties):
        told = " ".join(
            e["data"]["alternatives"][0]["interpretations"][0]["transcript"]
            for e in entities
            if e["data"]["channelId"] == channel
        )
        assert words_of(told) == words_of(recording.text)
    started = hook_server.last_row("call.started")
    assert (started.detail["roles"], started.subject) == ("customer agent", "genesys")
    assert "1555" not in json.dumps(started.detail)


async def test_a_probe_is_answered_and_is_no_call(hook_server):
    before = len(hook_server.trail(event="session.started"))
    async with connect(hook_server, signed()) as websocket:
        caller = Caller(websocket)
        await caller.open(NIL, NIL)
        await caller.listen("opened")
        await caller.say("close", reason="end")
        await caller.listen("closed")
    assert len(hook_server.trail(event="session.started")) == before


async def test_a_signature_of_another_secret_or_one_that_was_seen_before_is_refused(hook_server):
    headers = signed()
    async with connect(hook_server, headers):
        pass
    for shown in (headers, signed(secrets.token_bytes(32)), {}):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(hook_server, shown):
                raise AssertionError("was let in")
        assert refused.value.response.status_code == 401
