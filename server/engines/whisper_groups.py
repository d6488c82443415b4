"""A batch in, the groups in which CTranslate2 can decode it out.

The rows of one call share their number of beams, the position of `<|startoftranscript|>` (so the
number of context tokens) and the length of their audio. What was encoded at different lengths is
not joined afterwards: Whisper's decoder has no mask for audio and would attend to the zeros as to
speech, where silence that was encoded is silence. Each group costs the steps of a decoder, each
second of padding costs the encoder; for eight rows of 2 to 12 s anything from two to four groups
costs the same, and one or eight cost more (docs/recognition.md).
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from server.audio import SAMPLE_RATE_HZ
from server.recognition import Utterance

_MOST_WASTED_SAMPLES = 25 * SAMPLE_RATE_HZ
"""Padding that costs the encoder as much as a decoder of its own would."""


def groups_of(batch: Sequence[Utterance], contexts: Sequence[list[int]]) -> Iterator[list[int]]:
    """Indices of what can be decoded in one go, by likeness and then by length."""

    def likeness(index: int) -> tuple[bool, int]:
        return batch[index].is_final, len(contexts[index])

    def length(index: int) -> int:
        return batch[index].samples.size

    for _, alike in groupby(sorted(range(len(batch)), key=likeness), key=likeness):
        group: list[int] = []
        for index in sorted(alike, key=length):
            wasted = sum(length(index) - length(other) for other in group)
            if wasted > _MOST_WASTED_SAMPLES:
                yield group
                group = []
            group.append(index)
        yield group


def alignable(
    tokens: Sequence[list[int]], n_frames: Sequence[int], languages: Sequence[str | None]
) -> Iterator[list[int]]:
    """Indices of what can be aligned in one go: texts of one language.

    Where all frames are as many, CTranslate2 does not take the padding of shorter texts out before
    it normalises, so a row's times would depend on its neighbours: then texts of one length each.
    """
    is_padding_kept = len(set(n_frames)) == 1

    def likeness(index: int) -> tuple[str, int]:
        return languages[index] or "", len(tokens[index]) if is_padding_kept else 0

    spoken = [index for index, said in enumerate(tokens) if said]
    for _, alike in groupby(sorted(spoken, key=likeness), key=likeness):
        yield list(alike)
