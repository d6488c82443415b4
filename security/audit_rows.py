"""Places of a trail in, its newest rows out, over all segments."""

import json
import sqlite3
from collections import Counter
from typing import Any
from urllib.parse import quote

import aiosqlite

from security.audit import AuditRecord
from security.errors import AuditError
from security.trail_places import TrailPlaces

_NOT_READ = "The audit trail could not be read: check the disk it lies on."
_NEWEST = """SELECT seq, at_utc_ns, event, outcome, session_id, subject, token_hash, address,
    reason, audio_ms, bytes_received, detail FROM events WHERE (?1 IS NULL OR event = ?1)
    AND (?2 IS NULL OR session_id = ?2) ORDER BY seq DESC LIMIT ?3"""
_AUDIO = """SELECT json_extract(detail, '$.issuer'), subject, sum(audio_ms) FROM events
    WHERE event = 'session.ended' AND at_utc_ns >= ? GROUP BY 1, 2"""


async def newest_events(
    places: TrailPlaces, session_id: str | None, event: str | None, limit: int
) -> list[AuditRecord]:
    """Oldest first. Raises AuditError."""
    rows: list[Any] = []
    try:
        for path in reversed(places.segment_files()):
            address = f"file:{quote(str(path))}?mode=ro"
            async with aiosqlite.connect(address, uri=True) as connection:
                values = [event, session_id, limit - len(rows)]
                rows += await connection.execute_fetchall(_NEWEST, values)
            if len(rows) >= limit:
                break
    except (sqlite3.Error, ValueError):
        raise AuditError(_NOT_READ) from None
    return [_record_of(*row) for row in reversed(rows)]


def _record_of(*columns: Any) -> AuditRecord:  # noqa: ANN401 (as SQLite gives them)
    seq, at_utc_ns, event, outcome, session_id, subject, token_hash, *rest = columns
    address, reason, audio_ms, bytes_received, detail = rest
    return AuditRecord(
        *(seq, at_utc_ns, event, outcome, session_id, subject, token_hash),
        *(address, reason, audio_ms, bytes_received, json.loads(detail)),
    )


async def audio_ms_since(places: TrailPlaces, at_utc_ns: int) -> dict[tuple[str, str], int]:
    """Of sessions that ended since then, by issuer and subject. Raises AuditError."""
    spent_ms: Counter[tuple[str, str]] = Counter()
    try:
        for path in places.segment_files():
            address = f"file:{quote(str(path))}?mode=ro"
            async with aiosqlite.connect(address, uri=True) as connection:
                for issuer, subject, audio_ms in await connection.execute_fetchall(
                    _AUDIO, [at_utc_ns]
                ):
                    spent_ms[str(issuer), str(subject)] += int(audio_ms)
    except (sqlite3.Error, ValueError):
        raise AuditError(_NOT_READ) from None
    return dict(spent_ms)
