"""Rows in, the files of a trail out: as the store writes them, but at once and with any MAC."""

import itertools
import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

from security.audit import AuditRecord
from security.audit_schema import MIGRATIONS
from security.trail_places import TrailPlaces

HOUR_NS = 3600 * 10**9
NOON_NS = 1_767_268_800 * 10**9
"""2026-01-01 12:00 UTC."""
COLUMNS = (
    *("seq", "at_utc_ns", "epoch", "event", "outcome", "session_id", "subject", "token_hash"),
    *("address", "reason", "audio_ms", "bytes_received", "detail"),
)
TABLES = tuple(
    statement
    for migration in MIGRATIONS
    for statement in migration.statements
    if not statement.startswith("CREATE TRIGGER")
)
"""And indices; whoever writes a million rows at once does without the triggers."""
_INSERT = f"INSERT INTO events VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"  # noqa: S608


def row(event="server.started", outcome="success", **columns):
    """One row without its number and epoch; what is no column goes into the detail."""
    named = {name: columns.pop(name, None) for name in COLUMNS[5:-1]}
    at_utc_ns = columns.pop("at_utc_ns", NOON_NS)
    detail = json.dumps(columns, sort_keys=True, separators=(",", ":"))
    return (at_utc_ns, event, outcome, *named.values(), detail)


def make_trail(folder: Path, *segments: Sequence[tuple]) -> TrailPlaces:
    """A trail of these rows, each argument a segment; the last one is open, in WAL."""
    places = TrailPlaces(folder / "audit", folder / "keys")
    places.folder.mkdir(parents=True, exist_ok=True)
    first_seq = 1
    for number, rows in enumerate(segments, 1):
        add_segment(places, first_seq, rows, is_open=number == len(segments))
        first_seq += len(rows)
    return places


def add_segment(
    places: TrailPlaces, first_seq: int, rows: Iterable[tuple], *, is_open: bool = False
) -> Path:
    """One file with these rows."""
    path = places.segment_file(first_seq)
    numbered = zip(itertools.count(first_seq), rows, itertools.repeat(bytes(32)))
    whole = ((seq, at, 0, *rest, mac) for seq, (at, *rest), mac in numbered)
    write_segment(path, whole, is_open=is_open)
    return path


def write_segment(path: Path, rows: Iterable[tuple], *, is_open: bool) -> None:
    """A file of whole rows."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {'WAL' if is_open else 'DELETE'}")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    for statement in TABLES:
        connection.execute(statement)
    connection.executemany(_INSERT, rows)
    connection.execute("COMMIT")
    connection.close()
    path.chmod(0o600 if is_open else 0o400)


def append(places: TrailPlaces, *rows: tuple) -> int:
    """More rows in the last segment; gives the last one's number."""
    path = places.segment_files()[-1]
    connection = sqlite3.connect(path, isolation_level=None)
    ((newest,),) = connection.execute("SELECT coalesce(max(seq), 0) FROM events")
    whole = [(seq, at, 0, *rest, bytes(32)) for seq, (at, *rest) in enumerate(rows, newest + 1)]
    connection.executemany(_INSERT, whole)
    connection.close()
    return newest + len(rows)


def record(seq=1, event="server.started", outcome="success", at_utc_ns=NOON_NS, **columns):
    """A row that was read; what is no column goes into the detail."""
    named = {name: columns.pop(name, None) for name in COLUMNS[5:-1]}
    return AuditRecord(seq, at_utc_ns, event, outcome, **named, detail=columns)
