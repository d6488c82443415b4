"""A span of time in; what the trail holds of it in numbers out: by event, reason, subject, address
and over time.

Each number is one question to every segment, answered from an index where a million rows would have
to be looked at. Nothing is sorted that a stranger can make long: of the subjects and addresses of a
segment the thousand that come up most are added up, so that the top is right as long as it is in
each segment's thousand.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from security.audit_query import Query
from security.audit_reader import TrailReader
from security.errors import AuditError

MOST_BUCKETS = 1000
_MOST_NAMES = 1000
"""Of one segment."""
_REFUSED = "event IN ('handshake.refused', 'handshake.refused_often')"
_N_REFUSED = """sum(CASE event WHEN 'handshake.refused' THEN 1
    ELSE coalesce(json_extract(detail, '$.n_refused'), 1) END)"""
_WITHIN = "+at_utc_ns >= ?1 AND +at_utc_ns < ?2"
_BUCKETS = """WITH RECURSIVE buckets (number, start) AS (
        SELECT 0, ?3 UNION ALL SELECT number + 1, start + ?4 FROM buckets WHERE start + ?4 < ?2)
    SELECT number, (
        SELECT json_array(count(*), sum(outcome = 'failure'), sum(event = 'session.started'),
            sum(audio_ms))
        FROM events WHERE at_utc_ns >= max(start, ?1) AND at_utc_ns < min(start + ?4, ?2))
    FROM buckets"""
"""Sums without sorting: a group for each bucket would sort every row."""
_EVENTS = f"""SELECT event, count(*), sum(outcome = 'failure') FROM events
    WHERE {_WITHIN} GROUP BY event"""  # noqa: S608 (constants)
_REASONS = f"""SELECT (at_utc_ns - ?3) / ?4, coalesce(reason, ''), {_N_REFUSED} FROM events
    WHERE {_REFUSED} AND {_WITHIN} GROUP BY 1, 2"""  # noqa: S608
_SUBJECTS = f"""SELECT subject, count(*), sum(audio_ms) FROM events
    WHERE event = 'session.ended' AND subject IS NOT NULL AND {_WITHIN}
    GROUP BY +subject ORDER BY 3 DESC LIMIT {_MOST_NAMES}"""  # noqa: S608
_REFUSED_SUBJECTS = f"""SELECT subject, {_N_REFUSED} FROM events
    WHERE {_REFUSED} AND +subject IS NOT NULL AND {_WITHIN}
    GROUP BY +subject ORDER BY 2 DESC LIMIT {_MOST_NAMES}"""  # noqa: S608
_ADDRESSES = f"""SELECT address, {_N_REFUSED} FROM events
    WHERE {_REFUSED} AND +address IS NOT NULL AND {_WITHIN}
    GROUP BY +address ORDER BY 2 DESC LIMIT {_MOST_NAMES}"""  # noqa: S608
_FINDINGS = f"""SELECT json_extract(detail, '$.rule'), count(*) FROM events
    WHERE event = 'suspicion.found' AND {_WITHIN} GROUP BY 1"""  # noqa: S608
_NO_TIME = "The span of time ends before it begins."
_TOO_MANY_BUCKETS = "The trend would have too many parts: choose wider ones."


@dataclass(frozen=True, slots=True)
class Span:
    """Of time."""

    since_utc_ns: int
    until_utc_ns: int
    """Not itself in it."""

    def __post_init__(self) -> None:
        """Raises AuditError."""
        if self.until_utc_ns <= self.since_utc_ns:
            raise AuditError(_NO_TIME)


@dataclass(frozen=True, slots=True)
class EventTotals:
    """Of one name."""

    event: str
    n_events: int
    n_failed: int


@dataclass(frozen=True, slots=True)
class SubjectTotals:
    """Of one subject."""

    subject: str
    n_sessions: int
    """That ended."""
    audio_ms: int
    n_refused: int


@dataclass(frozen=True, slots=True)
class AddressTotals:
    """Of one address."""

    address: str
    n_refused: int


@dataclass(frozen=True, slots=True)
class ReasonTotals:
    """Of one reason to turn somebody away."""

    reason: str
    n_refused: int


@dataclass(frozen=True, slots=True)
class TrendBucket:
    """Of one part of the span."""

    start_utc_ns: int
    n_events: int
    n_failed: int
    n_sessions: int
    """That began."""
    audio_ms: int
    """Of the sessions that ended."""
    n_refused: int


async def totals_by_event(reader: TrailReader, span: Span) -> list[EventTotals]:
    """The most frequent first. Raises AuditError."""
    totals, failed = Counter[str](), Counter[str]()
    for event, n_events, n_failed in await _rows(reader, _EVENTS, span):
        totals[str(event)] += _int(n_events)
        failed[str(event)] += _int(n_failed)
    return [EventTotals(event, n, failed[event]) for event, n in totals.most_common()]


async def trend_and_reasons(
    reader: TrailReader, span: Span, bucket_ns: int
) -> tuple[list[TrendBucket], list[ReasonTotals]]:
    """In parts of that length, which begin at multiples of it; and why people were turned away, the
    most frequent reason first. Raises AuditError.
    """
    start_ns = span.since_utc_ns - span.since_utc_ns % bucket_ns
    n_buckets = -(-(span.until_utc_ns - start_ns) // bucket_ns)
    if n_buckets > MOST_BUCKETS:
        raise AuditError(_TOO_MANY_BUCKETS)
    refused, reasons = Counter[int](), Counter[str]()
    for number, reason, n_refused in await _rows(reader, _REASONS, span, start_ns, bucket_ns):
        refused[_int(number)] += _int(n_refused)
        reasons[str(reason)] += _int(n_refused)
    sums = [[0, 0, 0, 0] for _ in range(n_buckets)]
    for number, text in await _rows(reader, _BUCKETS, span, start_ns, bucket_ns):
        found = json.loads(str(text))
        sums[_int(number)] = [
            total + (more or 0) for total, more in zip(sums[_int(number)], found, strict=True)
        ]
    trend = [
        TrendBucket(start_ns + number * bucket_ns, n, failed, sessions, audio_ms, refused[number])
        for number, (n, failed, sessions, audio_ms) in enumerate(sums)
    ]
    return trend, [ReasonTotals(reason, n) for reason, n in reasons.most_common()]


async def top_subjects(reader: TrailReader, span: Span, most: int) -> list[SubjectTotals]:
    """Those with most audio first; then those who were only refused. Raises AuditError."""
    sessions, audio_ms, refused = Counter[str](), Counter[str](), Counter[str]()
    for subject, n_sessions, spent_ms in await _rows(reader, _SUBJECTS, span):
        sessions[str(subject)] += _int(n_sessions)
        audio_ms[str(subject)] += _int(spent_ms)
    for subject, n_refused in await _rows(reader, _REFUSED_SUBJECTS, span):
        refused[str(subject)] += _int(n_refused)
    names = sorted(
        sessions.keys() | refused.keys(), key=lambda name: (-audio_ms[name], -refused[name], name)
    )
    return [
        SubjectTotals(name, sessions[name], audio_ms[name], refused[name]) for name in names[:most]
    ]


async def top_addresses(reader: TrailReader, span: Span, most: int) -> list[AddressTotals]:
    """Those that were turned away most first. Raises AuditError."""
    counts = await _counted(reader, _ADDRESSES, span)
    return [AddressTotals(address, n) for address, n in counts.most_common(most)]


async def findings_by_rule(reader: TrailReader, span: Span) -> dict[str, int]:
    """How often each rule has found something. Raises AuditError."""
    return dict(sorted((await _counted(reader, _FINDINGS, span)).items()))


async def _counted(reader: TrailReader, text: str, span: Span) -> Counter[str]:
    counts = Counter[str]()
    for name, n in await _rows(reader, text, span):
        counts[str(name)] += _int(n)
    return counts


async def _rows(reader: TrailReader, text: str, span: Span, *values: int) -> list[Sequence[object]]:
    query = Query(text, (span.since_utc_ns, span.until_utc_ns, *values))
    return [row for rows in await reader.ask_each(query) for row in rows]


def _int(value: object) -> int:
    """Of a count or a sum; a column that was tampered with counts nothing."""
    return value if isinstance(value, int) else 0
