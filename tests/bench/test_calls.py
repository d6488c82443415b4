"""What calls cost, as the bench counts it."""

import base64
import json
import os

import pytest
from websockets.asyncio.server import serve

from bench import calls
from bench.callers import Call
from bench.calls import Load, LostError, Stages, figures_of, measure_server, measure_stages, voices
from bench.calls_wer import Line
from server.dialects.values import Audio

LINES = [Line("one", b"\x01" * 3000), Line("two", b"\x02" * 5000), Line("three", b"\x03" * 9000)]
PARTS = ("parse_us", "place_us", "decode_us", "resample_us", "vad_us")


class PlainDialect:
    """Reads a frame as the wire has it, and trusts it."""

    def receive(self, frame):
        media = json.loads(frame).get("media")
        if media is None:
            return []
        channel, payload = int(media["track"] == "outbound"), base64.b64decode(media["payload"])
        return [Audio(payload, channel, int(media["chunk"]), int(media["timestamp"]))]

    def tell(self, told):
        return []


def test_two_parties_speak_for_as_long_as_asked_and_not_the_same():
    caller, agent = voices(LINES, 0, 2.0)
    assert len(caller) == len(agent) == 16_000
    assert caller != agent


def test_every_stage_of_every_frame_is_measured():
    call = Call("token", voices(LINES, 0, 2.0))
    stages = measure_stages(call, PlainDialect)
    assert all(getattr(stages, part) > 0 for part in PARTS)


def test_a_frame_costs_what_comes_before_the_detector():
    figures = figures_of(Stages(1.0, 2.0, 3.0, 4.0, 50.0), None)
    assert figures["us_per_frame"] == 10.0
    assert "cpu_per_call" not in figures


def test_decoding_is_a_share_of_what_a_call_costs():
    figures = figures_of(Stages(1.0, 2.0, 3.0, 4.0, 50.0), Load(100, 0.005, 200.0, 3.0))
    assert (figures["calls"], figures["cpu_per_call"]) == (100, 0.005)
    assert figures["decoding_share"] == 0.2  # 10 us, 100 times a second, of 5 ms


class Server:
    """Hears calls to their ends and closes them so."""

    def __init__(self, close_code):
        self._close_code = close_code
        self.n_frames = []

    async def handle(self, socket):
        n_frames = 0
        async for message in socket:
            n_frames += 1
            if json.loads(message)["event"] == "stop":
                await socket.close(self._close_code)
        self.n_frames.append(n_frames)

    async def measure(self):
        async with serve(self.handle, "127.0.0.1", 0) as listener:
            address = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            spoken = [Call("token", voices(LINES, index, 0.6)) for index in range(3)]
            return await measure_server(address, os.getpid(), spoken, 0.6)


async def test_all_calls_are_spoken_at_once(monkeypatch):
    monkeypatch.setattr(calls, "START_SPREAD_S", 0.1)
    server = Server(1000)
    load = await server.measure()
    assert server.n_frames == [2 + 2 * 30 + 1] * 3
    assert load.calls == 3
    assert load.peak_rss_mib > 0


async def test_a_call_that_was_not_heard_to_its_end_is_no_figure(monkeypatch):
    monkeypatch.setattr(calls, "START_SPREAD_S", 0.1)
    with pytest.raises(LostError):
        await Server(1011).measure()
