"""Captions on a terminal that is played here, and on an output that is none."""

import io
import re
from os import terminal_size

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.captions import LISTENING, Captions, Line, layout, wrap
from client.cells import cells_of, clean
from client.transcript import Channels, Segment, Transcript
from server import wire
from tests.client.fake_server import final, partial

_PIECE = re.compile(r"\x1b\[(\d*)([A-Za-z])|(.)", re.DOTALL)


class Screen(io.StringIO):
    """As much of a terminal as the captions use; knows its rows and which characters are dim."""

    def __init__(self, columns=40, lines=10):
        super().__init__()
        self.columns, self.lines = columns, lines
        self.rows = [""]
        self.dim_rows = [""]
        self.row = self.column = 0
        self.is_dim = False
        self.n_writes = 0

    def size(self):
        return terminal_size((self.columns, self.lines))

    def write(self, text):
        self.n_writes += 1
        for piece in _PIECE.finditer(text):
            if piece[2]:
                self._obey(piece[2], piece[1])
            else:
                self._put(piece[3])
        return len(text)

    def _obey(self, command, number):
        match command:
            case "A":
                self.row -= int(number)
                assert self.row >= 0
            case "K":
                self._cut_row()
            case "J":
                self._cut_row()
                del self.rows[self.row + 1 :], self.dim_rows[self.row + 1 :]
            case "m":
                self.is_dim = number == "2"

    def _cut_row(self):
        self.rows[self.row] = self.rows[self.row][: self.column]
        self.dim_rows[self.row] = self.dim_rows[self.row][: self.column]

    def _put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row, self.column = self.row + 1, 0
            if self.row == len(self.rows):
                self.rows.append("")
                self.dim_rows.append("")
        else:
            at, row, dim = self.column, self.rows[self.row], self.dim_rows[self.row]
            self.rows[self.row] = row[:at] + char + row[at + 1 :]
            self.dim_rows[self.row] = dim[:at] + ("d" if self.is_dim else " ") + dim[at + 1 :]
            self.column += 1
            assert self.column < self.columns


def played(*events, screen=None):
    screen = screen or Screen()
    transcript, captions = Transcript(), Captions(screen, is_terminal=True, size=screen.size)
    for event in events:
        transcript.receive_event(event)
        captions.show(transcript)
    return screen, captions, transcript


def test_settled_words_are_plain_and_the_tail_is_dim():
    screen, _, _ = played(partial(0, 0, "hello there", " world"))
    assert screen.rows == ["hello there world"]
    assert screen.dim_rows == ["           dddddd"]


def test_a_segment_without_words_shows_that_somebody_speaks():
    screen, _, _ = played(wire.SpeechStarted(0, 0))
    assert screen.rows == [LISTENING]
    assert screen.dim_rows == ["d"]


def test_captions_are_drawn_over_themselves():
    screen, _, _ = played(
        partial(0, 0, "", "a long guess that needs two lines of the screen"),
        partial(0, 1, "short"),
    )
    assert screen.rows == ["short"]


def test_a_final_takes_the_place_of_its_captions_and_the_next_follows_below():
    screen, _, _ = played(
        partial(0, 0, "hello", " word"), final(0, "Hello world."), partial(1, 0, "and")
    )
    assert screen.rows == ["Hello world.", "and"]


def test_settled_words_never_move():
    words = [f"word{n}" for n in range(30)]
    screen = Screen()
    transcript, captions = Transcript(), Captions(screen, is_terminal=True, size=screen.size)
    seen = []
    for n in range(1, 30):
        transcript.receive_event(
            partial(0, n, " ".join(words[:n]), " " + " ".join(words[n : n + 3]))
        )
        captions.show(transcript)
        seen.append(list(screen.rows))
    last_rows = seen[-1]
    for rows, n in zip(seen, range(1, 30), strict=True):
        stable = " ".join(words[:n])
        for row, last_row in zip(rows, last_rows, strict=False):
            kept = min(len(stable), len(row))
            assert row[:kept] == last_row[:kept]
            stable = stable[kept + 1 :]


def test_a_final_without_words_leaves_nothing():
    screen, _, _ = played(wire.SpeechStarted(0, 0), final(0, ""))
    assert screen.rows == [""]


def test_finals_wait_for_an_earlier_segment_that_is_still_open():
    events = [partial(0, 0, "one"), final(1, "two")]
    screen, captions, transcript = played(*events)
    assert screen.rows == ["one", "two"]
    transcript.receive_event(final(0, "One."))
    captions.show(transcript)
    assert screen.rows == ["One.", "two", ""]


def test_what_does_not_change_is_not_drawn_again():
    screen, captions, transcript = played(partial(0, 0, "hello"))
    n_writes = screen.n_writes
    captions.show(transcript)
    assert screen.n_writes == n_writes


