"""Who speaks in which call, and how far apart two protocols are."""

from bench.calls_wer import Line, figures_of, parties_of, together
from bench.scoring import Score

LINES = [Line("one", b"\x01" * 3), Line("two", b"\x02" * 5), Line("three", b"\x03")]


def test_two_speak_in_a_call_and_the_last_one_alone():
    assert parties_of(LINES, 2) == [LINES[:2], LINES[2:]]
    assert together(LINES[:2], 2) == (b"\x01\x01\x01\xff\xff", b"\x02" * 5)
    assert together(LINES[2:], 2) == (b"\x03", b"\xff")


def test_points_are_told_from_our_own_protocol():
    scores = {"native": Score(100, 5, 0, 0), "twilio": Score(100, 6, 0, 0)}
    assert [row["points_apart"] for row in figures_of(scores).values()] == [0.0, 1.0]
