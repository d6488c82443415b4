"""Calls of two parties in, what each costs the processor out: `python -m bench.calls`.

The stages, in this process, one after the other, each over all frames of 20 ms and a track:

parse_us     Media-Streams JSON to payload and stamp
place_us     order, gaps and time
decode_us    mu-law to samples
resample_us  8 to 16 kHz
us_per_frame all of these: what a telephone's audio costs before it is a session's; at most 15
vad_us       for comparison, what a track pays for its detector

A server, in a process of its own, whose engine hears nothing and takes no time: so many calls at
the pace of speech, each two tracks over one connection, to the last word of the last one.
cpu_per_call is what a second of a call costs, in seconds of processor; decoding_share the part of
that which us_per_frame explains; late_ms how far behind speech the end of a call was heard, at
worst: a machine that keeps up is a moment late. Speech is of the recordings in `EARWITNESS_AUDIO`.
Figures go to build/bench/calls.json; `--only stages` needs no server.
"""

import argparse
import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from websockets.asyncio.client import connect as connect_socket

from bench.callers import FRAME_MS, RATE_HZ, Call, MediaStreams
from bench.calling import speak
from bench.calls_wer import Line, bridges, line_of, token_maker
from bench.load import cpu_seconds, rss_mib
from bench.recordings import open_recordings
from bench.scoring import write_figures
from bench.stream import seal_model, server_process
from bench.vad import TELEPHONE
from server.audio import WINDOW_SAMPLES
from server.config import load_settings
from server.decode import Decoder
from server.dialects.values import Admitted, Audio, Dialect
from server.grant import TRANSCRIBE_SCOPE
from server.placing import Placing, PlacingSettings, Sound
from server.resample import Resampler
from server.vad import SileroDetector, SileroNetwork

N_TRACKS = 2
MOST_US_PER_FRAME = 15.0
START_SPREAD_S = 5.0
NORMAL_CLOSE = 1000
MOST_LATE_S = 300.0
"""After the last frame; a server that is this far behind is given up."""
STAGES_S, TURNS = 3.0, 20
"""Of speech, so little that it stays in the processor's cache, as one frame at a time does."""
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Stages:
    """Microseconds of processor time, by 20 ms frame of one track."""

    parse_us: float
    place_us: float
    decode_us: float
    resample_us: float
    vad_us: float

    @property
    def us_per_frame(self) -> float:
        """Before the detector."""
        return self.parse_us + self.place_us + self.decode_us + self.resample_us


def new_dialect() -> Dialect:
    """As a bridge makes it."""
    from server.dialects.media_streams import MediaStreams as Wire
    from server.dialects.media_streams import MediaStreamsSettings

    return Wire(MediaStreamsSettings())


def voices(lines: Sequence[Line], first: int, length_s: float) -> tuple[bytes, bytes]:
    """Two parties of so many seconds, each with recordings of its own order."""
    n_bytes = int(length_s * RATE_HZ)
    parties: list[bytes] = []
    for party in range(N_TRACKS):
        at, said = first * N_TRACKS + party, b""
        while len(said) < n_bytes:
            said += lines[at % len(lines)].mulaw
            at += 7
        parties.append(said[:n_bytes])
    return parties[0], parties[1]


def measure_stages(call: Call, new: Callable[[], Dialect]) -> Stages:
    """The best of some turns, so that a busy machine tells little of itself."""
    turns = [_turn(call, new()) for _ in range(TURNS)]
    return Stages(*(min(column) for column in zip(*turns, strict=True)))


def _turn(call: Call, dialect: Dialect) -> list[float]:
    caller = MediaStreams(N_TRACKS)
    for message in caller.opening(call):
        dialect.receive(message)
    dialect.tell(Admitted(frozenset({"en"}), "en"))
    dues = list(caller.audio(call))
    costs = _Costs(len(dues))
    heard = costs.of(
        lambda: [
            (due.at_s, one)
            for due in dues
            for one in dialect.receive(due.message)
            if isinstance(one, Audio)
        ]
    )
    assert len(heard) == len(dues), "the dialect did not hear every frame"
    places = [Placing(TELEPHONE, 1, PlacingSettings(), 0.0) for _ in range(N_TRACKS)]
    placed = costs.of(
        lambda: [
            (audio.channel or 0, one.payload)
            for at_s, audio in heard
            for one in places[audio.channel or 0].receive(audio, at_s)
            if isinstance(one, Sound)
        ]
    )
    decoder = Decoder(TELEPHONE)
    samples = costs.of(lambda: [(track, decoder.decode(payload)) for track, payload in placed])
    resamplers = [Resampler(TELEPHONE.sample_rate_hz) for _ in range(N_TRACKS)]
    wide = costs.of(lambda: [(track, resamplers[track].resample(part)) for track, part in samples])
    network = SileroNetwork()
    detector = SileroDetector(network)
    whole = np.concatenate([part for _, part in wide])
    n_windows = whole.size // WINDOW_SAMPLES
    windows = whole[: n_windows * WINDOW_SAMPLES].reshape(n_windows, WINDOW_SAMPLES)
    costs.of(lambda: [detector.score(window) for window in windows])
    return costs.us


