"""Utterances in, hypotheses out: Whisper on CTranslate2, from files that were opened in memory.

The encoder is fed the audio and two seconds of padding, not thirty seconds: on two cores that is a
third of the cost at no loss of accuracy, as long as a guard catches the loops that a short context
invites and sends those to a second decode with the full one (figures: docs/figures.md). Decoding
is without timestamp tokens; word times come from the cross-attention of the final text (`align`),
confidence from its token probabilities. Refuses: a model without the files it needs, with
`ModelError`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import ctranslate2
import numpy as np
from tokenizers import Tokenizer

from server.audio import SAMPLE_RATE_HZ, samples_from_ms
from server.engines import mel
from server.engines.words import group_words, join_pieces
from server.guards import GuardSettings, Verdict, judge, token_budget, without_repeats
from server.recognition import (
    NOTHING_HEARD,
    Hypothesis,
    ModelCard,
    ModelError,
    Samples,
    Utterance,
)

_LANGUAGE_TOKEN = re.compile(r"<\|[a-z]{2,3}\|>")
ENGINE = "whisper-ct2"
FULL_CONTEXT_SAMPLES = 30 * SAMPLE_RATE_HZ
_ENCODER_STEP_SAMPLES = 2 * mel.HOP_SAMPLES
"""The encoder halves the frame rate: 20 ms a position."""

_ENGLISH = "en"
_MAX_LENGTH_TOKENS = 448
"""Whisper's decoder has this many positions, prompt included."""


@dataclass(frozen=True, slots=True)
class WhisperSettings:
    """How to run the model."""

    device: str = "cpu"
    compute_type: str = "int8"
    n_threads: int = 1
    """A second thread slows a decoder of this size: its steps are too small to share."""
    padding_ms: int = 2000
    """Silence after the audio; less invites loops, more costs time."""
    final_beams: int = 5
    """Beams for finals; partials are decoded greedily."""
    guards: GuardSettings = field(default_factory=GuardSettings)


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The special tokens of one model."""

    tokenizer: Tokenizer
    start: int
    no_timestamps: int
    transcribe: int | None
    """None: the model knows English only, and its prompt names neither task nor language."""

    languages: Mapping[str, int]
    """Their tokens, by ISO 639 code."""

    def decode(self, tokens: list[int]) -> str:
        """Text of some tokens, leading space kept."""
        return str(self.tokenizer.decode(tokens))

    def prompt(self, language: str | None) -> list[int]:
        """The tokens before the text."""
        if self.transcribe is None:
            return [self.start, self.no_timestamps]
        spoken = self.languages[language or _ENGLISH]
        return [self.start, spoken, self.transcribe, self.no_timestamps]


class _Readable:
    """A file as CTranslate2 takes it, copied only when it is its turn."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def read(self) -> bytes:
        """All of it."""
        return bytes(self._content)


