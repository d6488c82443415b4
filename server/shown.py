"""Rows of the trail, findings and reports in, what the dashboard is told of them out: plain JSON.

Times are milliseconds, which a browser's numbers hold exactly; an event also has its own, to the
nanosecond, as text. Strangers' strings were cleaned when they came into the trail, and the page
shows every string as text.
"""

from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime

from security.audit import AuditRecord
from security.audit_export import as_dict
from security.report import FoundRow, Report

_NS = 1_000_000_000
_NS_PER_MS = 1_000_000
_MOST_SEQS = 20

Json = dict[str, object]


def event_shown(record: AuditRecord) -> Json:
    """One row, whole."""
    seconds, rest_ns = divmod(record.at_utc_ns, _NS)
    at = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    shown = as_dict(record)
    del shown["at_utc_ns"]
    return {
        **shown,
        "at": f"{at}.{rest_ns:09d}Z",
        "at_ms": record.at_utc_ns // _NS_PER_MS,
    }


def report_shown(report: Report, blocked: Set[str]) -> Json:
    """A report; `blocked`: addresses that are."""
    trend = [
        {
            "at_ms": bucket.start_utc_ns // _NS_PER_MS,
            "sessions": bucket.n_sessions,
            "audio_ms": bucket.audio_ms,
            "refusals": bucket.n_refused,
        }
        for bucket in report.trend
    ]
    refusals = [{"reason": each.reason, "n": each.n_refused} for each in report.reasons]
    addresses = [{"address": o.address, "refusals": o.n_refused} for o in report.addresses]
    return {
        "since_ms": report.since_utc_ns // _NS_PER_MS,
        "until_ms": report.until_utc_ns // _NS_PER_MS,
        "totals": totals_shown(report),
        "trend": {"bucket_ms": report.bucket_ns // _NS_PER_MS, "buckets": trend},
        "refusals": refusals,
        "addresses": addresses,
        "findings": [_finding(found, blocked) for found in reversed(report.findings)],
    }


def totals_shown(report: Report) -> Json:
    """The sums alone."""
    return {
        "events": report.n_events,
        "successes": report.n_succeeded,
        "failures": report.n_failed,
        "sessions": report.n_sessions,
        "audio_ms": report.audio_ms,
        "refusals": report.n_refused,
        "findings": report.n_findings,
    }


def _finding(found: FoundRow, blocked: Set[str]) -> Json:
    return {
        "seq": found.seq,
        "at_ms": found.at_utc_ns // _NS_PER_MS,
        "rule": found.rule,
        "severity": found.severity,
        "sentence": found.text,
        "subject": found.subject,
        "address": found.address,
        "seqs": found.seqs[:_MOST_SEQS],
        "n_events": found.n_events,
        "is_block": found.address in blocked,
    }


def quotas_shown(
    spent_ms: Mapping[tuple[str, str], int],
    most_s: Mapping[tuple[str, str], int | None],
    default_s: int | None,
    limit: int,
) -> Sequence[Json]:
    """Audio of today by issuer and subject, most first, with what each may: as the sessions say
    that live now, else what a token gets that says nothing.
    """
    ordered = sorted(spent_ms.items(), key=lambda spent: -spent[1])[:limit]
    quotas = []
    for (issuer, subject), audio_ms in ordered:
        most = most_s.get((issuer, subject), default_s)
        most_ms = None if most is None else most * 1000
        quotas.append(
            {
                "issuer": issuer,
                "subject": subject,
                "audio_ms": audio_ms,
                "most_audio_ms": most_ms or None,
            }
        )
    return quotas
