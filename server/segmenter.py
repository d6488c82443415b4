"""One probability of speech a window in; speech started, paused, resumed and ended out, in
samples.

It waits out short pauses, so that a caller's breath does not cut a sentence, and it says
`SpeechPaused` long before it says `SpeechEnded`, so that a final can be decoded while the silence
is still being waited for: the end of the segment is the same in both, so that decode is the final.
A segment that grows long is cut at the first pause there is, and one without pauses at its
quietest window. It holds no audio and knows no model.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from server.audio import WINDOW_SAMPLES, samples_from_ms

_LATE_WINDOWS = 2
"""Detectors hear speech end 53 ms late (median, docs/recognition.md): when they have heard so much
silence, it has lasted two windows longer.
"""


@dataclass(frozen=True, slots=True)
class SegmenterSettings:
    """When speech begins and ends."""

    start_probability: float = 0.5
    """A window at or above this is speech."""
    stop_probability: float = 0.35
    """A window below this is silence; what lies between goes on with what was before."""
    shortest_speech_ms: int = 160
    """Speech shorter than this is a click: no segment is opened."""
    pre_roll_ms: int = 500
    """Audio taken from before the first window of speech."""
    pause_ms: int = 192
    """Silence after which the segment may be over; also what is kept of the silence at its end."""
    end_of_speech_ms: int = 500
    """Silence that ends a segment, from the end of speech and not from when it is noticed."""
    soft_cut_ms: int = 12_000
    """From this length on a mere pause ends the segment."""
    hard_cut_ms: int = 25_000
    """No segment is longer; Whisper's context is 30 s."""
    hard_cut_search_ms: int = 3_000
    """How far back to look for the quietest window."""


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """A segment is open."""

    start_sample: int
    """Where its audio begins, pre-roll included."""
    speech_sample: int
    """Where its speech begins."""


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """Silence has begun; if it lasts, the segment ends here."""

    end_sample: int


@dataclass(frozen=True, slots=True)
class SpeechResumed:
    """The pause was only a breath."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The segment is closed."""

    end_sample: int
    is_cut: bool = False
    """It was long enough; whether whoever speaks has stopped is not known."""


SpeechEvent = SpeechStarted | SpeechPaused | SpeechResumed | SpeechEnded


class _State(Enum):
    SILENT = "silent"
    SPEAKING = "speaking"
    PAUSING = "pausing"


