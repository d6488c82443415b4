"""Windows to probabilities, with real ears."""

import miniaudio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.audio import WINDOW_SAMPLES
from server.vad import (
    SILERO_FILE,
    DetectorError,
    SileroDetector,
    SileroNetwork,
    WebRtcDetector,
)

RNG = np.random.default_rng(1)


class CountingNetwork:
    """Silero's network, and how many windows it was given at most."""

    def __init__(self, network):
        self._network = network
        self.most_windows = 0

    def run(self, frames, hidden, cell):
        self.most_windows = max(self.most_windows, len(frames))
        return self._network.run(frames, hidden, cell)


def windows(samples):
    return samples[: samples.size // WINDOW_SAMPLES * WINDOW_SAMPLES].astype(np.float32)


@pytest.fixture(scope="module")
def network():
    return SileroNetwork()


@pytest.fixture(params=["silero", "webrtc"])
def detector(request, network):
    return SileroDetector(network) if request.param == "silero" else WebRtcDetector()


@pytest.fixture(scope="module")
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


def test_silero_does_not_take_noise_for_speech(network):
    noise = windows(RNG.normal(0, 0.05, 16_000 * 3))
    assert max(SileroDetector(network).score(noise)) < 0.5


def test_a_detector_remembers_only_its_own_track(network, speech):
    alone, first, other = (SileroDetector(network) for _ in range(3))
    expected = alone.score(speech)
    got = []
    for start in range(0, speech.size, WINDOW_SAMPLES):
        got += first.score(speech[start : start + WINDOW_SAMPLES])
        other.score(speech[:WINDOW_SAMPLES])
    assert got == pytest.approx(expected, abs=1e-4)


@given(cuts=st.lists(st.integers(1, 90), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_windows_score_the_same_however_many_come_at_once(network, speech, cuts):
    expected = SileroDetector(network).score(speech)
    detector, got, start = SileroDetector(network), [], 0
    for n_windows in [*cuts, len(expected)]:
        end = min(start + n_windows * WINDOW_SAMPLES, speech.size)
        got += detector.score(speech[start:end])
        start = end
    assert got == pytest.approx(expected, abs=1e-4)


def test_a_detector_keeps_nothing_of_its_callers_buffer(network, speech):
    expected = SileroDetector(network).score(speech)
    detector, got = SileroDetector(network), []
    buffer = np.empty(WINDOW_SAMPLES, np.float32)
    for window in speech.reshape(-1, WINDOW_SAMPLES):
        buffer[:] = window
        got += detector.score(buffer)
    assert got == pytest.approx(expected, abs=1e-4)


def test_a_long_track_is_scored_in_calls_of_bounded_size(network):
    counting = CountingNetwork(network)
    SileroDetector(counting).score(np.zeros(WINDOW_SAMPLES * 500, np.float32))
    assert counting.most_windows <= 64


def test_no_windows_have_no_probabilities(detector):
    assert detector.score(np.zeros(0, np.float32)) == []


def test_a_file_that_was_changed_is_refused(tmp_path):
    changed = tmp_path / "silero.onnx"
    changed.write_bytes(SILERO_FILE.read_bytes()[:-1] + b"!")
    with pytest.raises(DetectorError):
        SileroNetwork(changed)


def test_samples_beyond_full_scale_are_heard_as_full_scale(speech):
    loud = np.sign(speech) * 2  # twice 32768 would wrap to silence
    assert WebRtcDetector().score(loud) == WebRtcDetector().score(np.clip(loud, -1, 1))
