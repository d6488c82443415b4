"""What is shown where, with rich and without."""

import importlib.util
import io
import re
from os import terminal_size

import pytest

from client import views
from client.captions import Captions
from client.progress import Progress
from client.transcript import Channels, Transcript
from client.views import ProgressLine, announce, choose_views, shown
from server import wire
from tests.client.fake_server import final, partial, said
from tests.fakes import ManualClock

RICH = pytest.mark.skipif(importlib.util.find_spec("rich") is None, reason="needs rich")
TERM = {"TERM": "xterm"}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(audio_ms=10_000):
    return Progress("a.wav", audio_ms, 1, is_real_time=False, clock=ManualClock())


@pytest.fixture
def no_rich(monkeypatch):
    monkeypatch.setattr(views.importlib.util, "find_spec", lambda name: None)


def kinds(captions_out, progress_out, environment=TERM):
    made = choose_views(captions_out, progress_out, progress(), environment)
    with shown(made, Transcript()):
        return [type(view).__name__ for view in made]


@RICH
def test_a_terminal_with_rich_has_captions_over_a_bar():
    assert kinds(Terminal(), Terminal()) == ["RichView"]
    assert kinds(None, Terminal()) == ["RichView"]
    assert kinds(io.StringIO(), Terminal()) == ["Captions", "RichView"]


def test_without_rich_it_has_captions_or_a_bar(no_rich):
    assert kinds(Terminal(), Terminal()) == ["Captions"]
    assert kinds(None, Terminal()) == ["ProgressLine"]
    assert kinds(io.StringIO(), Terminal()) == ["Captions", "ProgressLine"]


def test_what_is_no_terminal_is_not_drawn_on():
    assert kinds(io.StringIO(), io.StringIO()) == ["Captions"]
    assert kinds(Terminal(), Terminal(), {"TERM": "dumb"}) == ["Captions"]
    assert kinds(None, io.StringIO()) == []
    assert kinds(None, None) == []


def test_captions_on_a_dumb_terminal_are_lines(no_rich):
    out = Terminal()
    [view] = choose_views(out, None, progress(), {"TERM": "dumb"})
    assert isinstance(view, Captions)
    transcript = Transcript()
    transcript.receive_event(final(0, "Hello."))
    view.show(transcript)
    assert out.getvalue() == "Hello.\n"


def test_a_progress_line_is_drawn_when_it_changes_and_goes_in_the_end():
    out, at = Terminal(), progress()
    line = ProgressLine(out, at)
    with shown([line], Transcript()):
        line.show(Transcript())
        length = len(out.getvalue())
        line.show(Transcript())
        assert len(out.getvalue()) == length
        at.receive_event(None, wire.SpeechEnded(0, 5000))
        line.show(Transcript())
    assert "50%" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[K")


def rows(out):
    """What was written, without the steering of the terminal."""
    text = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", out.getvalue())
    return [row.strip() for row in re.split(r"[\r\n]", text) if row.strip()]


@RICH
def test_rich_shows_captions_dim_where_they_may_change_and_a_bar():
    out, at, transcript = Terminal(), progress(), Transcript()
    [view] = choose_views(out, None, at, TERM)
    with shown([view], transcript):
        for event in (partial(0, 0, "hello", " wor"), wire.SpeechEnded(0, 5000)):
            transcript.receive_event(event)
            at.receive_event(None, event)
            view.show(transcript)
        assert "hello" in out.getvalue()
        assert "\x1b[2m wor\x1b[0m" in out.getvalue()
        assert any("a.wav" in row and "50%" in row for row in rows(out))
        transcript.receive_event(final(0, "Hello [bold]world[/]."))
        view.show(transcript)
        transcript.receive_event(partial(1, 0, "and"))
    assert "Hello [bold]world[/]." in rows(out)
    assert "and" in rows(out)


@RICH
def test_rich_names_channels_and_tells_how_long_a_microphone_was_heard():
    out = Terminal()
    left, right = Transcript(), Transcript()
    both = Channels({"left": left, "right": right})
    [view] = choose_views(out, None, progress(audio_ms=0), TERM)
    with shown([view], both):
        left.receive_event(said(0, 0, 100, "Hello."))
        right.receive_event(said(0, 50, 100, "Hi!"))
        view.show(both)
    assert "\x1b[1;36mleft: \x1b[0mHello." in out.getvalue()
    assert "\x1b[1;35mright: \x1b[0mHi!" in out.getvalue()
    assert any("0:00" in row for row in rows(out))


@RICH
def test_rich_without_captions_shows_the_bar_alone():
    out, transcript = Terminal(), Transcript()
    [view] = choose_views(None, out, progress(), TERM)
    with shown([view], transcript):
        transcript.receive_event(final(0, "Hello."))
        view.show(transcript)
    assert "Hello" not in out.getvalue()
    assert "a.wav" in out.getvalue()


def told_between(out, views_of):
    """What a terminal got: an open caption, a line, and the caption again."""
    transcript = Transcript()
    transcript.receive_event(partial(0, 0, "hello", " there"))
    views = views_of(out)
    with shown(views, Channels({None: transcript})):
        for view in views:
            view.show(transcript)
        before_it = out.tell()
        announce("Connected again.", out, views, transcript)
    return out.getvalue()[before_it:]


def test_a_line_for_the_user_stands_above_the_captions():
    told = told_between(
        Terminal(),
        lambda out: [Captions(out, is_terminal=True, size=lambda: terminal_size((40, 10)))],
    )
    assert told.index("\x1b[J") < told.index("Connected again.\n") < told.index("hello")


def test_a_line_for_the_user_stands_above_the_progress(no_rich):
    told = told_between(Terminal(), lambda out: choose_views(None, out, progress(), TERM))
    assert told.startswith("\r\x1b[KConnected again.\n\ra.wav")


@RICH
def test_with_rich_too():
    told = told_between(Terminal(), lambda out: choose_views(out, out, progress(), TERM))
    assert "Connected again.\n" in told
    assert "hello" in told[told.index("Connected again.") :]


def test_captions_that_are_no_terminal_need_not_make_way():
    told = told_between(io.StringIO(), lambda out: [Captions(out, is_terminal=False)])
    assert told == "Connected again.\n"
