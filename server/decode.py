"""Bytes of a declared encoding in, float32 samples out, at the client's rate.

A frame may end in the middle of a sample, or of what several channels have at one time: the rest
waits for the next frame, so that however a client, a proxy or a telephone cuts the stream, the
samples are the same. G.711 is looked up in tables of 256 samples (ITU-T G.711, tables 1 and 2). Of
floating-point samples what is beyond full scale is full scale, and what is no number is silence.
"""

import numpy as np
from numpy.typing import NDArray

from server.audio import AudioFormat, Encoding
from server.recognition import Samples

_FULL_SCALE = np.float32(32768.0)
_FLOATS = np.dtype(np.float32).newbyteorder("<")


def _mulaw() -> NDArray[np.int16]:
    """What each code stands for: 0x00 is -32124, 0x80 is +32124, 0x7f and 0xff are 0."""
    code = ~np.arange(256) & 0xFF
    magnitude = (((code & 0x0F) << 3) + 0x84 << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw() -> NDArray[np.int16]:
    """0xd5 is +8, 0x55 is -8: A-law has no zero."""
    code = np.arange(256) ^ 0x55
    exponent, mantissa = (code & 0x70) >> 4, ((code & 0x0F) << 4) + 8
    magnitude = np.where(exponent, mantissa + 0x100 << np.maximum(exponent - 1, 0), mantissa)
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_TABLES = {
    encoding: table.astype(np.float32) / _FULL_SCALE
    for encoding, table in ((Encoding.MULAW, _mulaw()), (Encoding.ALAW, _alaw()))
}
_ONE = np.float32(1.0)
_BELOW_ONE = np.nextafter(_ONE, np.float32(0.0))
_LINEAR = {Encoding.PCM_S16LE: np.dtype("<i2"), Encoding.PCM_S16BE: np.dtype(">i2")}


class Decoder:
    """Carries what a frame left over."""

    def __init__(self, audio_format: AudioFormat) -> None:
        encoding = audio_format.encoding
        self._table = _TABLES.get(encoding)
        self._linear = _LINEAR.get(encoding)
        """None, without a table either: floating-point."""
        self._sample_bytes = audio_format.sample_bytes
        self._rest = b""

    def decode(self, data: bytes) -> Samples:
        """The whole samples that `data` completes: (n_samples,) float32 in [-1, 1)."""
        if self._table is not None:
            decoded: Samples = self._table[np.frombuffer(data, np.uint8)]
            return decoded
        if self._rest:
            data = self._rest + data
        n_samples = len(data) // self._sample_bytes
        self._rest = data[self._sample_bytes * n_samples :]
        if self._linear is None:
            return _in_scale(np.frombuffer(data, _FLOATS, count=n_samples))
        pcm = np.frombuffer(data, self._linear, count=n_samples)
        return pcm.astype(np.float32) / _FULL_SCALE


def _in_scale(samples: Samples) -> Samples:
    clipped = np.clip(samples, -_ONE, _BELOW_ONE)
    if np.isnan(clipped.sum()):  # of any: looking at each costs as much as all the rest
        np.nan_to_num(clipped, copy=False)
    return clipped


class Deinterleaver:
    """Bytes of several channels in, bytes of each out; carries what a frame left over."""

    def __init__(self, audio_format: AudioFormat, n_channels: int) -> None:
        self._sample_bytes = audio_format.sample_bytes
        self._n_channels = n_channels
        self._rest = b""

    def split(self, data: bytes) -> list[bytes]:
        """What `data` completes, of each channel as much."""
        if self._n_channels == 1:
            return [data]
        if self._rest:
            data = self._rest + data
        step_bytes = self._sample_bytes * self._n_channels
        n_steps = len(data) // step_bytes
        self._rest = data[n_steps * step_bytes :]
        samples = np.frombuffer(data, f"V{self._sample_bytes}", count=n_steps * self._n_channels)
        return [
            samples[channel :: self._n_channels].tobytes() for channel in range(self._n_channels)
        ]
