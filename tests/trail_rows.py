"""The places of a trail in, its newest rows out."""

import asyncio

from security.audit import AuditRecord
from security.audit_query import TrailFilter
from security.audit_reader import TrailReader
from security.trail_places import TrailPlaces


async def trail_rows(
    places: TrailPlaces, *, event: str | None = None, session_id: str | None = None
) -> list[AuditRecord]:
    """Of one event or session if given; the oldest first."""
    wanted = TrailFilter(event=(event,) if event else (), session_id=session_id)
    async with TrailReader(places) as reader:
        return await reader.records(wanted, limit=1000)


def read_trail(places: TrailPlaces) -> list[AuditRecord]:
    """The same where nothing runs."""
    return asyncio.run(trail_rows(places))
