"""A trail's places in, its rows out: newest, by number, all there are, or what a query makes of
each segment.

Reading never touches what the store does: connections of its own that cannot write, each in a
thread of its own, so that a question over a million rows keeps nobody waiting but who asked. A few
run at a time; the others take their turn. Whoever gives up ends the query.

Only closed segments are kept open between questions. The one that is written to is opened for each:
a reader who holds it would keep the store from closing it. Segments that retention drops meanwhile
are simply no longer there; new ones are found when the next question is asked.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiosqlite

from security.audit import AuditRecord
from security.audit_query import EVERYTHING, Query, TrailFilter, record_of, rows_query
from security.errors import AuditError
from security.trail_places import TrailPlaces

MAX_READ_ROWS = 10_000
BATCH_ROWS = 500
_MOST_AT_WORK = 3
"""Queries that run at the same time."""
_MOST_KEPT = 6
"""Connections that wait for the next question."""
_ROWS_A_TURN = 100
"""How many are made into records before others get their turn: a millisecond's worth."""
_LOCK_TIMEOUT_S = 1.0
_CLOSE_TIMEOUT_S = 1.0
_STEPS_A_LOOK = 100_000
"""Of SQLite's machine, a millisecond or two: then it is asked whether the query is still wanted."""
_NOT_READ = "The audit trail could not be read: check the disk it lies on."
_CLOSED = "The audit trail is not open for reading."
_PRAGMAS = ("query_only = ON", "trusted_schema = OFF", "cell_size_check = ON")
_NEWEST = Query("SELECT max(seq) FROM events", ())
_AUDIO_SINCE = """SELECT json_extract(detail, '$.issuer'), subject, sum(audio_ms) FROM events
    WHERE event = 'session.ended' AND at_utc_ns >= ?1 AND seq >= (
        SELECT min(seq) FROM events INDEXED BY events_by_time WHERE at_utc_ns >= ?1
    ) GROUP BY 1, 2"""

Rows = Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    inode: int
    """A trail that was set aside leaves its names to others."""
    first_seq: int


@dataclass(slots=True)
class _Kept:
    connection: aiosqlite.Connection
    is_closed_segment: bool = False
    """Nobody writes to it any more."""
    is_given_up: bool = False
    """Its query ends soon, also one that has not begun yet."""


class TrailReader:
    """Reads inside `async with`."""

    def __init__(self, places: TrailPlaces) -> None:
        self._places = places
        self._kept: dict[_Segment, _Kept] = {}
        self._turns = asyncio.Semaphore(_MOST_AT_WORK)
        self._is_open = False

    async def __aenter__(self) -> Self:
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        for segment in list(self._kept):
            await _drop(self._kept.pop(segment))

    async def records(
        self,
        wanted: TrailFilter = EVERYTHING,
        *,
        limit: int = 100,
        before_seq: int | None = None,
        after_seq: int | None = None,
    ) -> list[AuditRecord]:
        """The newest `limit` of them, with `after_seq` the oldest ones after it; the oldest first.
        Raises AuditError.
        """
        left = min(limit, MAX_READ_ROWS)
        rows: list[Sequence[object]] = []
        for segment in _in_question(await self._segments(), before_seq, after_seq):
            if left <= 0:
                break
            query = rows_query(wanted, left, before_seq=before_seq, after_seq=after_seq)
            found = await self._ask(segment, query)
            rows += found
            left -= len(found)
        return await _records_of(rows if after_seq is not None else rows[::-1])

    async def record(self, seq: int) -> AuditRecord | None:
        """The one with this number, if it is (still) there. Raises AuditError."""
        found = await self.records(limit=1, after_seq=seq - 1, before_seq=seq + 1)
        return found[0] if found else None

    async def newest_seq(self) -> int:
        """Of the last row; 0 if there is none. Raises AuditError."""
        for segment in reversed(await self._segments()):
            for row in await self._ask(segment, _NEWEST):
                if isinstance(row[0], int):
                    return row[0]
        return 0

    async def batches(
        self, wanted: TrailFilter = EVERYTHING, *, after_seq: int = 0
    ) -> AsyncIterator[list[AuditRecord]]:
        """All there are by now, the oldest first, some at a time. Raises AuditError."""
        end_seq = await self.newest_seq() + 1
        while True:
            batch = await self.records(
                wanted, limit=BATCH_ROWS, after_seq=after_seq, before_seq=end_seq
            )
            if batch:
                yield batch
                after_seq = batch[-1].seq
            if len(batch) < BATCH_ROWS:
                return

    async def ask_each(self, query: Query) -> list[Rows]:
        """What the query finds in each segment, the oldest first. Raises AuditError."""
        segments = await self._segments()
        try:
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(self._ask(each, query)) for each in segments]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return [task.result() for task in asked]

    async def audio_ms_since(self, at_utc_ns: int) -> dict[tuple[str, str], int]:
        """Audio of the sessions that ended since then, by issuer and subject. Raises AuditError."""
        spent_ms: dict[tuple[str, str], int] = {}
        for rows in await self.ask_each(Query(_AUDIO_SINCE, (at_utc_ns,))):
            for issuer, subject, audio_ms in rows:
                who = (str(issuer), str(subject))
                spent_ms[who] = spent_ms.get(who, 0) + int(str(audio_ms or 0))
        return spent_ms

    async def _segments(self) -> list[_Segment]:
        """Those there are, the oldest first; what is kept of others is let go."""
        if not self._is_open:
            raise AuditError(_CLOSED)
        with _plain_errors():
            found = await asyncio.to_thread(_list, self._places)
        for gone in set(self._kept) - set(found):
            await _drop(self._kept.pop(gone))
        return found

    async def _ask(self, segment: _Segment, query: Query) -> Rows:
        with _plain_errors():
            async with self._borrowed(segment) as connection:
                if connection is None:
                    return ()
                async with connection.execute(query.text, query.values) as cursor:
                    return list(await cursor.fetchall())

    @asynccontextmanager
    async def _borrowed(self, segment: _Segment) -> AsyncIterator[aiosqlite.Connection | None]:
        """For one question; None if the segment has gone."""
        async with self._turns:
            kept = self._kept.pop(segment, None) or await _opened(segment)
            is_whole = False
            try:
                yield kept.connection if kept else None
                is_whole = True
            finally:
                if kept and not is_whole:
                    await _drop(kept)
            if kept:
                await self._put_back(segment, kept)

    async def _put_back(self, segment: _Segment, kept: _Kept) -> None:
        is_of_use = kept.is_closed_segment and self._is_open and segment not in self._kept
        if not is_of_use:
            await _drop(kept)
            return
        self._kept[segment] = kept
        if len(self._kept) > _MOST_KEPT:
            oldest = next(iter(self._kept))
            await _drop(self._kept.pop(oldest))


