"""How far a file is."""

import pytest

from client.progress import Progress, spell_time
from server import wire
from tests.client.fake_server import READY, ended, final
from tests.fakes import ManualClock


def progress(audio_ms=10_000, n_channels=1, *, is_real_time=False):
    clock = ManualClock()
    made = Progress(
        "a\x1b.wav", audio_ms, n_channels, is_real_time=is_real_time, clock=lambda: clock.now_s
    )
    return made, clock


def test_what_the_server_told_about_was_heard():
    made, clock = progress()
    assert (made.share, made.left_s) == (0, None)
    clock.now_s += 2
    made.receive_event(None, READY)
    made.receive_event(None, wire.SpeechStarted(0, 1000))
    assert made.share == pytest.approx(0.1)
    made.receive_event(None, wire.SpeechEnded(0, 2500))
    assert made.share == pytest.approx(0.25)
    assert made.left_s == pytest.approx(6)
    made.receive_event(None, final(0, "early"))
    assert made.share == pytest.approx(0.25)
    made.receive_event(None, ended())
    assert (made.share, made.left_s) == (1, 0)


def test_in_real_time_the_clock_knows():
    made, clock = progress(is_real_time=True)
    clock.now_s += 4
    assert made.share == pytest.approx(0.4)
    assert made.left_s == pytest.approx(6)
    clock.now_s += 60
    assert made.share == 1


def test_two_channels_are_heard_when_both_are():
    made, _ = progress(n_channels=2)
    made.receive_event("left", ended())
    assert made.share == pytest.approx(0.5)
    made.receive_event("right", wire.SpeechEnded(0, 5000))
    assert made.share == pytest.approx(0.75)


def test_what_has_no_length_has_no_share():
    made, clock = progress(audio_ms=0)
    clock.now_s += 65
    assert (made.share, made.left_s) == (None, None)
    assert made.line() == "a .wav  1:05"


def test_a_line_has_a_bar_and_the_time_left():
    made, clock = progress()
    assert made.line().endswith("0%")
    clock.now_s += 1
    made.receive_event(None, wire.SpeechEnded(0, 5000))
    assert made.line() == f"a .wav  {'█' * 12}{'░' * 12}  50%  0:01 left"


@pytest.mark.parametrize(
    ("duration_s", "text"), [(0, "0:00"), (59.6, "1:00"), (3600, "1:00:00"), (3725, "1:02:05")]
)
def test_times_have_hours_if_there_are_any(duration_s, text):
    assert spell_time(duration_s) == text
