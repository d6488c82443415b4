"""Recordings in, how fast and how right one stream is out: `python -m bench.stream`.

A server in a process of its own; every recording is streamed to it at the pace it was spoken, one
after the other, through the Python client, with two seconds of silence after it so that the end of
speech is found and not told.

first_partial   from the first sample of speech being sent to the first caption with a word in it
final           from the last sample of speech being sent to the final that ends the recording
wer             of all finals; wer_offline: faster-whisper, beam 5, int8, the same weights, on the
                whole file
words_lost      of the last two words of each recording: heard offline, missing from the stream
nonspeech_words words written for noise, music and silence

Speech begins and ends at the first and last 10 ms frame within 30 dB of the recording's loud
frames (its 95th percentile): a measure that no voice activity detector has a say in. Recordings:
`EARWITNESS_AUDIO`, a folder with a manifest.json. Figures go to build/bench/stream.json.
"""

import argparse
import asyncio
import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.recordings import Recording, open_recordings
from bench.scoring import Score, score, tail_words_lost, write_figures
from bench.sound import RATE_HZ, load_samples, speech_bounds_s
from client.stream import connect
from security.keys import open_signing_key
from security.tokens import mint_token
from server.config import Settings, load_settings
from server.grant import TRANSCRIBE_SCOPE
from server.wire import Final, Partial

BLOCK_S = 0.02
TAIL_S = 2.0
END_OF_SPEECH_MS = 300
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
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes() + bytes(
        int(TAIL_S * RATE_HZ) * 2
    )
    run = Run(recording)
    async with connect(
        url, token=token, sample_rate_hz=RATE_HZ, end_of_speech_ms=END_OF_SPEECH_MS
    ) as stream:
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


@contextlib.contextmanager
def server_process(settings: Settings) -> Iterator[str]:
    """`run.py serve` on a free port; gives the stream's address."""
    command = [sys.executable, "run.py", "serve", "--port", "0"]
    environment = {**os.environ, "EARWITNESS_DATA_FOLDER": str(settings.data_folder)}
    with subprocess.Popen(  # noqa: S603 - our own program
        command, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if "listens on " in line:
                    address = line.split("listens on ")[1].split()[0]
                    yield address.replace("http", "ws", 1) + "/v1/stream"
                    break
            else:
                raise SystemExit("bench: the server did not start")
        finally:
            process.terminate()


def measure(settings: Settings, recordings: list[Recording], *, is_quick: bool) -> dict[str, float]:
    """Stream everything, print a line for each recording, return the figures."""
    speech = [r for r in recordings if r.language == "en" and r.kind in SPEECH_KINDS]
    nonspeech = [r for r in recordings if r.kind == "nonspeech"]
    if is_quick:
        speech = [r for r in speech if r.kind != "long"][::5]
    signing_key = open_signing_key(settings.signing_key_file)
    runs: list[Run] = []
    with server_process(settings) as url:
        for recording in [*speech, *nonspeech]:
            token = mint_token(
                signing_key,
                settings.token_policy,
                subject="bench",
                scopes={TRANSCRIBE_SCOPE},
                lifetime_s=900,
                wall_s=time.time(),  # noqa: TID251
            )
            run = asyncio.run(stream_recording(url, token, recording))
            runs.append(run)
            times = f"{_ms(run.first_partial_ms)} {_ms(run.final_ms)}"
            print(f"{recording.id:36} {times}  {run.text[:70]}", flush=True)
    heard = runs[: len(speech)]
    offline = Offline(settings)
    streamed = offline_score = Score.nothing()
    words_lost = 0
    for run in heard:
        reference, whole = run.recording.text, offline.transcribe(run.recording)
        streamed += score(reference, run.text)
        offline_score += score(reference, whole)
        words_lost += max(
            0, tail_words_lost(reference, run.text) - tail_words_lost(reference, whole)
        )
    finals = sorted(run.final_ms for run in heard if run.final_ms is not None)
    firsts = [run.first_partial_ms for run in heard if run.first_partial_ms is not None]
    return {
        "recordings": len(heard),
        "first_partial_ms_p50": round(statistics.median(firsts)),
        "final_ms_p50": round(statistics.median(finals)),
        "final_ms_p95": round(finals[int(0.95 * (len(finals) - 1))]),
        "wer": round(streamed.wer, 4),
        "wer_offline": round(offline_score.wer, 4),
        "words_lost": words_lost,
        "nonspeech_words": sum(len(run.text.split()) for run in runs[len(speech) :]),
    }


def _ms(duration_ms: float | None) -> str:
    return "      -" if duration_ms is None else f"{duration_ms:7.0f}"


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="every fifth recording, none long")
    arguments = parser.parse_args()
    settings = load_settings(data_folder=Path("build/bench-data"))
    subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "run.py", "seal", "embedded", settings.model],
        check=True,
        env={**os.environ, "EARWITNESS_DATA_FOLDER": str(settings.data_folder)},
    )
    figures = measure(settings, open_recordings(), is_quick=arguments.quick)
    write_figures("stream", figures)
    for name, value in figures.items():
        print(f"{name:24} {value}")


if __name__ == "__main__":
    main()
