"""One channel's bytes, scores and hypotheses in; windows to score, segments to transcribe and
events out.

The order of things is the audio's, not the clock's: when a partial is asked for depends on how
much was said, so the same bytes give the same requests however they were cut and whenever they
came. A final that was decoded while its silence was still being waited for goes out the moment the
segment ends. Finals leave in the order of their segments.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np

from server.audio import WINDOW_SAMPLES, AudioFormat, Span, ms_from_samples, samples_from_ms
from server.buffer import SampleBuffer
from server.decode import Decoder
from server.hypotheses import LocalAgreement
from server.recognition import Hypothesis, Samples, Utterance, Word
from server.resample import Resampler
from server.segmenter import (
    Segmenter,
    SegmenterSettings,
    SpeechEnded,
    SpeechEvent,
    SpeechPaused,
    SpeechResumed,
    SpeechStarted,
)
from server.wire import Final, Partial, WordEvent
from server.wire import SpeechEnded as SpeechEndedEvent
from server.wire import SpeechStarted as SpeechStartedEvent


@dataclass(frozen=True, slots=True)
class TrackSettings:
    """How a track is cut and how often it is looked at."""

    segmenter: SegmenterSettings = field(default_factory=SegmenterSettings)
    first_partial_ms: int = 600
    """Speech before the first partial is asked for."""
    partial_cadence_ms: int = 600
    """New audio between partials; the next is never asked for before the last has come."""


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """Wanted: a probability of speech for each window; answered with `receive_scores`, in order."""

    samples: Samples
    """(n_windows * WINDOW_SAMPLES,) float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Transcribe:
    """Wanted: a hypothesis; answered with `receive_hypothesis` or `receive_failure`."""

    segment: int
    revision: int
    utterance: Utterance


TrackEvent = SpeechStartedEvent | Partial | SpeechEndedEvent | Final
TrackAction = Score | Transcribe | TrackEvent


@dataclass(slots=True, eq=False)
class _Segment:
    """An open segment, or a closed one whose final has not come."""

    number: int
    start_sample: int
    speech_sample: int
    """Where the detector heard speech begin: no word begins before."""
    agreement: LocalAgreement = field(default_factory=LocalAgreement)
    revision: int = 0
    """Of the last request."""
    shown_revision: int = 0
    partial_in_flight: int | None = None
    """Revision of the partial that was asked for and has not come."""
    asked_to_sample: int = 0
    """How far the last partial's audio reached."""
    candidate: int | None = None
    """Revision that becomes the final if the silence lasts."""
    candidate_end_sample: int = 0
    end_sample: int | None = None
    heard: Hypothesis | None = None
    """The candidate's hypothesis."""


