"""A tokenizer's file in, what Whisper is told before an utterance and what its tokens say out.

A prompt is: words that came before or may come, if there are any, behind `<|startofprev|>`; then
the start, the language and the task, which an English-only model is not told; then that no
timestamps are wanted. Source: OpenAI Whisper `tokenizer.py`, `decoding.py`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tokenizers import Tokenizer

from server.recognition import ModelError

ENGLISH = "en"
MOST_CONTEXT_TOKENS = 200
"""Of the 448 positions of the decoder; the text needs the others."""
_LANGUAGE_TOKEN = re.compile(r"<\|[a-z]{2,3}\|>")


@dataclass(frozen=True, slots=True)
class WhisperVocabulary:
    """The special tokens of one model."""

    tokenizer: Tokenizer
    start: int
    before: int
    """Begins what came before."""
    no_timestamps: int
    transcribe: int | None
    """None: the model knows English only, and its prompt names neither task nor language."""
    languages: Mapping[str, int]
    """Their tokens, by ISO 639 code."""

    def decode(self, tokens: list[int]) -> str:
        """Text of some tokens, leading space kept."""
        return str(self.tokenizer.decode(tokens))

    def context_tokens(self, context: str | None) -> list[int]:
        """What stands before the start; the last tokens if it is too long."""
        words = " ".join((context or "").split())
        if not words:
            return []
        tokens: list[int] = self.tokenizer.encode(f" {words}", add_special_tokens=False).ids
        return [self.before, *tokens[-MOST_CONTEXT_TOKENS:]]

    def start_sequence(self, language: str | None) -> list[int]:
        """Whose words and what to do with them."""
        if self.transcribe is None:
            return [self.start]
        return [self.start, self.languages[language or ENGLISH], self.transcribe]

    def prompt(self, language: str | None) -> list[int]:
        """The tokens from the start up to the text."""
        return [*self.start_sequence(language), self.no_timestamps]


def open_vocabulary(tokenizer_json: memoryview, *, is_multilingual: bool) -> WhisperVocabulary:
    """Raises ModelError when the tokenizer is not Whisper's."""
    try:
        tokenizer = Tokenizer.from_buffer(bytes(tokenizer_json))
    except ValueError as error:
        raise ModelError("tokenizer.json is not a tokenizer") from error
    tokenizer.encode_special_tokens = True  # a client's `<|en|>` is text and no command
    start = tokenizer.token_to_id("<|startoftranscript|>")
    before = tokenizer.token_to_id("<|startofprev|>")
    no_timestamps = tokenizer.token_to_id("<|notimestamps|>")
    transcribe = tokenizer.token_to_id("<|transcribe|>") if is_multilingual else None
    if start is None or before is None or no_timestamps is None:
        raise ModelError("the tokenizer is not Whisper's")
    languages = {
        token.content[2:-2]: token_id
        for token_id, token in tokenizer.get_added_tokens_decoder().items()
        if _LANGUAGE_TOKEN.fullmatch(token.content) and (is_multilingual or "|en|" in token.content)
    }
    return WhisperVocabulary(tokenizer, start, before, no_timestamps, transcribe, languages)


def suppressed_tokens(config_json: memoryview) -> list[int]:
    """The model's own list; CTranslate2 finds it by itself only when it loads from a folder."""
    try:
        config = json.loads(bytes(config_json))
        return [int(token) for token in config["suppress_ids"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError("config.json does not describe a Whisper model") from error
