"""A trail in, the numbers of a span of it out."""

import json

import pytest

from security.audit_reader import TrailReader
from security.audit_totals import MOST_BUCKETS, Span, top_addresses, trend_and_reasons
from security.errors import AuditError
from security.report import ReportSettings, bucket_of, make_report
from tests.security.trails import HOUR_NS, NOON_NS, make_trail, row

MINUTE_NS = HOUR_NS // 60
HOUR_LATER_NS = NOON_NS + HOUR_NS
REFUSED = {"event": "handshake.refused", "outcome": "failure"}
OFTEN = {"event": "handshake.refused_often", "outcome": "failure"}
ROWS = [
    row("session.started", subject="a", at_utc_ns=NOON_NS),
    row("session.started", subject="b", at_utc_ns=NOON_NS + 1),
    row("session.ended", subject="a", audio_ms=700, at_utc_ns=NOON_NS + 30 * MINUTE_NS),
    row("session.ended", subject="b", audio_ms=900, at_utc_ns=NOON_NS + 30 * MINUTE_NS),
    row(**REFUSED, reason="token_expired", address="10.0.0.1", at_utc_ns=NOON_NS + MINUTE_NS),
    row(**REFUSED, reason="revoked", subject="c", address="10.0.0.2", at_utc_ns=HOUR_LATER_NS - 1),
]
MORE = [
    row("session.ended", "failure", subject="a", audio_ms=500, at_utc_ns=NOON_NS + 40 * MINUTE_NS),
    row(**OFTEN, reason="token_expired", address="10.0.0.1", n_refused=40, at_utc_ns=NOON_NS + 2),
    row(**OFTEN, reason="many_addresses", n_refused=2, at_utc_ns=NOON_NS + 3),
    row(
        "suspicion.found",
        address="10.0.0.1",
        rule="failures_of_address",
        severity="high",
        n_events=41,
        seqs="5 8",
        at_utc_ns=NOON_NS + 4,
    ),
    row("suspicion.found", rule="of_a_newer_version", seqs="x 1", at_utc_ns=NOON_NS + 5),
    row("session.started", subject="z", at_utc_ns=HOUR_LATER_NS),
    row("session.started", subject="z", at_utc_ns=NOON_NS - 1),
]


@pytest.fixture
async def reader(tmp_path):
    async with TrailReader(make_trail(tmp_path, ROWS, MORE)) as reader:
        yield reader


@pytest.fixture
async def report(reader):
    return await make_report(reader, NOON_NS, HOUR_LATER_NS)


async def test_totals_are_those_of_the_span(report):
    assert (report.n_events, report.n_succeeded, report.n_failed) == (11, 6, 5)
    assert (report.n_sessions, report.audio_ms, report.n_refused) == (2, 2100, 44)


async def test_what_was_done_most_comes_first(report):
    first = report.events[0]
    assert (first.event, first.n_events, first.n_failed) == ("session.ended", 3, 1)
    assert sum(each.n_events for each in report.events) == report.n_events


async def test_reasons_count_what_was_counted_together(report):
    assert [(each.reason, each.n_refused) for each in report.reasons] == [
        ("token_expired", 41),
        ("many_addresses", 2),
        ("revoked", 1),
    ]


async def test_subjects_come_by_their_audio_and_then_by_their_refusals(report):
    named = [(s.subject, s.n_sessions, s.audio_ms, s.n_refused) for s in report.subjects]
    assert named == [("a", 2, 1200, 0), ("b", 1, 900, 0), ("c", 0, 0, 1)]


async def test_addresses_come_by_their_refusals(report):
    named = [(address.address, address.n_refused) for address in report.addresses]
    assert named == [("10.0.0.1", 41), ("10.0.0.2", 1)]


async def test_the_trend_has_every_part_of_the_span_and_its_sums_are_the_totals(report):
    assert report.bucket_ns == MINUTE_NS
    assert [bucket.start_utc_ns for bucket in report.trend] == [
        NOON_NS + n * MINUTE_NS for n in range(60)
    ]
    for name in ("n_events", "n_failed", "n_sessions", "audio_ms", "n_refused"):
        assert sum(getattr(b, name) for b in report.trend) == getattr(report, name)
    assert (report.trend[30].audio_ms, report.trend[40].n_failed) == (1600, 1)
    assert (report.trend[0].n_refused, report.trend[1].n_refused) == (42, 1)


