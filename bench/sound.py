"""Files in, samples and where speech lies in them out; and sound in which nobody speaks.

Speech begins and ends at the first and last 10 ms frame within 30 dB of the recording's loud
frames (its 95th percentile) and 12 dB above its quiet ones (its 5th), which in some recordings are
no quieter than that: a measure that no voice activity detector has a say in.
"""

from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE_HZ = 16_000
FRAME_SAMPLES = RATE_HZ // 100
QUIETEST_DB, ABOVE_FLOOR_DB = 30, 12


def load_samples(path: Path) -> np.ndarray:
    """A file as (n_samples,) float32, 16 kHz mono."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate_hz, RATE_HZ), np.float32)


def speech_bounds_s(samples: np.ndarray) -> tuple[float, float]:
    """Where speech begins and ends, by loudness alone."""
    frames = samples[: samples.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    level_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    floor_db, loud_db = np.percentile(level_db, [5, 95])
    loud = np.flatnonzero(level_db > max(loud_db - QUIETEST_DB, floor_db + ABOVE_FLOOR_DB))
    return loud[0] * FRAME_SAMPLES / RATE_HZ, (loud[-1] + 1) * FRAME_SAMPLES / RATE_HZ


TONES_HZ_S = (
    ((440, 480), 2.0, 4.0),  # ringing, North America
    ((425, 425), 1.0, 4.0),  # ringing, Europe
    ((480, 620), 0.5, 0.5),  # busy
    ((350, 440), 5.0, 0.5),  # dial tone
    ((770, 1336), 0.1, 0.1),  # a key
)
"""Telephone tones: two frequencies, seconds on, seconds off (ITU-T E.180, Q.23)."""


def nonspeech(clips: list[np.ndarray], seed: int, length_s: float) -> np.ndarray:
    """Clips, telephone tones, noise and silence in a row, each at one of several levels."""
    rng = np.random.default_rng(seed)
    pieces: list[np.ndarray] = []
    while sum(piece.size for piece in pieces) < length_s * RATE_HZ:
        kind = rng.integers(4)
        n_samples = int(rng.uniform(2.0, 8.0) * RATE_HZ)
        if kind == 0 and clips:
            piece = clips[rng.integers(len(clips))][: 15 * RATE_HZ]
        elif kind == 1:
            piece = _tone(*TONES_HZ_S[rng.integers(len(TONES_HZ_S))], n_samples)
        elif kind == 2:
            piece = rng.normal(0, 0.1, n_samples)
        else:
            piece = np.zeros(n_samples)
        pieces.append((piece * rng.choice([0.03, 0.3, 1.0])).astype(np.float32))
    return np.concatenate(pieces)[: int(length_s * RATE_HZ)]


def _tone(pair_hz: tuple[int, int], on_s: float, off_s: float, n_samples: int) -> np.ndarray:
    at_s = np.arange(n_samples) / RATE_HZ
    both = np.sin(2 * np.pi * pair_hz[0] * at_s) + np.sin(2 * np.pi * pair_hz[1] * at_s)
    return 0.2 * both * (at_s % (on_s + off_s) < on_s)
