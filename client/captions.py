"""A growing transcript in, captions in a terminal out: what is settled stands, the tail is dim.

Finals are written once and scroll away like any output. Below them stand the segments that are
still open, and only these few lines are drawn again, over themselves: lines are broken from the
start of a segment, so that settled words never move, and each is overwritten before the rest of
its row is cleared, so that nothing blinks. Where the output is no terminal only finals are
written, a line each. Text is cleaned of control characters: a model's words must not steer a
terminal.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import terminal_size
from typing import TextIO

from client.cells import cells_of, clean
from client.transcript import Segment, Segments

LISTENING = "…"
"""Stands for a segment in which no word is known yet."""

_DIM, _PLAIN = "\x1b[2m", "\x1b[22m"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


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


class Unprinted:
    """Knows which segments have been written for good. Each is taken once, in order."""

    def __init__(self) -> None:
        self._printed: set[tuple[str | None, int]] = set()
        """By channel and number: of two channels, the earlier segment may be heard of later."""

    def take(self, transcript: Segments) -> tuple[list[Segment], list[Segment]]:
        """Segments that are final, up to the first that is not; and from there all others."""
        pending = self._pending(transcript)
        n_done = next(
            (at for at, segment in enumerate(pending) if not segment.is_final), len(pending)
        )
        self._printed.update(segment.key for segment in pending[:n_done])
        return pending[:n_done], pending[n_done:]

    def take_rest(self, transcript: Segments) -> list[Segment]:
        """All that are left, as they are."""
        pending = self._pending(transcript)
        self._printed.update(segment.key for segment in pending)
        return pending

    def _pending(self, transcript: Segments) -> list[Segment]:
        return [segment for segment in transcript.segments if segment.key not in self._printed]


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
        self._unprinted = Unprinted()
        self._live: tuple[Line, ...] = ()

    def show(self, transcript: Segments) -> None:
        """Bring the output up to date."""
        done, still_open = self._unprinted.take(transcript)
        if self._is_terminal:
            self._redraw(done, still_open)
        else:
            self._print_finals(done)

    def make_way(self) -> None:
        """Take away the open lines, until `show`: another line goes where they stand."""
        if self._is_terminal:
            self._out.write(self._to_first_row(self._size()) + _CLEAR_BELOW)
            self._out.flush()
            self._live = ()

    def close(self, transcript: Segments) -> None:
        """Leave what is known and end the last line; the cursor is free again."""
        self.show(transcript)
        rest = self._unprinted.take_rest(transcript)
        if self._is_terminal:
            self._redraw(rest, ())
        else:
            self._print_finals([segment for segment in rest if segment.is_final])

    def _print_finals(self, segments: Sequence[Segment]) -> None:
        for segment in segments:
            text = clean(segment.text)
            if text:
                self._out.write(f"{segment.label}{text}\n")
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
    if not text:
        return []
    tail_at = len(segment.label) + len(
        clean(segment.settled)
    )  # cleaned text begins with its beginning
    text = segment.label + text
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
