"""A folder in; other people's servers in environments of their own, with our weights, out.

Each is installed by its version from the package index, started as its documentation says, and
given the same Whisper tiny.en, which lies plain in the folder: it is a public model. `torch` is
what the machine's index has for a processor without CUDA.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.load import Speaker
from bench.speakers import WhisperLive, WhisperLiveKit

FOLDER = Path("build/peers")
WEIGHTS = FOLDER / "weights" / "tiny.en"
START_LIMIT_S = 180.0
TORCH = "torch==2.13.0"
_WHISPER_LIVE = """
import sys
from whisper_live.server import TranscriptionServer
port, weights, is_batch = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "batch"
TranscriptionServer().run("127.0.0.1", port, backend="faster_whisper", single_model=True,
    faster_whisper_custom_model_path=weights, max_clients=64, batch_enabled=is_batch)
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """One server, in one of its modes."""

    name: str
    version: str
    environment: str
    """Its folder; modes of a server share one."""
    packages: tuple[str, ...]
    """What it needs."""
    itself: str
    """Installed without what it says it needs: that pins too old, or pulls CUDA and a browser."""
    command: Callable[[Path, int], list[str]]
    """Its environment's `bin` and a port."""
    path: str
    speaker: Callable[[str], Speaker]


def _whisper_live(mode: str) -> Callable[[Path, int], list[str]]:
    return lambda bin_, port: [
        str(bin_ / "python"),
        *("-c", _WHISPER_LIVE, str(port), str(WEIGHTS.resolve()), mode),
    ]


def _whisper_live_kit(bin_: Path, port: int) -> list[str]:
    return [
        str(bin_ / "whisperlivekit-server"),
        *("--host", "127.0.0.1", "--port", str(port), "--backend", "faster-whisper"),
        *("--backend-policy", "localagreement", "--model_dir", str(WEIGHTS.resolve())),
        *("--language", "en", "--pcm-input", "--warmup-file", "", "-l", "WARNING"),
    ]


_FOR_WHISPER_LIVE = (
    *(TORCH, "faster-whisper==1.2.0", "websockets", "scipy", "websocket-client", "fastapi"),
    *("uvicorn", "python-multipart", "soundfile", "av", "numpy<2.5", "numba", "tiktoken", "tqdm"),
    *("more-itertools", "regex", "requests"),
)
_FOR_WHISPER_LIVE_KIT = (
    *(TORCH, "fastapi>=0.141.1", "librosa", "soundfile", "uvicorn", "websockets"),
    *("huggingface-hub>=0.25.0", "faster-whisper>=1.2.0", "tqdm", "tiktoken"),
    *("python-multipart>=0.0.31", "starlette>=1.3.1", "safetensors"),
)
PEERS = (
    Peer(
        "whisperlive",
        "0.10.0",
        "whisperlive",
        _FOR_WHISPER_LIVE,
        "whisper-live==0.10.0",
        _whisper_live("lock"),
        "/",
        WhisperLive,
    ),
    Peer(
        "whisperlive-batch",
        "0.10.0",
        "whisperlive",
        _FOR_WHISPER_LIVE,
        "whisper-live==0.10.0",
        _whisper_live("batch"),
        "/",
        WhisperLive,
    ),
    Peer(
        "whisperlivekit",
        "0.2.26",
        "whisperlivekit",
        _FOR_WHISPER_LIVE_KIT,
        "whisperlivekit==0.2.26",
        _whisper_live_kit,
        "/asr",
        WhisperLiveKit,
    ),
)


def write_weights(files: Mapping[str, memoryview]) -> None:
    """A public model as a plain folder, for those who cannot open packs."""
    WEIGHTS.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (WEIGHTS / name).write_bytes(content)


def install(peer: Peer) -> Path:
    """Its environment's `bin`, made if need be."""
    folder = FOLDER / peer.environment
    done = folder / ".installed"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)  # noqa: S603
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, *peer.packages], check=True)  # noqa: S603
        subprocess.run([*pip, "--no-deps", peer.itself], check=True)  # noqa: S603
        done.touch()
    return (folder / "bin").absolute()


@contextlib.contextmanager
def peer_process(peer: Peer) -> Iterator[tuple[str, int]]:
    """It listens, on a free port; gives the address and the process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2"}
    log = (FOLDER / f"{peer.name}.log").open("wb")
    with (
        log,
        subprocess.Popen(  # noqa: S603 - what we have installed
            peer.command(install(peer), port),
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            _wait_for(port, process)
            yield f"ws://127.0.0.1:{port}{peer.path}", process.pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    end_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise SystemExit(f"bench: {process.args!r} ended; its log is in {FOLDER}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise SystemExit(f"bench: {process.args!r} does not listen; its log is in {FOLDER}")
