"""A request to Qwen3-ASR as tokens, and what the tokens of its answer say.

The conversation is the pack's (its chat template), rendered once; the audio's positions stand in
its middle. The words of a client go in as text: what looks like a command of the model's in them
is none. The model answers `language English<asr_text>…`; a language that is forced, or a beginning
that is kept, is put into its mouth. Sources: Qwen3-ASR technical report, arXiv 2601.21337;
transformers `processing_qwen3_asr.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import transformers
from tokenizers import Tokenizer
from transformers.models.qwen3_asr.processing_qwen3_asr import LANGUAGE_CODE_TO_NAME

from server.recognition import ModelError

LANGUAGES: Final = frozenset(LANGUAGE_CODE_TO_NAME)
"""ISO 639 codes of what the model was trained on."""
MOST_CONTEXT_TOKENS = 400
"""Of 1024 places; audio of 30 s takes 390, its answer up to 300."""
_CODES = {name.casefold(): code for code, name in LANGUAGE_CODE_TO_NAME.items()}
_ANSWER_BEGINS = "<asr_text>"
_CLIENTS_WORDS = "\ufdd1"
"""No character of any language: stands in the template where a client's words come."""
_REPLACEMENT = "\ufffd"


@dataclass(frozen=True, slots=True)
class Prompt:
    """Tokens on both sides of the audio."""

    before: list[int] = field(repr=False)
    after: list[int] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What an answer says."""

    text: str = field(repr=False)
    language: str | None
    """ISO 639 code; None where none was named, or one without a code here."""
    first: int
    """Index of the first token of the text."""


class Conversation:
    """Of one model; raises ModelError where its template is none for audio."""

    def __init__(self, processor: transformers.ProcessorMixin, tokenizer_json: bytes) -> None:
        """`tokenizer_json`: the file that the processor's tokenizer was made of."""
        self._tokenizer: Tokenizer = processor.tokenizer.backend_tokenizer
        self._plain = Tokenizer.from_buffer(tokenizer_json)
        self._plain.encode_special_tokens = True
        begins = self._tokenizer.token_to_id(_ANSWER_BEGINS)
        if begins is None:
            raise ModelError("the tokenizer is not that of Qwen3-ASR")
        self._begins: int = begins
        audio = processor.audio_token
        bare = _render(processor, None).split(audio)
        told = _render(processor, _CLIENTS_WORDS).split(audio)
        if len(bare) != 2 or len(told) != 2 or told[0].count(_CLIENTS_WORDS) != 1:
            raise ModelError("the chat template of the pack is not that of Qwen3-ASR")
        self._before = self._tokens(bare[0])
        self._before_words, self._after_words = map(self._tokens, told[0].split(_CLIENTS_WORDS))
        self._after = self._tokens(bare[1])

    def prompt(
        self, *, context: str | None, language: str | None, kept: Sequence[int] = ()
    ) -> Prompt:
        """`language`: ISO 639 code, forced; without one, `kept` must be empty."""
        words = " ".join((context or "").split())
        before = self._before
        if words:
            tokens = self._plain.encode(words, add_special_tokens=False).ids
            before = [*self._before_words, *tokens[-MOST_CONTEXT_TOKENS:], *self._after_words]
        after = self._after
        if language is not None:
            header = f"language {LANGUAGE_CODE_TO_NAME[language]}{_ANSWER_BEGINS}"
            after = [*after, *self._tokens(header), *kept]
        return Prompt(before, after)

    def kept_of(self, text: str, n_unsure: int) -> list[int]:
        """The tokens of a text without the last ones, ending in a whole character."""
        tokens: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        kept = tokens[: max(len(tokens) - n_unsure, 0)]
        while kept and self.text_of(kept).endswith(_REPLACEMENT):
            kept.pop()
        return kept

    def text_of(self, tokens: Sequence[int]) -> str:
        """Without special tokens."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def read(
        self, answer: Sequence[int], language: str | None = None, kept: Sequence[int] = ()
    ) -> Answer:
        """What an answer says; `language` and `kept` were put into its mouth.

        Whatever comes before the last `<asr_text>` is no text, and what was kept is not either if
        the answer begins anew. Where no language was forced, an answer that names one and stops
        before its text says nothing.
        """
        first = self._first_of_text(answer)
        text = self.text_of([*(kept if first == 0 else ()), *answer[first:]]).strip()
        if language is not None:
            return Answer(text, language, first)
        if first == 0 and text.casefold().startswith("language"):
            return Answer("", None, len(answer))
        header = self.text_of(answer[:first]).rpartition("language")[2]
        named = header.removesuffix(_ANSWER_BEGINS).strip()
        return Answer(text, _CODES.get(named.casefold()), first)

    def _first_of_text(self, answer: Sequence[int]) -> int:
        """After the last mark, be it one token or, as no token of its own, spelt by several."""
        marks = [index + 1 for index, token in enumerate(answer) if token == self._begins]
        first = marks[-1] if marks else 0
        if not self._spells_mark(answer[first:]):
            return first
        n = len(answer)
        start = next(i for i in reversed(range(n)) if self._spells_mark(answer[i:]))
        return next(i for i in range(start + 1, n + 1) if self._spells_mark(answer[start:i]))

    def _spells_mark(self, tokens: Sequence[int]) -> bool:
        return _ANSWER_BEGINS in self.text_of(tokens)

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return tokens


def _render(processor: transformers.ProcessorMixin, context: str | None) -> str:
    silence = np.zeros(16_000, np.float32)
    try:
        (text,) = processor.apply_transcription_request(silence, prompt=context, tokenize=False)
    except Exception:  # noqa: BLE001 - a template is a program, which raises what it likes
        raise ModelError("the chat template of the pack is damaged or missing") from None
    return str(text)