class _Costs:
    """Processor time of this thread, by frame."""

    def __init__(self, n_frames: int) -> None:
        self._n_frames = n_frames
        self.us: list[float] = []

    def of(self, stage: Callable[[], Made]) -> Made:
        """Run it once."""
        began_s = time.thread_time()
        made = stage()
        self.us.append((time.thread_time() - began_s) / self._n_frames * 1e6)
        return made


@dataclass(frozen=True, slots=True)
class Load:
    """What a server took while all calls were spoken."""

    calls: int
    cpu_per_call: float
    """Seconds of processor for a second of one."""
    peak_rss_mib: float
    late_ms: float
    """How far behind speech the end of a call was heard, at worst."""


class LostError(Exception):
    """A call did not come to its end."""


async def measure_server(address: str, pid: int, calls: Sequence[Call], length_s: float) -> Load:
    """All of them at once, of a server that runs: `address` is `ws://HOST:PORT`. Raises
    LostError.
    """
    late_s: list[float] = []
    lost: list[int | None] = []

    async def one(index: int, call: Call) -> None:
        await asyncio.sleep(index / len(calls) * START_SPREAD_S)
        began_s = time.monotonic()
        url = f"{address}/v1/bridges/twilio"
        caller = MediaStreams(N_TRACKS, is_closed_by_server=True)
        headers = caller.headers(call, url, 0.0)
        async with connect_socket(
            url, additional_headers=headers, compression=None, ping_interval=None
        ) as socket:
            await speak(socket, caller, call, MOST_LATE_S)
            if socket.close_code != NORMAL_CLOSE:
                lost.append(socket.close_code)
        late_s.append(time.monotonic() - began_s - length_s)

    before_s = cpu_seconds(pid)
    async with asyncio.TaskGroup() as tasks:
        for index, call in enumerate(calls):
            tasks.create_task(one(index, call))
    if lost:
        raise LostError(f"closed before their ends: {lost}")
    spent_s = cpu_seconds(pid) - before_s
    per_call = spent_s / (len(calls) * length_s)
    return Load(len(calls), per_call, rss_mib(pid, "VmHWM"), max(late_s) * 1000)


def figures_of(stages: Stages, load: Load | None) -> dict[str, float]:
    """By name."""
    figures = {name: round(getattr(stages, name), 2) for name in Stages.__slots__}
    figures["us_per_frame"] = round(stages.us_per_frame, 2)
    if load is not None:
        decoding = stages.us_per_frame * N_TRACKS * 1000 / FRAME_MS / 1e6
        figures |= {
            "calls": load.calls,
            "cpu_per_call": round(load.cpu_per_call, 5),
            "decoding_share": round(decoding / load.cpu_per_call, 3),
            "peak_rss_mib": round(load.peak_rss_mib),
            "late_ms": round(load.late_ms),
        }
    return figures


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each call")
    parser.add_argument("--only", choices=["stages"])
    parser.add_argument("--data-folder", type=Path, default=Path("build/bench-data"))
    arguments = parser.parse_args()
    spoken = [r for r in open_recordings() if r.kind in ("utterance", "telephone")]
    lines = [line_of(recording) for recording in spoken]
    stages = measure_stages(Call("token", voices(lines, 0, STAGES_S)), new_dialect)
    load = None
    if arguments.only is None:
        settings = load_settings(data_folder=arguments.data_folder)
        seal_model(settings)
        twilio = [bridge for bridge in bridges(Path()) if bridge["name"] == "twilio"]
        os.environ["EARWITNESS_BRIDGES"] = json.dumps(twilio)
        with server_process(settings, ("-m", "bench.deaf_server")) as (url, pid):
            new_token = token_maker(settings)
            calls = [
                Call(new_token(TRANSCRIBE_SCOPE), voices(lines, index, arguments.seconds))
                for index in range(arguments.calls)
            ]
            address = url.removesuffix("/v1/stream")
            load = asyncio.run(measure_server(address, pid, calls, arguments.seconds))
    figures = figures_of(stages, load)
    for name, value in figures.items():
        print(f"{name:24} {value}")
    write_figures("calls", figures)
    if stages.us_per_frame > MOST_US_PER_FRAME:
        raise SystemExit(f"bench: decoding takes {stages.us_per_frame:.1f} us a frame")


if __name__ == "__main__":
    main()
