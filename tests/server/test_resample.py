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
    samples = tone(rate_hz) + np.random.default_rng(0).normal(0, 0.1, rate_hz).astype(np.float32)
    nothing = np.zeros(0, np.float32)
    expected = [whole.resample(samples), whole.resample(nothing, is_last=True)]
    got = [parts.resample(samples[at : at + 333]) for at in range(0, samples.size, 333)]
    got.append(parts.resample(nothing, is_last=True))
    np.testing.assert_array_equal(np.concatenate(got), np.concatenate(expected))


def test_telephone_audio_is_held_back_for_4_ms_and_no_longer():
    resampler, n_given = Resampler(8_000), 0
    for at in range(0, 8_000, 160):
        n_given += resampler.resample(tone(8_000)[at : at + 160]).size
        assert 2 * (at + 160) - n_given <= 64


@pytest.mark.parametrize("tone_hz", [300, 1000, 2500, 3400, 3700])
def test_what_a_telephone_lets_through_is_neither_weaker_nor_seen_again_higher_up(tone_hz):
    at_s = np.arange(16_000) / 8_000
    samples = np.sin(2 * np.pi * tone_hz * at_s).astype(np.float32)
    resampler = Resampler(8_000)
    out = np.concatenate(
        [resampler.resample(samples), resampler.resample(samples[:0], is_last=True)]
    )
    assert out.size == 32_000
    level = np.abs(np.fft.rfft(out[8_000:24_000] * np.hanning(16_000))) / 4_000
    assert level[tone_hz] == pytest.approx(1.0, abs=0.012)
    level[tone_hz - 3 : tone_hz + 4] = 0
    assert level.max() < 1e-3


def test_samples_of_a_telephone_come_out_where_they_went_in():
    samples = np.random.default_rng(0).normal(0, 0.1, 1_000).astype(np.float32)
    resampler = Resampler(8_000)
    out = np.concatenate(
        [resampler.resample(samples), resampler.resample(samples[:0], is_last=True)]
    )
    np.testing.assert_array_equal(out[0::2], samples)


@pytest.mark.parametrize("n_samples", [0, 1, 31, 32])
def test_a_stream_shorter_than_the_filter_comes_out_whole(n_samples):
    assert Resampler(8_000).resample(tone(8_000)[:n_samples], is_last=True).size == 2 * n_samples
