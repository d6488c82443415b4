"""Utterances and a way to decode a batch of them in; hypotheses that passed the guard out.

What the guard doubts is decoded again with more context, at last with all there is, or in halves.
All that waits for the same context goes into one batch, whoever's it is and whether whole or half:
halves begin with the least context, so that what they leave joins what waited for more. A final is
never given up for being doubted while anything was heard in it. An engine that has
no more context to give is asked once and then for halves. Nothing here knows a model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from server.audio import samples_from_ms
from server.guards import GuardSettings, Verdict, without_loop, without_unsaid_repeat
from server.languages import word_separator
from server.recognition import NOTHING_HEARD, Hypothesis, Samples, Utterance

Heard = tuple[Hypothesis, Verdict]
Decode = Callable[[Sequence[Utterance], int], list[Heard]]
"""Decodes each utterance once; the number says how much context, from 0 to the last attempt's."""


@dataclass(frozen=True, slots=True)
class Retries:
    """What an engine can do for what its guard doubts."""

    guards: GuardSettings
    most_samples: int
    """Longer utterances are heard in parts."""
    last_attempt: int
    """The one with the full context; 0 for an engine whose context is always full."""


@dataclass(slots=True)
class _Part:
    """An utterance or a half of one, and what is known of it."""

    utterance: Utterance
    most_samples: int
    attempt: int = 0
    heard: Hypothesis | None = None
    halves: "tuple[_Part, _Part] | None" = None
    cut_sample: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.utterance.samples.size > self.most_samples:
            self.cut()

    def cut(self, language: str | None = None) -> None:
        """At the quietest place around the middle, to hear both sides on their own."""
        whole = self.utterance
        self.cut_sample = _quietest_sample(whole.samples)
        sides = (whole.samples[: self.cut_sample], whole.samples[self.cut_sample :])
        known = whole.language or language
        left, right = (
            _Part(replace(whole, samples=side, language=known), self.most_samples) for side in sides
        )
        self.halves = (left, right)

    def leaves(self) -> "list[_Part]":
        """What is decoded as one."""
        if self.halves is None:
            return [self]
        return self.halves[0].leaves() + self.halves[1].leaves()

    def result(self) -> Hypothesis:
        """What its leaves heard."""
        if self.halves is None:
            return self.heard or NOTHING_HEARD
        left, right = (half.result() for half in self.halves)
        return _joined(left, right, self.cut_sample)


def transcribe(batch: Sequence[Utterance], decode: Decode, retries: Retries) -> list[Hypothesis]:
    """One hypothesis for each utterance, in order."""
    parts = [_Part(utterance, retries.most_samples) for utterance in batch]
    while True:
        waiting = [leaf for part in parts for leaf in part.leaves() if leaf.heard is None]
        if not waiting:
            return [part.result() for part in parts]
        attempt = min(part.attempt for part in waiting)
        now = [part for part in waiting if part.attempt == attempt]
        decoded = decode([part.utterance for part in now], attempt)
        for part, (hypothesis, verdict) in zip(now, decoded, strict=True):
            _settle(part, hypothesis, verdict, retries)


def _settle(part: _Part, hypothesis: Hypothesis, verdict: Verdict, retries: Retries) -> None:
    """Take it, cut the part in halves, or let it wait for more context."""
    match verdict:
        case Verdict.FIT:
            part.heard = hypothesis
        case Verdict.SILENT:
            part.heard = NOTHING_HEARD
        case _ if not part.utterance.is_final:
            part.heard = without_loop(hypothesis)  # the next partial comes before more context
        case Verdict.SPARSE:
            part.cut(hypothesis.language)
        case Verdict.SUSPECT | Verdict.LOOPING:
            _settle_repeat(part, hypothesis, verdict, retries)


def _settle_repeat(part: _Part, hypothesis: Hypothesis, verdict: Verdict, retries: Retries) -> None:
    guards, is_first = retries.guards, part.attempt < min(1, retries.last_attempt)
    said = without_unsaid_repeat(hypothesis)
    if said is None and verdict is Verdict.SUSPECT:  # people do say things twice
        part.heard = hypothesis
    elif said is not None and not is_first:  # the first time, a sign of too short a context
        part.heard = said
    elif part.attempt < retries.last_attempt:
        part.attempt += 1
        part.utterance = replace(
            part.utterance, language=part.utterance.language or hypothesis.language
        )
    elif part.utterance.samples.size >= samples_from_ms(guards.sparse_from_ms):
        part.cut(hypothesis.language)
    else:
        is_unsure = hypothesis.mean_log_probability < guards.least_mean_log_probability
        part.heard = NOTHING_HEARD if is_unsure else without_loop(hypothesis)


def _joined(left: Hypothesis, right: Hypothesis, cut_sample: int) -> Hypothesis:
    moved = tuple(
        replace(
            word,
            start_sample=word.start_sample + cut_sample,
            end_sample=word.end_sample + cut_sample,
        )
        for word in right.words
    )
    heard = left if left.text else right
    texts = [text for text in (left.text, right.text) if text]
    return replace(
        heard,
        text=word_separator(heard.language).join(texts),
        words=left.words + moved,
        are_times_estimated=left.are_times_estimated or right.are_times_estimated,
    )


def _quietest_sample(samples: Samples) -> int:
    """The middle of the quietest 100 ms in the middle third."""
    step = samples_from_ms(100)
    first = samples.size // 3
    third = samples[first : first * 2]
    energy = np.square(third[: third.size // step * step].reshape(-1, step)).sum(axis=1)
    return first + int(energy.argmin()) * step + step // 2
