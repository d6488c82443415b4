"""A growing transcript in, captions in a terminal out: what is settled stands, the tail is dim.

Finals are written once and scroll away like any output. Below them stand the segments that are
still open, and only these few lines are drawn again, over themselves: lines are broken from the
start of a segment, so that settled words never move, and each is overwritten before the rest of
its row is cleared, so that nothing blinks. Where the output is no terminal only finals are
written, a line each. Text is cleaned of control characters: a model's words must not steer a
terminal.
"""

import shutil
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import terminal_size
from typing import TextIO

from client.transcript import Segment, Transcript

LISTENING = "…"
"""Stands for a segment in which no word is known yet."""

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"
_JOINERS = "\u200c\u200d"
"""Format characters that words are written with (Persian, Hindi); all others are taken out."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a segment as it is drawn."""

    settled: str
    tail: str

    @property
    def cells(self) -> int:
        """Its width."""
        return sum(cells_of(char) for char in self.settled + self.tail)

    @property
    def ansi(self) -> str:
        """The line with its tail dimmed."""
        return self.settled + (f"{_DIM}{self.tail}{_PLAIN}" if self.tail else "")


class Captions:
    """Draws one transcript. `show` after every event, `close` at the end."""

    def __init__(
        self,
        out: TextIO,
        *,
        is_terminal: bool,
        size: Callable[[], terminal_size] = shutil.get_terminal_size,
    ) -> None:
        self._out = out
        self._is_terminal = is_terminal
        self._size = size
        self._n_printed_segments = 0
        self._live: tuple[Line, ...] = ()

    def show(self, transcript: Transcript) -> None:
        """Bring the output up to date."""
        pending = transcript.segments[self._n_printed_segments :]
        n_done = next(
            (at for at, segment in enumerate(pending) if not segment.is_final), len(pending)
        )
        self._n_printed_segments += n_done
        done, still_open = pending[:n_done], pending[n_done:]
        if self._is_terminal:
            self._redraw(done, still_open)
        else:
            self._print_finals(done)

    def close(self, transcript: Transcript) -> None:
        """Leave what is known and end the last line; the cursor is free again."""
        self.show(transcript)
        pending = transcript.segments[self._n_printed_segments :]
        self._n_printed_segments += len(pending)
        if self._is_terminal:
            self._redraw(pending, ())
        else:
            self._print_finals([segment for segment in pending if segment.is_final])

    def _print_finals(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            text = clean(segment.text)
            if text:
                self._out.write(f"{text}\n")
        self._out.flush()

    def _redraw(self, done: Sequence[Segment], still_open: Sequence[Segment]) -> None:
        size = self._size()
        width_cells = max(size.columns - 1, 2)  # the last column wraps differently everywhere
        finished = [line for segment in done for line in layout(segment, width_cells)]
        live = [line for segment in still_open for line in layout(segment, width_cells)]
        live = live[-max(size.lines - 1, 1) :]
        if not finished and tuple(live) == self._live:
            return
        self._out.write(
            self._to_first_row(size)
            + "".join(f"{line.ansi}{_CLEAR_LINE}\n" for line in finished)
            + f"{_CLEAR_LINE}\n".join(line.ansi for line in live)
            + _CLEAR_BELOW
        )
        self._out.flush()
        self._live = tuple(live)

    def _to_first_row(self, size: terminal_size) -> str:
        """Moves to where the live lines begin, also after the terminal has become narrower."""
        rows = sum(max(1, -(-line.cells // max(size.columns, 1))) for line in self._live)
        up = min(rows, size.lines) - 1
        return f"\r\x1b[{up}A" if up > 0 else "\r"


def layout(segment: Segment, width_cells: int) -> list[Line]:
    """The lines of a segment, broken at spaces where it has any; none for an empty final."""
    text = clean(segment.text) or ("" if segment.is_final else LISTENING)
    tail_at = len(clean(segment.settled))  # what is cleaned begins with its cleaned beginning
    if not text:
        return []
    lines = []
    for start, end in wrap(text, width_cells):
        middle = max(start, min(tail_at, end))
        lines.append(Line(text[start:middle], text[middle:end]))
    return lines


def wrap(text: str, width_cells: int) -> list[tuple[int, int]]:
    """Where the lines of a text start and end; the space at a break belongs to no line."""
    lines: list[tuple[int, int]] = []
    start = used = 0
    break_at: tuple[int, int] | None = None
    for at, char in enumerate(text):
        if used + cells_of(char) > width_cells and at > start:
            end, following = _break(char, at, break_at)
            lines.append((start, end))
            start, break_at = following, None
            used = sum(cells_of(kept) for kept in text[start:at])
            if char == " ":
                continue
        if char == " ":
            break_at = (at, at + 1)
        elif cells_of(char) == 2:
            break_at = (at + 1, at + 1)
        used += cells_of(char)
    lines.append((start, len(text)))
    return lines


def _break(char: str, at: int, break_at: tuple[int, int] | None) -> tuple[int, int]:
    """Where a line ends and the next begins when `char` does not fit any more."""
    if char == " ":
        return at, at + 1
    return (at, at) if break_at is None or cells_of(char) == 2 else break_at


def clean(text: str) -> str:
    """One line without control characters, direction overrides or double spaces."""
    kept = (char if char.isprintable() or char in _JOINERS else " " for char in text)
    return " ".join("".join(kept).split())


def cells_of(char: str) -> int:
    """Columns that a character takes in a terminal."""
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1
