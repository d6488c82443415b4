"""Utterances in, hypotheses out: Whisper on CTranslate2, from files that were opened in memory.

The encoder is fed the audio and two seconds of padding, not thirty seconds: on two cores that is a
third of the cost at no loss of accuracy, as long as a guard catches the loops that a short context
invites and sends those to a second decode with more, and at last to one with the full context
(figures: docs/recognition.md). What is said twice in a time that only fits once was said once.
Decoding is without timestamp tokens; word times come from the cross-attention of the final text
(`align`), confidence from its token probabilities. A batch is split into groups that CTranslate2
can take at once: finals or partials, prompts of one length, lengths that do not waste more on
padding than a batch saves. Refuses: a model without the files it needs, with `ModelError`;
a setting that this machine has no device for, with `EngineSettingError`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import ctranslate2
import numpy as np
from annotated_types import Ge, Gt

from server.audio import SAMPLE_RATE_HZ, samples_from_ms
from server.engines import mel
from server.engines.processor import usable_cores
from server.engines.retries import Heard, Retries, transcribe
from server.engines.whisper_groups import alignable, groups_of
from server.engines.whisper_vocabulary import (
    ENGLISH,
    WhisperVocabulary,
    open_vocabulary,
    suppressed_tokens,
)
from server.engines.words import group_words, join_pieces
from server.guards import GuardSettings, judge, token_budget
from server.recognition import (
    EngineSettingError,
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
_CONTEXT_STEP_SAMPLES = SAMPLE_RATE_HZ
"""Few lengths make blocks of few sizes, which fit where others were: memory stays as it is."""
_MOST_WORKERS = 8
_MOST_UTTERANCES = 8
_MAX_LENGTH_TOKENS = 448
"""Whisper's decoder has this many positions, prompt included."""


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """How to run the model."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA where there is any."""
    compute_type: str = "auto"
    """`auto`: int8 on the CPU, float16 on CUDA; or any of CTranslate2's."""
    n_threads: Annotated[int, Ge(1)] = 1
    """A second thread slows a decoder of this size: its steps are too small to share."""
    n_workers: Annotated[int, Ge(1)] | None = None
    """Batches at the same time. By default one for each core, up to eight; one on CUDA."""
    padding_ms: int = 4000
    """Silence after a final's audio; less invites loops, more costs time."""
    partial_padding_ms: int = 2000
    """The same for partials, whose loops are cut."""
    retry_padding_ms: int = 8000
    """The same where a final loops: a third of the cost of the full context, which comes next."""
    final_beams: Annotated[int, Ge(1)] = 5
    """Beams for finals; partials are decoded greedily."""
    final_patience: Annotated[float, Gt(0)] = 0.6
    """Of the beams, the share whose ends are awaited: the last ones come late or loop."""
    guards: GuardSettings = field(default_factory=GuardSettings)


class _Readable:
    """A file as CTranslate2 takes it, copied only when it is its turn."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def read(self) -> bytes:
        """All of it."""
        return bytes(self._content)


class WhisperCt2:
    """One Whisper model in memory; keeps `Recognizer`."""

    most_utterances = _MOST_UTTERANCES

    def __init__(
        self, model_id: str, files: Mapping[str, memoryview], settings: WhisperSettings
    ) -> None:
        self._settings = settings
        self._paddings_samples = (
            samples_from_ms(settings.padding_ms),
            samples_from_ms(settings.retry_padding_ms),
            FULL_CONTEXT_SAMPLES,
        )
        self._retries = Retries(
            settings.guards,
            most_samples=FULL_CONTEXT_SAMPLES - self._paddings_samples[0],
            last_attempt=len(self._paddings_samples) - 1,
        )
        device = _device(settings)
        compute_type = _compute_type(settings, device)
        self.n_workers = _n_workers(settings, device)
        try:
            self._model = ctranslate2.models.Whisper(
                model_id,
                device=device,
                compute_type=compute_type,
                intra_threads=settings.n_threads,
                inter_threads=self.n_workers,
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
        return transcribe(batch, self._decode, self._retries)

    def _decode(self, batch: Sequence[Utterance], attempt: int) -> list[Heard]:
        """Each utterance once, in as few groups as pays."""
        contexts = [self._vocabulary.context_tokens(utterance.context) for utterance in batch]
        heard: dict[int, Heard] = {}
        for indices in groups_of(batch, contexts):
            group = [batch[index] for index in indices]
            padding_samples = self._paddings_samples[attempt]
            if attempt == 0 and not group[0].is_final:
                padding_samples = samples_from_ms(self._settings.partial_padding_ms)
            longest = max(utterance.samples.size for utterance in group) + padding_samples
            padded = -(-longest // _CONTEXT_STEP_SAMPLES) * _CONTEXT_STEP_SAMPLES
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
            patience=self._settings.final_patience if is_final else 1,
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
        """Add word times from the cross-attention, in as few calls as give each row its own."""
        timed = list(hypotheses)
        n_frames = [max(n_samples // mel.HOP_SAMPLES, 2) for n_samples in lengths]
        languages = [hypothesis.language for hypothesis in hypotheses]
        for indices in alignable(tokens, n_frames, languages):
            language = languages[indices[0]]
            alignments = self._model.align(
                _rows(encoded, indices),
                self._vocabulary.start_sequence(language),
                [tokens[index] for index in indices],
                [n_frames[index] for index in indices],
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
        """Those that are given, and for the other rows those that are heard."""
        if self._vocabulary.transcribe is None:
            return [ENGLISH] * len(group)
        languages = [utterance.language for utterance in group]
        unknown = [index for index, language in enumerate(languages) if language is None]
        if unknown:
            detected = self._model.detect_language(_rows(encoded, unknown))
            for index, candidates in zip(unknown, detected, strict=True):
                languages[index] = str(candidates[0][0]).strip("<|>")
        return languages


def _device(settings: WhisperSettings) -> str:
    has_cuda = ctranslate2.get_cuda_device_count() > 0
    if settings.device == "cuda" and not has_cuda:
        raise EngineSettingError("whisper.device: this machine has no CUDA device")
    if settings.device != "auto":
        return settings.device
    return "cuda" if has_cuda else "cpu"


def _compute_type(settings: WhisperSettings, device: str) -> str:
    if settings.compute_type == "auto":
        return "float16" if device == "cuda" else "int8"
    known = ctranslate2.get_supported_compute_types(device)
    if settings.compute_type not in known:
        kinds = ", ".join(sorted(known))
        raise EngineSettingError(f"whisper.compute_type: here auto or one of {kinds}")
    return settings.compute_type


def _n_workers(settings: WhisperSettings, device: str) -> int:
    if settings.n_workers is not None:
        return settings.n_workers
    return 1 if device == "cuda" else min(_MOST_WORKERS, usable_cores())


def _max_length(n_tokens: int, n_prompt_tokens: int) -> int:
    """The `max_length` that lets CTranslate2 generate `n_tokens`: it takes the smaller of its half
    and its rest.
    """
    return min(_MAX_LENGTH_TOKENS, max(2 * n_tokens, n_tokens + n_prompt_tokens))


def _rows(encoded: ctranslate2.StorageView, indices: list[int]) -> ctranslate2.StorageView:
    """Some utterances of an encoded group."""
    if len(indices) == encoded.shape[0]:
        return encoded
    rows = encoded.to_device(ctranslate2.Device.cpu).to(ctranslate2.DataType.float32)
    return ctranslate2.StorageView.from_array(np.asarray(rows)[indices])
