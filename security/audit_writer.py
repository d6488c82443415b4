"""Rows in, their numbers out once they are on the disk; checkpoints and segments as they fall due.

This is all that writes to the trail, and it does so in its turn. Before each commit it looks
whether another process has written since: then it goes on from what the disk holds, checked. A
commit is few statements for many rows, so that the worker thread and the event loop do not wait for
each other at every row. Steps are in an order that leaves, after a crash between any two of
them, a trail that opens and verifies: rows before the head, a signed note before the key that it
ends, a new segment before the former is closed.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

import aiosqlite
import structlog

from security.audit import row_of
from security.audit_chain import encode_frontier, root_of
from security.audit_lock import UseLock, WriteLock
from security.audit_opening import Keys, Opening, Standing, open_keys, refused
from security.audit_schema import SegmentStart, close_segment, create_segment, open_segment
from security.checkpoint import Checkpoint, sign_checkpoint
from security.errors import AuditError
from security.file_thread import FileThread
from security.trail_beginning import beginning_of, make_folder, prepare
from security.trail_keys import HeadFile, replace_chain_key, stamp_of
from security.trail_notes import append_note
from security.trail_places import TrailPlaces
from security.trail_settings import TrailSettings
from security.trail_state import TimedRow, next_step

_log = structlog.get_logger()
_NS = 1_000_000_000
_N_COLUMNS = 14
_CHUNKS = (8, 64, 192, 512)
"""Rows of one statement; what is missing at the end is bound as NULL, and left out. A batch is one
statement wherever it can be: each costs the event loop and the worker thread a wait for each other.
"""
_HAS_CHECKPOINT = "SELECT count(*) FROM checkpoints WHERE size = ?"


def _insert(n_rows: int) -> str:
    row = f"({', '.join('?' * _N_COLUMNS)})"
    rows = ", ".join([row] * n_rows)
    return f"INSERT INTO events SELECT * FROM (VALUES {rows}) WHERE column1 IS NOT NULL"  # noqa: S608


_INSERTS = {n_rows: _insert(n_rows) for n_rows in _CHUNKS}


def _inserts(rows: Sequence[tuple[object, ...]]) -> Iterator[tuple[str, list[object]]]:
    """Statements, and the values of each."""
    n_rows = next((chunk for chunk in _CHUNKS if len(rows) <= chunk), _CHUNKS[-1])
    for start in range(0, len(rows), n_rows):
        values = [value for row in rows[start : start + n_rows] for value in row]
        values += [None] * (n_rows * _N_COLUMNS - len(values))
        yield _INSERTS[n_rows], values


async def _insert_all(
    connection: aiosqlite.Connection, inserts: Sequence[tuple[str, list[object]]]
) -> None:
    """In one transaction; a single statement is one by itself, and costs one turn of the thread."""
    if len(inserts) == 1:
        [(statement, values)] = inserts
        await connection.execute(statement, values)
        return
    is_durable = False
    await connection.execute("BEGIN IMMEDIATE")
    try:
        for statement, values in inserts:
            await connection.execute(statement, values)
        await connection.execute("COMMIT")
        is_durable = True
    finally:
        if not is_durable:
            with suppress(sqlite3.Error, ValueError):
                await connection.rollback()


class AuditWriter:
    """One process's share in writing the trail; each of its calls is made by one task at a time."""

    def __init__(
        self,
        places: TrailPlaces,
        clock: Callable[[], int],
        settings: TrailSettings,
        lock: WriteLock,
        use: UseLock,
    ) -> None:
        """`open` makes it ready."""
        self.places = places
        self._clock = clock
        self._settings = settings
        self._lock = lock
        self._use = use
        self._files = FileThread()
        self._head: HeadFile | None = None
        self._connection: aiosqlite.Connection | None = None
        self._keys: Keys | None = None
        self._standing: Standing | None = None
        self._is_stale = True
        self._notes: list[str] = []

    @classmethod
    async def open(
        cls, places: TrailPlaces, clock: Callable[[], int], settings: TrailSettings
    ) -> Self:
        """Of a trail that is checked, or begun. Raises AuditError."""
        make_folder(places.folder)
        use = UseLock(places.in_use_file)
        writer = cls(places, clock, settings, WriteLock(places.lock_file), use)
        is_open = False
        try:
            async with writer._lock.held():
                await writer._files.run(prepare, places)
                await writer._look()
                if writer.standing.chain.size == 0:
                    began = await writer._files.run(beginning_of, places)
                    await writer._commit([(clock(), row_of(began))])
            is_open = True
        except (sqlite3.OperationalError, OSError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            text = f"{places.folder} cannot be written: {cause}; check its folder and disk"
            raise AuditError(text) from None
        except sqlite3.Error:
            raise refused("it is damaged") from None
        finally:
            if not is_open:
                await writer.close()
        return writer

    @property
    def standing(self) -> Standing:
        """Where the trail has got to, as far as we know."""
        if self._standing is None:
            raise AuditError("The audit trail is not open.")
        return self._standing

    @property
    def is_checkpoint_due(self) -> bool:
        """Whether many rows are not signed yet."""
        return self.n_unsigned >= self._settings.checkpoint_every_rows

    @property
    def n_unsigned(self) -> int:
        """Rows of the running epoch."""
        if self._keys is None:
            return 0
        return self.standing.chain.size - self._keys.chain.after_seq

    async def commit(self, take: Callable[[], Sequence[TimedRow]]) -> int:
        """The number of the first row, once all are durable; `take` gives the rows when it is our
        turn, not before. Raises AuditError.
        """
        async with self._lock.held():
            await self._catch_up()
            rows = take()
            if not rows:
                return self.standing.chain.size + 1
            try:
                return await self._commit(rows)
            except sqlite3.IntegrityError:  # somebody has written who does not take turns, or died
                await self._catch_up()
                return await self._commit(rows)

    async def checkpoint(self) -> None:
        """Sign all rows, end the epoch, and the segment if it is due. Raises AuditError, OSError
        and sqlite3.Error.
        """
        async with self._lock.held():
            self._is_stale = True  # another process's rows, too, end with their epoch
            await self._catch_up()
            if self.n_unsigned:
                await self._checkpoint()
            if self._is_segment_full():
                await self._begin_segment()

    def take_notes(self) -> list[str]:
        """Those signed since they were taken."""
        notes, self._notes = self._notes, []
        return notes

    async def seq_on_disk(self) -> int:
        """The number of the last row, whoever wrote it. Raises AuditError."""
        if self._head is None:
            raise AuditError("The audit trail is not open.")
        try:
            seq, _ = await self._files.run(self._head.read)
        except OSError:
            raise AuditError("The head of the audit trail cannot be read.") from None
        return seq

    async def close(self) -> None:
        """Let go of every file; may be called again."""
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                async with self._lock.held():  # the last connection to close writes
                    await connection.close()
        finally:
            if self._head is not None:
                self._head.close()
            self._files.close()
            self._lock.close()
            self._use.close()

    def stop(self) -> None:
        """The same in haste, without waiting: the threads end by themselves."""
        if self._connection is not None:
            self._connection.stop()
        if self._head is not None:
            self._head.close()
        self._files.close()
        self._lock.close()
        self._use.close()

    async def _commit(self, rows: Sequence[TimedRow]) -> int:
        connection, keys, standing = self._opened()
        step = next_step(standing.chain, keys.chain, rows)
        self._is_stale = True
        try:
            await _insert_all(connection, list(_inserts(step.rows)))
        except ValueError:  # the connection is lost: the next one is another
            self._connection = None
            raise
        since_utc_ns = standing.since_utc_ns or rows[0][0]
        self._standing = Standing(step.chain, standing.start, since_utc_ns, standing.newest)
        self._is_stale = False
        self._write_head()
        return step.first_seq

    def _write_head(self) -> None:
        """A head that stays behind is no reason to refuse what is durable. It is a line in a page
        that is in memory: a thread would take longer to be asked.
        """
        try:
            if self._head is not None:
                self._head.write(self.standing.chain)
        except OSError:
            _log.error("the head of the audit trail cannot be written")

    async def _catch_up(self) -> None:
        """Go on from what others have written, if they have. Raises AuditError."""
        if self._keys is not None and not self._is_stale:
            next_segment = self.places.segment_file(self.standing.chain.size + 1)
            is_ours = self.standing.start.first_seq == self.standing.chain.size + 1
            has_moved = not is_ours and next_segment.exists()
            if not has_moved and stamp_of(self.places.chain_key_file) == self._keys.stamp:
                return
        self._is_stale = True
        await self._look()

    async def _look(self) -> None:
        """Where the trail has got to, from the disk. Raises AuditError and sqlite3.Error."""
        keys = await self._files.run(open_keys, self.places)
        paths = self.places.segment_files()
        if not paths:
            raise refused("its files are gone")
        known, connection = None, self._connection
        if self._standing is not None and paths[-1] == self._segment_path(self._standing):
            known = self._standing.chain
        if known is None or connection is None:
            connection = await self._connect(paths[-1])
        opening = Opening(self.places, connection, keys, self._files)
        standing = await opening.standing(known)
        if self._head is None:
            head = HeadFile(self.places.head_file)
            await opening.check_head(head, standing)
            self._head = head
        self._keys, self._standing, self._is_stale = keys, standing, False
        self._write_head()

    async def _connect(self, path: Path) -> aiosqlite.Connection:
        """To another segment, and not to the former any more."""
        former, self._connection = self._connection, None
        if former is not None:
            await former.close()
        self._connection = await open_segment(path)
        return self._connection

    async def _checkpoint(self) -> None:
        connection, keys, standing = self._opened()
        chain = standing.chain
        signed = Checkpoint(
            standing.start.origin,
            chain.size,
            root_of(chain.frontier),
            keys.chain.epoch,
            chain.mac,
            self._clock(),
        )
        note = sign_checkpoint(signed, keys.signing)
        self._is_stale = True
        await self._files.run(self._publish, note)
        [[has_it]] = await connection.execute_fetchall(_HAS_CHECKPOINT, [chain.size])
        if not has_it:  # a crash may have come between this and the next step
            row = (chain.size, note, encode_frontier(chain.frontier))
            await connection.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", row)
        chain_key = keys.chain.next(chain.size)
        path = self.places.chain_key_file
        await self._files.run(replace_chain_key, path, chain_key)
        keys.chain.key.wipe()
        self._keys = Keys(chain_key, stamp_of(path), keys.signing)
        self._standing = replace(standing, newest=signed)
        self._is_stale = False
        self._notes.append(note)

    def _publish(self, note: str) -> None:
        append_note(self.places.checkpoints_file, note)
        if self._head is not None:
            self._head.sync()

    def _is_segment_full(self) -> bool:
        """Only behind a checkpoint, so that a closed segment is signed to its last row."""
        standing, settings = self.standing, self._settings
        n_rows = standing.chain.size - standing.start.first_seq + 1
        if self.n_unsigned or standing.since_utc_ns is None:
            return False
        age_s = (self._clock() - standing.since_utc_ns) / _NS
        return n_rows >= settings.segment_rows or age_s >= settings.segment_s

    async def _begin_segment(self) -> None:
        _, _, standing = self._opened()
        chain = standing.chain
        start = SegmentStart(standing.start.origin, chain.size + 1, chain.mac, chain.frontier)
        former = self._segment_path(standing)
        path = self.places.segment_file(start.first_seq)
        self._is_stale = True
        await self._files.run(create_segment, path, start)
        self._connection = await self._connect(path)
        self._standing = Standing(chain, start, None, standing.newest)
        self._is_stale = False
        await self._files.run(close_segment, former)

    def _segment_path(self, standing: Standing) -> Path:
        return self.places.segment_file(standing.start.first_seq)

    def _opened(self) -> tuple[aiosqlite.Connection, Keys, Standing]:
        if self._connection is None or self._keys is None:
            raise AuditError("The audit trail is not open.")
        return self._connection, self._keys, self.standing