async def _opened(segment: _Segment) -> _Kept | None:
    """None if retention was faster."""
    uri = f"{segment.path.absolute().as_uri()}?mode=ro"
    try:
        connection = await aiosqlite.connect(
            uri, uri=True, isolation_level=None, timeout=_LOCK_TIMEOUT_S
        )
    except sqlite3.OperationalError:
        if segment.path.exists():
            raise
        return None
    kept = _Kept(connection)
    is_ready = False
    try:
        for pragma in _PRAGMAS:
            await connection.execute(f"PRAGMA {pragma}")
        async with connection.execute("PRAGMA journal_mode") as cursor:
            mode = await cursor.fetchone()
        await connection.set_progress_handler(lambda: kept.is_given_up, _STEPS_A_LOOK)
        is_ready = True
    finally:
        if not is_ready:
            await _drop(kept)
    kept.is_closed_segment = mode is not None and mode[0] != "wal"
    return kept


async def _drop(kept: _Kept) -> None:
    """Close it, whatever it is at."""
    kept.is_given_up = True
    is_closed = False
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await kept.connection.close()
                is_closed = True
    finally:
        if not is_closed:  # the thread ends by itself
            kept.connection.stop()


def _list(places: TrailPlaces) -> list[_Segment]:
    found = []
    for path in places.segment_files():
        try:
            inode = path.stat().st_ino
        except FileNotFoundError:
            continue
        found.append(_Segment(path, inode, int(path.stem.rpartition("-")[2])))
    return found


def _in_question(
    segments: list[_Segment], before_seq: int | None, after_seq: int | None
) -> list[_Segment]:
    """Those that can hold such numbers, in the order of reading."""
    ends = [*(following.first_seq for following in segments[1:]), None]
    fitting = [
        segment
        for segment, end in zip(segments, ends, strict=False)
        if (before_seq is None or segment.first_seq < before_seq)
        and (after_seq is None or end is None or end > after_seq + 1)
    ]
    return fitting if after_seq is not None else fitting[::-1]


async def _records_of(rows: Rows) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    for at in range(0, len(rows), _ROWS_A_TURN):
        records += map(record_of, rows[at : at + _ROWS_A_TURN])
        await asyncio.sleep(0)
    return records


@contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError, ValueError, OverflowError):
        raise AuditError(_NOT_READ) from None
