"""Recordings in, how fast, how right and for how many at once out: `python -m bench.stream`.

A server in a process of its own, with its default settings, spoken to through the Python client.

One stream: every recording at the pace it was spoken, one after the other, with two seconds of
silence after it so that the end of speech is found and not told.

first_partial   from the first sample of speech being sent to the first caption with a word in it
final           from the last sample of speech being sent to the final that ends the recording
wer             of all finals; wer_offline: faster-whisper, beam 5, int8, the same weights, on the
                whole file
words_lost      of the last two words of each recording: heard offline, missing from the stream

Many streams: see `bench.load`. largest_streams is the most, of those tried, whose finals come
within a second in 95 of 100 cases, none of them missing.

Nobody speaks: an hour of dishes, rooms, music, noise and telephone tones, in parallel streams;
nonspeech_words_per_hour is what was written for it.

Speech begins and ends where `bench.sound` hears it. Recordings: `EARWITNESS_AUDIO`, a folder with a
manifest.json. Figures go to build/bench/stream.json; with `--only`, those of the other parts stay
there, and `commits` says of which commit each part is.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import BLOCK_S, Corpus, Play, pcm_of, percentile, play_all
from bench.recordings import Recording, open_recordings
from bench.scoring import (
    Score,
    keep_figures,
    score,
    tail_words_lost,
)
from bench.sound import RATE_HZ, load_samples, nonspeech, speech_bounds_s
from bench.speakers import Earwitness
from client.stream import connect
from security.keys import open_signing_key
from security.tokens import mint_token
from server.config import Settings, load_settings
from server.grant import TRANSCRIBE_SCOPE
from server.wire import Final, Partial

TAIL_S = 2.0
GAP_S = 0.8
GOOD_FINAL_MS = 1000
PARTS = ("one", "many", "nonspeech")
SPEECH_KINDS = ("utterance", "long", "telephone", "spontaneous")


@dataclass(slots=True)
class Run:
    """One recording, streamed."""

    recording: Recording
    text: str = ""
    first_partial_ms: float | None = None
    final_ms: float | None = None
    finals: list[tuple[float, Final]] = field(default_factory=list)


async def stream_recording(url: str, token: str, recording: Recording) -> Run:
    """Send one recording in real time and listen."""
    samples = load_samples(recording.path)
    first_s, last_s = speech_bounds_s(samples)
    pcm = pcm_of(samples) + bytes(int(TAIL_S * RATE_HZ) * 2)
    run = Run(recording)
    async with connect(url, token=token, sample_rate_hz=RATE_HZ) as stream:
        started_s = time.monotonic()

        async def send() -> None:
            n_block_bytes = int(RATE_HZ * BLOCK_S) * 2
            for index, start in enumerate(range(0, len(pcm), n_block_bytes)):
                # a block can be sent only once its last sample has been spoken
                await asyncio.sleep(max(0.0, started_s + (index + 1) * BLOCK_S - time.monotonic()))
                await stream.send(pcm[start : start + n_block_bytes])
            await stream.stop()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            async for event in stream:
                now_s = time.monotonic() - started_s
                match event:
                    case Partial(stable=stable, unstable=unstable) if (stable + unstable).strip():
                        run.first_partial_ms = run.first_partial_ms or (now_s - first_s) * 1000
                    case Final():
                        run.finals.append((now_s, event))
    spoken = [(at_s, final) for at_s, final in run.finals if final.text]
    run.text = " ".join(final.text for _, final in spoken)
    if spoken:
        run.final_ms = (spoken[-1][0] - last_s) * 1000
        run.first_partial_ms = run.first_partial_ms or (spoken[0][0] - first_s) * 1000
    return run


class Offline:
    """The same weights on whole files: faster-whisper, from the opened pack."""

    def __init__(self, settings: Settings) -> None:
        from faster_whisper import WhisperModel

        from security.weights import open_pack
        from server.packs import pack_trust

        pack = open_pack(settings.pack_folder, pack_trust(settings))
        files = {name: bytes(content) for name, content in pack.files.items()}
        self._model = WhisperModel("tiny.en", compute_type="int8", cpu_threads=2, files=files)

    def transcribe(self, recording: Recording) -> str:
        """The text of a whole file."""
        samples = load_samples(recording.path)
        segments, _ = self._model.transcribe(samples, language="en", beam_size=5, temperature=0.0)
        return " ".join(segment.text.strip() for segment in segments)


def seal_model(settings: Settings) -> None:
    """The embedded model, fetched and sealed if it is not there."""
    subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "run.py", "seal", "embedded", settings.model],
        check=True,
        env={**os.environ, "EARWITNESS_DATA_FOLDER": str(settings.data_folder)},
    )


@contextlib.contextmanager
def server_process(
    settings: Settings, program: Sequence[str] = ("run.py",)
) -> Iterator[tuple[str, int]]:
    """`run.py serve` on a free port; gives the stream's address and the process."""
    command = [sys.executable, *program, "serve", "--port", "0"]
    environment = {
        **os.environ,
        "EARWITNESS_DATA_FOLDER": str(settings.data_folder),
        "EARWITNESS_LISTEN__MOST_SESSIONS": "1000",
        "EARWITNESS_LISTEN__ACCESS_LOG": "false",
    }
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "listens on " in line:
                    address = line.split("listens on ")[1].split()[0]
                    yield address.replace("http", "ws", 1) + "/v1/stream", process.pid
                    break
            else:
                raise SystemExit("bench: the server did not start")
        finally:
            process.terminate()


