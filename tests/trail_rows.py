"""The places of a trail in, its newest rows out."""

import asyncio
import re
import sqlite3
from contextlib import closing
from pathlib import Path

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


def words_of_trail(places: TrailPlaces) -> set[str]:
    """Every word in every event of all its segments, in lower case.

    The file itself is no place to look for a short word: the MACs beside it are random bytes,
    among which any three letters turn up sooner or later.
    """
    texts = [text for file in places.segment_files() for text in _texts_in(file)]
    return set(re.findall(r"\w+", "\n".join(texts).casefold()))


def _texts_in(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as trail:
        rows = trail.execute("SELECT * FROM events")
        return [cell for row in rows for cell in row if isinstance(cell, str)]
