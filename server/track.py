"""One channel's bytes, scores and hypotheses in; windows to score, segments to transcribe and
events out.

The order of things is the audio's, not the clock's: when a partial is asked for depends on how
much was said, so the same bytes give the same requests however they were cut and whenever they
came; only what a partial may go on from is what has been heard by then. A final that was decoded
while its silence was still being waited for goes out the moment the segment ends. Finals leave in
the order of their segments. A segment's partials are asked for whether or not the one before has
come: whoever answers takes the newest.
"""

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from msgspec import UNSET

from server.audio import WINDOW_SAMPLES, AudioFormat, Span, ms_from_samples, samples_from_ms
from server.buffer import SampleBuffer
from server.decode import Decoder
from server.recognition import Hypothesis, Samples, Urgency, Utterance
from server.resample import Resampler
from server.segment import Segment
from server.segmenter import (
    Segmenter,
    SegmenterSettings,
    SpeechEnded,
    SpeechEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
)
from server.wire import Final, Flushed, Partial
from server.wire import SpeechEnded as SpeechEndedEvent
from server.wire import SpeechStarted as SpeechStartedEvent


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How a track is cut and how often it is looked at."""

    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    first_partial_ms: int = 350
    """Speech before the first partial is asked for."""
    eager_cadence_ms: int = 250
    """New audio between partials in the first second of speech, while a reader waits for a word."""
    partial_cadence_ms: int = 500
    """New audio between partials later on, if the engine has the time; under load it takes fewer.
    """


@dataclass(frozen=True, slots=True)
class TrackStart:
    """What was asked for when it began."""

    language: str | None = None
    context: str | None = None
    wants_partials: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Wanted: a probability of speech for each window; answered with `receive_scores`, in order
    within a channel.
    """

    samples: Samples
    """(n_windows * WINDOW_SAMPLES,) float32."""
    channel: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Transcribe:
    """Wanted: a hypothesis; answered with `receive_hypothesis` or `receive_failure`. A newer one of
    the same segment makes an older one that has not begun worthless.
    """

    segment: int
    revision: int
    utterance: Utterance
    urgency: Urgency


@dataclass(frozen=True, slots=True)
class Reprioritise:
    """The newest `Transcribe` of the segment, if it has not begun, is more urgent now, or less."""

    segment: int
    urgency: Urgency


TrackEvent = SpeechStartedEvent | Partial | SpeechEndedEvent | Final | Flushed
TrackAction = Score | Transcribe | Reprioritise | TrackEvent
_EAGER_MS = 1000


@dataclass(frozen=True, slots=True)
class _Flush:
    at_sample: int
    is_answered: bool


