"""Windows to probabilities, with real ears."""

import miniaudio
import numpy as np
import pytest

from server.audio import WINDOW_SAMPLES
from server.vad import SileroDetector, WebRtcDetector

RNG = np.random.default_rng(1)


def windows(samples):
    return samples[: samples.size // WINDOW_SAMPLES * WINDOW_SAMPLES].astype(np.float32)


@pytest.fixture(params=[SileroDetector, WebRtcDetector])
def detector(request):
    return request.param()


@pytest.fixture
def speech(english_recordings):
    decoded = miniaudio.decode(english_recordings[1].wav_bytes, nchannels=1, sample_rate=16_000)
    return windows(np.array(decoded.samples, np.int16) / 32768)


def test_each_window_has_a_probability(detector, speech):
    scores = detector.score(speech)
    assert len(scores) == speech.size // WINDOW_SAMPLES
    assert all(0.0 <= score <= 1.0 for score in scores)


def test_speech_is_heard(detector, speech):
    assert np.mean(detector.score(speech)) > 0.6


def test_silence_is_not_heard(detector):
    assert max(detector.score(np.zeros(WINDOW_SAMPLES * 60, np.float32))) < 0.3


def test_silero_does_not_take_noise_for_speech():
    noise = windows(RNG.normal(0, 0.05, 16_000 * 3))
    assert max(SileroDetector().score(noise)) < 0.5


def test_a_detector_remembers_only_its_own_track(speech):
    alone, first = SileroDetector(), SileroDetector()
    expected = alone.score(speech)
    got = []
    for start in range(0, speech.size, WINDOW_SAMPLES):
        got += first.score(speech[start : start + WINDOW_SAMPLES])
        SileroDetector().score(speech[:WINDOW_SAMPLES])
    assert got == expected


def test_samples_beyond_full_scale_do_no_harm(detector):
    assert len(detector.score(np.full(WINDOW_SAMPLES, 5.0, np.float32))) == 1
