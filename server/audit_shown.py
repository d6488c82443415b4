"""Rows and reports of the trail in, what a terminal shows, or a program reads from a pipe, out.

Strings were made harmless when they were written; they are once more here, because whoever could
tamper with the trail must not get at the terminal of whoever looks for him.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from security.audit import AuditRecord, clean
from security.report import Report

_NS = 10**9
_MS_PER_HOUR = 3_600_000
_WIDE_COLUMNS = 200
"""Of what is not a terminal."""
_MOST_CHARS = 8192
"""Beyond any that the trail holds."""
_COLUMNS = ("seq", "time (UTC)", "event", "subject", "address", "reason", "more")
_BARS = " ▁▂▃▄▅▆▇█"
_STYLES = {"failure": "red", "critical": "bold red", "high": "red", "medium": "yellow"}


def console() -> Console:
    """On standard output; rows are not folded where nobody looks."""
    shown = Console(highlight=False, soft_wrap=False)
    return shown if shown.is_terminal else Console(highlight=False, width=_WIDE_COLUMNS)


def row_lines(records: Sequence[AuditRecord]) -> Iterator[str]:
    """A line each, with all there is of a row."""
    for record in records:
        at = shown_time(record.at_utc_ns)
        yield f"{record.seq:>6}  {at}  {clean(record.event):<17} {_named(record)}"


def rows_table(records: Sequence[AuditRecord]) -> Table:
    """What is asked for most in columns, the rest in the last."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in _COLUMNS:
        table.add_column(name, justify="right" if name == "seq" else "left", no_wrap=name != "more")
    for record in records:
        style = _STYLES.get(record.outcome, "")
        cells = (record.event, record.subject, record.address, record.reason)
        shown = [Text(clean(cell or ""), style=style) for cell in cells]
        at = Text(shown_time(record.at_utc_ns))
        table.add_row(Text(str(record.seq)), at, *shown, Text(_more(record), style="dim"))
    return table


def tabbed_lines(records: Sequence[AuditRecord]) -> Iterator[str]:
    """The same columns for programs: a tab between them, nothing cut."""
    yield "\t".join(_COLUMNS)
    for record in records:
        cells = (record.event, record.subject, record.address, record.reason)
        shown = [clean(cell or "", _MOST_CHARS) for cell in cells]
        line = (str(record.seq), shown_time(record.at_utc_ns), *shown, _more(record))
        yield "\t".join(line)


def report_shown(report: Report) -> RenderableType:
    """One screen."""
    since, until = shown_time(report.since_utc_ns), shown_time(report.until_utc_ns)
    totals = {
        "events": f"{report.n_events:,}",
        "succeeded": f"{report.n_succeeded:,}",
        "failed": f"{report.n_failed:,}",
        "sessions": f"{report.n_sessions:,}",
        "audio": _hours(report.audio_ms),
        "refused": f"{report.n_refused:,}",
        "findings": f"{report.n_findings:,}",
    }
    trends = {
        "sessions": [bucket.n_sessions for bucket in report.trend],
        "audio": [bucket.audio_ms for bucket in report.trend],
        "refused": [bucket.n_refused for bucket in report.trend],
    }
    found = [
        (shown_time(each.at_utc_ns), each.severity, each.rule, each.subject or "",
         each.address or "", f"{each.n_events:,}", " ".join(map(str, each.seqs[:3])))
        for each in report.findings
    ]  # fmt: skip
    return Group(
        Text(f"The audit trail from {since} to {until}", style="bold"),
        Text(),
        _pairs("totals", totals),
        _pairs("over time", {name: sparkline(numbers) for name, numbers in trends.items()}),
        _table("events", ("", "events", "failed"), [
            (each.event, f"{each.n_events:,}", f"{each.n_failed:,}") for each in report.events
        ]),
        _table("subjects", ("", "sessions", "audio", "refused"), [
            (each.subject, f"{each.n_sessions:,}", _hours(each.audio_ms), f"{each.n_refused:,}")
            for each in report.subjects
        ]),
        _table("refused for", ("", "times"), [
            (each.reason, f"{each.n_refused:,}") for each in report.reasons
        ]),
        _table("refused from", ("", "times"), [
            (each.address, f"{each.n_refused:,}") for each in report.addresses
        ]),
        _table(
            "suspicious",
            ("", "severity", "rule", "subject", "address", "events", "first rows"),
            found,
        ),
    )  # fmt: skip


def sparkline(numbers: Sequence[int]) -> str:
    """A bar for each number, the largest a full one; anything above nothing is seen."""
    most = max(numbers, default=0)
    steps = len(_BARS) - 1
    return "".join(_BARS[-(-number * steps // most) if most else 0] for number in numbers)


def shown_time(at_utc_ns: int) -> str:
    """To the second."""
    try:
        return f"{datetime.fromtimestamp(at_utc_ns // _NS, UTC):%Y-%m-%d %H:%M:%S}Z"
    except (ValueError, OverflowError, OSError):  # a clock that was far off
        return f"{at_utc_ns} ns"


def _named(record: AuditRecord) -> str:
    named = {
        "session": record.session_id,
        "subject": record.subject,
        "token": record.token_hash,
        "address": record.address,
        "reason": record.reason,
        "audio_ms": record.audio_ms,
        "bytes_received": record.bytes_received,
        **record.detail,
    }
    return _pairs_text(named)


def _more(record: AuditRecord) -> str:
    columns = {"session": record.session_id, "audio_ms": record.audio_ms}
    return _pairs_text({**columns, **record.detail})


def _pairs_text(named: Mapping[str, str | int | None]) -> str:
    shown = (
        f"{clean(name)}={_quoted(clean(str(value), _MOST_CHARS))}"
        for name, value in named.items()
        if value is not None
    )
    return " ".join(shown)


def _quoted(text: str) -> str:
    """As JSON where it could be taken for more than one value: strangers choose some of them."""
    is_plain = text and not any(each.isspace() or each in '"\\' for each in text)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _pairs(title: str, named: Mapping[str, str]) -> Table:
    return _table(title, ("", ""), list(named.items()))


def _table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left", title=title)
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place == 0 or len(heads) > 4 else "right")
    for row in rows or [("none", *[""] * (len(heads) - 1))]:
        style = next((_STYLES[cell] for cell in row if cell in _STYLES), "")
        table.add_row(*(Text(clean(cell), style=style) for cell in row))
    return table


def _hours(audio_ms: int) -> str:
    return f"{audio_ms / _MS_PER_HOUR:,.1f} h"
