"""Settings in, the store where subjects are counted out, and what keeps it up: in this process, or
in a Redis that several servers share.

Whoever restarts the server gets nobody a new day: what was spent today is read from the trail.
"""

import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec

from security.audit_reader import TrailReader
from security.errors import AuditError
from server.start_error import EXIT_DATA, EXIT_SETTINGS, StartError
from server.subject_settings import SubjectSettings
from server.subjects import DAY_S, MemorySubjects, SubjectStore


@dataclass(slots=True)
class SubjectPlace:
    """Where subjects are counted, and what keeps that up."""

    store: SubjectStore
    run: Callable[[], Coroutine[None, None, None]]
    on_lost: Callable[[str], None] = lambda place_id: None


@asynccontextmanager
async def open_subjects(
    settings: SubjectSettings, trail: TrailReader, wall_clock: Callable[[], float]
) -> AsyncIterator[SubjectPlace]:
    """Raises StartError."""
    if settings.redis_url is None:
        spent_ms = await _spent_today_ms(trail, wall_clock())
        yield SubjectPlace(MemorySubjects(time.monotonic, wall_clock, spent_ms), _nothing)
        return
    if find_spec("redis") is None:
        raise StartError("subjects.redis_url needs pip install '.[server,redis]'", EXIT_SETTINGS)
    from server.redis_subjects import open_redis_subjects

    subjects: list[SubjectPlace] = []
    async with open_redis_subjects(
        settings, lambda place_id: subjects[0].on_lost(place_id)
    ) as store:
        subjects.append(SubjectPlace(store, store.run))
        yield subjects[0]


async def _spent_today_ms(trail: TrailReader, wall_s: float) -> dict[str, int]:
    """By subject, from the trail. Raises StartError."""
    midnight_s = int(wall_s // DAY_S) * DAY_S
    try:
        spent_ms = await trail.audio_ms_since(midnight_s * 1_000_000_000)
    except AuditError as error:
        raise StartError(str(error), EXIT_DATA) from None
    return {f"{issuer} {subject}": audio_ms for (issuer, subject), audio_ms in spent_ms.items()}


async def _nothing() -> None:
    """There is nothing to renew in memory."""
