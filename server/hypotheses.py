"""Successive hypotheses of one open segment in, a caption out: stable text that only grows, and a
tail.

LocalAgreement-2: what two hypotheses in a row agree on, from the beginning, is stable. Words are
compared without case and punctuation, which a model changes most; the spelling that is shown is
the one first agreed on. A later hypothesis that contradicts the stable text changes only the tail:
nothing a reader has read as settled moves. Source: Macháček et al., "Turning Whisper into
Real-Time Transcription System", arXiv 2307.14743.
"""

import re
from dataclasses import dataclass

_CJK = "぀-ヿ㐀-䶿一-鿿豈-﫿"
_UNIT = re.compile(rf"\s*(?:[{_CJK}]|[^\s{_CJK}]+)")
"""A word with the space before it, or one character of a script that writes no spaces."""
_MARKS = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True)
class Caption:
    """`stable + unstable` is the whole text; the space between them belongs to `unstable`."""

    stable: str
    unstable: str


class LocalAgreement:
    """One for each segment."""

    def __init__(self) -> None:
        self._stable: list[str] = []
        self._previous: list[str] = []

    def receive_text(self, text: str) -> Caption:
        """Take the next hypothesis."""
        units = _UNIT.findall(text)
        n_agreed = 0
        for before, now in zip(self._previous, units, strict=False):
            if _bare(before) != _bare(now):
                break
            n_agreed += 1
        if n_agreed > len(self._stable):
            self._stable += units[len(self._stable) : n_agreed]
        self._previous = units
        return Caption("".join(self._stable), "".join(units[len(self._stable) :]))


def _bare(unit: str) -> str:
    return _MARKS.sub("", unit).casefold()