class Track:
    """Sans-I/O; the session owns it."""

    def __init__(
        self,
        audio_format: AudioFormat,
        settings: TrackSettings,
        *,
        language: str | None,
        wants_partials: bool,
    ) -> None:
        self._settings = settings
        self._language = language
        self._wants_partials = wants_partials
        self._decoder = Decoder(audio_format)
        self._resampler = Resampler(audio_format.sample_rate_hz)
        self._buffer = SampleBuffer()
        self._segmenter = Segmenter(settings.segmenter)
        self._asked_sample = 0
        """Audio before this was given out to be scored."""
        self._scored_sample = 0
        self._received_samples = 0
        """Of real audio: not the zeros that fill the last window."""
        self._flush_at: list[int] = []
        self._is_ended = False
        self._open: _Segment | None = None
        self._closed: OrderedDict[int, _Segment] = OrderedDict()
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
        is_scored = self._scored_sample >= self._asked_sample and not self._flush_at
        return self._is_ended and is_scored and not self._closed and self._open is None

    def actions(self) -> list[TrackAction]:
        """What has to happen, once."""
        taken, self._actions = self._actions, []
        return taken

    def receive_audio(self, data: bytes) -> None:
        """Take bytes of the declared format, cut anywhere."""
        self._append(self._resampler.resample(self._decoder.decode(data)))

    def flush(self) -> None:
        """Close the open segment where the audio received so far ends."""
        self._flush_at.append(self._buffer.end_sample)
        self._score(pads=False)
        self._flush_if_scored()

    def end(self) -> None:
        """No more audio: everything said must come out, also from the last, unfinished window."""
        if self._is_ended:
            return
        self._append(self._resampler.resample(np.zeros(0, np.float32), is_last=True))
        self._is_ended = True
        self._flush_at.append(self._buffer.end_sample)
        self._score(pads=True)
        self._flush_if_scored()

    def receive_scores(self, probabilities: list[float]) -> None:
        """The answer to the oldest `Score` that has none."""
        for probability in probabilities:  # one by one: requests depend on where the window lies
            self._scored_sample += WINDOW_SAMPLES
            self._follow(self._segmenter.receive_probabilities((probability,)))
            self._ask_for_partial()
            self._flush_if_scored()
        self._buffer.drop_before(self._segmenter.needed_from_sample)

    def receive_hypothesis(self, segment: int, revision: int, hypothesis: Hypothesis) -> bool:
        """Take a result; False when it fits nothing that is open any more."""
        held = self._find(segment)
        if held is None:
            return False
        if revision == held.partial_in_flight:
            held.partial_in_flight = None
        if revision == held.candidate:
            held.heard = hypothesis
        if held.end_sample is None:
            self._show(held, revision, hypothesis)
        self._release_finals()
        return True

    def receive_failure(self, segment: int, revision: int) -> bool:
        """Take the news that a request gave nothing; False when that loses somebody's words."""
        held = self._find(segment)
        if held is None:
            return True
        if revision == held.partial_in_flight:
            held.partial_in_flight = None
        if revision != held.candidate:
            return True
        held.candidate = None
        return held.end_sample is None

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
            self._actions.append(Score(self._buffer.read(span)))

    # --- scores to segments ---

    def _flush_if_scored(self) -> None:
        """A flush waits until no whole window before it is unscored."""
        while self._flush_at and self._flush_at[0] - self._scored_sample < WINDOW_SAMPLES:
            end_sample = self._flush_at.pop(0)
            self._follow(self._segmenter.close(end_sample))

    def _follow(self, events: list[SpeechEvent]) -> None:
        for event in events:
            match event:
                case SpeechStarted(start_sample, speech_sample):
                    self._open = _Segment(self._n_segments, start_sample, speech_sample)
                    self._n_segments += 1
                    started = SpeechStartedEvent(self._open.number, ms_from_samples(start_sample))
                    self._actions.append(started)
                case SpeechPaused(end_sample):
                    self._ask_for_final(end_sample)
                case SpeechResumed():
                    self._resume()
                case SpeechEnded(end_sample):
                    self._close_segment(end_sample)

    def _ask_for_final(self, end_sample: int) -> None:
        segment = self._require_open()
        self._ask(segment, end_sample, is_final=True)
        segment.candidate = segment.revision
        segment.candidate_end_sample = end_sample
        segment.heard = None

    def _resume(self) -> None:
        """The pause was a breath: the candidate, if it ever comes, is only a partial."""
        segment = self._require_open()
        if segment.heard is None:
            segment.partial_in_flight = segment.candidate
        segment.candidate = None
        segment.heard = None

    def _close_segment(self, end_sample: int) -> None:
        segment = self._require_open()
        if segment.candidate is None or segment.candidate_end_sample != end_sample:
            self._ask_for_final(end_sample)
        segment.end_sample = end_sample
        self.speech_samples += end_sample - segment.start_sample
        self._closed[segment.number] = segment
        self._open = None
        self._actions.append(SpeechEndedEvent(segment.number, ms_from_samples(end_sample)))
        self._release_finals()

    def _ask_for_partial(self) -> None:
        segment = self._open
        if segment is None or not self._wants_partials:
            return
        if segment.partial_in_flight is not None or segment.candidate is not None:
            return
        is_first = segment.asked_to_sample == 0
        if is_first and self._segmenter.speech_ms < self._settings.first_partial_ms:
            return
        cadence_samples = samples_from_ms(self._settings.partial_cadence_ms)
        if not is_first and self._scored_sample - segment.asked_to_sample < cadence_samples:
            return
        self._ask(segment, self._scored_sample, is_final=False)
        segment.partial_in_flight = segment.revision

    def _ask(self, segment: _Segment, end_sample: int, *, is_final: bool) -> None:
        segment.revision += 1
        segment.asked_to_sample = end_sample
        samples = self._buffer.read(Span(segment.start_sample, end_sample))
        utterance = Utterance(samples, is_final, self._language)
        self._actions.append(Transcribe(segment.number, segment.revision, utterance))

    # --- hypotheses to events ---

    def _find(self, number: int) -> _Segment | None:
        if self._open is not None and self._open.number == number:
            return self._open
        return self._closed.get(number)

    def _show(self, segment: _Segment, revision: int, hypothesis: Hypothesis) -> None:
        """Send a partial, unless a newer one has been shown or there is nothing to see."""
        if not self._wants_partials or revision <= segment.shown_revision or not hypothesis.text:
            return
        segment.shown_revision = revision
        caption = segment.agreement.receive_text(hypothesis.text)
        self._actions.append(
            Partial(
                segment=segment.number,
                revision=revision,
                start_ms=ms_from_samples(segment.start_sample),
                end_ms=ms_from_samples(segment.asked_to_sample),
                stable=caption.stable,
                unstable=caption.unstable,
            )
        )

    def _release_finals(self) -> None:
        while self._closed:
            segment = next(iter(self._closed.values()))
            if segment.heard is None or segment.end_sample is None:
                return
            del self._closed[segment.number]
            self._actions.append(_final(segment, segment.heard))

    def _require_open(self) -> _Segment:
        assert self._open is not None  # noqa: S101 - the segmenter opens before it closes
        return self._open


def _final(segment: _Segment, heard: Hypothesis) -> Final:
    probabilities = [word.probability for word in heard.words]
    return Final(
        segment=segment.number,
        start_ms=ms_from_samples(segment.start_sample),
        end_ms=ms_from_samples(segment.end_sample or segment.start_sample),
        text=heard.text,
        language=heard.language,
        confidence=round(sum(probabilities) / len(probabilities), 3) if probabilities else 0.0,
        words=[_word_event(segment, word) for word in heard.words],
    )


def _word_event(segment: _Segment, word: Word) -> WordEvent:
    """A word at its place in the stream; a model lets the first one begin with the audio."""
    end_sample = segment.start_sample + word.end_sample
    start_sample = segment.start_sample + word.start_sample
    return WordEvent(
        text=word.text,
        start_ms=ms_from_samples(max(start_sample, min(segment.speech_sample, end_sample))),
        end_ms=ms_from_samples(end_sample),
        confidence=round(word.probability, 3),
    )
