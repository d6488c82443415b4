"""Samples at a client's rate in, 16 kHz samples out, with state carried from frame to frame.

soxr's default quality: its hold-back is a few milliseconds and comes out at the end with
`is_last`.
"""

import numpy as np
import soxr

from server.audio import SAMPLE_RATE_HZ
from server.recognition import Samples


class Resampler:
    """One for each track; 16 kHz passes through untouched."""

    def __init__(self, rate_hz: int) -> None:
        self._stream = (
            None
            if rate_hz == SAMPLE_RATE_HZ
            else soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")
        )

    def resample(self, samples: Samples, *, is_last: bool = False) -> Samples:
        """What can be given out so far; with `is_last`, everything."""
        if self._stream is None:
            return samples
        resampled: Samples = np.asarray(
            self._stream.resample_chunk(samples, last=is_last), np.float32
        )
        return resampled
