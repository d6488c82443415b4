"""The trail at a start in; what a server that was killed left open, as rows of its own, out.

Such a server could not say that it stopped, nor that its sessions ended: without this they would
stay open in the trail for ever. What they took is not known, so nothing is claimed of it. Sessions
are looked for in each segment at once, and the few that may have ended in another one by name.
"""

import asyncio

from security.audit import AuditRecord
from security.audit_events import ServerFoundKilled
from security.audit_query import COLUMNS, Query, TrailFilter, record_of
from security.audit_reader import TrailReader
from security.door_events import SessionLost
from server.metrics import CountedTrail

MOST_SESSIONS = 10_000
"""Of one server; the newest."""
_AT_A_TIME = 256
_RUNS = TrailFilter(("server.started", "server.stopped"))
_ENDS = ("session.ended", "session.lost")
_OPEN = f"""SELECT {COLUMNS} FROM events AS began
    WHERE event = 'session.started' AND seq > ? AND NOT EXISTS (
        SELECT 1 FROM events AS over WHERE over.session_id = began.session_id
        AND +over.event IN {_ENDS}
    ) ORDER BY seq DESC LIMIT {MOST_SESSIONS}"""  # noqa: S608 (constants)


async def tell_of_killed(reader: TrailReader, trail: CountedTrail) -> None:
    """Before the next server says that it started. Raises AuditError."""
    last = await reader.records(_RUNS, limit=1)
    if not last or last[0].event != "server.started":
        return
    last_seq = await reader.newest_seq()
    left = await _open_sessions(reader, last[0].seq)
    await trail.note(ServerFoundKilled(last_seq, len(left)))
    for start in range(0, len(left), _AT_A_TIME):
        async with asyncio.TaskGroup() as tasks:
            for began in left[start : start + _AT_A_TIME]:
                tasks.create_task(trail.note(_lost(began)))


async def _open_sessions(reader: TrailReader, after_seq: int) -> list[AuditRecord]:
    """That began after a row, the oldest first."""
    found = await reader.ask_each(Query(_OPEN, (after_seq,)))
    began = [record_of(row) for rows in found for row in reversed(rows)][-MOST_SESSIONS:]
    return [each for each in began if len(found) == 1 or not await _has_ended(reader, each)]


async def _has_ended(reader: TrailReader, began: AuditRecord) -> bool:
    wanted = TrailFilter(_ENDS, session_id=began.session_id)
    return bool(await reader.records(wanted, limit=1, after_seq=began.seq))


def _lost(began: AuditRecord) -> SessionLost:
    issuer = began.detail.get("issuer")
    return SessionLost(
        session_id=began.session_id or "",
        subject=began.subject,
        issuer=issuer if isinstance(issuer, str) else None,
        token_hash=began.token_hash,
        peer_address=began.address,
        reason="server_died",
    )