class WhisperCt2:
    """One Whisper model in memory; keeps `Recognizer`. Not thread-safe: the scheduler owns it."""

    def __init__(
        self, model_id: str, files: Mapping[str, memoryview], settings: WhisperSettings
    ) -> None:
        self._settings = settings
        try:
            tokenizer = Tokenizer.from_buffer(bytes(files["tokenizer.json"]))
            self._model = ctranslate2.models.Whisper(
                model_id,
                device=settings.device,
                compute_type=settings.compute_type,
                intra_threads=settings.n_threads,
                files={name: _Readable(content) for name, content in files.items()},
            )
        except (KeyError, ValueError, RuntimeError) as error:
            raise ModelError("the pack does not hold a CTranslate2 Whisper model") from error
        self._vocabulary = _vocabulary(tokenizer, is_multilingual=self._model.is_multilingual)
        self.n_workers = 1
        self.card = ModelCard(model_id, frozenset(self._vocabulary.languages))
        self._suppressed = _suppressed_tokens(files)
        self._filters = mel.mel_filters(self._model.n_mels)

    def transcribe(self, batch: Sequence[Utterance]) -> list[Hypothesis]:
        """See `Recognizer`. Mixed lengths cost as much as the longest of them."""
        longest = max(utterance.samples.size for utterance in batch)
        trimmed = longest + samples_from_ms(self._settings.padding_ms)
        context = -(-trimmed // _ENCODER_STEP_SAMPLES) * _ENCODER_STEP_SAMPLES
        decoded = self._decode(batch, min(context, FULL_CONTEXT_SAMPLES))
        return [
            self._settle(utterance, *heard) for utterance, heard in zip(batch, decoded, strict=True)
        ]

    def _settle(self, utterance: Utterance, first: Hypothesis, verdict: Verdict) -> Hypothesis:
        """What to show: the first decode, a better one, or nothing."""
        match verdict:
            case Verdict.FIT:
                return first
            case Verdict.SILENT:
                return NOTHING_HEARD
            case Verdict.SPARSE:
                return self._decode_halves(utterance) if utterance.is_final else first
            case Verdict.SUSPECT | Verdict.LOOPING if not utterance.is_final:
                return _without_loop(first)  # the next partial comes sooner than a full context
            case Verdict.SUSPECT | Verdict.LOOPING:
                [(again, verdict_again)] = self._decode([utterance], FULL_CONTEXT_SAMPLES)
                return self._settle_again(utterance, again, verdict_again)

    def _settle_again(
        self, utterance: Utterance, again: Hypothesis, verdict: Verdict
    ) -> Hypothesis:
        """After full context: people do say things twice, and what was heard must not be lost."""
        guards = self._settings.guards
        match verdict:
            case Verdict.FIT | Verdict.SUSPECT:
                return again
            case Verdict.SILENT:
                return NOTHING_HEARD
            case Verdict.SPARSE | Verdict.LOOPING:
                if utterance.samples.size >= samples_from_ms(guards.sparse_from_ms):
                    return self._decode_halves(utterance)
                is_unsure = again.mean_log_probability < guards.least_mean_log_probability
                return NOTHING_HEARD if is_unsure else _without_loop(again)

    def _decode_halves(self, utterance: Utterance) -> Hypothesis:
        """Cut at the quietest place around the middle and hear both sides on their own."""
        cut_sample = _quietest_sample(utterance.samples)
        halves = (utterance.samples[:cut_sample], utterance.samples[cut_sample:])
        left, right = (
            self.transcribe([replace(utterance, samples=samples)])[0] for samples in halves
        )
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

    def _decode(
        self, batch: Sequence[Utterance], context_samples: int
    ) -> list[tuple[Hypothesis, Verdict]]:
        encoded = self._encode([utterance.samples for utterance in batch], context_samples)
        languages = self._languages(batch, encoded)
        prompts = [self._vocabulary.prompt(language) for language in languages]
        guards = self._settings.guards
        budget = max(token_budget(utterance.samples.size, guards) for utterance in batch)
        beams = self._settings.final_beams if any(u.is_final for u in batch) else 1
        results = self._model.generate(
            encoded,
            prompts,
            beam_size=beams,
            max_length=_max_length(budget, len(prompts[0])),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=self._suppressed,
        )
        decoded: list[tuple[Hypothesis, Verdict]] = []
        for index, (utterance, result) in enumerate(zip(batch, results, strict=True)):
            tokens = result.sequences_ids[0]
            hypothesis = Hypothesis(
                text=self._vocabulary.decode(tokens).strip(),
                language=languages[index],
                no_speech_probability=result.no_speech_prob,
                mean_log_probability=result.scores[0],
            )
            verdict = judge(hypothesis, len(tokens), utterance.samples.size, guards)
            if utterance.is_final and verdict is not Verdict.SILENT:
                row = encoded if len(batch) == 1 else _row(encoded, index)
                hypothesis = self._with_words(hypothesis, tokens, utterance.samples.size, row)
            decoded.append((hypothesis, verdict))
        return decoded

    def _with_words(
        self,
        hypothesis: Hypothesis,
        tokens: list[int],
        n_samples: int,
        row: ctranslate2.StorageView,
    ) -> Hypothesis:
        """Add word times from the cross-attention; `row` is the encoded utterance."""
        prompt = self._vocabulary.prompt(hypothesis.language)
        [alignment] = self._model.align(row, prompt, [tokens], n_samples // mel.HOP_SAMPLES)
        starts_samples = [n_samples] * (len(tokens) + 1)
        for token_index, position in reversed(alignment.alignments):
            starts_samples[token_index] = min(position * _ENCODER_STEP_SAMPLES, n_samples)
        pieces = join_pieces(
            tokens, starts_samples, alignment.text_token_probs, self._vocabulary.decode
        )
        return replace(hypothesis, words=group_words(pieces, hypothesis.language))

    def _encode(self, batch: list[Samples], context_samples: int) -> ctranslate2.StorageView:
        features = np.stack(
            [
                mel.log_mel(samples[:context_samples], context_samples, self._filters)
                for samples in batch
            ]
        )
        return self._model.encode(ctranslate2.StorageView.from_array(features), to_cpu=False)

    def _languages(
        self, batch: Sequence[Utterance], encoded: ctranslate2.StorageView
    ) -> list[str | None]:
        if self._vocabulary.transcribe is None:
            return [_ENGLISH] * len(batch)
        if all(utterance.language for utterance in batch):
            return [utterance.language for utterance in batch]
        detected = self._model.detect_language(encoded)
        return [
            utterance.language or str(candidates[0][0]).strip("<|>")
            for utterance, candidates in zip(batch, detected, strict=True)
        ]


def _max_length(n_tokens: int, n_prompt_tokens: int) -> int:
    """The `max_length` that lets CTranslate2 generate `n_tokens`: it takes the smaller of its half
    and its rest.
    """
    return min(_MAX_LENGTH_TOKENS, max(2 * n_tokens, n_tokens + n_prompt_tokens))


def _without_loop(hypothesis: Hypothesis) -> Hypothesis:
    """Up to where it begins to say itself again."""
    text = without_repeats(hypothesis.text)
    words, n_characters = [], 0
    for word in hypothesis.words:
        n_characters += len(word.text) + (not word.is_joined and n_characters > 0)
        if n_characters > len(text):
            break
        words.append(word)
    return replace(hypothesis, text=text, words=tuple(words))


def _row(encoded: ctranslate2.StorageView, index: int) -> ctranslate2.StorageView:
    """One utterance of an encoded batch."""
    return ctranslate2.StorageView.from_array(np.asarray(encoded)[index : index + 1])


def _quietest_sample(samples: Samples) -> int:
    """The middle of the quietest 100 ms in the middle third."""
    step = samples_from_ms(100)
    first = samples.size // 3
    third = samples[first : first * 2]
    energy = np.square(third[: third.size // step * step].reshape(-1, step)).sum(axis=1)
    return first + int(energy.argmin()) * step + step // 2


def _vocabulary(tokenizer: Tokenizer, *, is_multilingual: bool) -> _Vocabulary:
    start = tokenizer.token_to_id("<|startoftranscript|>")
    no_timestamps = tokenizer.token_to_id("<|notimestamps|>")
    transcribe = tokenizer.token_to_id("<|transcribe|>") if is_multilingual else None
    if start is None or no_timestamps is None:
        raise ModelError("the tokenizer is not Whisper's")
    languages = {
        token.content[2:-2]: token_id
        for token_id, token in tokenizer.get_added_tokens_decoder().items()
        if _LANGUAGE_TOKEN.fullmatch(token.content) and (is_multilingual or "|en|" in token.content)
    }
    return _Vocabulary(tokenizer, start, no_timestamps, transcribe, languages)


def _suppressed_tokens(files: Mapping[str, memoryview]) -> list[int]:
    """The model's own list; CTranslate2 finds it by itself only when it loads from a folder."""
    try:
        config = json.loads(bytes(files["config.json"]))
        return [int(token) for token in config["suppress_ids"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("config.json does not describe a Whisper model") from error
