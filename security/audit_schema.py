"""The path of an audit file in, a checked and current connection to it out.

WAL with `synchronous=FULL`: what was committed is on the disk, also after a power cut. The table
takes inserts alone; triggers refuse updates, deletes and replacements (a guard against mistakes:
whoever owns the file can drop them). A file of another program, of a newer version, or that is
damaged is refused rather than repaired, with a line that says what to do: an audit trail that was
quietly started anew has lost its past.

Whoever opens a connection holds the `WriteLock` meanwhile, because opening can write.
"""

import os
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

import aiosqlite

from security.errors import AuditError

APPLICATION_ID = 0x45415257  # "EARW", for `file` and for us


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from a schema to the next; its place in `MIGRATIONS` is its number."""

    name: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        "append-only events",
        (
            """CREATE TABLE events (
                seq INTEGER PRIMARY KEY,
                at_utc_ns INTEGER NOT NULL,
                event TEXT NOT NULL,
                session_id TEXT,
                subject TEXT,
                token_id TEXT,
                reason TEXT,
                detail TEXT NOT NULL
            ) STRICT""",
            "CREATE INDEX events_by_session ON events (session_id, seq)",
            """CREATE TRIGGER events_are_not_updated BEFORE UPDATE ON events
            BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END""",
            """CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
            BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END""",
            # INSERT OR REPLACE deletes without asking the trigger above
            """CREATE TRIGGER events_are_not_replaced BEFORE INSERT ON events
            WHEN EXISTS (SELECT 1 FROM events WHERE seq = NEW.seq)
            BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END""",
        ),
    ),
)


async def open_connection(path: Path) -> aiosqlite.Connection:
    """A connection to the audit file, made if it is not there. Raises AuditError."""
    _prepare_file(path)
    try:
        connection = await aiosqlite.connect(path, isolation_level=None)
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
        raise AuditError(
            f"{path} is damaged or no audit trail: keep it, move it away, start with a new one"
        ) from None
    return connection


def _prepare_file(path: Path) -> None:
    """Make the file, closed to other accounts, before SQLite would with the umask's bits."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
        try:
            is_regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            if is_regular:
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AuditError(
            f"{path} cannot be written: {error.strerror}; its folder must exist and be ours"
        ) from None
    if not is_regular:
        raise AuditError(f"{path} is no regular file: name another one for the audit trail")


async def _check_origin(connection: aiosqlite.Connection, path: Path) -> None:
    application_id = await _number(connection, "PRAGMA application_id")
    version = await _number(connection, "PRAGMA user_version")
    tables = await _number(connection, "SELECT count(*) FROM sqlite_schema")
    if application_id != APPLICATION_ID and (application_id or version or tables):
        raise AuditError(f"{path} belongs to another program: name another file for the trail")
    if version > len(MIGRATIONS):
        raise AuditError(f"{path} was written by a newer version: upgrade this one or move it away")


async def _configure(connection: aiosqlite.Connection, path: Path) -> None:
    await connection.execute("PRAGMA trusted_schema = OFF")
    await connection.execute("PRAGMA cell_size_check = ON")
    await connection.execute("PRAGMA synchronous = FULL")
    async with connection.execute("PRAGMA journal_mode = WAL") as cursor:
        mode = await cursor.fetchone()
    if mode is None or mode[0] != "wal":  # pragma: no cover - a network share does this
        raise AuditError(f"{path} lies on a file system without shared memory: use a local disk")


async def _migrate(connection: aiosqlite.Connection) -> None:
    await connection.execute("BEGIN IMMEDIATE")
    version = await _number(connection, "PRAGMA user_version")
    for migration in MIGRATIONS[version:]:
        for statement in migration.statements:
            await connection.execute(statement)
    await connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    await connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    await connection.execute("COMMIT")


async def _number(connection: aiosqlite.Connection, query: str) -> int:
    async with connection.execute(query) as cursor:
        row = await cursor.fetchone()
    return int(row[0]) if row else 0
