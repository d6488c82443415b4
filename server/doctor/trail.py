"""The places of the trail in; whether it opens, is whole, has room and goes forwards in time, out.

It is read by a connection that cannot write, opened in its turn: opening alone may write the shared
memory beside the file. The check itself takes no turn, so that a server that runs is not held up.
"""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from security.audit_lock import WriteLock
from security.audit_schema import APPLICATION_ID, MIGRATIONS
from security.errors import AuditError
from security.trail_keys import PUT_BACK
from security.trail_places import TrailPlaces
from server.doctor.finding import Finding, bad, ok, sentence_of, warn
from server.sqlite_fault import has_wal_reset_fault

LEAST_FREE_BYTES, FEW_FREE_BYTES = 100 << 20, 1 << 30
_BEHIND_LIMIT_NS = 1_000_000_000
_VERIFY = "run.py audit verify; keep it, then run.py audit set-aside begins a new one."


def check_trail(places: TrailPlaces) -> tuple[Finding, int | None]:
    """Whether its last file is ours and whole; and the time of its newest row, in ns."""
    check, about = "trail", str(places.folder)
    paths = places.segment_files()
    if not paths and places.chain_key_file.exists():
        return bad(check, "its files are gone, and its key is there.", _VERIFY, about), None
    if not paths:
        return ok(check, "there is none yet; the first start makes it.", about), None
    try:
        wrong, newest_ns = _look_at(places, paths[-1])
    except AuditError as fault:
        return bad(check, sentence_of(fault), "mend what it says.", about), None
    except sqlite3.Error:
        wrong, newest_ns = "it is damaged or no audit trail.", None
    if wrong is not None:
        return bad(check, wrong, _VERIFY, about), None
    if any(path.stat().st_mode & 0o077 for path in (places.folder, *paths)):
        text = "chmod 700 for the folder, 400 for its files, 600 for the last."
        return bad(check, "other accounts can read it.", text, about), newest_ns
    return ok(check, "its last file opens and is whole.", about), newest_ns


def check_space(folder: Path) -> Finding:
    """Whether the disk takes more: a session that cannot be recorded is not served."""
    check, about = "disk", str(folder)
    try:
        free_bytes = shutil.disk_usage(folder).free
    except OSError:
        return bad(check, "it cannot be looked at.", "name the right data folder.", about)
    return space_finding(free_bytes, about)


def space_finding(free_bytes: int, about: str) -> Finding:
    """The same, of what is free."""
    check = "disk"
    if free_bytes < LEAST_FREE_BYTES:
        text = "under 100 MiB are free: sessions are refused when the trail cannot be written."
        return bad(check, text, "make room, or move the data folder.", about)
    if free_bytes < FEW_FREE_BYTES:
        return warn(check, "under 1 GiB is free.", "make room before it is full.", about)
    return ok(check, "there is room.", about)


def check_sqlite(version: tuple[int, ...]) -> Finding:
    """Whether SQLite has the WAL-reset fault, which the turns around each commit keep away."""
    check, about = "sqlite", ".".join(map(str, version))
    if not has_wal_reset_fault(version):
        return ok(check, "it is without the WAL-reset fault.", about)
    text = (
        "before 3.51.3 two programs that write at once can lose what was committed (the WAL-reset "
        "fault); the server and its commands take turns, others would not."
    )
    return warn(check, text, "let no other program write to the trail.", about)


def check_order(newest_ns: int | None, wall_ns: int) -> Finding:
    """Whether the clock is where the trail has already been."""
    check = "clock order"
    if (newest_ns or 0) > wall_ns + _BEHIND_LIMIT_NS:
        text = "the newest row of the trail is from the future: the clock is, or was, wrong."
        return bad(check, text, "set the clock before the next start.")
    return ok(check, "the clock is not behind the trail.")


async def _opened(places: TrailPlaces, path: Path) -> sqlite3.Connection:
    lock = WriteLock(places.lock_file)
    try:
        async with lock.held():
            connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
            is_open = False
            try:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                is_open = True
            finally:
                if not is_open:
                    connection.close()
            return connection
    finally:
        lock.close()


def _look_at(places: TrailPlaces, path: Path) -> tuple[str | None, int | None]:
    """What is wrong, and the newest row's time. Raises AuditError."""
    for missing in places.missing_files():
        raise AuditError(f"{missing} is missing: {PUT_BACK}")
    with closing(asyncio.run(_opened(places, path))) as connection:
        if _number(connection, "PRAGMA application_id") != APPLICATION_ID:
            return "it belongs to another program.", None
        if _number(connection, "PRAGMA user_version") > len(MIGRATIONS):
            return "it was written by a newer version of this program.", None
        [[verdict], *_] = connection.execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            return "it is damaged.", None
        return None, _number(connection, "SELECT at_utc_ns FROM events ORDER BY seq DESC LIMIT 1")


def _number(connection: sqlite3.Connection, query: str) -> int:
    """0 for nothing."""
    [number] = connection.execute(query).fetchone() or [0]
    return int(number or 0)
