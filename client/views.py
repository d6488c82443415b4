"""Where the output goes in; what shows it while it grows out.

Captions stand where the words go. Where those go into a file or a pipe, a terminal on standard
error shows how far it is instead. With rich (the extra `terminal`) a terminal has both at once.
"""

import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TextIO

from client.captions import Captions
from client.progress import Progress
from client.transcript import Segments


class View(Protocol):
    """Shows a transcript that grows. `show` after every event, `close` at the end."""

    def show(self, transcript: Segments) -> None:
        """Bring the output up to date."""

    def make_way(self) -> None:
        """Take away what is drawn over and over; the cursor stands where a line can be written."""

    def close(self, transcript: Segments) -> None:
        """Leave what is known."""


class ProgressLine:
    """How far a file is, on a terminal without rich."""

    def __init__(self, out: TextIO, progress: Progress) -> None:
        self._out = out
        self._progress = progress
        self._shown = ""

    def show(self, transcript: Segments) -> None:
        """Bring the line up to date."""
        line = self._progress.line()
        if line != self._shown:
            self._shown = line
            self._write(line)

    def make_way(self) -> None:
        """Take the line away."""
        self._shown = ""
        self._write("")

    def close(self, transcript: Segments) -> None:
        """Take the line away."""
        self._write("")

    def _write(self, line: str) -> None:
        self._out.write(f"\r{line}\x1b[K")
        self._out.flush()


def announce(text: str, out: TextIO, views: list[View], transcript: Segments) -> None:
    """A line on `out`, above what is drawn on the same terminal."""
    for view in views:
        view.make_way()
    out.write(f"{text}\n")
    out.flush()
    for view in views:
        view.show(transcript)


@contextmanager
def shown(views: list[View], transcript: Segments) -> Iterator[None]:
    """Closes them in the end."""
    try:
        yield
    finally:
        for view in views:
            view.close(transcript)


def choose_views(
    captions_out: TextIO | None,
    progress_out: TextIO | None,
    progress: Progress,
    environment: Mapping[str, str] = os.environ,
) -> list[View]:
    """What shows a session, on up to two outputs; None where nothing is to be shown."""
    views: list[View] = []
    is_smart = environment.get("TERM") != "dumb"
    has_rich = importlib.util.find_spec("rich") is not None
    if captions_out is not None:
        is_terminal = captions_out.isatty() and is_smart
        if is_terminal and has_rich:
            return [_rich_view(captions_out, progress, has_captions=True)]
        views.append(Captions(captions_out, is_terminal=is_terminal))
        if is_terminal:
            return views
    if progress_out is not None and progress_out.isatty() and is_smart:
        if has_rich:
            views.append(_rich_view(progress_out, progress, has_captions=False))
        else:
            views.append(ProgressLine(progress_out, progress))
    return views


def _rich_view(out: TextIO, progress: Progress, *, has_captions: bool) -> View:
    from client.terminal import RichView

    return RichView(out, progress, has_captions=has_captions)
