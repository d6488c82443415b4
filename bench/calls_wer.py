"""Recordings in, the word errors of each telephone system's protocol beside those of our own out:
`python -m bench.calls_wer`.

A server in a process of its own, with a bridge for each protocol. English telephone recordings, and
the others made narrow, are what is said, as mu-law, at the pace of speech and up to eight calls at
a time, for a wire without stamps is placed by the clock. The words come from where the calls are
followed, `/v1/calls/ID/events`; those of the native protocol from a session that gets the same
audio, resampled as a whole. `points_apart` is to be under one. Figures go to
build/bench/calls_wer.json.
"""

import argparse
import asyncio
import base64
import io
import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from bench.audiohook_caller import AudioHook
from bench.callers import RATE_HZ, SILENCE, Asterisk, Call, Caller, Jambonz, MediaStreams
from bench.calling import texts_of_call
from bench.load import pcm_of
from bench.recordings import Recording, open_recordings
from bench.scoring import Score, score, write_figures
from bench.sound import RATE_HZ as WIDE_HZ
from bench.sound import load_samples
from bench.stream import TAIL_S, seal_model, server_process, tokens
from bench.vad import TELEPHONE, over_telephone_line
from client.stream import connect
from security.keys import open_signing_key
from security.tokens import mint_token
from server.config import Settings, load_settings
from server.decode import Decoder
from server.grant import TRANSCRIBE_SCOPE
from server.wire import Final

