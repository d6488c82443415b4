"""Binary frames of Deepgram's live clients in; samples, what they are, and how much it was out.

The query says what the samples are, or they are in a WAV file, which says it: no other container
can be read while it comes. Refused: other containers, and two channels that nobody said are to be
heard apart.
"""

import hashlib

from server.audio import AudioFormat, ms_from_samples
from server.dialects.deepgram_options import LiveOptions
from server.dialects.wav_stream import WavError, WavStream


class HeardAudio:
    """Of one connection."""

    def __init__(self, options: LiveOptions) -> None:
        self._is_multichannel = options.is_multichannel
        self._wav = None if options.audio_format else WavStream()
        self._sha256 = hashlib.sha256()
        self._n_bytes = 0
        self.audio_format: AudioFormat | None = options.audio_format
        """None: not known yet."""
        self.channels = options.channels

    @property
    def sha256(self) -> str:
        """Of all that came, in hexadecimal."""
        return self._sha256.hexdigest()

    @property
    def heard_ms(self) -> int:
        """How much it was."""
        if self.audio_format is None:
            return 0
        n_samples = self._n_bytes // (self.audio_format.sample_bytes * self.channels)
        return ms_from_samples(n_samples, self.audio_format.sample_rate_hz)

    def receive(self, frame: bytes) -> bytes:
        """The samples in it. Raises WavError."""
        self._sha256.update(frame)
        samples = self._wav.receive(frame) if self._wav else frame
        if self._wav and self.audio_format is None and self._wav.header:
            header = self._wav.header
            if header.channels > 1 and not self._is_multichannel:
                raise WavError
            self.audio_format, self.channels = header.audio_format, header.channels
        self._n_bytes += len(samples)
        return samples
