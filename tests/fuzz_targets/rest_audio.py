"""The file of an upload from a stranger: PCM of at most the length that is allowed, or refused."""

import io

import numpy as np
import soundfile

from server.errors import RefusedError
from server.sound_file import SoundFile

MAX_BYTES = 30_000
SLOWEST_MS = 500.0
"""In a thread of its own, and a small file may hold a minute."""
_MOST_S = 60
_KINDS = (
    *(("WAV", "PCM_16", 16_000, 1), ("WAV", "MS_ADPCM", 8_000, 2), ("WAV", "GSM610", 8_000, 1)),
    *(("WAV", "IMA_ADPCM", 8_000, 1), ("WAVEX", "FLOAT", 16_000, 2), ("FLAC", "PCM_16", 16_000, 2)),
    *(("OGG", "VORBIS", 16_000, 1), ("OGG", "OPUS", 16_000, 1), ("MP3", None, 16_000, 1)),
)


def _seed(kind: str, subtype: str | None, rate_hz: int, channels: int) -> bytes:
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(rate_hz // 5) / rate_hz)
    out = io.BytesIO()
    samples = np.repeat(tone[:, None], channels, 1)
    soundfile.write(out, samples, rate_hz, format=kind, subtype=subtype)
    return out.getvalue()


SEEDS = [_seed(*kind) for kind in _KINDS]


def fuzz_rest_audio(data: bytes) -> None:
    n_bytes = 0
    try:
        file = SoundFile(memoryview(data), _MOST_S)
        try:
            while block := file.read():
                n_bytes += len(block)
        finally:
            file.close()
    except RefusedError:
        pass
    assert n_bytes <= _MOST_S * 32_000, "more audio than is allowed"