def measure_one(url: str, new_token: Callable[[], str], recordings: list[Recording]) -> list[Run]:
    """Stream them one by one and print a line for each."""
    runs: list[Run] = []
    for recording in recordings:
        run = asyncio.run(stream_recording(url, new_token(), recording))
        runs.append(run)
        times = f"{_ms(run.first_partial_ms)} {_ms(run.final_ms)}"
        print(f"{recording.id:36} {times}  {run.text[:70]}", flush=True)
    return runs


def figures_of_one(settings: Settings, runs: list[Run]) -> dict[str, float]:
    """Latencies and errors of one stream."""
    offline = Offline(settings)
    streamed = offline_score = Score.nothing()
    words_lost = 0
    for run in runs:
        reference, whole = run.recording.text, offline.transcribe(run.recording)
        streamed += score(reference, run.text)
        offline_score += score(reference, whole)
        words_lost += max(
            0, tail_words_lost(reference, run.text) - tail_words_lost(reference, whole)
        )
    finals = [run.final_ms for run in runs if run.final_ms is not None]
    firsts = [run.first_partial_ms for run in runs if run.first_partial_ms is not None]
    return {
        "recordings": len(runs),
        "end_of_speech_ms": settings.session.track.segmenter.end_of_speech_ms,
        "first_partial_ms_p50": percentile(firsts, 50),
        "first_partial_ms_p95": percentile(firsts, 95),
        "final_ms_p50": percentile(finals, 50),
        "final_ms_p95": percentile(finals, 95),
        "final_ms_p99": percentile(finals, 99),
        "wer": round(streamed.wer, 4),
        "wer_offline": round(offline_score.wer, 4),
        "words_lost": words_lost,
    }


def measure_many(
    settings: Settings, recordings: list[Recording], levels: list[int], length_s: float
) -> list[dict[str, float]]:
    """One row for each number of streams, each on a fresh server."""
    corpus = Corpus([r for r in recordings if r.language == "en" and r.kind == "utterance"])
    rows: list[dict[str, float]] = []
    for n_streams in levels:
        plays = [corpus.play(seed, length_s, GAP_S) for seed in range(n_streams)]
        with server_process(settings) as (url, pid):
            new_token = tokens(settings)
            row = asyncio.run(play_all(plays, lambda: Earwitness(url, new_token), pid)).row()  # noqa: B023
        rows.append(row)
        if len(rows) == 1:
            print(" ".join(f"{name:>17}" for name in row))
        print(" ".join(f"{value:17}" for value in row.values()), flush=True)
    return rows


