"""Tokens with times and probabilities in, words out.

A token is not a word and, in many scripts, not even a character: pieces are tokens joined until
they decode to whole characters. A piece that begins with a space begins a word; one without
continues it, except in scripts that write no spaces, where each piece stands alone. Punctuation
belongs to the word before it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from server.languages import word_separator
from server.recognition import Word

_REPLACEMENT = "�"
_MOST_TOKENS_HELD = 8
"""For the rest of a character; then it was none."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The smallest run of tokens that decodes to whole characters."""

    text: str
    start_sample: int
    end_sample: int
    probability: float


@dataclass(frozen=True, slots=True)
class TimedText:
    """Some characters and where in the audio they are said."""

    text: str
    start_sample: int
    end_sample: int

    def characters(self) -> "list[TimedText]":
        """One by one, each as long as the others."""
        n_samples, n = self.end_sample - self.start_sample, len(self.text)
        bounds = [self.start_sample + n_samples * index // n for index in range(n + 1)]
        return [
            TimedText(character, start, end)
            for character, start, end in zip(self.text, bounds, bounds[1:], strict=False)
        ]


def join_pieces(
    tokens: Sequence[int],
    starts_samples: Sequence[int],
    probabilities: Sequence[float],
    decode: Callable[[list[int]], str],
) -> list[Piece]:
    """`starts_samples` has one entry more than `tokens`: where the last one ends."""
    pieces: list[Piece] = []
    held: list[int] = []
    for index, token in enumerate(tokens):
        held.append(token)
        text = decode(held)
        is_partial = _REPLACEMENT in text and len(held) < _MOST_TOKENS_HELD
        if is_partial and index + 1 < len(tokens):
            continue
        first = index + 1 - len(held)
        least = min(probabilities[first : index + 1])
        pieces.append(Piece(text, starts_samples[first], starts_samples[index + 1], least))
        held = []
    return pieces


def group_words(pieces: Sequence[Piece], language: str | None) -> tuple[Word, ...]:
    """Words in order; a word is as sure as its least sure piece."""
    stands_alone = not word_separator(language)
    groups: list[list[Piece]] = []
    for piece in pieces:
        begins = not groups or piece.text.startswith(" ") or stands_alone
        is_punctuation = not any(character.isalnum() for character in piece.text)
        if begins and not (is_punctuation and groups):
            groups.append([piece])
        else:
            groups[-1].append(piece)
    return tuple(_word(group) for group in groups if "".join(p.text for p in group).strip())


def with_estimated_times(words: Sequence[Word], n_samples: int) -> tuple[Word, ...]:
    """Spread over the audio, each for as long as it is written."""
    lengths = [len(word.text) + 1 for word in words]
    ends = [n_samples * end // sum(lengths) for end in accumulate(lengths)]
    return tuple(
        replace(word, start_sample=start, end_sample=end)
        for word, start, end in zip(words, [0, *ends], ends, strict=False)
    )


def with_times_of(words: Sequence[Word], spans: Sequence[TimedText]) -> tuple[Word, ...]:
    """Each from where its first character lies to where its last one does.

    `spans` are the same text cut elsewhere, without some of its characters.
    """
    characters = [character for span in spans for character in span.characters()]
    timed: list[Word] = []
    at, now_sample = 0, 0
    for word in words:
        first = at
        for character in word.text:
            if at < len(characters) and characters[at].text == character:
                at += 1
        if at > first:
            begins, now_sample = characters[first].start_sample, characters[at - 1].end_sample
        else:
            begins = now_sample
        timed.append(replace(word, start_sample=begins, end_sample=now_sample))
    return tuple(timed)


def _word(group: list[Piece]) -> Word:
    text = "".join(piece.text for piece in group)
    said = [
        piece for piece in group if any(character.isalnum() for character in piece.text)
    ] or group
    return Word(
        text=text.strip(),
        start_sample=said[0].start_sample,
        end_sample=said[-1].end_sample,
        probability=min(piece.probability for piece in said),
        is_joined=not text.startswith(" "),
    )
