"""vosk-server's example clients, unmodified, against a real server with the real model.

They know no other address than port 2700 of their own machine, and show no key: what stands before
the server adds the key, as a reverse proxy would.
"""

import asyncio
import hashlib
import json
import os
import re
import sys
import wave
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest
import websockets

from security.limits import Limits
from server.config import load_settings
from tests.e2e.conftest import copy_data, serving
from tests.e2e.test_stream import converse, pcm_of, text_of, words_of

VENDOR = Path(__file__).parent / "vendor" / "vosk_server"
SHA256_OF = {
    "test.py": "65d371ee8d71bfa2116386e9fbc6fd82d72dfb0036e7cdfed3e8c07a6d72741a",
    "words.py": "7c41d26c90e4e5d01489e2dba26193f7305613c8f66b41e00f9e7bcb825821d0",
    "alternatives.py": "b03a171c6b0e930357c5c88d155091bddc161562cf9de57afc9f162f261f56d8",
}
LIMIT_S = 60.0
AS_IT_IS_SPOKEN = Limits(pace_percent=200)


@pytest.fixture(scope="module")
def vosk_server(embedded_model_pack, tmp_path_factory, canaries):
    folder = tmp_path_factory.mktemp("vosk") / "data"
    copy_data(embedded_model_pack, folder)
    pace = {"burst_ms": 500, "limit_ms": 60_000}
    settings = load_settings(
        data_folder=folder,
        listen={"port": 0, "access_log": False},
        clients={"vosk": True, "at_root": "vosk"},
        session={"pace": pace},
    )
    with serving(settings) as server:
        server.mark = canaries.mark_token
        yield server


@pytest.fixture
def counting(english_recordings):
    return next(r for r in english_recordings if r.name == "counting")


@dataclass
class Outcome:
    """Of one run of a client."""

    exit_code: int
    replies: list[dict]
    errors: str
    """The last line of them."""

    @property
    def texts(self) -> list[str]:
        return [reply["text"] for reply in self.replies if reply.get("text")]


@asynccontextmanager
async def doorstep(server, token):
    """A proxy that leads to the server whoever asks for anything, and shows the token for them."""
    address = re.fullmatch(r"http://(.+):(\d+)", server.page_url.rstrip("/"))

    async def copy(reader, writer):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader, writer):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT localhost:2700 ")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        there = await asyncio.open_connection(address[1], int(address[2]))
        there[1].write(head[:-2] + f"Authorization: Bearer {token}\r\n\r\n".encode())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(copy(reader, there[1]))
            tasks.create_task(copy(there[0], writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


async def run_client(server, recording, folder, token, program="test.py") -> Outcome:
    path = folder / "speech.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", None))
        out.writeframes(pcm_of(recording))
    async with asyncio.timeout(LIMIT_S), doorstep(server, token) as proxy:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(VENDOR / program), str(path)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "ws_proxy": proxy},
        )
        out, errors = await process.communicate()
    replies = [json.loads(line) for line in out.splitlines()]
    return Outcome(process.returncode, replies, (errors.decode().splitlines() or [""])[-1])


async def native_words(server, recording):
    _, events = await converse(server, pcm_of(recording))
    return words_of(text_of(events))


