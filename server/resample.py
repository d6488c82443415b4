"""Samples at a client's rate in, 16 kHz samples out, with state carried from frame to frame.

8 kHz is what telephones send, and soxr holds that back in blocks: 63 ms in the mean and 115 at the
most at its default quality, 32 and 61 ms at the one below, which takes 8 dB off 3.4 kHz. So twice
the rate is made here: between each two samples one that 64 taps of a half-band filter make of
those around it. It holds back 4 ms, is flat within 0.1 dB to 3.7 kHz and costs the same. Other
rates go through soxr at its default quality: 21 ms in the mean and 37 at the most for 24 and
48 kHz; the quality below saves 10 ms and loses what lies over 6 kHz. What is held back comes out
at the end with `is_last`.
"""

from typing import Protocol

import numpy as np
import soxr

from server.audio import SAMPLE_RATE_HZ
from server.recognition import Samples

_HALF_TAPS = 32
_BETWEEN = np.arange(-_HALF_TAPS, _HALF_TAPS) + 0.5
_KAISER_BETA = 8.0  # what lies over 4 kHz is 80 dB down
_WINDOWED = np.sinc(_BETWEEN) * np.kaiser(2 * _HALF_TAPS, _KAISER_BETA)
_TAPS = (_WINDOWED / _WINDOWED.sum()).astype(np.float32)
_AFTER = np.zeros(_HALF_TAPS, np.float32)


class _Stream(Protocol):
    def resample_chunk(self, samples: Samples, last: bool) -> Samples: ...


class _Doubling:
    """Twice the rate."""

    def __init__(self) -> None:
        self._recent = np.zeros(_HALF_TAPS - 1, np.float32)
        """What the next samples are still made of."""

    def resample_chunk(self, samples: Samples, last: bool) -> Samples:
        pieces = [self._recent, samples, _AFTER] if last else [self._recent, samples]
        heard = np.concatenate(pieces)
        n_samples = heard.size - _TAPS.size + 1
        if n_samples <= 0:
            self._recent = heard
            return np.zeros(0, np.float32)
        doubled = np.empty(2 * n_samples, np.float32)
        doubled[0::2] = heard[_HALF_TAPS - 1 : _HALF_TAPS - 1 + n_samples]
        doubled[1::2] = np.correlate(heard, _TAPS)  # symmetric: the same as a convolution
        self._recent = heard[n_samples:]
        return doubled


class Resampler:
    """One for each track; 16 kHz passes through untouched."""

    def __init__(self, rate_hz: int) -> None:
        self._stream: _Stream | None
        if rate_hz == SAMPLE_RATE_HZ:
            self._stream = None
        elif 2 * rate_hz == SAMPLE_RATE_HZ:
            self._stream = _Doubling()
        else:
            self._stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32")

    def resample(self, samples: Samples, *, is_last: bool = False) -> Samples:
        """What can be given out so far; with `is_last`, everything."""
        if self._stream is None:
            return samples
        return self._stream.resample_chunk(samples, is_last)
