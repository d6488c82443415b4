"""16 kHz samples in, Whisper's log-mel spectrogram out.

The audio is padded with zeros to the length the caller asks for, not to 30 s: Whisper's encoder
takes shorter inputs, and its cost is most of a decode (see `whisper_ct2`). Source of the
arithmetic: OpenAI Whisper `audio.py` (400-sample Hann window, 160-sample hop, Slaney mel scale, 8
decades of range).
"""

import numpy as np
from numpy.typing import NDArray

from server.audio import SAMPLE_RATE_HZ
from server.recognition import Samples

FFT_SAMPLES = 400
HOP_SAMPLES = 160
_FLOOR = 1e-10
_RANGE_DECADES = 8.0


def mel_filters(n_mels: int) -> NDArray[np.float32]:
    """Triangular filters on the Slaney mel scale, area-normalised: (n_mels, FFT_SAMPLES // 2 + 1)
    float32.
    """
    fft_hz = np.fft.rfftfreq(FFT_SAMPLES, 1.0 / SAMPLE_RATE_HZ)
    linear_hz_per_mel, knee_mel = 200.0 / 3, 15.0
    knee_hz, log_step = knee_mel * linear_hz_per_mel, np.log(6.4) / 27.0
    top_mel = knee_mel + np.log(SAMPLE_RATE_HZ / 2 / knee_hz) / log_step
    mels = np.linspace(0.0, top_mel, n_mels + 2)
    edges_hz = np.where(
        mels < knee_mel, mels * linear_hz_per_mel, knee_hz * np.exp(log_step * (mels - knee_mel))
    )
    widths_hz = np.diff(edges_hz)
    slopes = edges_hz[:, None] - fft_hz[None, :]
    rising, falling = -slopes[:-2] / widths_hz[:-1, None], slopes[2:] / widths_hz[1:, None]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    area = 2.0 / (edges_hz[2:] - edges_hz[:-2])
    filters: NDArray[np.float32] = (triangles * area[:, None]).astype(np.float32)
    return filters


def log_mel(
    samples: Samples, padded_samples: int, filters: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Of `samples` followed by zeros: (n_mels, padded_samples // HOP_SAMPLES) float32."""
    half = FFT_SAMPLES // 2
    audio = np.zeros(padded_samples + FFT_SAMPLES, np.float32)
    audio[half : half + samples.size] = samples
    audio[:half] = samples[half:0:-1] if samples.size > half else 0.0
    frames = np.lib.stride_tricks.sliding_window_view(audio, FFT_SAMPLES)[::HOP_SAMPLES]
    frames = frames[: padded_samples // HOP_SAMPLES]
    window = np.hanning(FFT_SAMPLES + 1)[:-1].astype(np.float32)
    # Frames that lie wholly in the padding are zeros: transform only the others.
    n_heard = min(frames.shape[0], (samples.size + half) // HOP_SAMPLES + 1)
    power = np.abs(np.fft.rfft(frames[:n_heard] * window, axis=1)).astype(np.float32) ** 2
    mel = np.full((filters.shape[0], frames.shape[0]), np.log10(_FLOOR), np.float32)
    mel[:, :n_heard] = np.log10(np.maximum(filters @ power.T, _FLOOR))
    np.maximum(mel, mel.max() - _RANGE_DECADES, out=mel)
    return (mel + 4.0) / 4.0
