"""Utterances in, hypotheses out: Qwen3-ASR, many utterances of many sessions at once.

The way of a batch: log-mel spectrograms; positions of audio, of which full windows are encoded once
in the life of an utterance; a prompt around them; answers, decoded greedily side by side. A caption
goes on from the one before without its last tokens, in the language that was heard then: only what
was said since is decoded. A final is decoded afresh. Words get their times from a forced aligner,
or estimates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any

import torch
import transformers

from server.audio import SAMPLE_RATE_HZ
from server.engines.qwen3_decoder import Decoded, Decoder
from server.engines.qwen3_encoder import WindowEncoder
from server.engines.qwen3_features import LogMel
from server.engines.qwen3_prompt import LANGUAGES, Conversation
from server.engines.retries import Heard, Retries, transcribe
from server.engines.transformers_aligner import WordTimes
from server.engines.transformers_settings import TransformersSettings
from server.engines.words import group_words, join_pieces
from server.guards import judge, token_budget
from server.recognition import Hypothesis, ModelCard, ModelError, Utterance

_MOST_SAMPLES = 30 * SAMPLE_RATE_HZ
_HEADER_TOKENS = 8
"""`language Chinese<asr_text>`, and one to spare."""


@dataclass(frozen=True, slots=True)
class _Ask:
    """What one utterance is decoded with."""

    language: str | None
    """Put into the model's mouth."""
    kept: tuple[int, ...]
    """The same, of the text; only with a language."""
    budget_tokens: int
    """For text, kept or new."""

    @property
    def new_tokens(self) -> int:
        """That may be decoded."""
        header = 0 if self.language else _HEADER_TOKENS
        return max(self.budget_tokens - len(self.kept), 1) + header


class TransformersQwen3:
    """One Qwen3-ASR in memory; keeps `Recognizer`."""

    n_workers = 1
    most_utterances: int

    def __init__(
        self,
        model_id: str,
        model: transformers.Qwen3ASRForConditionalGeneration,
        conversation: Conversation,
        log_mel: LogMel,
        word_times: WordTimes,
        settings: TransformersSettings,
    ) -> None:
        """Raises ModelError."""
        self.card = ModelCard(model_id, LANGUAGES)
        self.most_utterances = settings.most_rows
        self._settings = settings
        self._retries = Retries(settings.guards, _MOST_SAMPLES, last_attempt=0)
        self._conversation = conversation
        self._log_mel = log_mel
        self._word_times = word_times
        self._encoder = WindowEncoder(model, settings.most_windows)
        self._decoder = Decoder(
            model,
            _ends(model.generation_config),
            most_rows=settings.most_rows,
            most_places=settings.most_places,
        )

    def transcribe(self, batch: Sequence[Utterance]) -> list[Hypothesis]:
        """See `Recognizer`. For one thread at a time."""
        return transcribe(batch, self._decode, self._retries)

    def _decode(self, batch: Sequence[Utterance], attempt: int) -> list[Heard]:
        del attempt  # the context is always full
        asks = [self._ask(utterance) for utterance in batch]
        audio = self._encoder.encode(self._log_mel.of([each.samples for each in batch]))
        prompts = [
            self._prompt(utterance, ask, positions)
            for utterance, ask, positions in zip(batch, asks, audio, strict=True)
        ]
        answers = self._decoder.decode(prompts, [ask.new_tokens for ask in asks])
        heard = [
            self._read(utterance, ask, answer)
            for utterance, ask, answer in zip(batch, asks, answers, strict=True)
        ]
        finals = [index for index, utterance in enumerate(batch) if utterance.is_final]
        timed = self._word_times.of(
            [batch[index].samples for index in finals], [heard[index][0] for index in finals]
        )
        for index, hypothesis in zip(finals, timed, strict=True):
            heard[index] = (hypothesis, heard[index][1])
        return heard

    def _ask(self, utterance: Utterance) -> _Ask:
        budget = token_budget(utterance.samples.size, self._settings.guards)
        before = utterance.before
        if utterance.is_final or before is None or before.language not in LANGUAGES:
            return _Ask(utterance.language, (), budget)
        if utterance.language not in {None, before.language}:
            return _Ask(utterance.language, (), budget)
        kept = self._conversation.kept_of(before.text, self._settings.unsure_tokens)
        language = before.language if kept else utterance.language
        return _Ask(language, tuple(kept[:budget]), budget)

    def _prompt(self, utterance: Utterance, ask: _Ask, audio: torch.Tensor) -> torch.Tensor:
        prompt = self._conversation.prompt(
            context=utterance.context, language=ask.language, kept=ask.kept
        )
        embed = self._decoder.embed
        return torch.cat((embed(prompt.before), audio, embed(prompt.after)))

    def _read(self, utterance: Utterance, ask: _Ask, decoded: Decoded) -> Heard:
        """What was answered, and what to think of it; words have no times yet."""
        answer = self._conversation.read(decoded.tokens, ask.language, ask.kept)
        said = decoded.tokens[answer.first :]
        log_probabilities = decoded.log_probabilities[answer.first :]
        hypothesis = Hypothesis(
            answer.text,
            language=answer.language,
            mean_log_probability=sum(log_probabilities) / max(len(said), 1),
        )
        if utterance.is_final:
            pieces = join_pieces(
                said,
                [0] * (len(said) + 1),
                [exp(value) for value in log_probabilities],
                self._conversation.text_of,
            )
            hypothesis = replace(hypothesis, words=group_words(pieces, answer.language))
        n_tokens = len(ask.kept) + len(said)
        verdict = judge(hypothesis, n_tokens, utterance.samples.size, self._settings.guards)
        return hypothesis, verdict


def _ends(config: Any) -> frozenset[int]:  # noqa: ANN401 - transformers'
    """The tokens that end an answer."""
    match config.eos_token_id:
        case int(end):
            return frozenset({end})
        case [*ends] if ends and all(isinstance(end, int) for end in ends):
            return frozenset(ends)
        case _:
            raise ModelError("the pack does not say which tokens end an answer")
