"""Utterances in, hypotheses out: any Whisper checkpoint of transformers.

For checkpoints that nobody has converted to CTranslate2, which runs the same weights faster and
with less memory. Each utterance is encoded in the full 30 s that Whisper was trained on; prompts
and guards are those of the other engine, and the words the same (a test compares them). The search
is transformers' own. Times of words come from the forced aligner, or are estimated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput

from server.audio import SAMPLE_RATE_HZ
from server.engines.retries import Heard, Retries, transcribe
from server.engines.transformers_aligner import WordTimes
from server.engines.transformers_settings import TransformersSettings
from server.engines.whisper_groups import groups_of
from server.engines.whisper_vocabulary import ENGLISH, WhisperVocabulary
from server.engines.words import group_words, join_pieces
from server.guards import judge, token_budget
from server.recognition import Hypothesis, ModelCard, Samples, Utterance

_FULL_CONTEXT_SAMPLES = 30 * SAMPLE_RATE_HZ
_MAX_LENGTH_TOKENS = 448
"""Whisper's decoder has this many positions, prompt included."""
_NO_SPEECH_TOKENS = ("<|nospeech|>", "<|nocaptions|>")
_MOST_UTTERANCES = 16


@dataclass(frozen=True, slots=True)
class _Start:
    """What the first position after a prompt says of one utterance."""

    language: str | None
    no_speech_probability: float


