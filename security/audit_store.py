"""Events in, their sequence numbers out once they are on the disk.

Whoever records an event waits until it is durable, because the answer that depends on it (a
session begins, a door closes) must not be given before. One writer commits whatever has gathered
while the commit before it ran, so that a hundred waiters cost one sync. When the disk refuses or
hangs, each waiter is told within a second; what was lost meanwhile becomes one row, `trail.gap`,
with the next commit that works. When more wait than may, further events are refused at once: the
caller then refuses the session. Closing takes no new events, writes the waiting ones and signs all.
Commands that an administrator runs beside the server write to the same trail, each in its turn.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog

from security.audit import row_of
from security.audit_events import AuditEvent, CheckpointCopyFailed, TrailGap
from security.audit_waiting import NOT_WRITTEN, WRITE_LIMIT_S, Losses, Waiting, WaitingEvents
from security.audit_writer import AuditWriter
from security.checkpoint_copies import CheckpointCopies
from security.errors import AuditError
from security.trail_places import TrailPlaces
from security.trail_settings import TrailSettings
from security.trail_state import TimedRow

_log = structlog.get_logger()
_CLOSE_LIMIT_S = 10.0
_RETRY_S = 1.0
"""While events are lost, a commit is tried this often, also if nobody waits for one."""
_LOOK_S = 1.0
"""How soon rows of other processes are seen by whoever waits for news."""
_CHECKPOINT_RETRY_S = 60.0
_LONG_S = 86_400.0
_CLOSED = "The audit trail is closed."


@dataclass(frozen=True, slots=True)
class SignedAt:
    """The newest checkpoint."""

    n_rows: int
    at_utc_ns: int


class AuditStore:
    """The trail of one server; it records inside `async with`, which also closes it."""

    def __init__(
        self,
        writer: AuditWriter,
        clock: Callable[[], int],
        settings: TrailSettings,
        *,
        max_waiting: int = 5_000,
        max_batch: int = 510,
    ) -> None:
        """Takes over `writer`; `clock` gives UTC in ns."""
        self._writer = writer
        self._clock = clock
        self._settings = settings
        self._max_batch = max_batch
        self._losses = Losses()
        self._waiting = WaitingEvents(max_waiting, self._losses)
        self._copies = CheckpointCopies(settings.checkpoint_copies, self._tell_copy_failed)
        self._tasks = asyncio.TaskGroup()
        self._writing: asyncio.Task[None] | None = None
        self._copying: asyncio.Task[None] | None = None
        self._expiring: asyncio.TimerHandle | None = None
        self._untold: list[str] = []
        """Why copies of checkpoints failed while the trail was being closed."""
        self._has_news = asyncio.Event()
        self._turn = asyncio.Lock()
        self._checkpoint_due_s: float | None = None
        self._checkpoint_from_s = 0.0
        self._has_failed = False
        self._is_open = False
        self._is_closed = False

    @classmethod
    async def open(
        cls,
        places: TrailPlaces,
        clock: Callable[[], int],
        settings: TrailSettings = TrailSettings(),  # noqa: B008 (frozen)
    ) -> Self:
        """Open or begin the trail. Raises AuditError, whose text says what to do."""
        return cls(await AuditWriter.open(places, clock, settings), clock, settings)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._is_open = True
        self._writing = self._tasks.create_task(self._write())
        self._copying = self._tasks.create_task(self._copies.run())
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
        """The event's sequence number, once it is durable. Raises AuditError within a second if it
        is not; then it is not written later, unless the disk had it already.
        """
        if not self._is_open:
            raise AuditError(_CLOSED)
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        at_utc_ns = self._clock()
        self._waiting.check_room(at_utc_ns)
        waiting = Waiting(at_utc_ns, row_of(event), now_s, loop.create_future())
        self._waiting.add(waiting)
        if self._expiring is None:
            self._expiring = loop.call_at(now_s + WRITE_LIMIT_S, self._expire)
        return await waiting.seq

    async def note(self, event: AuditEvent) -> None:
        """The same of what has already happened: what cannot be written is counted as lost."""
        with suppress(AuditError):
            await self.record(event)

    async def checkpoint(self) -> None:
        """Sign all rows and end the epoch of their key. Raises AuditError."""
        async with self._turn:
            if self._is_closed:
                raise AuditError(_CLOSED)
            await self._checkpoint()

    async def until_beyond(self, seq: int) -> int:
        """The newest row's number, once it is larger than `seq`. Raises AuditError once closed."""
        while self._is_open:
            if self.newest_seq > seq:
                return self.newest_seq
            try:
                async with asyncio.timeout(_LOOK_S):
                    await self._has_news.wait()
            except TimeoutError:
                newest_seq = await self._writer.seq_on_disk()
                if newest_seq > seq:
                    return newest_seq
        raise AuditError(_CLOSED)

    @property
    def newest_seq(self) -> int:
        """Of the rows that we have written, or seen."""
        return self._writer.standing.chain.size

    @property
    def newest_checkpoint(self) -> SignedAt | None:
        """As far as we have made or seen one."""
        newest = self._writer.standing.newest
        return SignedAt(newest.size, newest.at_utc_ns) if newest else None

    @property
    def n_lost(self) -> int:
        """Events that were not written."""
        return self._losses.n_lost

    @property
    def is_failing(self) -> bool:
        """Whether the last commit was not possible, or hangs."""
        return self._has_failed or self.write_lag_s > WRITE_LIMIT_S

    @property
    def write_lag_s(self) -> float:
        """How long the oldest event that waits has waited."""
        return self._waiting.lag_s(asyncio.get_running_loop().time())

    async def close(self) -> None:
        """Write what waits, refuse what comes, sign all and let go of the files; may be called
        again.
        """
        self._is_open = False
        is_closed = False
        try:
            if self._writing:
                await self._end_writing(self._writing)
            async with self._turn:
                await self._close_writer()
            is_closed = True
        finally:
            if not is_closed:  # cancelled while closing
                self._writer.stop()
                if self._copying:
                    self._copying.cancel()
            self._tell_news()

    async def _close_writer(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._writing:
            try:
                await self._checkpoint()
            except AuditError:
                _log.error("the audit trail was closed without a checkpoint")
        if self._copying:
            await self._copies.end(self._copying)
            await self._write_untold()
        await self._writer.close()

    async def _write_untold(self) -> None:
        """Behind the last checkpoint: the next one signs it."""
        rows = [(self._clock(), row_of(CheckpointCopyFailed(reason))) for reason in self._untold]
        if rows:
            with suppress(AuditError, sqlite3.Error, ValueError, OSError):
                await self._writer.commit(lambda: rows)

    async def _end_writing(self, writing: asyncio.Task[None]) -> None:
        self._waiting.wake()
        try:
            await asyncio.wait([writing], timeout=_CLOSE_LIMIT_S)
        finally:
            writing.cancel()
        await asyncio.wait([writing])

    async def _write(self) -> None:
        try:
            while self._is_open or len(self._waiting):
                await self._waiting.until_some(self._idle_s())
                async with self._turn:
                    await self._write_batch()
                    await self._checkpoint_if_due()
        finally:
            self._waiting.refuse_all("closed")
            if self._expiring is not None:
                self._expiring.cancel()

    async def _write_batch(self) -> None:
        """All that waits, behind what the trail does not say yet of what was lost."""
        if not len(self._waiting) and self._losses.gap is None:
            return
        taken: list[TrailGap | None] = []

        def take() -> list[TimedRow]:
            gap = self._losses.gap
            taken.append(gap)
            rows = [(each.at_utc_ns, each.row) for each in self._waiting.take(self._max_batch)]
            return [(self._clock(), row_of(gap)), *rows] if gap else rows

        try:
            first_seq = await self._writer.commit(take)
        except (AuditError, sqlite3.Error, ValueError, OverflowError, OSError) as error:
            if not taken:
                self._waiting.take(self._max_batch)
            self._waiting.refuse(_reason_of(error))
            self._has_failed = True
            return
        [gap] = taken
        self._has_failed = False
        self._waiting.settle(first_seq + 1 if gap else first_seq)
        if gap:
            self._losses.forget(gap)
        if self._checkpoint_due_s is None:
            now_s = asyncio.get_running_loop().time()
            self._checkpoint_due_s = now_s + self._settings.checkpoint_every_s
        self._tell_news()

    def _idle_s(self) -> float:
        """For how long nothing has to be done unless an event comes."""
        now_s = asyncio.get_running_loop().time()
        due_s = self._checkpoint_due_s
        idle_s = _LONG_S if due_s is None else max(due_s, self._checkpoint_from_s) - now_s
        return min(idle_s, _RETRY_S) if self._losses.gap else max(idle_s, 0)

    async def _checkpoint_if_due(self) -> None:
        now_s = asyncio.get_running_loop().time()
        due_s = self._checkpoint_due_s
        is_due = self._writer.is_checkpoint_due or (due_s is not None and due_s <= now_s)
        if not is_due or now_s < self._checkpoint_from_s:
            return
        try:
            await self._checkpoint()
        except AuditError:
            self._checkpoint_from_s = now_s + _CHECKPOINT_RETRY_S
            _log.error("the audit trail could not be signed")

    async def _checkpoint(self) -> None:
        """Raises AuditError."""
        try:
            await self._writer.checkpoint()
        except (sqlite3.Error, ValueError, OSError):
            raise AuditError(NOT_WRITTEN) from None
        finally:
            for note in self._writer.take_notes():
                self._copies.add(note)
        self._checkpoint_due_s = None

    def _tell_copy_failed(self, reason: str) -> None:
        if self._is_open:
            self._telling = self._tasks.create_task(self._note_copy_failed(reason))
        else:
            self._untold.append(reason)

    async def _note_copy_failed(self, reason: str) -> None:
        if self._is_open:
            await self.note(CheckpointCopyFailed(reason))
        else:
            self._untold.append(reason)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        next_s = self._waiting.expire(loop.time())
        self._expiring = None if next_s is None else loop.call_at(next_s, self._expire)

    def _tell_news(self) -> None:
        self._has_news.set()
        self._has_news = asyncio.Event()


def _reason_of(error: Exception) -> str:
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return "locked"
    return "refused" if isinstance(error, AuditError) else "disk"