CALLS_SCOPE = "calls"
KINDS = ("telephone", "utterance", "spontaneous")
AT_A_TIME = 8
MOST_POINTS_APART = 1.0
HOOK_KEY, HOOK_SECRET = "YmVuY2g", secrets.token_bytes(32)
HOOK_ADDRESS = "wss://127.0.0.1/v1/bridges/audiohook"
MAKERS: dict[str, Callable[[], Caller]] = {
    "twilio": MediaStreams,
    "twilio-stereo": lambda: MediaStreams(2),
    "asterisk": Asterisk,
    "jambonz": Jambonz,
    "audiohook": lambda: AudioHook(HOOK_KEY, HOOK_SECRET, HOOK_ADDRESS, 1),
    "audiohook-stereo": lambda: AudioHook(HOOK_KEY, HOOK_SECRET, HOOK_ADDRESS),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A recording as a telephone brings it."""

    text: str
    mulaw: bytes


def line_of(recording: Recording) -> Line:
    """With silence after it, so that the end of speech is found."""
    samples, rate_hz = soundfile.read(recording.path, dtype="float32")
    if rate_hz == RATE_HZ:
        sound = io.BytesIO()
        soundfile.write(sound, samples, RATE_HZ, subtype="ULAW", format="RAW")
        mulaw = sound.getvalue()
    else:
        mulaw = over_telephone_line(load_samples(recording.path))
    return Line(recording.text, mulaw + SILENCE * int(TAIL_S * RATE_HZ))


def parties_of(lines: Sequence[Line], n_parties: int) -> list[list[Line]]:
    """Those who speak in each call; the last one alone where they come to no even number."""
    return [list(lines[at : at + n_parties]) for at in range(0, len(lines), n_parties)]


def together(lines: Sequence[Line], n_parties: int) -> tuple[bytes, ...]:
    """Of equal length: who has said all is silent, and so is who is missing."""
    n_bytes = max(len(line.mulaw) for line in lines)
    voices = [line.mulaw.ljust(n_bytes, SILENCE) for line in lines]
    return (*voices, *[SILENCE * n_bytes] * (n_parties - len(voices)))


async def text_of_session(url: str, token: str, line: Line) -> str:
    """What our own protocol makes of the same audio, resampled as a whole."""
    narrow = Decoder(TELEPHONE).decode(line.mulaw)
    pcm = pcm_of(np.asarray(soxr.resample(narrow, RATE_HZ, WIDE_HZ), np.float32))
    n_bytes = WIDE_HZ // 50 * 2
    texts: list[str] = []
    async with connect(url, token=token, sample_rate_hz=WIDE_HZ) as stream:
        began_s = time.monotonic()

        async def send() -> None:
            for index, start in enumerate(range(0, len(pcm), n_bytes)):
                await asyncio.sleep(max(0.0, began_s + (index + 1) / 50 - time.monotonic()))
                await stream.send(pcm[start : start + n_bytes])
            await stream.stop()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(send())
            async for event in stream:
                if isinstance(event, Final):
                    texts.append(event.text)
    return " ".join(text for text in texts if text)


# --- all calls ---


async def native_score(url: str, new_token: Callable[[], str], lines: Sequence[Line]) -> Score:
    """Of our own protocol."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(line: Line) -> Score:
        async with places:
            return score(line.text, await text_of_session(url, new_token(), line))

    async with asyncio.TaskGroup() as tasks:
        scores = [tasks.create_task(one(line)) for line in lines]
    return sum((each.result() for each in scores), Score.nothing())


async def calls_score(
    address: str,
    make: Callable[[], Caller],
    new_token: Callable[[str], str],
    lines: Sequence[Line],
) -> Score:
    """Of one telephone system."""
    places = asyncio.Semaphore(AT_A_TIME)

    async def one(speakers: list[Line]) -> Score:
        async with places:
            caller = make()
            call = Call(new_token(TRANSCRIBE_SCOPE), together(speakers, caller.n_parties))
            texts = await texts_of_call(address, caller, call, new_token(CALLS_SCOPE))
        said = zip(speakers, texts, strict=False)
        return sum((score(line.text, text) for line, text in said), Score.nothing())

    async with asyncio.TaskGroup() as tasks:
        calls = parties_of(lines, make().n_parties)
        scores = [tasks.create_task(one(speakers)) for speakers in calls]
    return sum((each.result() for each in scores), Score.nothing())


def bridges(secret_file: Path) -> list[dict[str, object]]:
    """As the settings have them."""
    return [
        {
            "name": "twilio",
            "dialect": "media_streams",
            "tracks": ["inbound", "outbound"],
        },
        {"name": "asterisk", "dialect": "asterisk"},
        {"name": "jambonz", "dialect": "jambonz_stt"},
        {
            "name": "audiohook",
            "dialect": "audiohook",
            "secret_file": str(secret_file),
            "address": HOOK_ADDRESS,
        },
    ]


def token_maker(settings: Settings) -> Callable[[str], str]:
    """Makes tokens of one scope."""
    signing_key = open_signing_key(settings.signing_key_file)
    return lambda scope: mint_token(
        signing_key,
        settings.token_policy,
        subject="bench",
        scopes={scope},
        lifetime_s=900,
        wall_s=time.time(),  # noqa: TID251
    )


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0, help="of the recordings")
    parser.add_argument("--only", choices=MAKERS, nargs="*", default=list(MAKERS))
    parser.add_argument("--data-folder", type=Path, default=Path("build/bench-data"))
    arguments = parser.parse_args()
    settings = load_settings(data_folder=arguments.data_folder)
    seal_model(settings)
    english = [r for r in open_recordings() if r.language == "en" and r.kind in KINDS]
    n_taken = max(2, round(len(english) * arguments.share))
    lines = [line_of(english[len(english) * n // n_taken]) for n in range(n_taken)]
    secret_file = arguments.data_folder.resolve() / "audiohook-secret"
    secret_file.unlink(missing_ok=True)
    secret_file.touch(mode=0o600)
    secret_file.write_text(f"{HOOK_KEY} {base64.b64encode(HOOK_SECRET).decode()}\n")
    os.environ["EARWITNESS_BRIDGES"] = json.dumps(bridges(secret_file))
    with server_process(settings) as (url, _):
        address = url.removesuffix("/v1/stream")
        scores = {"native": asyncio.run(native_score(url, tokens(settings), lines))}
        for name in arguments.only:
            made = calls_score(address, MAKERS[name], token_maker(settings), lines)
            scores[name] = asyncio.run(made)
    figures = figures_of(scores)
    print("| protocol | word errors | points apart |\n|---|---|---|")
    for name, row in figures.items():
        print(f"| {name} | {row['wer']:.2%} | {row['points_apart']:+.2f} |")
    write_figures("calls_wer", {"recordings": len(lines), "protocols": figures})
    apart = max(row["points_apart"] for row in figures.values())
    if apart > MOST_POINTS_APART:
        raise SystemExit(f"bench: {apart} points apart")


def figures_of(scores: dict[str, Score]) -> dict[str, dict[str, float]]:
    """Rates, and how far they are from our own protocol's."""
    native = scores["native"].wer
    return {
        name: {
            "wer": round(each.wer, 4),
            "words": each.words,
            "points_apart": round((each.wer - native) * 100, 2),
        }
        for name, each in scores.items()
    }


if __name__ == "__main__":
    main()