async def test_findings_are_those_on_record_with_the_text_of_their_rule(report):
    first, second = report.findings
    assert (first.rule, first.severity, first.n_events, first.seqs) == (
        "failures_of_address",
        "high",
        41,
        [5, 8],
    )
    assert first.text == "An address was refused several times in a few minutes."
    assert (second.text, second.n_events, second.seqs) == ("", 0, [1])
    assert report.findings_by_rule == {"failures_of_address": 1, "of_a_newer_version": 1}
    assert report.n_findings == 2


async def test_a_finding_that_has_grown_is_told_as_what_it_has_become(tmp_path):
    grown = {"rule": "failures_of_address", "severity": "high", "level": 2}
    rows = [row("suspicion.found", **grown, at_utc_ns=NOON_NS + 1)]
    async with TrailReader(make_trail(tmp_path, rows)) as reader:
        [finding] = (await make_report(reader, NOON_NS, HOUR_LATER_NS)).findings
    assert "reason to block" in finding.text


async def test_a_report_can_be_json(report):
    assert json.loads(json.dumps(report.as_dict()))["reasons"][0]["reason"] == "token_expired"


async def test_only_so_many_names_and_findings_are_in_it(reader):
    settings = ReportSettings(most_names=1, most_findings=1)
    report = await make_report(reader, NOON_NS, HOUR_LATER_NS, settings)
    assert [s.subject for s in report.subjects] == ["a"]
    assert [a.address for a in report.addresses] == ["10.0.0.1"]
    assert [f.rule for f in report.findings] == ["of_a_newer_version"]
    assert report.n_findings == 2


async def test_a_span_with_nothing_in_it_is_nothing(reader):
    report = await make_report(reader, 0, HOUR_NS)
    assert (report.n_events, report.subjects, report.findings) == (0, [], [])


@pytest.mark.parametrize(
    ("hours", "bucket_minutes"), [(1, 1), (24, 15), (168, 360), (720, 1440), (8760, 10_080)]
)
def test_parts_of_the_span_have_a_usual_length(hours, bucket_minutes):
    assert bucket_of(Span(0, hours * HOUR_NS), 120) == bucket_minutes * MINUTE_NS


async def test_a_span_of_many_years_has_not_too_many_parts(reader):
    report = await make_report(reader, 0, NOON_NS + HOUR_NS)
    assert len(report.trend) <= 121


async def test_too_many_parts_are_refused(reader):
    await trend_and_reasons(reader, Span(0, MOST_BUCKETS), 1)
    with pytest.raises(AuditError, match="too many parts"):
        await trend_and_reasons(reader, Span(0, MOST_BUCKETS + 1), 1)


@pytest.mark.parametrize("until", [NOON_NS, NOON_NS - 1])
async def test_a_span_that_ends_before_it_begins_is_refused(reader, until):
    with pytest.raises(AuditError, match="before it begins"):
        await make_report(reader, NOON_NS, until)


async def test_parts_begin_at_multiples_of_their_length_and_hold_the_span_alone(reader):
    span = Span(NOON_NS + 1, NOON_NS + 4)
    trend, _ = await trend_and_reasons(reader, span, HOUR_NS)
    assert [(b.start_utc_ns, b.n_events, b.n_refused) for b in trend] == [(NOON_NS, 3, 42)]


async def test_a_trail_that_cannot_be_read_is_told(tmp_path):
    places = make_trail(tmp_path, ROWS, MORE)
    first = places.segment_files()[0]
    first.chmod(0o600)
    first.write_bytes(b"not a database" * 1000)
    async with TrailReader(places) as reader:
        with pytest.raises(AuditError, match="could not be read"):
            await make_report(reader, NOON_NS, HOUR_LATER_NS)


async def test_columns_that_were_tampered_with_count_nothing(tmp_path):
    rows = [row(**OFTEN, address="10.0.0.1", reason="x", n_refused="many")]
    async with TrailReader(make_trail(tmp_path, rows)) as reader:
        [address] = await top_addresses(reader, Span(NOON_NS, HOUR_LATER_NS), 1)
    assert address.n_refused == 0