def test_open_lines_never_outgrow_the_terminal():
    screen, captions, transcript = played(
        partial(0, 0, " ".join(f"word{n}" for n in range(40))), screen=Screen(columns=20, lines=4)
    )
    assert len(screen.rows) == 3
    transcript.receive_event(final(0, "short"))
    captions.show(transcript)
    assert screen.rows == ["short", ""]


def test_a_terminal_that_became_narrower_is_cleared_as_far_as_the_lines_reach():
    screen, captions, transcript = played(partial(0, 0, "thirty characters of words yes"))
    screen.columns = 16  # a terminal breaks the line into two rows and keeps the cursor on its end
    screen.rows, screen.row = [screen.rows[0][:16], screen.rows[0][16:]], 1
    screen.dim_rows = ["", ""]
    transcript.receive_event(partial(0, 1, "short"))
    captions.show(transcript)
    assert screen.rows == ["short"]


def test_closing_leaves_what_is_known_and_a_free_line():
    screen, captions, transcript = played(final(0, "Hello."), partial(1, 0, "and", " then"))
    captions.close(transcript)
    captions.close(transcript)
    assert screen.rows == ["Hello.", "and then", ""]


def test_without_a_terminal_there_are_only_finals_a_line_each():
    out = io.StringIO()
    transcript, captions = Transcript(), Captions(out, is_terminal=False)
    for event in (partial(0, 0, "a", "b"), final(0, "A b."), final(1, ""), partial(2, 0, "c")):
        transcript.receive_event(event)
        captions.show(transcript)
    transcript.receive_event(final(3, "D.\x1b[2J"))
    captions.show(transcript)
    assert out.getvalue() == "A b.\n"
    captions.close(transcript)
    assert out.getvalue() == "A b.\nD. [2J\n"


@pytest.mark.parametrize(
    ("text", "width_cells", "lines"),
    [
        ("", 10, [""]),
        ("one two", 7, ["one two"]),
        ("one two", 6, ["one", "two"]),
        ("one two three", 7, ["one two", "three"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a bcdefgh", 3, ["a", "bcd", "efg", "h"]),
        ("你好世界吗", 5, ["你好", "世界", "吗"]),
    ],
)
def test_lines_break_at_spaces_or_where_they_must(text, width_cells, lines):
    assert [text[start:end] for start, end in wrap(text, width_cells)] == lines


@given(st.text(alphabet="ab 世\u0301", max_size=60), st.integers(2, 12))
def test_no_line_is_too_wide_and_no_word_is_lost(text, width_cells):
    text = clean(text)
    lines = [text[start:end] for start, end in wrap(text, width_cells)]
    assert all(sum(map(cells_of, line)) <= width_cells for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_the_tail_may_begin_in_the_middle_of_a_line():
    segment = Segment(0, 0, 0, settled="one two", tail=" three four")
    assert layout(segment, 9) == [Line("one two", ""), Line("", "three"), Line("", "four")]
    assert layout(segment, 13) == [Line("one two", " three"), Line("", "four")]


def test_a_tail_without_a_space_goes_on_with_the_word():
    assert layout(Segment(0, 0, 0, settled="wait", tail="ing"), 20) == [Line("wait", "ing")]


@given(st.text(max_size=30), st.text(max_size=30), st.integers(2, 12))
def test_settled_text_is_the_same_whatever_its_tail(settled, tail, width_cells):
    lines = layout(Segment(0, 0, 0, settled=settled, tail=tail), width_cells)
    shown = "".join(line.settled for line in lines)
    assert shown.replace(" ", "") == clean(settled).replace(" ", "")


def test_channels_are_named_and_a_later_one_waits_for_an_earlier():
    left, right = Transcript(), Transcript()
    screen = Screen()
    both = Channels({"left": left, "right": right})
    captions = Captions(screen, is_terminal=True, size=screen.size)
    right.receive_event(wire.Final(0, 500, 900, "Yes?", "en", 0.9, []))
    left.receive_event(wire.Partial(0, 0, 100, 400, "hel", "lo"))
    captions.show(both)
    assert screen.rows == ["left: hello", "right: Yes?"]
    assert screen.dim_rows[0] == "         dd"
    left.receive_event(wire.Final(0, 100, 450, "Hello.", "en", 0.9, []))
    left.receive_event(wire.Final(1, 0, 50, "Late.", "en", 0.9, []))
    captions.show(both)
    left.receive_event(wire.Final(2, 0, 60, "Later.", "en", 0.9, []))
    captions.close(both)
    assert screen.rows == ["left: Late.", "left: Hello.", "right: Yes?", "left: Later.", ""]
