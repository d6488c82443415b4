"""Audio in other people's protocols in, what each costs the processor beside our own out:
`python -m bench.dialects`.

Half a minute of sound in frames of 20 ms, or as long as an API's own clients make them, goes
through what stands between a socket and its session, and through the session itself, whose windows
are all silence; nothing is sent anywhere. For each API once as its clients send it and once as ours
would send the same samples.

core_frames_per_s     native frames, through the session alone: to be compared with a version before
NAME_us, NAME_native_us
                      by second of audio
NAME_times            the one by the other; at most 2

Figures go to build/bench/dialects.json. `--only core` needs no API.
"""

import argparse
import asyncio
import base64
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from starlette.types import Message

from bench.scoring import write_figures
from security.limits import Limits
from server import wire
from server.audio import WINDOW_SAMPLES
from server.client_apis import client_apis
from server.client_settings import ClientSettings
from server.dialects.translation import ClientApi, Host
from server.dialects.values import Upgrade
from server.grant import Grant
from server.line import Socket
from server.recognition import ModelCard
from server.session import Session
from server.session_values import Caller, SessionSettings, start_of
from server.track import Score
from server.translating import Translator

LENGTH_S, FRAMES_PER_S, TURNS = 30, 50, 7
MOST_TIMES = 2.0
MODEL = ModelCard("bench", frozenset({"en"}))
GRANT = Grant(
    subject="bench",
    issuer="bench",
    token_id="bench",  # noqa: S106 - a name, not a token
    key_id="bench",
    issued_at_s=0,
    expires_in_s=3600.0,
    scopes=frozenset({"transcribe"}),
    limits=Limits(),
)
Frame = str | bytes


class Fed:
    """A socket whose peer has said everything at once."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._messages = [_message(frame) for frame in reversed(list(frames))]

    async def receive(self) -> Message:
        """The next; after the last, the peer has gone."""
        return self._messages.pop() if self._messages else {"type": "websocket.disconnect"}

    async def send_text(self, data: str, /) -> None:
        """Nobody reads it."""

    async def send_bytes(self, data: bytes, /) -> None:
        """Nobody reads it."""

    async def close(self, code: int, /) -> None:
        """Nothing."""


def _message(frame: Frame) -> Message:
    key = "text" if isinstance(frame, str) else "bytes"
    return {"type": "websocket.receive", key: frame}


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a client of an API, and how ours, send the same samples."""

    name: str
    path: str
    query: Sequence[tuple[str, str]]
    opening: Sequence[Frame]
    wrap: Callable[[bytes], Frame]
    """A frame of `native`'s encoding, as the API has it."""
    start: wire.Start
    frames_per_s: int = FRAMES_PER_S
    """Vosk's and WhisperLive's own clients send 200 and 256 ms at once."""


