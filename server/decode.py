"""Bytes of a declared encoding in, float32 samples out, at the client's rate.

A frame may end in the middle of a sample: the odd byte waits for the next frame, so that however a
client, a proxy or a telephone cuts the stream, the samples are the same.
"""

import numpy as np

from server.audio import AudioFormat
from server.recognition import Samples


class Decoder:
    """Carries what a frame left over."""

    def __init__(self, audio_format: AudioFormat) -> None:
        self._frame_bytes = audio_format.frame_bytes
        self._rest = b""

    def decode(self, data: bytes) -> Samples:
        """The whole samples that `data` completes: (n_samples,) float32 in [-1, 1)."""
        data = self._rest + data
        n_whole = len(data) // self._frame_bytes * self._frame_bytes
        self._rest = data[n_whole:]
        pcm = np.frombuffer(data, "<i2", count=n_whole // self._frame_bytes)
        return pcm.astype(np.float32) / np.float32(32768.0)