def n_frames_of(recording):
    return -(-len(pcm_of(recording)) // (3_200 * 2))


def ends_of(server, subject):
    rows = server.trail(event="session.ended")
    return [row.reason for row in rows if row.subject == subject]


@pytest.mark.parametrize("name", SHA256_OF)
def test_the_client_is_not_modified(name):
    assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == SHA256_OF[name]


async def test_a_client_hears_the_words_that_the_native_protocol_has(
    vosk_server, recording, tmp_path
):
    token = vosk_server.token(subject="words", limits=AS_IT_IS_SPOKEN)
    outcome = await run_client(vosk_server, recording, tmp_path, token)
    assert (outcome.exit_code, outcome.errors) == (0, "")
    words = words_of(" ".join(outcome.texts))
    assert words == await native_words(vosk_server, recording) == words_of(recording.text)
    assert ends_of(vosk_server, "words")[-1] == "stopped"


async def test_every_frame_is_answered_and_what_is_said_so_far_comes_before_it_is_final(
    vosk_server, fox, tmp_path
):
    token = vosk_server.token(limits=AS_IT_IS_SPOKEN)
    outcome = await run_client(vosk_server, fox, tmp_path, token)
    assert len(outcome.replies) == n_frames_of(fox) + 1
    partials = [reply["partial"] for reply in outcome.replies if "partial" in reply]
    assert any(partials)
    first_final = next(i for i, reply in enumerate(outcome.replies) if reply.get("text"))
    assert any(reply.get("partial") for reply in outcome.replies[:first_final])


async def test_a_client_that_sends_as_fast_as_it_is_answered_loses_nothing(
    vosk_server, recording, tmp_path
):
    outcome = await run_client(vosk_server, recording, tmp_path, vosk_server.token())
    assert len(outcome.replies) == n_frames_of(recording) + 1
    assert words_of(" ".join(outcome.texts)) == words_of(recording.text)


async def test_a_client_with_phrases_and_without_words_hears_texts_alone(
    vosk_server, counting, tmp_path
):
    outcome = await run_client(vosk_server, counting, tmp_path, vosk_server.token(), "words.py")
    assert words_of(" ".join(outcome.texts)) == words_of(counting.text)
    assert {key for reply in outcome.replies for key in reply} <= {"partial", "text"}


async def test_a_client_that_wants_alternatives_hears_one(vosk_server, fox, tmp_path):
    outcome = await run_client(vosk_server, fox, tmp_path, vosk_server.token(), "alternatives.py")
    finals = [reply["alternatives"] for reply in outcome.replies if "alternatives" in reply]
    assert words_of(" ".join(only["text"] for [only] in finals)) == words_of(fox.text)


async def test_a_key_that_is_not_good_is_refused_and_recorded(vosk_server, fox, tmp_path):
    outcome = await run_client(vosk_server, fox, tmp_path, "a.b.c")
    assert outcome.exit_code == 1
    assert outcome.replies == []
    assert outcome.errors.endswith("server rejected WebSocket connection: HTTP 401")
    assert vosk_server.last_row("handshake.refused").reason == "token_malformed"


async def test_a_quota_that_runs_out_closes_the_connection_with_its_own_code_and_once(
    vosk_server, fox, tmp_path
):
    token = vosk_server.token(subject="quota", limits=Limits(session_audio_s=1))
    outcome = await run_client(vosk_server, fox, tmp_path, token)
    assert outcome.exit_code == 1
    assert "4413" in outcome.errors
    assert ends_of(vosk_server, "quota") == ["quota_audio"]


async def test_one_session_too_many_is_refused(vosk_server, fox, tmp_path):
    token = vosk_server.token(subject="busy", limits=Limits(concurrent_sessions=1))
    key = {"Authorization": f"Bearer {token}"}
    async with websockets.connect(vosk_url(vosk_server), additional_headers=key, proxy=None):
        outcome = await run_client(vosk_server, fox, tmp_path, token)
    assert outcome.errors.endswith("server rejected WebSocket connection: HTTP 429")


def vosk_url(server, before="", after=""):
    return server.stream_url.replace("ws://", f"ws://{before}").replace("/stream", f"/vosk{after}")


async def heard_at(url, pcm):
    """As the client for microphones does, which takes an address."""
    async with asyncio.timeout(LIMIT_S), websockets.connect(url, proxy=None) as websocket:
        await websocket.send('{ "config" : { "sample_rate" : 16000 } }')
        replies = []
        for start in range(0, len(pcm), 8000):
            await websocket.send(pcm[start : start + 8000])
            replies.append(json.loads(await websocket.recv()))
        await websocket.send('{"eof" : 1}')
        replies.append(json.loads(await websocket.recv()))
        await websocket.wait_closed()
    assert websocket.close_code == 1000
    return words_of(" ".join(reply.get("text", "") for reply in replies))


async def test_a_client_that_takes_an_address_shows_its_key_as_a_password_in_it(vosk_server, fox):
    url = vosk_url(vosk_server, before=f"key:{vosk_server.token()}@")
    assert await heard_at(url, pcm_of(fox)) == words_of(fox.text)


def test_who_asks_for_a_page_at_the_root_gets_the_page(vosk_server):
    with httpx2.Client(trust_env=False) as client:
        answer = client.get(vosk_server.page_url)
    assert (answer.status_code, "<title>" in answer.text) == (200, True)
