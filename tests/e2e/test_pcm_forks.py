"""Calls of systems that fork bare samples, from a simulated one to whoever follows them, with the
real model.
"""

import asyncio
import json

import pytest
import websockets
from websockets.exceptions import ConnectionClosed

from server.audio import Encoding
from server.config import load_settings
from tests.e2e.calls import bridge_url, follow, narrow_pcm_of, said_by
from tests.e2e.conftest import copy_data, serving
from tests.e2e.test_stream import words_of
from tests.server.dialects.media_simulator import encode

ROLES = {"caller": "customer", "callee": "agent"}
FRAME_MS = 20


@pytest.fixture(scope="module")
def fork_server(embedded_model_pack, tmp_path_factory, canaries):
    folder = tmp_path_factory.mktemp("forks")
    copy_data(embedded_model_pack, folder / "data")
    names = ("vonage", "jambonz_listen", "jambonz_stt")
    stereo = {"roles": ROLES, "sample_rate_hz": 8000, "channels": 2}
    settings = load_settings(
        data_folder=folder / "data",
        listen={"port": 0, "access_log": False},
        bridges=[
            *({"name": name, "dialect": name, "roles": ROLES} for name in names),
            {"name": "freeswitch", "dialect": "freeswitch_stream", **stereo},
            {"name": "pcm", "dialect": "pcm", **stereo, "encoding": "mulaw"},
        ],
        calls={"rejoin_s": 0.5, "wait_s": 8.0},
    )
    with serving(settings) as server:
        server.mark = canaries.mark_token
        yield server


@pytest.fixture(scope="module")
def parties(english_recordings):
    by_name = {recording.name: recording for recording in english_recordings}
    return [by_name["hello_world"], by_name["quick_brown_fox"]]


def interleaved(parties, encoding=Encoding.PCM_S16LE):
    sounds = [encode(narrow_pcm_of(party), encoding) for party in parties]
    sample_bytes = 1 if encoding is Encoding.MULAW else 2
    longest = max(map(len, sounds))
    silence = b"\xff" if encoding is Encoding.MULAW else b"\0"
    padded = [sound.ljust(longest, silence) for sound in sounds]
    return b"".join(
        sound[at : at + sample_bytes] for at in range(0, longest, sample_bytes) for sound in padded
    )


async def fork_in(server, name, first, audio, bytes_per_s, query="", last=None):
    """What the far side says; gives what it was told."""
    headers = {"Authorization": f"Bearer {server.token()}"}
    step_bytes, told = bytes_per_s * FRAME_MS // 1000, []
    async with (
        asyncio.timeout(60),
        websockets.connect(
            bridge_url(server, name) + query,
            additional_headers=headers,
            origin="http://127.0.0.1:8790",  # as FreeSWITCH does
            compression=None,
            proxy=None,
        ) as websocket,
    ):
        if first is not None:
            await websocket.send(first)
        for start in range(0, len(audio), step_bytes):
            await websocket.send(audio[start : start + step_bytes])
            await asyncio.sleep(FRAME_MS / 1000 / 2)
        if last is None:
            return told
        await websocket.send(last)
        try:
            while True:
                told.append(json.loads(await websocket.recv()))
        except ConnectionClosed:
            return told


async def followed(server, call_id, forking):
    following = asyncio.create_task(follow(server, call_id))  # noqa: TID251 (awaited below)
    told = await forking
    return told, await following


def is_heard(events, parties, roles=("customer", "agent")):
    return [said_by(events, role) for role in roles] == [words_of(each.text) for each in parties]


async def test_freeswitch_streams_both_parties(fork_server, parties):
    first = json.dumps({"call": "fs-1"})
    forking = fork_in(fork_server, "freeswitch", first, interleaved(parties), 32_000)
    _, events = await followed(fork_server, "fs-1", forking)
    assert is_heard(events, parties)


async def test_bare_samples_are_named_by_the_address(fork_server, parties):
    audio = interleaved(parties, Encoding.MULAW)
    forking = fork_in(fork_server, "pcm", None, audio, 16_000, "?call=pcm-1")
    _, events = await followed(fork_server, "pcm-1", forking)
    assert is_heard(events, parties)


async def test_jambonz_listens(fork_server, parties):
    first = json.dumps({"callSid": "jb-1", "sampleRate": 8000, "mixType": "stereo"})
    forking = fork_in(fork_server, "jambonz_listen", first, interleaved(parties), 32_000)
    _, events = await followed(fork_server, "jb-1", forking)
    assert is_heard(events, parties)


async def test_jambonz_is_told_what_both_said_before_it_is_closed(fork_server, parties):
    start = {"type": "start", "language": "en-US", "encoding": "LINEAR16", "sampleRateHz": 8000}
    first, last = json.dumps({**start, "interimResults": False}), '{"type": "stop"}'
    query, audio = "?channels=2&call=jb-2", interleaved(parties)
    forking = fork_in(fork_server, "jambonz_stt", first, audio, 32_000, query, last)
    told, events = await followed(fork_server, "jb-2", forking)
    assert is_heard(events, parties)
    assert all(message["is_final"] for message in told)
    for channel, party in enumerate(parties, start=1):
        texts = [m["alternatives"][0]["transcript"] for m in told if m["channel"] == channel]
        assert words_of(" ".join(texts)) == words_of(party.text)


async def test_vonage_connects_a_leg(fork_server, parties):
    first = json.dumps(
        {"event": "websocket:connected", "content-type": "audio/l16;rate=8000", "call": "vo-1"}
    )
    forking = fork_in(fork_server, "vonage", first, narrow_pcm_of(parties[1]), 16_000)
    _, events = await followed(fork_server, "vo-1", forking)
    assert is_heard(events, parties[1:], ["unknown"])