def _appended(pcm: bytes) -> str:
    append = {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
    return json.dumps(append)


def _updated(audio_format: dict[str, object]) -> list[str]:
    heard = {"format": audio_format, "transcription": {"model": "whisper-1", "language": "en"}}
    session = {"type": "transcription", "audio": {"input": heard}}
    return [json.dumps({"type": "session.update", "session": session})]


_LISTEN = [("model", "nova-3"), ("interim_results", "true"), ("language", "en")]
APIS = (
    Spoken(
        "openai",
        "/v1/realtime",
        [("intent", "transcription")],
        _updated({"type": "audio/pcm", "rate": 24_000}),
        _appended,
        wire.Start(24_000),
    ),
    Spoken(
        "openai_mulaw",
        "/v1/realtime",
        [("intent", "transcription")],
        _updated({"type": "audio/pcmu"}),
        _appended,
        wire.Start(8_000, "mulaw"),
    ),
    Spoken(
        "deepgram",
        "/v1/listen",
        [*_LISTEN, ("encoding", "linear16"), ("sample_rate", "16000")],
        [],
        bytes,
        wire.Start(16_000),
    ),
    Spoken(
        "vosk",
        "/v1/vosk",
        [],
        ['{"config":{"sample_rate":16000}}'],
        bytes,
        wire.Start(16_000),
        frames_per_s=5,
    ),
    Spoken(
        "whisper_live",
        "/v1/whisper-live",
        [],
        ['{"uid":"bench","language":"en","task":"transcribe","model":"small","use_vad":true}'],
        bytes,
        wire.Start(16_000, "pcm_f32le"),
        frames_per_s=4,
    ),
)


def frames_of(start: wire.Start, frames_per_s: int) -> list[bytes]:
    """Noise, as faint as a quiet room, of `LENGTH_S`."""
    n_samples = start.sample_rate_hz // frames_per_s
    rng = np.random.default_rng(0)
    noise = rng.integers(-40, 40, n_samples * frames_per_s * LENGTH_S).astype("<i2")
    match start.encoding:
        case "pcm_f32le":
            data, n_bytes = (noise.astype("<f4") / 32768).tobytes(), 4
        case "mulaw":
            data, n_bytes = noise.tobytes(), 1
        case _:
            data, n_bytes = noise.tobytes(), 2
    frame_bytes = n_samples * n_bytes
    n_frames = frames_per_s * LENGTH_S
    return [data[at * frame_bytes :][:frame_bytes] for at in range(n_frames)]


def new_session() -> Session:
    """One that is silent throughout."""
    started = start_of("bench", MODEL, GRANT, Caller("127.0.0.1", None, "bench", 1))
    return Session(started, MODEL, GRANT, SessionSettings(), 0.0)


async def hear_all(socket: Socket, session: Session) -> None:
    """As `server.connection` does, without its tasks."""
    while (message := await socket.receive())["type"] == "websocket.receive":
        data = message.get("bytes")
        if isinstance(data, bytes):
            session.receive_audio(data, 0.0)
        else:
            said = wire.decode_client_message(message["text"])
            assert isinstance(said, wire.SessionMessage), "only what a session is told"
            session.receive_message(said, 0.0)
        for action in session.actions():
            if isinstance(action, Score):
                n_windows = action.samples.size // WINDOW_SAMPLES
                session.receive_scores([0.0] * n_windows, action.channel)
        session.actions()


def cost_us(new_socket: Callable[[], Socket]) -> float:
    """Processor time by second of audio: the best of some turns."""
    turns: list[float] = []
    for _ in range(TURNS):
        socket, session = new_socket(), new_session()
        began_s = time.thread_time()
        asyncio.run(hear_all(socket, session))
        turns.append(time.thread_time() - began_s)
        assert session.usage.audio_ms >= LENGTH_S * 1000, "not everything was heard"
    return min(turns) / LENGTH_S * 1e6


def native_us(start: wire.Start, frames: Sequence[bytes]) -> float:
    """Of our own protocol."""
    return cost_us(lambda: Fed([wire.encode(start), *frames]))


def translated_us(api: ClientApi, spoken: Spoken, frames: Sequence[bytes]) -> float:
    """Of another's."""
    query = "&".join(f"{name}={value}" for name, value in spoken.query)
    upgrade = Upgrade(f"{spoken.path}?{query}", query=spoken.query)
    said = [*spoken.opening, *map(spoken.wrap, frames)]

    def new_socket() -> Socket:
        dialect = api.new_dialect(upgrade, Host(MODEL, lambda: "bench", 0.0))
        return Translator(Fed(said), dialect)

    return cost_us(new_socket)


def core_frames_per_s() -> float:
    """Of 20 ms, 16 kHz."""
    start = wire.Start(16_000)
    return FRAMES_PER_S / native_us(start, frames_of(start, FRAMES_PER_S)) * 1e6


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["core"])
    arguments = parser.parse_args()
    figures: dict[str, float] = {"core_frames_per_s": round(core_frames_per_s())}
    if arguments.only is None:
        figures |= figures_of_all()
    for name, value in figures.items():
        print(f"{name:24} {value}")
    write_figures("dialects", figures)
    slow = [name for name, value in figures.items() if "times" in name and value > MOST_TIMES]
    if slow:
        raise SystemExit(f"bench: more than {MOST_TIMES} times native: {', '.join(slow)}")


def figures_of_all() -> dict[str, float]:
    """By name."""
    settings = ClientSettings(vosk=True, whisper_live=True)
    apis = {path: api for api in client_apis(settings) for path in api.paths}
    figures: dict[str, float] = {}
    for spoken in APIS:
        frames = frames_of(spoken.start, spoken.frames_per_s)
        native = native_us(spoken.start, frames)
        ours = translated_us(apis[spoken.path], spoken, frames)
        figures[f"{spoken.name}_us"] = round(ours, 1)
        figures[f"{spoken.name}_native_us"] = round(native, 1)
        figures[f"{spoken.name}_times"] = round(ours / native, 2)
    return figures


if __name__ == "__main__":
    main()
