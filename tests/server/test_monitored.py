"""A whole server, as a monitor sees it: while it works, and while its trail cannot be written."""

import asyncio
import http.client
import json
import sqlite3
import time
from contextlib import closing
from urllib.parse import urlsplit

import pytest
import websockets
from prometheus_client.parser import text_string_to_metric_families

from security.keys import open_signing_key
from security.tokens import mint_token
from server.config import load_settings
from server.serving import Running, running_server
from server.wire import Ended, decode_server_event
from tests.e2e.conftest import copy_data
from tests.e2e.test_stream import pcm_of
from tests.fakes import START

LIMIT_S = 60.0


@pytest.fixture
def settings(embedded_model_pack, tmp_path):
    copy_data(embedded_model_pack, tmp_path / "data")
    return load_settings(data_folder=tmp_path / "data", listen={"port": 0})


async def ask(running: Running, path: str) -> tuple[int, str]:
    def get() -> tuple[int, str]:
        with closing(http.client.HTTPConnection(urlsplit(running.url).netloc)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    return await asyncio.to_thread(get)


async def told(running: Running) -> dict[str, float]:
    status, text = await ask(running, "/metrics")
    assert status == 200
    assert "alice" not in text
    return {
        " ".join([sample.name.removeprefix("earwitness_"), *sample.labels.values()]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def hear(settings, running: Running, pcm: bytes) -> None:
    token = mint_token(
        open_signing_key(settings.signing_key_file),
        settings.token_policy,
        subject="alice",
        scopes={"transcribe"},
        lifetime_s=600,
        wall_s=time.time(),  # noqa: TID251 (the server lives by it)
    )
    url = running.url.replace("http", "ws", 1) + "/v1/stream"
    headers = {"Authorization": f"Bearer {token}"}
    async with websockets.connect(url, additional_headers=headers, proxy=None) as websocket:
        await websocket.send(START)
        await websocket.send(pcm)
        await websocket.send('{"type":"stop"}')
        async for frame in websocket:
            if isinstance(decode_server_event(frame), Ended):
                return


async def test_a_session_is_in_the_figures_and_its_subject_is_not(settings, english_recordings):
    pcm = pcm_of(english_recordings[1])
    async with asyncio.timeout(LIMIT_S), running_server(settings) as running:
        await ask(running, "/v1/whoami")  # without a token
        await hear(settings, running, pcm)
        figures = await told(running)
    assert figures["sessions_started_total"] == 1
    assert figures["sessions_ended_total client stopped"] == 1
    assert figures["handshakes_refused_total unauthenticated"] == 1
    assert figures["handshake_seconds_count true"] == 1
    assert figures["audio_seconds_total"] == pytest.approx(len(pcm) / 32_000, abs=0.2)
    assert figures["segments_total"] >= 1
    assert figures["final_latency_seconds_count stream"] == figures["segments_total"]
    assert figures["decode_seconds_count final"] >= 1
    assert figures["trail_rows"] >= 4
    assert figures["trail_events_total session.ended"] == 1
    assert figures["requests_total /v1/whoami 401"] == 1


async def until(running: Running, status: int) -> str:
    while True:
        found, text = await ask(running, "/health/ready")
        if found == status:
            return text
        await asyncio.sleep(0.05)


async def test_a_trail_that_cannot_be_written_makes_the_server_unready_until_it_can(settings):
    async with asyncio.timeout(LIMIT_S), running_server(settings) as running:
        assert (await ask(running, "/health/live"))[0] == 200
        await until(running, 200)
        segment = settings.trail.segment_files()[-1]
        with closing(sqlite3.connect(segment, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await ask(running, "/v1/whoami")  # its refusal is to be recorded
            text = await until(running, 503)
            assert json.loads(text) == {"code": "trail_failing"}
            figures = await told(running)
            assert figures["trail_failing"] == 1
            assert (await ask(running, "/health/live"))[0] == 200
            other.execute("ROLLBACK")
        await until(running, 200)
        figures = await told(running)
    assert (figures["trail_failing"], figures["trail_lost_events_total"] > 0) == (0, True)
