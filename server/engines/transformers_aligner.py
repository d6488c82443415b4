"""Clips and what was said in them in, when each word was said out.

Qwen's forced aligner reads the audio and the words, with two marks for each word, and gives every
mark a class, of 80 ms. It knows eleven languages; of the others, and where no aligner was given,
times are estimated, and said to be. Sources: transformers `processing_qwen3_asr.py`; Japanese needs
the package nagisa, Korean soynlp.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import transformers
from transformers.models.qwen3_asr.processing_qwen3_asr import (
    FORCED_ALIGNER_LANGUAGES,
    LANGUAGE_CODE_TO_NAME,
)
from transformers.utils.import_utils import is_nagisa_available, is_soynlp_available

from server.audio import SAMPLE_RATE_HZ
from server.engines.words import TimedText, with_estimated_times, with_times_of
from server.recognition import Hypothesis, Samples

_BATCH = 16
_NEEDS = {"ja": is_nagisa_available, "ko": is_soynlp_available}


def aligned_languages() -> frozenset[str]:
    """ISO 639 codes of those that can be aligned with what is installed."""
    known = {c for c, name in LANGUAGE_CODE_TO_NAME.items() if name in FORCED_ALIGNER_LANGUAGES}
    return frozenset(code for code in known if code not in _NEEDS or _NEEDS[code]())


class ForcedAligner:
    """One in memory; for one thread at a time."""

    def __init__(
        self,
        model: transformers.Qwen3ASRForTokenClassification,
        processor: transformers.ProcessorMixin,
    ) -> None:
        self._model = model
        self._processor = processor
        self.languages = aligned_languages()

    def align(
        self, clips: Sequence[Samples], texts: Sequence[str], languages: Sequence[str]
    ) -> list[list[TimedText]]:
        """The spoken characters of each text, which must have some, with their times."""
        inputs, word_lists = self._processor.prepare_forced_aligner_inputs(
            list(clips), list(texts), list(languages)
        )
        device, dtype = self._model.device, self._model.dtype
        given = {name: torch.as_tensor(part).to(device) for name, part in inputs.items()}
        given["input_features"] = given["input_features"].to(dtype)
        with torch.inference_mode():
            logits = self._model(**given).logits
        found = self._processor.decode_forced_alignment(
            logits,
            given["input_ids"],
            word_lists,
            self._model.config.timestamp_token_id,
        )
        return [
            [_timed(item, clip.size) for item in items]
            for items, clip in zip(found, clips, strict=True)
        ]


class WordTimes:
    """Of the words of finals: measured where that is possible, else estimated."""

    def __init__(self, aligner: ForcedAligner | None) -> None:
        self._aligner = aligner

    def of(self, clips: Sequence[Samples], hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses whose words have no times yet in; the same with times out."""
        timed = [
            replace(
                hypothesis,
                words=with_estimated_times(hypothesis.words, clip.size),
                are_times_estimated=True,
            )
            for clip, hypothesis in zip(clips, hypotheses, strict=True)
        ]
        if self._aligner is None:
            return timed
        able = [index for index, heard in enumerate(hypotheses) if self._is_alignable(heard)]
        for start in range(0, len(able), _BATCH):
            batch = able[start : start + _BATCH]
            found = self._aligner.align(
                [clips[index] for index in batch],
                [hypotheses[index].text for index in batch],
                [hypotheses[index].language or "" for index in batch],
            )
            for index, spans in zip(batch, found, strict=True):
                words = with_times_of(hypotheses[index].words, spans)
                timed[index] = replace(hypotheses[index], words=words)
        return timed

    def _is_alignable(self, heard: Hypothesis) -> bool:
        assert self._aligner is not None  # noqa: S101 - asked only with one
        has_words = any(character.isalnum() for character in heard.text)
        return has_words and heard.language in self._aligner.languages


def _timed(item: dict[str, Any], n_samples: int) -> TimedText:
    start, end = (
        min(int(item[name] * SAMPLE_RATE_HZ), n_samples) for name in ("start_time", "end_time")
    )
    return TimedText(str(item["text"]), start, max(start, end))
