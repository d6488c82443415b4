"""Samples to Whisper's features."""

import numpy as np

from server.engines.mel import HOP_SAMPLES, log_mel, mel_filters

TONE = (0.3 * np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)).astype(np.float32)


def slow_log_mel(samples, padded_samples, filters):
    """The published definition, word by word."""
    audio = np.pad(samples, (0, padded_samples - samples.size))
    audio = np.pad(audio.astype(np.float64), 200, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    starts = range(0, padded_samples, HOP_SAMPLES)
    power = np.array([np.abs(np.fft.rfft(audio[s : s + 400] * window)) ** 2 for s in starts]).T
    mel = np.log10(np.maximum(filters @ power, 1e-10))
    return (np.maximum(mel, mel.max() - 8.0) + 4.0) / 4.0


def test_features_are_those_of_the_published_definition():
    filters = mel_filters(80)
    features = log_mel(TONE, 48_000, filters)
    assert (features.shape, features.dtype) == ((80, 300), np.float32)
    np.testing.assert_allclose(features, slow_log_mel(TONE, 48_000, filters), atol=2e-3)


def test_a_tone_lights_the_filter_around_it():
    filters = mel_filters(80)
    centre_hz = np.argmax(filters, axis=1) * 40
    loudest = int(log_mel(TONE, 16_000, filters)[:, 50].argmax())
    assert abs(centre_hz[loudest] - 1000) <= 60


def test_the_shortest_audio_still_has_features():
    assert np.isfinite(log_mel(TONE[:5], 16_000, mel_filters(80))).all()


def test_filters_have_the_area_of_the_slaney_scale():
    filters = mel_filters(128)
    assert filters.shape == (128, 201)
    assert (filters >= 0).all()
    np.testing.assert_allclose(filters[80:].sum(axis=1) * 40, 1.0, rtol=0.15)
