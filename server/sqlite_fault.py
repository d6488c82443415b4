"""A version of SQLite in; whether it has the WAL-reset fault, and so is to be warned of, out.

Before 3.51.3 two connections that write or checkpoint at once can lose what was committed. The
server and its commands take turns around each commit, which is outside the fault; other programs
would not.
"""

import sqlite3

import structlog

_log = structlog.get_logger()
FIXED_SQLITE = (3, 51, 3)


def has_wal_reset_fault(version: tuple[int, ...]) -> bool:
    """Whether it is older than the fix."""
    return version < FIXED_SQLITE


def warn_of_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Once, when a server starts."""
    if has_wal_reset_fault(version):
        _log.warning(
            "sqlite has the WAL-reset fault: let no other program write to the trail",
            sqlite=".".join(map(str, version)),
        )
