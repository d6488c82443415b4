"""Formats, windows and spans in; samples and milliseconds out: the one place that turns one into
the other.

Everything behind the resampler is 16 kHz mono float32 in [-1, 1]. A position in a stream is the
number of 16 kHz samples before it, an integer, so that positions add up exactly however long the
stream runs.
"""

from dataclasses import dataclass
from enum import StrEnum

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 512
"""One voice-activity window: 32 ms at 16 kHz, what Silero takes."""


class Encoding(StrEnum):
    """How the bytes of one sample are to be read."""

    PCM_S16LE = "pcm_s16le"
    PCM_S16BE = "pcm_s16be"
    """As RTP carries it (RFC 3551, section 4.5.11)."""
    PCM_F32LE = "pcm_f32le"
    """Full scale is 1."""
    MULAW = "mulaw"
    """ITU-T G.711, of North America and Japan: PCMU."""
    ALAW = "alaw"
    """ITU-T G.711, of everywhere else: PCMA."""


ACCEPTED_RATES_HZ = (
    8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 64_000, 96_000, 192_000,
)  # fmt: skip
_SAMPLE_BYTES = {
    Encoding.PCM_S16LE: 2,
    Encoding.PCM_S16BE: 2,
    Encoding.PCM_F32LE: 4,
    Encoding.MULAW: 1,
    Encoding.ALAW: 1,
}


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """What a client declared its audio to be."""

    encoding: Encoding
    sample_rate_hz: int

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample of one channel."""
        return _SAMPLE_BYTES[self.encoding]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a stream, in 16 kHz samples from its start; `end_sample` is not part of it."""

    start_sample: int
    end_sample: int

    @property
    def length_samples(self) -> int:
        """How long the span is, in samples."""
        return self.end_sample - self.start_sample


def samples_from_ms(duration_ms: int, rate_hz: int = SAMPLE_RATE_HZ) -> int:
    """Samples that `duration_ms` takes at `rate_hz`, rounded down."""
    return duration_ms * rate_hz // 1000


def ms_from_samples(n_samples: int, rate_hz: int = SAMPLE_RATE_HZ) -> int:
    """Milliseconds that `n_samples` last at `rate_hz`, rounded down."""
    return n_samples * 1000 // rate_hz
