"""Segments with words in; cues as they stand on a screen, and an SRT or WebVTT file, out.

A cue has at most two lines of 42 columns and seven seconds, and its times are those of its words; a
segment without words shares its time out by length. It ends early where a sentence does, once it
has stood for two seconds, or where the speaker paused. Two lines are broken behind punctuation if
that leaves them about even, otherwise in the middle. A cue that would flash up stays for a second,
as far as the next one of its channel lets it; cues of two channels stand together while both talk.
What could be taken for markup, or for the arrow of the next cue, is escaped, or replaced in SRT,
which has no way to escape.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from client.cells import clean, width_cells
from client.transcript import Segment

MOST_LINES = 2
MOST_LINE_CELLS = 42
MOST_CUE_MS = 7_000
LEAST_CUE_MS = 1_000
SENTENCE_CUE_MS = 2_000
"""From this long on a cue ends with its sentence."""
PAUSE_MS = 1_500
"""Between two words; the next begins a cue."""

_SENTENCE_ENDS = ".!?…。！？"  # noqa: RUF001 these are the Chinese ones
_CLAUSE_ENDS = _SENTENCE_ENDS + ",;:，；：、"  # noqa: RUF001
_CLAUSE_BONUS_CELLS = 12
"""How much less even two lines may be, to be broken behind punctuation."""


@dataclass(frozen=True, slots=True)
class Cue:
    """What stands on the screen for a while."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word, with the space behind it if there is one."""

    text: str
    start_ms: int
    end_ms: int


def cues_of(segments: Iterable[Segment]) -> list[Cue]:
    """By the time at which they begin; of each channel, none over another."""
    by_channel: dict[str | None, list[Cue]] = {}
    for segment in segments:
        cues = by_channel.setdefault(segment.channel, [])
        for pieces in _grouped(_pieces(segment), _lead(segment.channel)):
            start_ms = max(pieces[0].start_ms, cues[-1].end_ms if cues else 0)
            end_ms = max(max(piece.end_ms for piece in pieces), start_ms + 1)
            end_ms = min(end_ms, start_ms + MOST_CUE_MS)
            lines = _broken(pieces, _lead(segment.channel))
            cues.append(Cue(start_ms, end_ms, lines, segment.channel))
    every = [cue for cues in by_channel.values() for cue in _lasting(cues)]
    return sorted(every, key=lambda cue: cue.start_ms)


def encode_srt(cues: Iterable[Cue]) -> str:
    """A SubRip file; whose a cue is stands before its words."""
    blocks = [
        f"{number}\n{_time(cue.start_ms, ',')} --> {_time(cue.end_ms, ',')}\n"
        + (_label(cue.channel) + "\n".join(cue.lines)).replace("-->", "->")
        + "\n"
        for number, cue in enumerate(cues, 1)
    ]
    return "\n".join(blocks)


def encode_vtt(cues: Iterable[Cue]) -> str:
    """A WebVTT file; whose a cue is stands in its voice tag."""
    blocks = [
        f"{_time(cue.start_ms, '.')} --> {_time(cue.end_ms, '.')}\n"
        + ("" if cue.channel is None else f"<v {_escaped(clean(cue.channel))}>")
        + _escaped("\n".join(cue.lines))
        + "\n"
        for cue in cues
    ]
    return "\n".join(["WEBVTT\n", *blocks])


def _label(channel: str | None) -> str:
    return "" if channel is None else f"{clean(channel)}: "


