"""Rows and reports in, what a terminal shows out, and nothing that a terminal would obey."""

import pytest
from rich.console import Console

from server.audit_shown import row_lines, rows_table, shown_time, sparkline, tabbed_lines
from tests.security.trails import NOON_NS, record


@pytest.mark.parametrize(
    ("numbers", "bars"),
    [([], ""), ([0, 0], "  "), ([0, 1, 8], " ▁█"), ([5], "█"), ([1, 1000], "▁█")],
)
def test_bars_are_as_high_as_their_numbers_and_anything_is_seen(numbers, bars):
    assert sparkline(numbers) == bars


def test_a_time_is_shown_to_the_second():
    assert shown_time(NOON_NS + 5) == "2026-01-01 12:00:00Z"
    assert shown_time(10**30) == f"{10**30} ns"


def test_what_somebody_tampered_with_does_not_reach_the_terminal():
    hostile = record(1, "a\x1b[2J", subject="\x1b]0;x\x07", address="\u202eevil", note="\x1b[31m")
    [line] = row_lines([hostile])
    console = Console(width=200, file=None, record=True, quiet=True)
    console.print(rows_table([hostile]))
    _, tabbed = tabbed_lines([hostile])
    for text in (line, tabbed, console.export_text()):
        assert "\x1b" not in text
        assert "\x07" not in text
        assert "\u202e" not in text


def test_a_strangers_words_cannot_look_like_fields_of_ours():
    forged = 'x subject=root reason="none"'
    [line] = row_lines([record(1, "handshake.refused", user_agent=forged, origin="")])
    assert line.endswith(r'user_agent="x subject=root reason=\"none\"" origin=""')


def test_for_programs_columns_are_whole_and_have_a_tab_between():
    subject = "s" * 256
    head, line = tabbed_lines(
        [record(7, "a.b", subject=subject, address="10.0.0.1", note="n" * 900)]
    )
    named = dict(zip(head.split("\t"), line.split("\t"), strict=True))
    assert (named["seq"], named["event"], named["subject"]) == ("7", "a.b", subject)
    assert (named["reason"], named["more"]) == ("", f"note={'n' * 900}")
