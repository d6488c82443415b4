"""Frames of audio in, the refusal of the first that does not fit out: one connection's byte and
audio budgets.

Audio time is counted from bytes and the declared format, not from a clock, so a client that sends
faster than real time pays the same. The frame that would go over a limit is refused whole; nothing
is ever spent beyond it.
"""

from server import errors
from server.audio import AudioFormat
from server.grant import Grant


class Quota:
    """Integer counters; `receive_frame` is all that happens to them."""

    def __init__(self, grant: Grant) -> None:
        self._audio_ms = grant.audio_ms
        self._bytes = grant.bytes
        self.spent_bytes = 0

    def receive_frame(self, n_bytes: int, audio_format: AudioFormat) -> errors.Refusal | None:
        """Spend `n_bytes` of audio, or say which budget they do not fit into."""
        total_bytes = self.spent_bytes + n_bytes
        if self._bytes is not None and total_bytes > self._bytes:
            return errors.QUOTA_BYTES
        bytes_per_s = audio_format.frame_bytes * audio_format.sample_rate_hz
        if self._audio_ms is not None and total_bytes * 1000 > self._audio_ms * bytes_per_s:
            return errors.QUOTA_AUDIO
        self.spent_bytes = total_bytes
        return None
