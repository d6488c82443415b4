"""Hypotheses of one stretch of speech in, its captions and its final out.

A segment is open while somebody speaks, and closed from then until its final has come. Every
request for a hypothesis has a revision. One is the candidate: asked for when a pause began, it is
the final if the silence lasts, and no more than a caption if it does not. Hypotheses may come in
any order; captions leave in the order of their revisions.
"""

from dataclasses import dataclass, field

from server.audio import ms_from_samples
from server.hypotheses import LocalAgreement
from server.recognition import Hypothesis, Word
from server.wire import Final, Partial, WordEvent


@dataclass(slots=True, eq=False)
class Segment:
    """One stretch of speech; positions are samples of the track."""

    number: int
    start_sample: int
    """Where its audio begins, pre-roll included."""
    speech_sample: int
    """Where the detector heard speech begin: no word begins before."""
    asked_to_sample: int | None = None
    """How far the audio of the newest request reaches; None before the first."""
    end_sample: int | None = None
    """None while it is open."""
    channel: int = 0
    _revision: int = 0
    _end_samples: dict[int, int] = field(default_factory=dict)
    """How far the audio of each request reaches that has not been answered or overtaken."""
    _candidate: int | None = None
    _candidate_end_sample: int = 0
    _heard: Hypothesis | None = None
    """The candidate's hypothesis."""
    _agreement: LocalAgreement = field(default_factory=LocalAgreement)
    heard_so_far: Hypothesis | None = None
    """The newest that was shown."""

    @property
    def has_candidate(self) -> bool:
        """Whether a request is out, or answered, that may become the final."""
        return self._candidate is not None

    def ask(self, end_sample: int) -> int:
        """The revision of a new request, whose audio ends at `end_sample`."""
        self._revision += 1
        self._end_samples[self._revision] = self.asked_to_sample = end_sample
        return self._revision

    def ask_for_candidate(self, end_sample: int) -> int:
        """The same for the request that becomes the final if the segment ends there."""
        self._candidate = self.ask(end_sample)
        self._candidate_end_sample = end_sample
        self._heard = None
        return self._candidate

    def ends_with_candidate(self, end_sample: int) -> bool:
        """Whether the candidate is the final of a segment that ends at `end_sample`."""
        return self._candidate is not None and self._candidate_end_sample == end_sample

    def resume(self) -> None:
        """The pause was a breath: the candidate is a caption like others."""
        self._candidate = None
        self._heard = None

    def receive_hypothesis(self, revision: int, hypothesis: Hypothesis) -> None:
        """Take an answer."""
        if revision == self._candidate:
            self._heard = hypothesis

    def receive_failure(self, revision: int) -> bool:
        """Take the news that there is no answer; False when the segment's words are lost by it."""
        self._end_samples.pop(revision, None)
        if revision != self._candidate:
            return True
        self._candidate = None
        return self.end_sample is None

    def take_caption(self, revision: int, hypothesis: Hypothesis) -> Partial | None:
        """What to show of an answer; nothing if a newer one was shown or there are no words."""
        end_sample = self._end_samples.get(revision)
        if end_sample is None or not hypothesis.text:
            return None
        self._end_samples = {r: end for r, end in self._end_samples.items() if r > revision}
        self.heard_so_far = hypothesis
        caption = self._agreement.receive_text(hypothesis.text)
        return Partial(
            segment=self.number,
            revision=revision,
            start_ms=ms_from_samples(self.start_sample),
            end_ms=ms_from_samples(end_sample),
            stable=caption.stable,
            unstable=caption.unstable,
            channel=self.channel,
        )

    def final(self) -> Final | None:
        """Once it is closed and heard."""
        heard = self._heard
        if heard is None or self.end_sample is None:
            return None
        probabilities = [word.probability for word in heard.words]
        return Final(
            segment=self.number,
            start_ms=ms_from_samples(self.start_sample),
            end_ms=ms_from_samples(self.end_sample),
            text=heard.text,
            language=heard.language,
            confidence=round(sum(probabilities) / len(probabilities), 3) if probabilities else 0.0,
            words=[self._word_event(word) for word in heard.words],
            word_times="estimated" if heard.are_times_estimated else "measured",
            channel=self.channel,
        )

    def _word_event(self, word: Word) -> WordEvent:
        """A word at its place in the stream; a model lets the first one begin with the audio."""
        end_sample = self.start_sample + word.end_sample
        start_sample = self.start_sample + word.start_sample
        return WordEvent(
            text=word.text,
            start_ms=ms_from_samples(max(start_sample, min(self.speech_sample, end_sample))),
            end_ms=ms_from_samples(end_sample),
            confidence=round(word.probability, 3),
        )
