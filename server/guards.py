"""A hypothesis and the length of its audio in, a verdict out: may anyone see this?

A recogniser that hears nothing tends to write something, and one whose audio ends where it did not
expect it tends to say the same thing again and again, or to stop too early. All of it shows in the
text and the length alone: more tokens than a mouth can say or far fewer, a tail that repeats, a
text that compresses too well. Source of the compression bound: OpenAI Whisper `transcribe.py`.
"""

import re
import zlib
from dataclasses import dataclass
from enum import Enum

from server.audio import SAMPLE_RATE_HZ, samples_from_ms
from server.recognition import Hypothesis

_NOT_LETTERS = re.compile(r"[^\w']+")
_LEAST_REPEATED_WORDS = 3


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Bounds a hypothesis has to keep."""

    tokens_per_s: float = 10.0
    """Fast speech is 5 words, about 7 tokens, a second."""
    spare_tokens: int = 8
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
    """No mouth says this. Decode again with full context; if it still loops, nothing was heard."""
    SPARSE = "sparse"
    """Far too few words for so long a stretch of speech: the decoder stopped early. Decode it in
    two halves.
    """
    SILENT = "silent"
    """Nothing was said."""


def token_budget(n_samples: int, settings: GuardSettings) -> int:
    """How many tokens can have been said in `n_samples`."""
    return int(n_samples / SAMPLE_RATE_HZ * settings.tokens_per_s) + settings.spare_tokens


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


def _repeats_at_end(text: str) -> bool:
    """Whether the last words, three at least, were just said: the text ends with a period of its
    own twice over.

    The second time may be cut short in its last word, as a token budget does.
    """
    words = _NOT_LETTERS.sub(" ", text.casefold()).split()
    for n_words in range(1, len(words) // 2 + 1):
        n_repeated = max(n_words, _LEAST_REPEATED_WORDS)
        if len(words) < n_words + n_repeated:
            continue
        # A periodic tail equals itself moved by one period.
        tail, moved = words[-n_repeated:], words[-n_repeated - n_words : -n_words]
        if tail[:-1] == moved[:-1] and moved[-1].startswith(tail[-1]):
            return True
    return False
