"""What is wanted of the trail in, the query for one segment out; and its rows, read back.

A segment answers in the order of its numbers, whatever is asked for, so that a page of a thousand
rows never sorts a million. For that the query takes one index at most, the one that leaves least:
a session's, a subject's, an address' or that of a single event name; the other conditions are
looked at row by row (`+` before a column keeps SQLite from its index). Values are parameters,
always. A name that ends in `.*` is a family: `session.*` is all about sessions.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from security.audit import AuditRecord
from security.errors import AuditError

Value: TypeAlias = str | int
COLUMNS = (
    "seq, at_utc_ns, event, outcome, session_id, subject, token_hash, address, reason, "
    "audio_ms, bytes_received, detail"
)
MAX_NAMES = 64
LEAST_NUMBER, MOST_NUMBER = -(1 << 63), (1 << 63) - 1
"""That a column can hold."""
_FAMILY = ".*"
_AFTER_DOT = "/"
"""Follows `.` in ASCII: the end of a family's names."""
_DAMAGED = "A row of the audit trail is damaged: see what `run.py audit verify` says."
_TOO_MANY_NAMES = "Too many event names at once."


@dataclass(frozen=True, slots=True)
class TrailFilter:
    """What is wanted; all that is given must hold."""

    event: tuple[str, ...] = ()
    """Names, or families such as `session.*`: one of them. Empty: any."""
    outcome: str | None = None
    session_id: str | None = None
    subject: str | None = None
    address: str | None = None
    token_hash: str | None = None
    reason: str | None = None
    since_utc_ns: int | None = None
    until_utc_ns: int | None = None
    """Not itself among it."""
    by: str | None = None
    """Who asked for it: an account of this machine, or an administrator's subject."""


EVERYTHING = TrailFilter()


@dataclass(frozen=True, slots=True)
class Query:
    """For one segment."""

    text: str
    values: tuple[Value, ...]


def rows_query(
    wanted: TrailFilter,
    limit: int,
    *,
    before_seq: int | None = None,
    after_seq: int | None = None,
) -> Query:
    """The newest rows before a number, newest first; or the oldest after one, oldest first."""
    conditions, values = _conditions(wanted)
    if before_seq is not None:
        conditions, values = [*conditions, "seq < ?"], [*values, _held(before_seq)]
    if after_seq is not None:
        conditions, values = [*conditions, "seq > ?"], [*values, _held(after_seq)]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = "DESC" if after_seq is None else "ASC"
    text = f"SELECT {COLUMNS} FROM events{where} ORDER BY seq {order} LIMIT ?"  # noqa: S608 (constants)
    return Query(text, (*values, limit))


def record_of(row: Sequence[object]) -> AuditRecord:
    """A row of `rows_query`. Raises AuditError."""
    *columns, text = row
    try:
        detail = json.loads(str(text))
    except ValueError:
        raise AuditError(_DAMAGED) from None
    if not isinstance(detail, dict):
        raise AuditError(_DAMAGED)
    return AuditRecord(*columns, detail=detail)  # type: ignore[arg-type,misc]  # STRICT tables


def _conditions(wanted: TrailFilter) -> tuple[list[str], list[Value]]:
    if len(wanted.event) > MAX_NAMES:
        raise AuditError(_TOO_MANY_NAMES)
    indexed: dict[str, Value | None] = {
        "session_id": wanted.session_id,
        "subject": wanted.subject,
        "address": wanted.address,
    }
    given = {name: value for name, value in indexed.items() if value is not None}
    others = {"outcome": wanted.outcome, "token_hash": wanted.token_hash, "reason": wanted.reason}
    given |= {name: value for name, value in others.items() if value is not None}
    conditions = [f"{_kept_from_index(name, list(given))}{name} = ?" for name in given]
    values = list(given.values())
    if wanted.by is not None:
        conditions, values = [*conditions, "json_extract(detail, '$.by') = ?"], [*values, wanted.by]
    is_one_name = len(wanted.event) == 1 and not wanted.event[0].endswith(_FAMILY)
    if is_one_name and not set(given) & set(indexed):
        conditions, values = [*conditions, "event = ?"], [*values, wanted.event[0]]
    elif wanted.event:
        condition, names = _one_of(wanted.event)
        conditions, values = [*conditions, condition], [*values, *names]
    for sign, bound in ((">=", wanted.since_utc_ns), ("<", wanted.until_utc_ns)):
        if bound is not None:
            conditions, values = [*conditions, f"+at_utc_ns {sign} ?"], [*values, _held(bound)]
    return conditions, values


def _held(bound: int) -> int:
    """Beyond what a column can hold there is no row: the last one that it can says the same."""
    return max(LEAST_NUMBER, min(bound, MOST_NUMBER))


def _kept_from_index(name: str, given: Sequence[str]) -> str:
    return "" if name == given[0] else "+"


def _one_of(names: Sequence[str]) -> tuple[str, list[Value]]:
    conditions, values = [], list[Value]()
    for name in names:
        if name.endswith(_FAMILY):
            head = name.removesuffix(_FAMILY)
            conditions.append("(+event >= ? AND +event < ?)")
            values += [f"{head}.", f"{head}{_AFTER_DOT}"]
        else:
            conditions.append("+event = ?")
            values.append(name)
    return f"({' OR '.join(conditions)})", values
