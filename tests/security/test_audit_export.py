"""Rows of every kind in; lines that other programs read, and that harm no spreadsheet, out."""

import csv
import io
import json
from dataclasses import fields, replace
from types import NoneType
from typing import get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.audit import row_of
from security.audit_events import EVENT_NAMES, TrailVerified
from security.audit_export import FORMATS, csv_line, ndjson_line, record_of_json, utc_text
from tests.security.trails import NOON_NS, record

WORDS = st.text(max_size=20)


def sample(kind):
    """One event of a class, with something in each field."""
    hints = get_type_hints(kind)
    return kind(**{each.name: value_of(hints[each.name], each.name) for each in fields(kind)})


def value_of(hint, name):
    kinds = set(get_args(hint) or [hint]) - {NoneType}
    return 7 if kinds == {int} else f"{name}-1"


def row_of_kind(kind):
    stored = row_of(sample(kind))
    columns = ("session_id", "subject", "token_hash", "address", "reason", "audio_ms")
    named = {name: getattr(stored, name) for name in (*columns, "bytes_received")}
    return record(5, stored.event, stored.outcome, NOON_NS, **named, **json.loads(stored.detail))


KINDS = [pytest.param(kind, id=name) for kind, name in EVENT_NAMES.items()]


def cells(text):
    return list(csv.reader(io.StringIO(text), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_row_reads_back_from_ndjson(kind):
    row = row_of_kind(kind)
    line = ndjson_line(row)
    assert line.count("\n") == 1
    assert record_of_json(line) == row


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_row_is_a_csv_row_under_the_head(kind):
    row = row_of_kind(kind)
    head, shown = cells(FORMATS["csv"].head + csv_line(row))
    named = dict(zip(head, shown, strict=True))
    assert (named["seq"], named["event"], named["outcome"]) == ("5", row.event, row.outcome)
    assert named["at_utc"] == "2026-01-01T12:00:00.000000000Z"
    assert json.loads(named["detail"]) == row.detail


@given(
    WORDS, WORDS, WORDS, st.one_of(st.none(), st.integers(0, 2**62)), st.dictionaries(WORDS, WORDS)
)
def test_whatever_strings_hold_ndjson_is_lossless_and_one_line(one, two, three, number, detail):
    row = replace(record(1, one, subject=two, reason=three, audio_ms=number), detail=detail)
    line = ndjson_line(row)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert record_of_json(line) == row


@pytest.mark.parametrize("line", ["{", "[]", "7", "{}", '{"seq": 1, "x": 2}'])
def test_what_is_no_row_is_refused(line):
    with pytest.raises(ValueError, match=r".*"):
        record_of_json(line)


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "＝1", "－1"),  # noqa: RUF001
        '=HYPERLINK("https://a.test","x")',
        "=cmd|' /C calc'!A0",
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_a_text(text):
    [shown] = cells(csv_line(record(1, subject=text)))
    assert shown[6] == f"'{text}"


@pytest.mark.parametrize("text", ["ward-7", "a=b", "2001:db8::1", 'a "b"', "a,b", "a\nb", ""])
def test_other_cells_are_what_they_were(text):
    line = csv_line(record(1, subject=text))
    assert line.endswith("\r\n")
    assert cells(line)[0][6] == text


def test_numbers_are_not_quoted_and_nothing_is_empty():
    [shown] = cells(csv_line(record(1, at_utc_ns=-5, audio_ms=9)))
    assert (shown[2], shown[10], shown[11]) == ("-5", "9", "")


@pytest.mark.parametrize(
    ("at_utc_ns", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (NOON_NS + 1, "2026-01-01T12:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (10**30, ""),
    ],
)
def test_times_are_told_to_the_nanosecond(at_utc_ns, text):
    assert utc_text(at_utc_ns) == text


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_makes_a_line_of_a_row(name):
    line = FORMATS[name].line(row_of_kind(TrailVerified))
    assert line.endswith("\n")
    assert "trail.verified" in line
