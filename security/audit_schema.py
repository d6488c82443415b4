"""The path of a segment in, a checked and current connection to it out; and segments made and
closed.

A segment is one SQLite file of the trail. The last one is written to: in WAL with
`synchronous=FULL`, so that what was committed is on the disk, also after a power cut. Closed ones
are complete in themselves: a single file, without a log beside it, that nobody writes to. The
tables take inserts alone, rows only in their order; triggers refuse the rest (a guard against
mistakes: whoever owns the file can drop them; what finds him is the chain). A file of another
program, of a newer version, or that is damaged is refused rather than repaired, with a line that
says what to do: a trail that was quietly started anew has lost its past.

Whoever calls these holds the `WriteLock` meanwhile, because opening can write.
"""

import os
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from security.audit_chain import NO_MAC, encode_frontier
from security.durable import sync_folder
from security.errors import AuditError

APPLICATION_ID = 0x45415257  # "EARW", for `file` and for us
CLOSED_MODE = 0o400
WHAT_TO_DO = "keep it, run.py audit verify, then run.py audit set-aside begins a new one"
_BUSY_LIMIT_S = 0.3
"""How long another program may hold the file, against the turns, before a commit is refused."""
_WAL_PAGES = 1000
_CACHE_KIB = 16 * 1024
_SQLITE_BESIDE = ("", "-journal", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a schema to the next; its place in `MIGRATIONS` is its number."""

    name: str
    statements: tuple[str, ...]


def _append_only(table: str, order: str) -> tuple[str, ...]:
    """Triggers; INSERT OR REPLACE deletes without asking those on DELETE."""
    refuse = "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
    return (
        f"CREATE TRIGGER {table}_are_not_updated BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_are_not_deleted BEFORE DELETE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_are_in_order BEFORE INSERT ON {table} WHEN {order} {refuse}",
    )


MIGRATIONS = (
    Migration(
        "append-only events in segments",
        (
            """CREATE TABLE events (
                seq INTEGER PRIMARY KEY, at_utc_ns INTEGER NOT NULL, epoch INTEGER NOT NULL,
                event TEXT NOT NULL, outcome TEXT NOT NULL, session_id TEXT, subject TEXT,
                token_hash TEXT, address TEXT, reason TEXT, audio_ms INTEGER,
                bytes_received INTEGER, detail TEXT NOT NULL, mac BLOB NOT NULL
            ) STRICT""",
            """CREATE TABLE checkpoints (
                size INTEGER PRIMARY KEY, note TEXT NOT NULL, frontier BLOB NOT NULL
            ) STRICT""",
            """CREATE TABLE segment (
                first_seq INTEGER PRIMARY KEY, former_mac BLOB NOT NULL, frontier BLOB NOT NULL,
                origin TEXT NOT NULL
            ) STRICT""",
            """CREATE INDEX events_by_session ON events (session_id, seq)
            WHERE session_id IS NOT NULL""",
            "CREATE INDEX events_by_subject ON events (subject, seq) WHERE subject IS NOT NULL",
            "CREATE INDEX events_by_address ON events (address, seq) WHERE address IS NOT NULL",
            "CREATE INDEX events_by_event ON events (event, seq, at_utc_ns, outcome)",
            "CREATE INDEX events_by_time ON events (at_utc_ns, event, outcome, audio_ms)",
            *_append_only(
                "events",
                "NEW.seq <> 1 + coalesce((SELECT max(seq) FROM events),"
                " (SELECT first_seq - 1 FROM segment), 0)",
            ),
            *_append_only(
                "checkpoints", "EXISTS (SELECT 1 FROM checkpoints WHERE size >= NEW.size)"
            ),
            *_append_only("segment", "EXISTS (SELECT 1 FROM segment)"),
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class SegmentStart:
    """What a segment says of the rows before it."""

    origin: str
    """Names the trail."""
    first_seq: int = 1
    former_mac: bytes = NO_MAC
    frontier: tuple[bytes, ...] = ()


def create_segment(path: Path, start: SegmentStart) -> None:
    """Make an empty segment, which is whole or not there. Raises OSError and sqlite3.Error."""
    made = path.with_name(path.name + ".new")
    for suffix in _SQLITE_BESIDE:  # what a crash has left
        made.with_name(made.name + suffix).unlink(missing_ok=True)
    os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        for migration in MIGRATIONS:
            for statement in migration.statements:
                connection.execute(statement)
        values = (start.first_seq, start.former_mac, encode_frontier(start.frontier), start.origin)
        connection.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", values)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    made.rename(path)
    sync_folder(path.parent)


async def open_segment(path: Path) -> aiosqlite.Connection:
    """A connection to the segment that is written to. Raises AuditError."""
    _check_file(path)
    try:
        connection = await aiosqlite.connect(path, isolation_level=None, timeout=_BUSY_LIMIT_S)
        is_ready = False
        try:
            await _check_origin(connection, path)
            await _configure(connection, path)
            await _migrate(connection)
            is_ready = True
        finally:
            if not is_ready:
                await connection.close()
    except sqlite3.OperationalError as error:
        raise AuditError(f"{path} cannot be opened: {error}; check its folder and disk") from None
    except sqlite3.DatabaseError:
        raise AuditError(f"{path} is damaged or no audit trail: {WHAT_TO_DO}") from None
    return connection


def close_segment(path: Path) -> bool:
    """Make a segment complete in itself; False: somebody has it open, and it is left for later."""
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            [mode] = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        if mode == "delete":
            path.chmod(CLOSED_MODE)
        return bool(mode == "delete")
    except (sqlite3.Error, OSError):
        return False


def is_closed(path: Path) -> bool:
    """Whether `close_segment` has been successful."""
    return stat.S_IMODE(path.stat().st_mode) == CLOSED_MODE


def _check_file(path: Path) -> None:
    """Closed to other accounts, before SQLite makes files like it."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
        try:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if is_regular:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AuditError(f"{path} cannot be written: {error.strerror}; it must be ours") from None
    if not is_regular:
        raise AuditError(f"{path} is no regular file: {WHAT_TO_DO}")


async def _check_origin(connection: aiosqlite.Connection, path: Path) -> None:
    application_id = await _number(connection, "PRAGMA application_id")
    if application_id != APPLICATION_ID:
        raise AuditError(f"{path} belongs to another program: move it away")
    if await _number(connection, "PRAGMA user_version") > len(MIGRATIONS):
        raise AuditError(f"{path} was written by a newer version: upgrade this one or move it away")


async def _configure(connection: aiosqlite.Connection, path: Path) -> None:
    await connection.execute("PRAGMA trusted_schema = OFF")
    await connection.execute("PRAGMA cell_size_check = ON")
    await connection.execute("PRAGMA synchronous = FULL")
    await connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
    await connection.execute(f"PRAGMA cache_size = {-_CACHE_KIB}")
    async with connection.execute("PRAGMA journal_mode = WAL") as cursor:
        mode = await cursor.fetchone()
    if mode is None or mode[0] != "wal":  # pragma: no cover - a network share does this
        raise AuditError(f"{path} lies on a file system without shared memory: use a local disk")


async def _migrate(connection: aiosqlite.Connection) -> None:
    version = await _number(connection, "PRAGMA user_version")
    if version == len(MIGRATIONS):
        return
    await connection.execute("BEGIN IMMEDIATE")
    for migration in MIGRATIONS[version:]:
        for statement in migration.statements:
            await connection.execute(statement)
    await connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    await connection.execute("COMMIT")


async def _number(connection: aiosqlite.Connection, query: str) -> int:
    async with connection.execute(query) as cursor:
        row = await cursor.fetchone()
    return int(row[0]) if row else 0