class Track:
    """Sans-I/O; the session owns it."""

    def __init__(
        self,
        audio_format: AudioFormat,
        settings: TrackSettings,
        start: TrackStart,
        channel: int = 0,
        numbers: Iterator[int] | None = None,
    ) -> None:
        """`numbers`: of the segments, shared by the tracks of a session."""
        self._settings = settings
        self._languages = [(0, start.language)]
        """By the sample from which on each is spoken, the last first."""
        self._context = start.context
        self._wants_partials = start.wants_partials
        self._channel = channel
        self._numbers = numbers or count()
        self._decoder = Decoder(audio_format)
        self._resampler = Resampler(audio_format.sample_rate_hz)
        self._buffer = SampleBuffer()
        self._segmenter = Segmenter(settings.segmenter)
        self._asked_sample = 0
        """Audio before this was given out to be scored."""
        self._scored_sample = 0
        self._received_samples = 0
        """Of real audio: not the zeros that fill the last window."""
        self._flushes: deque[_Flush] = deque()
        """That wait for scores."""
        self._answers: deque[tuple[int, Flushed]] = deque()
        """That wait until so many finals have gone."""
        self._n_closed = self._n_final = 0
        self._is_ended = False
        self._open: Segment | None = None
        self._closed: OrderedDict[int, Segment] = OrderedDict()
        self._n_segments = 0
        self._actions: list[TrackAction] = []
        self.speech_samples = 0
        """In closed segments, pre-roll included."""

    @property
    def segments(self) -> int:
        """How many were opened."""
        return self._n_segments

    @property
    def unscored_ms(self) -> int:
        """Audio that waits for its scores."""
        return ms_from_samples(self._buffer.end_sample - self._scored_sample)

    @property
    def unfinished_ms(self) -> int:
        """Speech in closed segments whose finals have not come."""
        return sum(
            ms_from_samples((segment.end_sample or 0) - segment.start_sample)
            for segment in self._closed.values()
        )

    @property
    def is_settled(self) -> bool:
        """After `end`: whether every score and every final has come."""
        is_scored = self._scored_sample >= self._asked_sample and not self._flushes
        return self._is_ended and is_scored and not self._closed and self._open is None

    def actions(self) -> list[TrackAction]:
        """What has to happen, once."""
        taken, self._actions = self._actions, []
        return taken

    def receive_audio(self, data: bytes) -> None:
        """Take bytes of the declared format, cut anywhere."""
        self._append(self._resampler.resample(self._decoder.decode(data)))

    def flush(self, *, is_answered: bool = False) -> None:
        """Close the open segment where the audio received so far ends."""
        self._flushes.append(_Flush(self._buffer.end_sample, is_answered))
        self._score(pads=False)
        self._flush_if_scored()

    def change_language(self, language: str | None) -> None:
        """What is being said ends here; what follows is heard in this one."""
        self.flush()
        self._languages.insert(0, (self._buffer.end_sample, language))

    def end(self) -> None:
        """No more audio: everything said must come out, also from the last, unfinished window."""
        if self._is_ended:
            return
        self._append(self._resampler.resample(np.zeros(0, np.float32), is_last=True))
        self._is_ended = True
        self._flushes.append(_Flush(self._buffer.end_sample, is_answered=False))
        self._score(pads=True)
        self._flush_if_scored()

    def receive_scores(self, probabilities: list[float]) -> None:
        """The answer to the oldest `Score` that has none."""
        for probability in probabilities:  # one by one: requests depend on where the window lies
            self._scored_sample += WINDOW_SAMPLES
            self._follow(self._segmenter.receive_probabilities((probability,)))
            self._ask_for_partial()
            self._flush_if_scored()
        # a flush may have closed a segment inside a window that is not asked for yet
        self._buffer.drop_before(min(self._segmenter.needed_from_sample, self._asked_sample))

    def receive_hypothesis(self, segment: int, revision: int, hypothesis: Hypothesis) -> bool:
        """Take a result; False when it fits nothing that is open any more."""
        held = self._find(segment)
        if held is None:
            return False
        held.receive_hypothesis(revision, hypothesis)
        if held.end_sample is None and self._wants_partials:
            caption = held.take_caption(revision, hypothesis)
            if caption is not None:
                self._actions.append(caption)
        self._release_finals()
        return True

    def receive_failure(self, segment: int, revision: int) -> bool:
        """Take the news that a request gave nothing; False when that loses somebody's words."""
        held = self._find(segment)
        return held is None or held.receive_failure(revision)

    # --- audio to windows ---

    def _append(self, samples: Samples) -> None:
        self._received_samples += samples.size
        self._buffer.append(samples)
        self._score(pads=False)

    def _score(self, *, pads: bool) -> None:
        """Give out whole windows; with `pads`, fill the last one with zeros."""
        end_sample = self._buffer.end_sample
        n_rest = (end_sample - self._asked_sample) % WINDOW_SAMPLES
        if pads and n_rest:
            self._buffer.append(np.zeros(WINDOW_SAMPLES - n_rest, np.float32))
            end_sample, n_rest = self._buffer.end_sample, 0
        span = Span(self._asked_sample, end_sample - n_rest)
        if span.length_samples:
            self._asked_sample = span.end_sample
            self._actions.append(Score(self._buffer.read(span), self._channel))

    # --- scores to segments ---

    def _flush_if_scored(self) -> None:
        """A flush waits until no whole window before it is unscored."""
        while self._flushes and self._flushes[0].at_sample - self._scored_sample < WINDOW_SAMPLES:
            flush = self._flushes.popleft()
            self._follow(self._segmenter.close(flush.at_sample))
            if flush.is_answered:
                flushed = Flushed(ms_from_samples(flush.at_sample), self._channel)
                self._answers.append((self._n_closed, flushed))
                self._release_answers()

    def _follow(self, events: list[SpeechEvent]) -> None:
        for event in events:
            match event:
                case SpeechStarted(start_sample, speech_sample):
                    self._start_segment(start_sample, speech_sample)
                case SpeechPaused(end_sample):
                    self._pause(end_sample)
                case SpeechResumed():
                    self._resume()
                case SpeechEnded(end_sample, is_cut):
                    self._close_segment(end_sample, is_cut=is_cut)

    def _start_segment(self, start_sample: int, speech_sample: int) -> None:
        number = next(self._numbers)
        self._open = Segment(number, start_sample, speech_sample, channel=self._channel)
        self._n_segments += 1
        start_ms = ms_from_samples(start_sample)
        self._actions.append(SpeechStartedEvent(number, start_ms, self._channel))

    def _pause(self, end_sample: int) -> None:
        segment = self._require_open()
        revision = segment.ask_for_candidate(end_sample)
        self._transcribe(segment, revision, end_sample, Urgency.LIKELY)

    def _resume(self) -> None:
        segment = self._require_open()
        segment.resume()
        self._actions.append(Reprioritise(segment.number, Urgency.PARTIAL))

    def _close_segment(self, end_sample: int, *, is_cut: bool) -> None:
        segment = self._require_open()
        if segment.ends_with_candidate(end_sample):
            self._actions.append(Reprioritise(segment.number, Urgency.FINAL))
        else:
            revision = segment.ask_for_candidate(end_sample)
            self._transcribe(segment, revision, end_sample, Urgency.FINAL)
        segment.end_sample = end_sample
        self.speech_samples += end_sample - segment.start_sample
        self._closed[segment.number] = segment
        self._n_closed += 1
        self._open = None
        end_ms = ms_from_samples(end_sample)
        told_if_cut = True if is_cut else UNSET
        self._actions.append(SpeechEndedEvent(segment.number, end_ms, self._channel, told_if_cut))
        self._release_finals()

    def _ask_for_partial(self) -> None:
        segment = self._open
        if segment is None or segment.has_candidate or not self._wants_partials:
            return
        settings, speech_ms = self._settings, self._segmenter.speech_ms
        if segment.asked_to_sample is None:
            is_due = speech_ms >= settings.first_partial_ms
        else:
            is_eager = speech_ms < _EAGER_MS
            cadence_ms = settings.eager_cadence_ms if is_eager else settings.partial_cadence_ms
            new_samples = self._scored_sample - segment.asked_to_sample
            is_due = new_samples >= samples_from_ms(cadence_ms)
        if is_due:
            revision = segment.ask(self._scored_sample)
            self._transcribe(segment, revision, self._scored_sample, Urgency.PARTIAL)

    def _transcribe(
        self, segment: Segment, revision: int, end_sample: int, urgency: Urgency
    ) -> None:
        samples = self._buffer.read(Span(segment.start_sample, end_sample))
        is_final = urgency is not Urgency.PARTIAL
        before = None if is_final else segment.heard_so_far
        language = self._language_at(segment.start_sample)
        utterance = Utterance(samples, is_final, language, self._context, before)
        self._actions.append(Transcribe(segment.number, revision, utterance, urgency))

    def _language_at(self, start_sample: int) -> str | None:
        return next(language for since, language in self._languages if since <= start_sample)

    # --- hypotheses to events ---

    def _find(self, number: int) -> Segment | None:
        if self._open is not None and self._open.number == number:
            return self._open
        return self._closed.get(number)

    def _release_finals(self) -> None:
        while self._closed:
            segment = next(iter(self._closed.values()))
            final = segment.final()
            if final is None:
                return
            del self._closed[segment.number]
            self._n_final += 1
            self._actions.append(final)
            self._release_answers()

    def _release_answers(self) -> None:
        while self._answers and self._answers[0][0] <= self._n_final:
            self._actions.append(self._answers.popleft()[1])

    def _require_open(self) -> Segment:
        assert self._open is not None  # noqa: S101 - the segmenter opens before it closes
        return self._open
