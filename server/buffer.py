"""Samples in at the end, spans out by their position in the stream.

It holds only what may still be asked for: the owner says from where (`drop_before`), and what lies
before is overwritten. Spans come out as copies, so that an engine's thread never reads what the
stream writes.
"""

import numpy as np

from server.audio import Span
from server.recognition import Samples


class SampleBuffer:
    """Positions count from the first sample of the stream, whatever has been dropped."""

    def __init__(self) -> None:
        self._held: Samples = np.zeros(1 << 15, np.float32)
        self._first_sample = 0
        self._n_held = 0

    @property
    def end_sample(self) -> int:
        """Position after the last sample."""
        return self._first_sample + self._n_held

    def append(self, samples: Samples) -> None:
        """Add samples at the end."""
        n_needed = self._n_held + samples.size
        if n_needed > self._held.size:
            grown = np.zeros(max(n_needed, 2 * self._held.size), np.float32)
            grown[: self._n_held] = self._held[: self._n_held]
            self._held = grown
        self._held[self._n_held : n_needed] = samples
        self._n_held = n_needed

    def read(self, span: Span) -> Samples:
        """A copy of a span that is still held."""
        start = span.start_sample - self._first_sample
        end = span.end_sample - self._first_sample
        assert 0 <= start <= end <= self._n_held  # noqa: S101 - our own arithmetic
        return self._held[start:end].copy()

    def drop_before(self, sample: int) -> None:
        """Forget what lies before; moves the rest only when there is enough to be worth it."""
        n_dropped = min(sample - self._first_sample, self._n_held)
        if n_dropped < self._held.size // 2:
            return
        self._held[: self._n_held - n_dropped] = self._held[n_dropped : self._n_held].copy()
        self._first_sample += n_dropped
        self._n_held -= n_dropped