def _lead(channel: str | None) -> int:
    """Columns of the first line that are taken already; a label takes half a line at most."""
    return min(width_cells(_label(channel)), MOST_LINE_CELLS // 2)


def _pieces(segment: Segment) -> list[_Piece]:
    """The text cut before each word that has a time."""
    text = segment.text
    starts: list[int] = []
    at = 0
    for word in segment.words:
        found = text.find(word.text, at)
        starts.append(max(found, at))
        at = starts[-1] + (len(word.text) if found >= 0 else 0)
    bounds = [0, *starts[1:], len(text)]
    timed = [
        _Piece(text[start:end], word.start_ms, word.end_ms)
        for word, start, end in zip(segment.words, bounds, bounds[1:], strict=False)
    ]
    return [short for piece in timed or [_whole(segment)] for short in _short(piece)]


def _whole(segment: Segment) -> _Piece:
    return _Piece(segment.text, segment.start_ms, segment.end_ms)


def _short(piece: _Piece) -> Iterator[_Piece]:
    """The same in words of at most half a line, its time shared out by length."""
    texts = list(_cut(clean(piece.text)))
    n_cells, before = max(width_cells("".join(texts)), 1), 0
    duration_ms = piece.end_ms - piece.start_ms
    for text in texts:
        after = before + width_cells(text)
        start_ms, end_ms = (piece.start_ms + duration_ms * at // n_cells for at in (before, after))
        is_last = text is texts[-1] and not piece.text[-1:].isspace()
        yield _Piece(text.rstrip() if is_last else text, start_ms, end_ms)
        before = after


def _cut(text: str) -> Iterator[str]:
    for word in text.split():
        part = ""
        for char in word:
            if width_cells(part + char) > MOST_LINE_CELLS // 2:
                yield part
                part = ""
            part += char
        yield f"{part} "


def _grouped(pieces: Sequence[_Piece], lead_cells: int) -> Iterator[list[_Piece]]:
    """Whatever stands together in a cue; none is empty."""
    group: list[_Piece] = []
    for piece in pieces:
        if group and (_ends_before(piece, group) or not _breaks([*group, piece], lead_cells)):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


def _ends_before(piece: _Piece, group: Sequence[_Piece]) -> bool:
    start_ms, end_ms = group[0].start_ms, group[-1].end_ms
    is_sentence = group[-1].text.rstrip().endswith(tuple(_SENTENCE_ENDS))
    return (
        piece.end_ms - start_ms > MOST_CUE_MS
        or piece.start_ms - end_ms >= PAUSE_MS
        or (is_sentence and end_ms - start_ms >= SENTENCE_CUE_MS)
    )


def _breaks(pieces: Sequence[_Piece], lead_cells: int) -> list[int]:
    """Before which pieces a second line could begin; len(pieces) stands for one line alone."""
    fits = []
    for at in range(1, len(pieces) + 1):
        first, second = (_line(part) for part in (pieces[:at], pieces[at:]))
        if lead_cells + width_cells(first) > MOST_LINE_CELLS:
            break
        if width_cells(second) <= MOST_LINE_CELLS:
            fits.append(at)
    return fits


def _broken(pieces: Sequence[_Piece], lead_cells: int) -> tuple[str, ...]:
    """One line, or two where they look best."""
    fits = _breaks(pieces, lead_cells)
    if not fits or fits[-1] == len(pieces):
        return (_line(pieces),)

    def unevenness(at: int) -> int:
        first, second = _line(pieces[:at]), _line(pieces[at:])
        is_clause = first.endswith(tuple(_CLAUSE_ENDS))
        uneven_cells = abs(lead_cells + width_cells(first) - width_cells(second))
        return uneven_cells - (_CLAUSE_BONUS_CELLS if is_clause else 0)

    best = min(fits, key=unevenness)
    return _line(pieces[:best]), _line(pieces[best:])


def _line(pieces: Sequence[_Piece]) -> str:
    return "".join(piece.text for piece in pieces).strip()


def _lasting(cues: Sequence[Cue]) -> Iterator[Cue]:
    """The same cues, the short ones a little longer."""
    for at, cue in enumerate(cues):
        limit_ms = cues[at + 1].start_ms if at + 1 < len(cues) else cue.start_ms + LEAST_CUE_MS
        end_ms = max(cue.end_ms, min(cue.start_ms + LEAST_CUE_MS, limit_ms))
        yield replace(cue, end_ms=end_ms)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(position_ms: int, point: str) -> str:
    seconds, ms = divmod(position_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
