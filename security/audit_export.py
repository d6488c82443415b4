"""Rows of the trail in, lines of an export out: NDJSON, CSV or OCSF.

NDJSON is all of a row, for other programs and for reading it back. CSV is for spreadsheets, which
run a cell that begins like a formula: such a cell gets a quote in front, as OWASP advises; numbers
of ours are left alone. Both hold what the trail holds, and no more: no words were ever in it. OCSF
is in `security.ocsf`. Epochs and MACs are not exported: whoever wants to verify takes a copy.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from security.audit import AuditRecord
from security.ocsf import ocsf_event

_COLUMNS = (
    *("seq", "at_utc", "at_utc_ns", "event", "outcome", "session_id", "subject", "token_hash"),
    *("address", "reason", "audio_ms", "bytes_received", "detail"),
)
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
_SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """How rows are written."""

    name: str
    media_type: str
    suffix: str
    head: str
    """Before the first row."""
    line: Callable[[AuditRecord], str]
    """With its end of line."""


def ndjson_line(record: AuditRecord) -> str:
    """All of a row, as one JSON object."""
    return _json(as_dict(record)) + "\n"


def csv_line(record: AuditRecord) -> str:
    """A row by RFC 4180; the detail is JSON in its last cell."""
    fields = as_dict(record)
    detail = _json(record.detail)
    at_utc = utc_text(record.at_utc_ns)
    cells = [{**fields, "at_utc": at_utc, "detail": detail}[name] for name in _COLUMNS]
    return _csv([_cell(cell) for cell in cells])


def ocsf_line(record: AuditRecord) -> str:
    """A row as an event of the Open Cybersecurity Schema Framework, as one JSON object."""
    return _json(ocsf_event(record)) + "\n"


def as_dict(record: AuditRecord) -> dict[str, object]:
    """For JSON: all columns by their names."""
    return {
        "seq": record.seq,
        "at_utc_ns": record.at_utc_ns,
        "event": record.event,
        "outcome": record.outcome,
        "session_id": record.session_id,
        "subject": record.subject,
        "token_hash": record.token_hash,
        "address": record.address,
        "reason": record.reason,
        "audio_ms": record.audio_ms,
        "bytes_received": record.bytes_received,
        "detail": dict(record.detail),
    }


def record_of_json(line: str) -> AuditRecord:
    """What `ndjson_line` was made of. Raises ValueError."""
    fields = json.loads(line)
    if not isinstance(fields, dict):
        raise ValueError("no object")  # noqa: TRY004 - of the line, not of an argument
    try:
        return AuditRecord(**fields)
    except TypeError:
        raise ValueError("other fields") from None


def utc_text(at_utc_ns: int) -> str:
    """A time as RFC 3339 has it, to the nanosecond."""
    seconds, ns = divmod(at_utc_ns, _SECOND_NS)
    try:
        whole = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # a clock that was far off
        return ""
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA_STARTS):
        return f"'{value}"
    return str(value)


def _csv(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue()


FORMATS = {
    each.name: each
    for each in (
        ExportFormat("ndjson", "application/x-ndjson", ".ndjson", "", ndjson_line),
        ExportFormat("csv", "text/csv; charset=utf-8", ".csv", _csv(_COLUMNS), csv_line),
        ExportFormat("ocsf", "application/x-ndjson", ".ocsf.ndjson", "", ocsf_line),
    )
}
