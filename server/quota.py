"""Frames of audio in, the refusal of the first that does not fit out: one connection's budgets of
bytes and audio, and its piece of what its subject has for a day.

Audio time is counted from bytes and the declared format, not from a clock, so a client that sends
faster than real time pays the same. The frame that would go over a budget is refused whole; nothing
is ever spent beyond it. Of the day, which is shared, a piece is reserved ahead of what is sent;
only while the next piece is asked for may one frame go over the last one, and it counts.
"""

from security.limits import Limits
from server import errors
from server.audio import AudioFormat

RESERVED_MS = 10_000
"""Of the day, at a time."""
_LOW_MS = RESERVED_MS // 2
_NOTICES_PERCENT = (20, 5)
"""Of a budget left: when the client is told."""
_NO_MARK = 1 << 62


class Quota:
    """Integer counters in bytes of the declared format; `receive_frame` is all that spends.

    Up to the next mark, which is most of the time, a frame costs an addition and a comparison.
    """

    def __init__(self, limits: Limits, audio_format: AudioFormat) -> None:
        self._bytes_per_s = audio_format.sample_bytes * audio_format.sample_rate_hz
        self._limits = limits
        self._most_bytes, self._refusal = self._tighter()
        self._notices_bytes = [
            self._most_bytes * (100 - percent) // 100
            for percent in _NOTICES_PERCENT
            if self._most_bytes is not None
        ]
        self.spent_bytes = 0
        self._reserved_bytes = 0
        self._has_day = limits.audio_s_per_day is not None
        self._is_asking = self._is_day_over = False
        self._mark_bytes = 0
        """From here on a frame has to be looked at."""
        self.has_news = True
        """Whether to ask for a notice, and for a wish."""

    @property
    def wants_audio(self) -> bool:
        """Whether there is something left to spend, or nobody but the peer has to be waited for."""
        return not self._is_asking or self.spent_bytes < self._reserved_bytes

    @property
    def bytes_left(self) -> int | None:
        """Of the connection's byte budget; None: there is none."""
        most_bytes = self._limits.session_bytes
        return None if most_bytes is None else most_bytes - self.spent_bytes

    @property
    def audio_ms_left(self) -> int | None:
        """Of the connection's audio budget."""
        most_s = self._limits.session_audio_s
        return None if most_s is None else most_s * 1000 - self._ms(self.spent_bytes)

    @property
    def unspent_ms(self) -> int:
        """Of what was reserved; below zero if a frame went over."""
        return self._ms(self._reserved_bytes - self.spent_bytes) if self._has_day else 0

    def receive_frame(self, n_bytes: int) -> errors.Refusal | None:
        """Spend `n_bytes` of audio, or say which budget they do not fit into."""
        total_bytes = self.spent_bytes + n_bytes
        if total_bytes < self._mark_bytes:
            self.spent_bytes = total_bytes
            return None
        if self._most_bytes is not None and total_bytes > self._most_bytes:
            return self._refusal
        if self._is_day_over and total_bytes > self._reserved_bytes:
            return errors.QUOTA_DAILY
        self.spent_bytes = total_bytes
        self.has_news = True
        return None

    def take_notice(self) -> bool:
        """Whether to tell the client what is left, once for each mark that was passed."""
        is_due = False
        while self._notices_bytes and self.spent_bytes >= self._notices_bytes[0]:
            del self._notices_bytes[0]
            is_due = True
        self._set_mark()
        return is_due

    def take_wish_ms(self) -> int:
        """How much of the day to reserve now; 0 for nothing."""
        is_low = self.spent_bytes >= self._low_mark_bytes
        if not self._has_day or self._is_asking or self._is_day_over or not is_low:
            return 0
        self._is_asking = True
        self._set_mark()
        return RESERVED_MS + max(0, -self.unspent_ms)

    def receive_reserved(self, wished_ms: int, got_ms: int) -> None:
        """What came of a wish; less than was wished is the last of the day."""
        self._is_asking = False
        self._is_day_over = got_ms < wished_ms
        self._reserved_bytes += got_ms * self._bytes_per_s // 1000
        self._set_mark()

    @property
    def _low_mark_bytes(self) -> int:
        """Of what is reserved, so much should be left."""
        return self._reserved_bytes - _LOW_MS * self._bytes_per_s // 1000

    def _set_mark(self) -> None:
        marks = [*self._notices_bytes[:1]]
        if self._most_bytes is not None:
            marks.append(self._most_bytes)
        if self._is_day_over:
            marks.append(self._reserved_bytes)
        elif self._has_day and not self._is_asking:
            marks.append(self._low_mark_bytes)
        self._mark_bytes = min(marks, default=_NO_MARK)
        self.has_news = False

    def _tighter(self) -> tuple[int | None, errors.Refusal]:
        audio_s = self._limits.session_audio_s
        by_audio = None if audio_s is None else audio_s * self._bytes_per_s
        by_bytes = self._limits.session_bytes
        if by_audio is None or (by_bytes is not None and by_bytes <= by_audio):
            return by_bytes, errors.QUOTA_BYTES
        return by_audio, errors.QUOTA_AUDIO

    def _ms(self, n_bytes: int) -> int:
        return n_bytes * 1000 // self._bytes_per_s
