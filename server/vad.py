"""Windows of audio in, probabilities of speech out.

Silero is the default: on the recordings it was compared on it hears far less speech in noise than
WebRTC's detector (the README's table), which stays as the one that needs no model. One network
serves all tracks; detectors remember what they heard, so each track has its own. The network's
file lies beside this one, is pinned by its SHA-256 and refused when it is another.

Source of the file: the `silero-vad` distribution, version 6.2.3, MIT, `silero_vad_16k_sequence`:
it takes many windows of one track in one call.
"""

import hashlib
import os
from pathlib import Path
from typing import Protocol

import numpy as np
import webrtcvad
from numpy.typing import NDArray

from server.audio import SAMPLE_RATE_HZ, WINDOW_SAMPLES, samples_from_ms
from server.recognition import Samples

SILERO_FILE = Path(__file__).with_name("silero_vad_16k.onnx")
_SILERO_SHA256 = "9ccdacc4719d8aa7e45a77536bfabec45a03ba1f2fad5e241ab4060b24238a85"


class SpeechDetector(Protocol):
    """Hears one track from its beginning."""

    def score(self, samples: Samples) -> list[float]:
        """One probability for each window of `WINDOW_SAMPLES`; `samples` is a whole number of
        windows.
        """
        ...


class DetectorError(Exception):
    """The network's file is not the one that was pinned."""


class SileroNetwork:
    """Silero VAD v6 for 16 kHz; its weights are shared by all detectors."""

    def __init__(self, path: Path = SILERO_FILE) -> None:
        """Raises DetectorError, OSError."""
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != _SILERO_SHA256:
            raise DetectorError(f"{path} is not the file that was pinned: install Earwitness again")
        # Read at the import: from 1.29 on, onnxruntime calls its makers over the network and keeps
        # a number for the device in the account's cache folder, unless it is told not to.
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its log would go to the terminal
        self._session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )

    def run(
        self,
        frames: NDArray[np.float32],
        hidden: NDArray[np.float32],
        cell: NDArray[np.float32],
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """(n_windows, 64 + 512) frames and the LSTM's (1, 1, 128) state in; (n_windows,)
        probabilities and the next state out.
        """
        probabilities, hidden, cell = self._session.run(
            None, {"input": frames, "h": hidden, "c": cell}
        )
        return probabilities, hidden, cell


class SileroDetector:
    """What Silero's network has heard of one track."""

    _CONTEXT_SAMPLES = 64
    """Of the window before, given again with each window."""
    _MOST_WINDOWS = 64
    """In one call, so that its memory stays small."""

    def __init__(self, network: SileroNetwork) -> None:
        self._network = network
        self._hidden = np.zeros((1, 1, 128), np.float32)
        self._cell = np.zeros((1, 1, 128), np.float32)
        self._context = np.zeros(self._CONTEXT_SAMPLES, np.float32)

    def score(self, samples: Samples) -> list[float]:
        """See `SpeechDetector`."""
        probabilities: list[float] = []
        step = self._MOST_WINDOWS * WINDOW_SAMPLES
        for start in range(0, samples.size, step):
            probabilities += self._score(samples[start : start + step])
        return probabilities

    def _score(self, samples: Samples) -> list[float]:
        windows = samples.reshape(-1, WINDOW_SAMPLES)
        contexts = np.concatenate([self._context[None], windows[:-1, -self._CONTEXT_SAMPLES :]])
        self._context = windows[-1, -self._CONTEXT_SAMPLES :].copy()
        frames = np.concatenate([contexts, windows], axis=1)
        probabilities, self._hidden, self._cell = self._network.run(
            frames, self._hidden, self._cell
        )
        return [float(probability) for probability in probabilities]


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
