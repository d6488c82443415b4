"""A reader and a span of time in; the report that somebody reads each morning out.

Totals, successes and failures, what was done most, by whom, from where, why people were turned
away, how it went over time, and what looked suspicious. Findings are those on record: the rules ran
as the events came, under the settings of that hour; what they found was acted on and is bound into
the chain. Running today's rules over a month again would tell another story, and take longer than
anybody waits.
"""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from security.audit import AuditRecord
from security.audit_query import TrailFilter
from security.audit_reader import TrailReader
from security.audit_totals import (
    AddressTotals,
    EventTotals,
    ReasonTotals,
    Span,
    SubjectTotals,
    TrendBucket,
    findings_by_rule,
    top_addresses,
    top_subjects,
    totals_by_event,
    trend_and_reasons,
)
from security.rules import RULES_BY_NAME, Rule

_MINUTE_NS = 60 * 10**9
_BUCKETS_NS = tuple(_MINUTE_NS * minutes for minutes in (1, 5, 15, 60, 360, 1440, 10_080, 40_320))
_FOUND = "suspicion.found"
_NUMBER = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """How much of everything."""

    most_names: int = 10
    """Of subjects and addresses."""
    most_findings: int = 100
    """The newest."""
    most_buckets: int = 120


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A finding on record."""

    seq: int
    at_utc_ns: int
    rule: str
    severity: str
    subject: str | None
    address: str | None
    n_events: int
    seqs: Sequence[int]
    text: str
    """Of the rule, for people."""


@dataclass(frozen=True, slots=True)
class Report:
    """Of one span."""

    since_utc_ns: int
    until_utc_ns: int
    n_events: int
    n_succeeded: int
    n_failed: int
    n_sessions: int
    """That began."""
    audio_ms: int
    """Of the sessions that ended."""
    n_refused: int
    """At the door."""
    reasons: Sequence[ReasonTotals]
    """Of refusals."""
    events: Sequence[EventTotals]
    subjects: Sequence[SubjectTotals]
    addresses: Sequence[AddressTotals]
    bucket_ns: int
    trend: Sequence[TrendBucket]
    n_findings: int
    findings_by_rule: dict[str, int]
    findings: Sequence[FoundRow]
    """The newest, oldest first."""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


async def make_report(
    reader: TrailReader,
    since_utc_ns: int,
    until_utc_ns: int,
    settings: ReportSettings | None = None,
) -> Report:
    """Of this span. Raises AuditError."""
    settings = settings or ReportSettings()
    span = Span(since_utc_ns, until_utc_ns)
    bucket_ns = bucket_of(span, settings.most_buckets)
    wanted = TrailFilter((_FOUND,), since_utc_ns=since_utc_ns, until_utc_ns=until_utc_ns)
    try:
        async with asyncio.TaskGroup() as tasks:
            asked_trend = tasks.create_task(trend_and_reasons(reader, span, bucket_ns))
            asked_events = tasks.create_task(totals_by_event(reader, span))
            subjects = tasks.create_task(top_subjects(reader, span, settings.most_names))
            addresses = tasks.create_task(top_addresses(reader, span, settings.most_names))
            asked_rules = tasks.create_task(findings_by_rule(reader, span))
            found = tasks.create_task(reader.records(wanted, limit=settings.most_findings))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    (trend, reasons), events = asked_trend.result(), asked_events.result()
    n_events, n_failed = _sum_of(events)
    by_rule = asked_rules.result()
    return Report(
        since_utc_ns=since_utc_ns,
        until_utc_ns=until_utc_ns,
        n_events=n_events,
        n_succeeded=n_events - n_failed,
        n_failed=n_failed,
        n_sessions=sum(bucket.n_sessions for bucket in trend),
        audio_ms=sum(bucket.audio_ms for bucket in trend),
        n_refused=sum(each.n_refused for each in reasons),
        reasons=reasons,
        events=events,
        subjects=subjects.result(),
        addresses=addresses.result(),
        bucket_ns=bucket_ns,
        trend=trend,
        n_findings=sum(by_rule.values()),
        findings_by_rule=by_rule,
        findings=[_found(record) for record in found.result()],
    )


def bucket_of(span: Span, most_buckets: int) -> int:
    """The shortest usual length of which there are not too many, in ns."""
    span_ns = span.until_utc_ns - span.since_utc_ns
    fitting = [usual for usual in _BUCKETS_NS if span_ns <= usual * (most_buckets - 1)]
    return fitting[0] if fitting else span_ns // most_buckets + 1


def _sum_of(events: Sequence[EventTotals]) -> tuple[int, int]:
    return sum(each.n_events for each in events), sum(each.n_failed for each in events)


def _found(record: AuditRecord) -> FoundRow:
    name = str(record.detail.get("rule"))
    rule = RULES_BY_NAME.get(name)
    n_events = record.detail.get("n_events")
    numbers = str(record.detail.get("seqs") or "").split()
    return FoundRow(
        seq=record.seq,
        at_utc_ns=record.at_utc_ns,
        rule=name,
        severity=str(record.detail.get("severity")),
        subject=record.subject,
        address=record.address,
        n_events=n_events if isinstance(n_events, int) else 0,
        seqs=[int(number) for number in numbers if _NUMBER.fullmatch(number)],
        text=_text_of(rule, record) if rule else "",
    )


def _text_of(rule: Rule, record: AuditRecord) -> str:
    has_grown = record.detail.get("level") == 2
    return rule.text_of_more or rule.text if has_grown else rule.text
