"""A hypothesis and the length of its audio in, a verdict out: may anyone see this?

A recogniser that hears nothing tends to write something, and one whose audio ends where it did not
expect it tends to say the same thing again and again, or to stop too early. All of it shows in the
text and the length alone: more tokens than a mouth can say or far fewer, a tail that repeats, a
text that compresses too well. Source of the compression bound: OpenAI Whisper `transcribe.py`.
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from server.audio import SAMPLE_RATE_HZ, samples_from_ms
from server.recognition import Hypothesis, Word

_WORD = re.compile(r"[\w']+")
_LEAST_REPEATED_WORDS = 3
_FASTEST_WORDS_PER_S = 10.0


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Bounds a hypothesis has to keep."""

    tokens_per_s: float = 10.0
    """Fast speech is 5 words, about 7 tokens, a second."""
    spare_tokens: int = 8
    most_tokens: int = 224
    """Whisper writes no more at once."""
    sparse_tokens_per_s: float = 1.2
    sparse_from_ms: int = 6_000
    """Shorter stretches may well hold one word."""
    compression_ratio: float = 2.4
    no_speech_probability: float = 0.6
    least_mean_log_probability: float = -1.0


class Verdict(Enum):
    """What to do with a hypothesis."""

    FIT = "fit"
    SUSPECT = "suspect"
    """Says something twice at its end: people do, and so does a decoder that missed the end. Worth
    another decode with full context, which is then believed.
    """
    LOOPING = "looping"
    """Hardly what was said. Decode again with full context, then in halves, then cut the loop."""
    SPARSE = "sparse"
    """Far too few words for so long a stretch of speech: the decoder stopped early. Decode it in
    two halves.
    """
    SILENT = "silent"
    """Nothing was said."""


def token_budget(n_samples: int, settings: GuardSettings) -> int:
    """How many tokens can have been said in `n_samples`."""
    sayable = int(n_samples / SAMPLE_RATE_HZ * settings.tokens_per_s) + settings.spare_tokens
    return min(sayable, settings.most_tokens)


def judge(
    hypothesis: Hypothesis, n_tokens: int, n_samples: int, settings: GuardSettings
) -> Verdict:
    """`n_tokens` of text were decoded from `n_samples` of what a detector called speech."""
    if (
        hypothesis.no_speech_probability > settings.no_speech_probability
        and hypothesis.mean_log_probability < settings.least_mean_log_probability
    ):
        return Verdict.SILENT
    if not any(character.isalnum() for character in hypothesis.text):
        return Verdict.SILENT
    encoded = hypothesis.text.encode()
    is_cut_off = n_tokens >= token_budget(n_samples, settings)
    if is_cut_off or len(encoded) / len(zlib.compress(encoded)) > settings.compression_ratio:
        return Verdict.LOOPING
    is_long = n_samples >= samples_from_ms(settings.sparse_from_ms)
    if is_long and n_tokens < n_samples / SAMPLE_RATE_HZ * settings.sparse_tokens_per_s:
        return Verdict.SPARSE
    return Verdict.SUSPECT if _repeats_at_end(hypothesis.text) else Verdict.FIT


def without_repeats(text: str) -> str:
    """`text` up to where it begins to say again what it has just said, for three words or more."""
    words = list(_WORD.finditer(text))
    bare = [word.group().casefold() for word in words]
    for start in range(1, len(bare) - _LEAST_REPEATED_WORDS + 1):
        n_left = len(bare) - start
        for period in range(1, start + 1):
            if _same(bare[start:], bare[start - period : start - period + n_left]):
                return text[: words[start].start()].rstrip()
    return text


def without_unsaid_repeat(hypothesis: Hypothesis) -> Hypothesis | None:
    """A final that says something again and again at its end, without the times that took no time.

    The decoder that missed the end of the audio has no audio for what it says next. Aligned to the
    audio, what was said has lasted, and each other copy of it is squeezed into a moment. None when
    nothing is said again, when all of it has lasted, or when there are no word times.
    """
    words = hypothesis.words
    bare = [_bare(word.text) for word in words]
    for start in range(1, len(words)):
        for period in range(1, start + 1):
            if _same(bare[start:], bare[start - period : len(bare) - period]):
                first = start - period
                copies = [words[at : at + period] for at in range(first, len(words), period)]
                return _with_lasting(hypothesis, words[:first], copies)
    return None


def _with_lasting(
    hypothesis: Hypothesis, head: tuple[Word, ...], copies: list[tuple[Word, ...]]
) -> Hypothesis | None:
    kept = [copy for copy in copies if len(copy) <= _lasting_s(copy) * _FASTEST_WORDS_PER_S]
    if len(kept) == len(copies):
        return None
    words = sum(kept or [max(copies, key=_lasting_s)], start=head)
    text = "".join(word.text if word.is_joined else f" {word.text}" for word in words)
    return replace(hypothesis, text=text.strip(), words=words)


def _lasting_s(words: tuple[Word, ...]) -> float:
    return (words[-1].end_sample - words[0].start_sample) / SAMPLE_RATE_HZ


def without_loop(hypothesis: Hypothesis) -> Hypothesis:
    """Up to where it begins to say itself again."""
    text = without_repeats(hypothesis.text)
    return replace(hypothesis, text=text, words=tuple(_words_in(hypothesis, text)))


def _words_in(hypothesis: Hypothesis, text: str) -> Iterator[Word]:
    """Those that make up `text`, which it begins with; the last may be cut short."""
    n_characters = 0
    for word in hypothesis.words:
        n_characters += not word.is_joined and n_characters > 0
        if n_characters >= len(text):
            return
        yield replace(word, text=text[n_characters:][: len(word.text)])
        n_characters += len(word.text)


def _repeats_at_end(text: str) -> bool:
    """Whether the last words, three at least, were just said: a period of its own, twice over."""
    bare = [word.group().casefold() for word in _WORD.finditer(text)]
    for period in range(1, len(bare) // 2 + 1):
        n_repeated = max(period, _LEAST_REPEATED_WORDS)
        start = len(bare) - n_repeated
        if start >= period and _same(bare[start:], bare[start - period : len(bare) - period]):
            return True
    return False


def _bare(text: str) -> str:
    return "".join(_WORD.findall(text)).casefold()


def _same(tail: list[str], before: list[str]) -> bool:
    """Whether two runs of words agree; the last may be cut short, as a token budget does."""
    return tail[:-1] == before[:-1] and before[-1].startswith(tail[-1])
