"""Any rate to 16 kHz."""

import numpy as np
import pytest

from server.resample import Resampler


def tone(rate_hz: int, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * 440 * np.arange(int(rate_hz * seconds)) / rate_hz).astype(np.float32)


def test_16_khz_passes_untouched():
    samples = tone(16_000)
    assert Resampler(16_000).resample(samples) is samples


@pytest.mark.parametrize("rate_hz", [8_000, 24_000, 44_100, 48_000])
def test_a_tone_stays_the_same_tone_for_the_same_time(rate_hz):
    resampler = Resampler(rate_hz)
    out = np.concatenate(
        [
            resampler.resample(tone(rate_hz)),
            resampler.resample(np.zeros(0, np.float32), is_last=True),
        ]
    )
    assert out.dtype == np.float32
    assert abs(out.size - 16_000) <= 1
    middle = slice(1000, 15_000)
    assert np.abs(out[middle] - tone(16_000)[: out.size][middle]).max() < 0.01


@pytest.mark.parametrize("rate_hz", [8_000, 44_100, 48_000])
def test_frames_of_any_size_give_the_same_samples(rate_hz):
    whole, parts = Resampler(rate_hz), Resampler(rate_hz)
    samples, nothing = tone(rate_hz), np.zeros(0, np.float32)
    expected = [whole.resample(samples), whole.resample(nothing, is_last=True)]
    got = [parts.resample(samples[at : at + 333]) for at in range(0, samples.size, 333)]
    got.append(parts.resample(nothing, is_last=True))
    np.testing.assert_array_equal(np.concatenate(got), np.concatenate(expected))
