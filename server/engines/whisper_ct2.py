"""Utterances in, hypotheses out: Whisper on CTranslate2, from files that were opened in memory.

The encoder is fed the audio and two seconds of padding, not thirty seconds: on two cores that is a
third of the cost at no loss of accuracy, as long as a guard catches the loops that a short context
invites and sends those to a second decode with more, and at last to one with the full context
(figures: docs/recognition.md). What is said twice in a time that only fits once was said once.
Decoding is without timestamp tokens; word times come from the cross-attention of the final text
(`align`), confidence from its token probabilities. A batch is split into groups that CTranslate2
can take at once: finals or partials, prompts of one length, lengths that do not waste more on
padding than a batch saves. Refuses: a model without the files it needs, with `ModelError`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import ctranslate2
import numpy as np

from server.audio import SAMPLE_RATE_HZ, samples_from_ms
from server.engines import mel
from server.engines.whisper_vocabulary import (
    ENGLISH,
    WhisperVocabulary,
    open_vocabulary,
    suppressed_tokens,
)
from server.engines.words import group_words, join_pieces
from server.guards import (
    GuardSettings,
    Verdict,
    judge,
    token_budget,
    without_loop,
    without_unsaid_repeat,
)
from server.recognition import (
    NOTHING_HEARD,
    Hypothesis,
    ModelCard,
    ModelError,
    Samples,
    Utterance,
)

ENGINE = "whisper-ct2"
FULL_CONTEXT_SAMPLES = 30 * SAMPLE_RATE_HZ
_ENCODER_STEP_SAMPLES = 2 * mel.HOP_SAMPLES
"""The encoder halves the frame rate: 20 ms a position."""
_MAX_LENGTH_TOKENS = 448
"""Whisper's decoder has this many positions, prompt included."""
_LAST = 2
"""The attempt with the full context."""
_MOST_WASTED_SAMPLES = 25 * SAMPLE_RATE_HZ
"""Padding that costs the encoder as much as a decoder of its own would."""


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """How to run the model."""

    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: CUDA where there is any."""
    compute_type: str = "auto"
    """`auto`: int8 on the CPU, float16 on CUDA; or any of CTranslate2's."""
    n_threads: int = 1
    """A second thread slows a decoder of this size: its steps are too small to share."""
    n_workers: int = 1
    """Batches at the same time, a core for each. One core is for everything else."""
    padding_ms: int = 2000
    """Silence after the audio; less invites loops, more costs time."""
    retry_padding_ms: int = 8000
    """The same where a final loops: a third of the cost of the full context, which comes next."""
    final_beams: int = 5
    """Beams for finals; partials are decoded greedily."""
    guards: GuardSettings = field(default_factory=GuardSettings)


Heard = tuple[Hypothesis, Verdict]


