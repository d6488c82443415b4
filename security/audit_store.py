"""Events in, their sequence numbers out once they are on the disk; and the trail read back.

Whoever records an event waits until it is durable, because the answer that depends on it (a
session begins, a door closes) must not be given before. One writer commits whatever has gathered
while the commit before it ran, so that a hundred waiters cost one sync. When the disk refuses,
each waiter is told; the next batch is tried afresh. When more wait than `max_waiting`, further
events are refused at once: the caller then refuses the session. A waiter who is cancelled leaves
the event in the trail. Closing takes no new events and writes the waiting ones first. Commands
that an administrator runs beside the server write to the same file, each in its turn.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiosqlite

from security.audit import AuditRow, row_of
from security.audit_events import AuditEvent
from security.audit_lock import WriteLock
from security.audit_schema import open_connection
from security.errors import AuditError

MAX_READ_ROWS = 10_000
_CLOSE_TIMEOUT_S = 10.0

_NOT_WRITTEN = "The audit trail could not be written: check the disk it lies on."
_NOT_READ = "The audit trail could not be read: check the disk it lies on."
_CLOSED = "The audit trail is closed."
_FULL = "The audit trail does not keep up: its disk is too slow for the load."

_INSERT = """INSERT INTO events (at_utc_ns, event, session_id, subject, token_id, reason, detail)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
_COLUMNS = "seq, at_utc_ns, event, session_id, subject, token_id, reason, detail"
_SELECT = f"SELECT {_COLUMNS} FROM events WHERE (?1 IS NULL OR event = ?1)"  # noqa: S608 (constants)
_NEWEST = " ORDER BY seq DESC LIMIT ?2"
_OF_SESSION = " AND session_id = ?3"
_AUDIO_SINCE = """SELECT json_extract(started.detail, '$.issuer'), ended.subject,
    sum(json_extract(ended.detail, '$.audio_ms'))
    FROM events AS ended JOIN events AS started USING (session_id)
    WHERE ended.event = 'session.ended' AND started.event = 'session.started'
    AND ended.at_utc_ns >= ? GROUP BY 1, 2"""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One event as the trail holds it."""

    seq: int
    """Counts up from 1 without gaps."""
    at_utc_ns: int
    event: str
    session_id: str | None
    subject: str | None
    token_id: str | None
    reason: str | None
    detail: Mapping[str, str | int | None]


@dataclass(frozen=True, slots=True)
class _Waiting:
    at_utc_ns: int
    row: AuditRow
    seq: asyncio.Future[int]


class AuditStore:
    """The trail of one server; it records inside `async with`, which also closes it."""

    def __init__(
        self,
        connection: aiosqlite.Connection,
        lock: WriteLock,
        clock: Callable[[], int],
        *,
        max_waiting: int = 10_000,
        max_batch: int = 100,
    ) -> None:
        """Takes over `connection`, of `open_connection`, and `lock`; `clock` gives UTC in ns."""
        self._connection = connection
        self._lock = lock
        self._clock = clock
        self._max_batch = max_batch
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(max_waiting)
        self._turn = asyncio.Lock()
        self._tasks = asyncio.TaskGroup()
        self._writer: asyncio.Task[None] | None = None
        self._is_open = False
        self._is_closed = False

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], int]) -> Self:
        """Open or make the trail at `path`. Raises AuditError, whose text says what to do."""
        lock = WriteLock(path)
        is_open = False
        try:
            async with lock.held():
                connection = await open_connection(path)
            is_open = True
        finally:
            if not is_open:
                lock.close()
        return cls(connection, lock, clock)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._writer = self._tasks.create_task(self._write())
        self._is_open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            await self.close()
        finally:
            await self._tasks.__aexit__(None, None, None)

    async def record(self, event: AuditEvent) -> int:
        """The event's sequence number, once it is durable. Raises AuditError if it is not."""
        if not self._is_open:
            raise AuditError(_CLOSED)
        seq: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(self._clock(), row_of(event), seq))
        except asyncio.QueueFull:
            raise AuditError(_FULL) from None
        return await seq

    async def events(
        self, session_id: str | None = None, event: str | None = None, limit: int = 1000
    ) -> list[AuditRecord]:
        """The newest `limit` durable events, oldest first; of one session or one name if given."""
        query, values = _SELECT, [event, min(limit, MAX_READ_ROWS)]
        if session_id is not None:
            query, values = query + _OF_SESSION, [*values, session_id]
        try:
            async with self._turn:  # the one connection would show its own open transaction
                rows = await self._connection.execute_fetchall(query + _NEWEST, values)
        except (sqlite3.Error, ValueError):
            raise AuditError(_NOT_READ) from None
        return [_record_of(row) for row in rows][::-1]

    async def audio_ms_since(self, at_utc_ns: int) -> dict[tuple[str, str], int]:
        """Audio of the sessions that ended since then, by issuer and subject."""
        try:
            async with self._turn:
                rows = await self._connection.execute_fetchall(_AUDIO_SINCE, [at_utc_ns])
        except (sqlite3.Error, ValueError):
            raise AuditError(_NOT_READ) from None
        return {(str(issuer), str(subject)): int(audio_ms) for issuer, subject, audio_ms in rows}

    async def close(self) -> None:
        """Write what waits, refuse what comes, and let go of the file; may be called again."""
        self._is_open = False
        is_closed = False
        try:
            if self._writer:
                await self._end_writer(self._writer)
            async with self._turn:  # a second `close` of aiosqlite beside the first never returns
                await self._close_connection()
            is_closed = True
        finally:
            if not is_closed:  # cancelled while closing: the thread ends by itself
                self._connection.stop()
            self._lock.close()

    async def _close_connection(self) -> None:
        if self._is_closed:
            return
        async with self._lock.held():  # the last connection to close checkpoints
            await self._connection.close()
        self._is_closed = True

    async def _end_writer(self, writer: asyncio.Task[None]) -> None:
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                    await self._queue.join()
        finally:
            writer.cancel()
        await asyncio.wait([writer])

    async def _write(self) -> None:
        batch: list[_Waiting] = []
        try:
            while True:
                batch = [await self._queue.get()]
                while len(batch) < self._max_batch and not self._queue.empty():
                    batch.append(self._queue.get_nowait())
                await self._settle(batch)
                for _ in batch:
                    self._queue.task_done()
        finally:
            while not self._queue.empty():
                batch.append(self._queue.get_nowait())
            _refuse(batch)

    async def _settle(self, batch: list[_Waiting]) -> None:
        try:
            last_seq = await self._commit(batch)
        except (sqlite3.Error, ValueError, OverflowError):
            _refuse(batch)
            return
        for seq, waiting in enumerate(batch, last_seq - len(batch) + 1):
            if not waiting.seq.done():
                waiting.seq.set_result(seq)

    async def _commit(self, batch: list[_Waiting]) -> int:
        """The sequence number of the last event, once all are durable."""
        rows = [(waiting.at_utc_ns, *astuple(waiting.row)) for waiting in batch]
        is_durable = False
        async with self._turn, self._lock.held():
            try:
                await self._connection.execute("BEGIN IMMEDIATE")
                await self._connection.executemany(_INSERT, rows)
                (newest,) = await self._connection.execute_fetchall("SELECT max(seq) FROM events")
                await self._connection.execute("COMMIT")
                is_durable = True
            finally:
                if not is_durable:
                    with suppress(sqlite3.Error, ValueError):
                        await self._connection.rollback()
        return int(newest[0])


def _refuse(batch: Iterable[_Waiting]) -> None:
    for waiting in batch:
        if not waiting.seq.done():
            waiting.seq.set_exception(AuditError(_NOT_WRITTEN))


def _record_of(row: sqlite3.Row) -> AuditRecord:
    seq, at_utc_ns, event, session_id, subject, token_id, reason, detail = row
    detail = json.loads(detail)
    return AuditRecord(seq, at_utc_ns, event, session_id, subject, token_id, reason, detail)
