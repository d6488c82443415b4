"""Text in; the same text safe to show on one line, and the columns it takes, out.

Text is cleaned of control characters: a model's words must not steer a terminal, nor end a line of
a subtitle file. A column is what a fixed-width font gives a Latin letter; East Asian characters
take two, marks that combine none.
"""

import unicodedata

_JOINERS = "\u200c\u200d"
"""Format characters that words are written with (Persian, Hindi); all others are taken out."""


def clean(text: str) -> str:
    """One line without control characters, direction overrides or double spaces."""
    kept = (char if char.isprintable() or char in _JOINERS else " " for char in text)
    return " ".join("".join(kept).split())


def cells_of(char: str) -> int:
    """Columns that a character takes in a terminal."""
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def width_cells(text: str) -> int:
    """Columns that a line takes."""
    return sum(cells_of(char) for char in text)