class _Readable:
    """A file as CTranslate2 takes it, copied only when it is its turn."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def read(self) -> bytes:
        """All of it."""
        return bytes(self._content)


class WhisperCt2:
    """One Whisper model in memory; keeps `Recognizer`."""

    def __init__(
        self, model_id: str, files: Mapping[str, memoryview], settings: WhisperSettings
    ) -> None:
        self._settings = settings
        self._paddings_samples = (
            samples_from_ms(settings.padding_ms),
            samples_from_ms(settings.retry_padding_ms),
            FULL_CONTEXT_SAMPLES,
        )
        self.n_workers = settings.n_workers
        device = _device(settings)
        try:
            self._model = ctranslate2.models.Whisper(
                model_id,
                device=device,
                compute_type=_compute_type(settings, device),
                intra_threads=settings.n_threads,
                inter_threads=settings.n_workers,
                files={name: _Readable(content) for name, content in files.items()},
            )
            self._vocabulary: WhisperVocabulary = open_vocabulary(
                files["tokenizer.json"], is_multilingual=self._model.is_multilingual
            )
            self._suppressed = suppressed_tokens(files["config.json"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise ModelError("the pack does not hold a CTranslate2 Whisper model") from error
        self.card = ModelCard(model_id, frozenset(self._vocabulary.languages))
        self._filters = mel.mel_filters(self._model.n_mels)

    def transcribe(self, batch: Sequence[Utterance]) -> list[Hypothesis]:
        """See `Recognizer`. May be called from `n_workers` threads at a time."""
        settled: dict[int, Hypothesis] = {}
        rest = list(range(len(batch)))
        for attempt, padding_samples in enumerate(self._paddings_samples):
            heard = self._decode([batch[index] for index in rest], padding_samples)
            for index, (hypothesis, verdict) in zip(rest, heard, strict=True):
                told = self._settle(batch[index], hypothesis, verdict, attempt)
                if told is not None:
                    settled[index] = told
            rest = [index for index in rest if index not in settled]
        return [settled[index] for index in range(len(batch))]

    def _settle(
        self, utterance: Utterance, hypothesis: Hypothesis, verdict: Verdict, attempt: int
    ) -> Hypothesis | None:
        """What to make of a decode; None: decode again, with more context."""
        match verdict:
            case Verdict.FIT:
                return hypothesis
            case Verdict.SILENT:
                return NOTHING_HEARD
            case _ if not utterance.is_final:
                return without_loop(hypothesis)  # the next partial comes sooner than more context
            case Verdict.SPARSE:
                return self._decode_halves(utterance)
            case Verdict.SUSPECT | Verdict.LOOPING:
                return self._settle_repeat(utterance, hypothesis, verdict, attempt)

    def _settle_repeat(
        self, utterance: Utterance, hypothesis: Hypothesis, verdict: Verdict, attempt: int
    ) -> Hypothesis | None:
        said = without_unsaid_repeat(hypothesis)
        if said is not None:  # a sign, the first time, that the context was too short
            return said if attempt else None
        if verdict is Verdict.SUSPECT:  # people do say things twice
            return hypothesis
        return self._cut_loop(utterance, hypothesis) if attempt == _LAST else None

    def _cut_loop(self, utterance: Utterance, hypothesis: Hypothesis) -> Hypothesis:
        """After full context: what was heard must not be lost."""
        guards = self._settings.guards
        if utterance.samples.size >= samples_from_ms(guards.sparse_from_ms):
            return self._decode_halves(utterance)
        is_unsure = hypothesis.mean_log_probability < guards.least_mean_log_probability
        return NOTHING_HEARD if is_unsure else without_loop(hypothesis)

    def _decode_halves(self, utterance: Utterance) -> Hypothesis:
        """Cut at the quietest place around the middle and hear both sides on their own."""
        cut_sample = _quietest_sample(utterance.samples)
        halves = (utterance.samples[:cut_sample], utterance.samples[cut_sample:])
        left, right = self.transcribe([replace(utterance, samples=half) for half in halves])
        moved = tuple(
            replace(
                word,
                start_sample=word.start_sample + cut_sample,
                end_sample=word.end_sample + cut_sample,
            )
            for word in right.words
        )
        return replace(
            left if left.text else right,
            text=f"{left.text} {right.text}".strip(),
            words=left.words + moved,
        )

    def _decode(self, batch: Sequence[Utterance], padding_samples: int) -> list[Heard]:
        """Each utterance once, in as few groups as pays."""
        contexts = [self._vocabulary.context_tokens(utterance.context) for utterance in batch]
        heard: dict[int, Heard] = {}
        for indices in _groups(batch, contexts):
            group = [batch[index] for index in indices]
            longest = max(utterance.samples.size for utterance in group) + padding_samples
            padded = -(-longest // _ENCODER_STEP_SAMPLES) * _ENCODER_STEP_SAMPLES
            decoded = self._decode_group(
                group,
                [contexts[index] for index in indices],
                min(padded, FULL_CONTEXT_SAMPLES),
            )
            heard.update(zip(indices, decoded, strict=True))
        return [heard[index] for index in range(len(batch))]

    def _decode_group(
        self, group: Sequence[Utterance], contexts: Sequence[list[int]], context_samples: int
    ) -> list[Heard]:
        encoded = self._encode([utterance.samples for utterance in group], context_samples)
        languages = self._languages(group, encoded)
        prompts = [
            context + self._vocabulary.prompt(language)
            for context, language in zip(contexts, languages, strict=True)
        ]
        guards, is_final = self._settings.guards, group[0].is_final
        budget = max(token_budget(utterance.samples.size, guards) for utterance in group)
        results = self._model.generate(
            encoded,
            prompts,
            beam_size=self._settings.final_beams if is_final else 1,
            max_length=_max_length(budget, len(prompts[0])),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )
        tokens = [result.sequences_ids[0] for result in results]
        hypotheses = [
            Hypothesis(
                text=self._vocabulary.decode(tokens[index]).strip(),
                language=languages[index],
                no_speech_probability=result.no_speech_prob,
                mean_log_probability=result.scores[0],
            )
            for index, result in enumerate(results)
        ]
        lengths = [utterance.samples.size for utterance in group]
        verdicts = [
            judge(hypothesis, len(said), n_samples, guards)
            for hypothesis, said, n_samples in zip(hypotheses, tokens, lengths, strict=True)
        ]
        if is_final:
            hypotheses = self._with_words(hypotheses, tokens, lengths, encoded)
        return list(zip(hypotheses, verdicts, strict=True))

    def _with_words(
        self,
        hypotheses: list[Hypothesis],
        tokens: list[list[int]],
        lengths: list[int],
        encoded: ctranslate2.StorageView,
    ) -> list[Hypothesis]:
        """Add word times from the cross-attention, those of one language in one go."""
        timed = list(hypotheses)
        for language in {hypothesis.language for hypothesis in hypotheses}:
            indices = [i for i, said in enumerate(tokens) if said and timed[i].language == language]
            if not indices:
                continue
            alignments = self._model.align(
                encoded if len(indices) == len(timed) else _rows(encoded, indices),
                self._vocabulary.prompt(language),
                [tokens[index] for index in indices],
                [lengths[index] // mel.HOP_SAMPLES for index in indices],
            )
            for index, alignment in zip(indices, alignments, strict=True):
                n_samples = lengths[index]
                starts_samples = [n_samples] * (len(tokens[index]) + 1)
                for token_index, position in reversed(alignment.alignments):
                    starts_samples[token_index] = min(position * _ENCODER_STEP_SAMPLES, n_samples)
                pieces = join_pieces(
                    tokens[index],
                    starts_samples,
                    alignment.text_token_probs,
                    self._vocabulary.decode,
                )
                timed[index] = replace(timed[index], words=group_words(pieces, language))
        return timed

    def _encode(self, group: list[Samples], context_samples: int) -> ctranslate2.StorageView:
        features = np.stack(
            [
                mel.log_mel(samples[:context_samples], context_samples, self._filters)
                for samples in group
            ]
        )
        return self._model.encode(ctranslate2.StorageView.from_array(features), to_cpu=False)

    def _languages(
        self, group: Sequence[Utterance], encoded: ctranslate2.StorageView
    ) -> list[str | None]:
        """Of a group in which all languages are given, or none."""
        if self._vocabulary.transcribe is None:
            return [ENGLISH] * len(group)
        if group[0].language:
            return [utterance.language for utterance in group]
        detected = self._model.detect_language(encoded)
        return [str(candidates[0][0]).strip("<|>") for candidates in detected]


def _groups(batch: Sequence[Utterance], contexts: Sequence[list[int]]) -> Iterator[list[int]]:
    """Indices of what can be decoded in one go, by likeness and then by length."""

    def likeness(index: int) -> tuple[bool, bool, int]:
        utterance = batch[index]
        return utterance.is_final, utterance.language is None, len(contexts[index])

    def length(index: int) -> int:
        return batch[index].samples.size

    for _, alike in groupby(sorted(range(len(batch)), key=likeness), key=likeness):
        group: list[int] = []
        for index in sorted(alike, key=length):
            wasted = sum(length(index) - length(other) for other in group)
            if wasted > _MOST_WASTED_SAMPLES:
                yield group
                group = []
            group.append(index)
        yield group


def _device(settings: WhisperSettings) -> str:
    if settings.device != "auto":
        return settings.device
    return "cuda" if ctranslate2.get_cuda_device_count() else "cpu"


def _compute_type(settings: WhisperSettings, device: str) -> str:
    if settings.compute_type != "auto":
        return settings.compute_type
    return "float16" if device == "cuda" else "int8"


def _max_length(n_tokens: int, n_prompt_tokens: int) -> int:
    """The `max_length` that lets CTranslate2 generate `n_tokens`: it takes the smaller of its half
    and its rest.
    """
    return min(_MAX_LENGTH_TOKENS, max(2 * n_tokens, n_tokens + n_prompt_tokens))


def _rows(encoded: ctranslate2.StorageView, indices: list[int]) -> ctranslate2.StorageView:
    """Some utterances of an encoded group."""
    on_cpu = encoded.to_device(ctranslate2.Device.cpu)
    return ctranslate2.StorageView.from_array(np.asarray(on_cpu)[indices])


def _quietest_sample(samples: Samples) -> int:
    """The middle of the quietest 100 ms in the middle third."""
    step = samples_from_ms(100)
    first = samples.size // 3
    third = samples[first : first * 2]
    energy = np.square(third[: third.size // step * step].reshape(-1, step)).sum(axis=1)
    return first + int(energy.argmin()) * step + step // 2
