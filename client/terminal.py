"""A transcript and its progress in; both on a terminal, by rich, out.

As in client.captions, finals scroll away and only what is open is drawn again, its lines broken
from the start of a segment, so that settled words never move. Below stands how far the file is, or
how long the microphone has been listened to. The import of rich is the extra `terminal`.
"""

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from client.captions import Line, Unprinted, layout
from client.progress import Progress, spell_time
from client.transcript import Segment, Segments

REFRESHES_PER_S = 4
LABEL_STYLES = ("bold cyan", "bold magenta")


class RichView:
    """Captions, if they are wanted, over a line of progress."""

    def __init__(self, out: TextIO, progress: Progress, *, has_captions: bool) -> None:
        self._progress = progress
        self._has_captions = has_captions
        self._unprinted = Unprinted()
        self._open: tuple[Text, ...] = ()
        self._labels: list[str] = []
        self._console = Console(file=out, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def show(self, transcript: Segments) -> None:
        """Bring the terminal up to date."""
        self._live.start()  # nothing, unless it had to make way
        if self._has_captions:
            done, still_open = self._unprinted.take(transcript)
            most_lines = max(self._console.height - 2, 1)
            self._open = tuple(self._texts(still_open)[-most_lines:])  # before what is done stands
            self._print(done)
        self._live.refresh()

    def make_way(self) -> None:
        """Take the open lines and the bar away, until `show`."""
        self._live.stop()

    def close(self, transcript: Segments) -> None:
        """Leave what is known; the bar goes."""
        if self._has_captions:
            self._open = ()
            self._print(self._unprinted.take_rest(transcript))
        self._live.stop()

    def _print(self, segments: Sequence[Segment]) -> None:
        for text in self._texts(segments):
            self._console.print(text, no_wrap=True, overflow="ignore", crop=False)

    def _texts(self, segments: Sequence[Segment]) -> list[Text]:
        width_cells = max(self._console.width - 1, 2)
        return [
            self._text(line, segment.label if at == 0 else "")
            for segment in segments
            for at, line in enumerate(layout(segment, width_cells))
        ]

    def _text(self, line: Line, label: str) -> Text:
        text = Text(line.settled)
        text.append(line.tail, "dim")
        if label:
            if label not in self._labels:
                self._labels.append(label)
            style = LABEL_STYLES[self._labels.index(label) % len(LABEL_STYLES)]
            text.stylize(style, 0, len(label))
        return text

    def _render(self) -> RenderableType:
        return Group(*self._open, self._status())

    def _status(self) -> RenderableType:
        progress = self._progress
        share = progress.share
        if share is None:
            return Text(f"● {progress.name}  {spell_time(progress.elapsed_s)}", "dim")
        row = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=share, width=24)
        row.add_row(Text(progress.name), bar, Text(f"{share:4.0%}{progress.spell_left()}"))
        return row
