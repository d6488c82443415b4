"""Files in, samples and where speech lies in them out.

Speech begins and ends at the first and last 10 ms frame within 30 dB of the recording's loud
frames (its 95th percentile): a measure that no voice activity detector has a say in.
"""

from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE_HZ = 16_000
FRAME_SAMPLES = RATE_HZ // 100
QUIETEST_DB = 30


def load_samples(path: Path) -> np.ndarray:
    """A file as (n_samples,) float32, 16 kHz mono."""
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(axis=1), rate_hz, RATE_HZ), np.float32)


def speech_bounds_s(samples: np.ndarray) -> tuple[float, float]:
    """Where speech begins and ends, by loudness alone."""
    frames = samples[: samples.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    level_db = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    loud = np.flatnonzero(level_db > np.percentile(level_db, 95) - QUIETEST_DB)
    return loud[0] * FRAME_SAMPLES / RATE_HZ, (loud[-1] + 1) * FRAME_SAMPLES / RATE_HZ
