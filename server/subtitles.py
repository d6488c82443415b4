"""Finals in; cues out, and the text of an SRT or WebVTT file.

A cue holds at most two lines of 42 characters and seven seconds, as subtitles on a screen do, ends
where its final ends, and begins no sooner than the one before it ends. Its times are those of its
words; of a final without words they are shared out by length. What could be taken for markup or for
the arrow of the next cue is escaped, where the format has a way to, and replaced where it has none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from server.wire import Final

MOST_LINES = 2
MOST_LINE_CHARS = 42
MOST_CUE_MS = 7_000


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen for a while."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word with whatever stands before and behind it in the text."""

    text: str
    start_ms: int
    end_ms: int


def cues_of(finals: Iterable[Final]) -> list[Cue]:
    """In order, none empty, none over another."""
    cues: list[Cue] = []
    for final in finals:
        for pieces in _grouped(_pieces(final)):
            start_ms = max(pieces[0].start_ms, cues[-1].end_ms if cues else 0)
            end_ms = max(max(piece.end_ms for piece in pieces), start_ms + 1)
            if lines := _wrapped(piece.text for piece in pieces):
                cues.append(Cue(start_ms, end_ms, tuple(lines)))
    return cues


def encode_srt(cues: Iterable[Cue]) -> str:
    """A SubRip file."""
    blocks = [
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines).replace("-->", "->")
        + "\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def encode_vtt(cues: Iterable[Cue]) -> str:
    """A WebVTT file."""
    blocks = [
        f"{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n"
        + _escaped("\n".join(cue.lines))
        + "\n"
        for cue in cues
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _pieces(final: Final) -> list[_Piece]:
    """The text cut before each word that has a time."""
    starts: list[int] = []
    at = 0
    for word in final.words:
        found = final.text.find(word.text, at)
        starts.append(found if found >= 0 else at)
        at = starts[-1] + (len(word.text) if found >= 0 else 0)
    if not starts:
        return _shared_out(final)
    bounds = [0, *starts[1:], len(final.text)]
    return [
        _Piece(piece, word.start_ms, word.end_ms)
        for word, start, end in zip(final.words, bounds, bounds[1:], strict=False)
        for piece in _short(_printable(final.text[start:end]))
    ]


def _shared_out(final: Final) -> list[_Piece]:
    texts = [piece for word in final.text.split() for piece in _short(_printable(f"{word} "))]
    n_chars = sum(len(text) for text in texts)
    pieces: list[_Piece] = []
    before = 0
    for text in texts:
        after = before + len(text)
        start_ms, end_ms = (
            final.start_ms + (final.end_ms - final.start_ms) * at // n_chars
            for at in (before, after)
        )
        pieces.append(_Piece(text, start_ms, end_ms))
        before = after
    return pieces


def _printable(text: str) -> str:
    """Without line ends, which would end the cue, and other controls."""
    return "".join(char if char.isprintable() else " " for char in text)


def _short(text: str) -> Iterator[str]:
    for start in range(0, len(text), MOST_LINE_CHARS):
        yield text[start : start + MOST_LINE_CHARS]


def _grouped(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    """Whatever fits into one cue; none is empty."""
    group = pieces[:1]
    for piece in pieces[1:]:
        more = [*group, piece]
        is_long = piece.end_ms - more[0].start_ms > MOST_CUE_MS
        if is_long or len(_wrapped(p.text for p in more)) > MOST_LINES:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _wrapped(texts: Iterable[str]) -> list[str]:
    """Lines, each as full as it can be."""
    lines = [""]
    for text in texts:
        if len((lines[-1] + text).strip()) > MOST_LINE_CHARS:
            lines.append("")
        lines[-1] += text
    return [stripped for line in lines if (stripped := " ".join(line.split()))]


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(position_ms: int, point: str) -> str:
    seconds, ms = divmod(position_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