class TransformersWhisper:
    """One Whisper in memory; keeps `Recognizer`."""

    n_workers = 1
    most_utterances = _MOST_UTTERANCES

    def __init__(
        self,
        model_id: str,
        model: transformers.WhisperForConditionalGeneration,
        extractor: transformers.WhisperFeatureExtractor,
        vocabulary: WhisperVocabulary,
        word_times: WordTimes,
        settings: TransformersSettings,
    ) -> None:
        self.card = ModelCard(model_id, frozenset(vocabulary.languages))
        self._settings = settings
        self._retries = Retries(settings.guards, _FULL_CONTEXT_SAMPLES, last_attempt=0)
        self._model = model
        self._extractor = extractor
        self._vocabulary = vocabulary
        self._word_times = word_times
        self._suppressed = model.generation_config.suppress_tokens or None
        self._suppressed_at_begin = model.generation_config.begin_suppress_tokens or None
        # what else a checkpoint says of its search, `generate` would take for unsaid wishes of ours
        model.generation_config = transformers.GenerationConfig()
        self._no_speech = next(
            (token for name in _NO_SPEECH_TOKENS if (token := self._token(name)) is not None), None
        )

    def transcribe(self, batch: Sequence[Utterance]) -> list[Hypothesis]:
        """See `Recognizer`. For one thread at a time."""
        with torch.inference_mode():
            return transcribe(batch, self._decode, self._retries)

    def _decode(self, batch: Sequence[Utterance], attempt: int) -> list[Heard]:
        del attempt  # the context is always full
        contexts = [self._vocabulary.context_tokens(utterance.context) for utterance in batch]
        heard: dict[int, Heard] = {}
        for indices in groups_of(batch, contexts):
            for start in range(0, len(indices), _MOST_UTTERANCES):
                part = indices[start : start + _MOST_UTTERANCES]
                decoded = self._decode_group(
                    [batch[index] for index in part], [contexts[index] for index in part]
                )
                heard.update(zip(part, decoded, strict=True))
        return [heard[index] for index in range(len(batch))]

    def _decode_group(
        self, group: Sequence[Utterance], contexts: Sequence[list[int]]
    ) -> list[Heard]:
        clips = [utterance.samples for utterance in group]
        encoded = self._encode(clips)
        starts = self._starts(group, contexts, encoded)
        prompts = [
            context + self._vocabulary.prompt(start.language)
            for context, start in zip(contexts, starts, strict=True)
        ]
        is_final = group[0].is_final
        lengths = [clip.size for clip in clips]
        answers = self._generate(encoded, prompts, lengths, is_final=is_final)
        hypotheses = [
            self._hypothesis(start, tokens, log_probabilities, is_final=is_final)
            for start, (tokens, log_probabilities) in zip(starts, answers, strict=True)
        ]
        verdicts = [
            judge(hypothesis, len(tokens), n_samples, self._settings.guards)
            for hypothesis, (tokens, _), n_samples in zip(hypotheses, answers, lengths, strict=True)
        ]
        if is_final:
            hypotheses = self._word_times.of(clips, hypotheses)
        return list(zip(hypotheses, verdicts, strict=True))

    def _encode(self, clips: Sequence[Samples]) -> torch.Tensor:
        """(n_clips, 1500, width)"""
        features = self._extractor(list(clips), sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt")
        spectrograms = features.input_features.to(self._model.device, self._model.dtype)
        hidden: torch.Tensor = self._model.get_encoder()(spectrograms).last_hidden_state
        return hidden

    def _starts(
        self, group: Sequence[Utterance], contexts: Sequence[list[int]], encoded: torch.Tensor
    ) -> list[_Start]:
        """Which language it is, where nobody said, and whether it is speech at all."""
        tokens = [[*context, self._vocabulary.start] for context in contexts]
        logits = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            decoder_input_ids=torch.tensor(tokens, device=encoded.device),
        ).logits[:, -1]
        probabilities = logits.float().softmax(dim=-1)
        return [
            _Start(
                self._language(utterance, row),
                0.0 if self._no_speech is None else float(row[self._no_speech]),
            )
            for utterance, row in zip(group, probabilities, strict=True)
        ]

    def _language(self, utterance: Utterance, probabilities: torch.Tensor) -> str:
        if self._vocabulary.transcribe is None:
            return ENGLISH
        if utterance.language is not None:
            return utterance.language
        tokens = self._vocabulary.languages
        return max(tokens, key=lambda code: float(probabilities[tokens[code]]))

    def _generate(
        self,
        encoded: torch.Tensor,
        prompts: Sequence[list[int]],
        lengths: Sequence[int],
        *,
        is_final: bool,
    ) -> list[tuple[list[int], list[float]]]:
        """Tokens of each text, without the end, and their log-probabilities."""
        guards, n_prompt = self._settings.guards, len(prompts[0])
        budget = max(token_budget(n_samples, guards) for n_samples in lengths)
        beams = self._settings.final_beams if is_final else 1
        # Whisper's own `generate` looks for languages, timestamps and fallbacks: here is neither
        found = transformers.GenerationMixin.generate(
            self._model,
            encoder_outputs=BaseModelOutput(last_hidden_state=encoded),
            attention_mask=torch.ones(encoded.shape[:2], device=encoded.device),
            decoder_input_ids=torch.tensor(prompts, device=encoded.device),
            generation_config=transformers.GenerationConfig(
                num_beams=beams,
                do_sample=False,
                max_new_tokens=min(budget, _MAX_LENGTH_TOKENS - n_prompt),
                eos_token_id=self._end,
                pad_token_id=self._end,
                decoder_start_token_id=self._vocabulary.start,
                suppress_tokens=self._suppressed,
                begin_suppress_tokens=self._suppressed_at_begin,
                output_scores=True,
                return_dict_in_generate=True,
            ),
        )
        scores = self._model.compute_transition_scores(
            found.sequences,
            found.scores,
            getattr(found, "beam_indices", None),
            normalize_logits=beams == 1,
        )
        answers = []
        for tokens, values in zip(found.sequences[:, n_prompt:], scores, strict=True):
            said = [int(token) for token in tokens]
            n_said = said.index(self._end) if self._end in said else len(said)
            answers.append((said[:n_said], values[:n_said].float().tolist()))
        return answers

    def _hypothesis(
        self, start: _Start, tokens: list[int], log_probabilities: list[float], *, is_final: bool
    ) -> Hypothesis:
        pieces = (
            join_pieces(
                tokens,
                [0] * (len(tokens) + 1),
                [exp(value) for value in log_probabilities],
                self._vocabulary.decode,
            )
            if is_final
            else []
        )
        return Hypothesis(
            text=self._vocabulary.decode(tokens).strip(),
            words=group_words(pieces, start.language),
            language=start.language,
            no_speech_probability=start.no_speech_probability,
            mean_log_probability=sum(log_probabilities) / max(len(tokens), 1),
        )

    @property
    def _end(self) -> int:
        return int(self._model.config.eos_token_id)

    def _token(self, text: str) -> int | None:
        token: int | None = self._vocabulary.tokenizer.token_to_id(text)
        return token