class Segmenter:
    """Hysteresis and counters over windows; one for each track."""

    def __init__(self, settings: SegmenterSettings) -> None:
        self._settings = settings
        self._shortest_windows = _windows(settings.shortest_speech_ms)
        self._pause_windows = _windows(settings.pause_ms)
        end_windows = _windows(settings.end_of_speech_ms) - _LATE_WINDOWS
        self._end_windows = max(end_windows, self._pause_windows)
        self._state = _State.SILENT
        self._n_windows = 0
        self._speech_windows = 0
        """Windows of speech in the segment, or in what may become one."""
        self._silent_windows = 0
        """Windows of silence since the last one of speech."""
        self._start_sample = 0
        self._speech_sample = 0
        self._pause_sample = 0
        self._closed_sample = 0
        """Where the last segment, or what was closed, ended: no pre-roll reaches before it."""
        self._recent: deque[float] = deque(maxlen=_windows(settings.hard_cut_search_ms))

    @property
    def is_open(self) -> bool:
        """Whether there is a segment."""
        return self._state is not _State.SILENT

    @property
    def speech_ms(self) -> int:
        """Speech in the open segment so far."""
        return self._speech_windows * WINDOW_SAMPLES // 16

    @property
    def needed_from_sample(self) -> int:
        """Audio before this position will never be asked for again."""
        if self.is_open or self._speech_windows:
            return self._start_sample
        pre_roll = samples_from_ms(self._settings.pre_roll_ms)
        return max(self._closed_sample, self._n_windows * WINDOW_SAMPLES - pre_roll)

    def receive_probabilities(self, probabilities: Iterable[float]) -> list[SpeechEvent]:
        """Take windows in order, each `WINDOW_SAMPLES` long."""
        events: list[SpeechEvent] = []
        for probability in probabilities:
            is_speech = probability >= self._settings.start_probability or (
                probability >= self._settings.stop_probability
                and self._speech_windows > 0
                and self._silent_windows == 0
            )
            self._n_windows += 1
            self._recent.append(probability)
            if self.is_open:
                self._receive_open(is_speech, events)
            else:
                self._receive_closed(is_speech, events)
        return events

    def close(self, end_sample: int) -> list[SpeechEvent]:
        """End an open segment here, because the stream ends or the client asks for it.

        What may have become speech does become it: the last word of a stream can be a short one.
        What comes later has nothing of what came before, no pre-roll either: it may be somebody
        else's turn, or another language.
        """
        events: list[SpeechEvent] = []
        if self.is_open or self._speech_windows:
            if not self.is_open:
                events.append(SpeechStarted(self._start_sample, self._speech_sample))
            is_pausing = self._state is _State.PAUSING
            self._end(self._pause_sample if is_pausing else end_sample, events)
        self._closed_sample = max(self._closed_sample, end_sample)
        return events

    def _receive_closed(self, is_speech: bool, events: list[SpeechEvent]) -> None:
        if is_speech:
            if self._speech_windows == 0:
                self._speech_sample = (self._n_windows - 1) * WINDOW_SAMPLES
                pre_roll = samples_from_ms(self._settings.pre_roll_ms)
                self._start_sample = max(self._closed_sample, self._speech_sample - pre_roll)
            self._speech_windows += 1
            self._silent_windows = 0
            if self._speech_windows >= self._shortest_windows:
                self._state = _State.SPEAKING
                events.append(SpeechStarted(self._start_sample, self._speech_sample))
        elif self._speech_windows:
            self._silent_windows += 1
            if self._silent_windows > self._pause_windows:
                self._speech_windows = self._silent_windows = 0

    def _receive_open(self, is_speech: bool, events: list[SpeechEvent]) -> None:
        now_sample = self._n_windows * WINDOW_SAMPLES
        if is_speech:
            self._speech_windows += 1
            self._silent_windows = 0
            if self._state is _State.PAUSING:
                self._state = _State.SPEAKING
                events.append(SpeechResumed())
        else:
            self._silent_windows += 1
            if self._silent_windows == self._pause_windows:
                self._state = _State.PAUSING
                self._pause_sample = now_sample
                events.append(SpeechPaused(now_sample))
        length = now_sample - self._start_sample
        if self._state is _State.PAUSING:
            is_long = length >= samples_from_ms(self._settings.soft_cut_ms)
            has_stopped = self._silent_windows >= self._end_windows
            if is_long or has_stopped:
                self._end(self._pause_sample, events, is_cut=not has_stopped)
        elif length >= samples_from_ms(self._settings.hard_cut_ms):
            self._cut(events)

    def _cut(self, events: list[SpeechEvent]) -> None:
        """End the segment at its quietest window and open the next one right there.

        The newest window belongs to the next segment, so that none is empty.
        """
        backwards = list(reversed(self._recent))
        quietest = min(range(1, len(backwards)), key=backwards.__getitem__)
        cut_sample = (self._n_windows - quietest) * WINDOW_SAMPLES
        self._end(cut_sample, events, is_cut=True)
        self._state = _State.SPEAKING
        self._start_sample = self._speech_sample = cut_sample
        self._speech_windows = quietest
        events.append(SpeechStarted(cut_sample, cut_sample))

    def _end(self, end_sample: int, events: list[SpeechEvent], *, is_cut: bool = False) -> None:
        events.append(SpeechEnded(end_sample, is_cut))
        self._state = _State.SILENT
        self._speech_windows = self._silent_windows = 0
        self._closed_sample = end_sample


def _windows(duration_ms: int) -> int:
    """Windows that cover a duration; at least one."""
    return max(1, -(-samples_from_ms(duration_ms) // WINDOW_SAMPLES))