def figures_of_many(rows: list[dict[str, float]]) -> dict[str, object]:
    """The largest number that keeps up, and what a stream costs there."""
    good = [row for row in rows if row["final_ms_p95"] <= GOOD_FINAL_MS and not row["lost"]]
    first, last = rows[0], rows[-1]
    more = last["streams"] - first["streams"]
    best = max(good, key=lambda row: row["streams"], default=first)
    return {
        "largest_streams": max((row["streams"] for row in good), default=0),
        "revision_rate": best["revised_share"],
        "cpu_s_per_audio_s": best["cpu_s_per_audio_s"],
        "rss_mib_per_stream": round((last["peak_rss_mib"] - first["peak_rss_mib"]) / more, 1)
        if more
        else 0.0,
        "levels": rows,
    }


def measure_nonspeech(
    settings: Settings, recordings: list[Recording], n_streams: int, length_s: float
) -> dict[str, float]:
    """Words written for what nobody said."""
    clips = [load_samples(r.path) for r in recordings if r.kind == "nonspeech"]
    plays = [Play([], pcm_of(nonspeech(clips, seed, length_s))) for seed in range(n_streams)]
    with server_process(settings) as (url, pid):
        new_token = tokens(settings)
        asyncio.run(play_all(plays, lambda: Earwitness(url, new_token), pid))
    words = sum(len(play.sights[-1].settled.split()) for play in plays if play.sights)
    hours = sum(play.audio_s for play in plays) / 3600
    return {"nonspeech_words_per_hour": round(words / hours, 2), "nonspeech_hours": round(hours, 2)}


def tokens(settings: Settings, lifetime_s: int = 900) -> Callable[[], str]:
    """Makes tokens as `run.py token` does."""
    signing_key = open_signing_key(settings.signing_key_file)
    return lambda: mint_token(
        signing_key,
        settings.token_policy,
        subject="bench",
        scopes={TRANSCRIBE_SCOPE},
        lifetime_s=lifetime_s,
        wall_s=time.time(),  # noqa: TID251
    )


def _ms(duration_ms: float | None) -> str:
    return "      -" if duration_ms is None else f"{duration_ms:7.0f}"


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    parser.add_argument("--streams", type=int, nargs="*", default=[1, 8, 16, 30, 40, 45, 50, 60])
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each stream")
    parser.add_argument("--only", choices=PARTS)
    arguments = parser.parse_args()
    settings = load_settings(data_folder=Path("build/bench-data"))
    seal_model(settings)
    recordings = open_recordings()
    figures: dict[str, object] = {}
    if arguments.only in (None, "one"):
        speech = [r for r in recordings if r.language == "en" and r.kind in SPEECH_KINDS]
        if arguments.quick:
            speech = [r for r in speech if r.kind != "long"][::5]
        with server_process(settings) as (url, _):
            runs = measure_one(url, tokens(settings), speech)
        figures |= figures_of_one(settings, runs)
    if arguments.only in (None, "many"):
        levels = [1, 4] if arguments.quick else arguments.streams
        length_s = 20.0 if arguments.quick else arguments.seconds
        figures |= figures_of_many(measure_many(settings, recordings, levels, length_s))
    if arguments.only in (None, "nonspeech"):
        n_streams, length_s = (4, 30.0) if arguments.quick else (20, 180.0)
        figures |= measure_nonspeech(settings, recordings, n_streams, length_s)
    keep_figures("stream", figures, [arguments.only] if arguments.only else PARTS)
    for name, value in figures.items():
        if not isinstance(value, list):
            print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
