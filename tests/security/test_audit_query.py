"""Questions in; for each, a plan that neither sorts nor reads by an index that leaves much."""

import sqlite3

import pytest

from security.audit_query import EVERYTHING, MAX_NAMES, TrailFilter, record_of, rows_query
from security.errors import AuditError
from tests.security.trails import TABLES


@pytest.fixture
def segment():
    connection = sqlite3.connect(":memory:")
    for statement in TABLES:
        connection.execute(statement)
    yield connection
    connection.close()


def plan(segment, wanted, **bounds):
    query = rows_query(wanted, 10, **bounds)
    found = segment.execute(f"EXPLAIN QUERY PLAN {query.text}", query.values)
    return [detail for *_, detail in found]


@pytest.mark.parametrize(
    ("wanted", "used"),
    [
        (EVERYTHING, "SCAN events"),
        (TrailFilter(("a",)), "SEARCH events USING INDEX events_by_event (event=?)"),
        (TrailFilter(("a", "b")), "SCAN events"),
        (TrailFilter(("a.*",)), "SCAN events"),
        (
            TrailFilter(("a",), subject="s", address="d", reason="r", since_utc_ns=1),
            "SEARCH events USING INDEX events_by_subject (subject=?)",
        ),
        (
            TrailFilter(session_id="x", subject="s"),
            "SEARCH events USING INDEX events_by_session (session_id=?)",
        ),
        (TrailFilter(address="d"), "SEARCH events USING INDEX events_by_address (address=?)"),
        (TrailFilter(outcome="failure", token_hash="t"), "SCAN events"),  # noqa: S106 (a hash)
        (TrailFilter(by="root"), "SCAN events"),
        (TrailFilter(since_utc_ns=1, until_utc_ns=9), "SCAN events"),
    ],
)
def test_each_question_takes_one_index_and_never_sorts(segment, wanted, used):
    assert plan(segment, wanted) == [used]


@pytest.mark.parametrize("bounds", [{"before_seq": 9}, {"after_seq": 3}])
def test_pages_begin_where_the_former_one_ended(segment, bounds):
    assert plan(segment, EVERYTHING, **bounds) == [
        "SEARCH events USING INTEGER PRIMARY KEY (rowid"
        + ("<?)" if "before_seq" in bounds else ">?)")
    ]


def test_values_are_never_part_of_the_text():
    hostile = "x'; DROP TABLE events; --"
    wanted = TrailFilter((hostile, f"{hostile}.*"), *[hostile] * 6, 1, 2)
    query = rows_query(wanted, 5, before_seq=7)
    assert "DROP" not in query.text
    assert query.text.count("?") == len(query.values)


def test_too_many_names_are_refused():
    rows_query(TrailFilter(("a",) * MAX_NAMES), 1)
    with pytest.raises(AuditError, match="Too many"):
        rows_query(TrailFilter(("a",) * (MAX_NAMES + 1)), 1)


@pytest.mark.parametrize("detail", ["{", "[]", "7", "", "null"])
def test_a_row_whose_detail_is_no_object_is_damaged(detail):
    with pytest.raises(AuditError, match="audit verify"):
        record_of((1, 2, "a", "success", *[None] * 7, detail))
