"""A trail's keys and a connection to its last segment in, where it has got to out, checked.

What only this server knows must fit what the disk holds: the last rows are bound by the key of the
running epoch, those before by the newest signed checkpoint, and the head must be among them. So a
row that was changed, a tail that was cut off and yesterday's file in the place of today's are found
before anything is written behind them. What does not fit is refused, and left as it is.
"""

from dataclasses import dataclass
from hmac import compare_digest

import aiosqlite
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.audit_chain import HASH_BYTES, ChainState, decode_frontier, root_of
from security.audit_schema import WHAT_TO_DO, SegmentStart
from security.checkpoint import Checkpoint, open_checkpoint, origin_of
from security.errors import AuditError, KeyFileError
from security.file_thread import FileThread
from security.keys import open_signing_key
from security.trail_keys import PUT_BACK, HeadFile, Stamp, read_chain_key, stamp_of
from security.trail_notes import newest_notes
from security.trail_places import TrailPlaces
from security.trail_state import ChainKey, StoredRow, follow

_ROWS = "SELECT * FROM events WHERE seq > ? ORDER BY seq"
_EXTENT = "SELECT max(seq), (SELECT at_utc_ns FROM events ORDER BY seq LIMIT 1) FROM events"
_MAC = "SELECT mac FROM events WHERE seq = ?"
_CHECKPOINT = "SELECT note, frontier FROM checkpoints WHERE size = ?"
_NEWEST_NOTE = "SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class Keys:
    """Of a trail, as its files hold them now."""

    chain: ChainKey
    stamp: Stamp
    """Of the file of the chain's key."""
    signing: Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the trail has got to."""

    chain: ChainState
    start: SegmentStart
    """Of the segment that is written to."""
    since_utc_ns: int | None
    """When the segment's first row happened."""
    newest: Checkpoint | None


def open_keys(places: TrailPlaces) -> Keys:
    """Raises AuditError."""
    stamp = stamp_of(places.chain_key_file)
    chain = read_chain_key(places.chain_key_file)
    if chain is None:
        raise AuditError(f"{places.chain_key_file} is missing: {PUT_BACK}")
    if not places.signing_key_file.exists():
        raise AuditError(f"{places.signing_key_file} is missing: {PUT_BACK}")
    try:
        return Keys(chain, stamp, open_signing_key(places.signing_key_file))
    except KeyFileError as error:
        raise AuditError(str(error)) from None


def refused(cause: str) -> AuditError:
    """A trail that is not what this server has written."""
    return AuditError(f"the audit trail cannot be trusted, {cause}: {WHAT_TO_DO}")


@dataclass(frozen=True, slots=True)
class Opening:
    """What it takes to look at a trail."""

    places: TrailPlaces
    connection: aiosqlite.Connection
    keys: Keys
    files: FileThread

    async def standing(self, known: ChainState | None = None) -> Standing:
        """Where the trail has got to; `known`: what was seen before, and is not checked again.

        Raises AuditError and sqlite3.Error.
        """
        after_seq = self.keys.chain.after_seq
        start = await self._start()
        last_seq, since_utc_ns = await self._extent(start)
        if after_seq > last_seq:
            raise refused("it is an older one than its key is for")
        if after_seq < start.first_seq - 1:
            raise self._refused_for_old_key()
        if known is not None and known.size > last_seq:
            raise refused("its last rows are gone")
        newest = await self._newest_checkpoint()
        if known is None or known.size < max(after_seq, start.first_seq - 1):
            known, signed = await self._signed_base(start)
            newest = newest or signed
        rows: list[StoredRow] = [
            tuple(row) for row in await self.connection.execute_fetchall(_ROWS, [known.size])
        ]
        if any(row[2] > self.keys.chain.epoch for row in rows):
            raise self._refused_for_old_key()
        chain = await self.files.run(follow, known, rows, self.keys.chain)
        if chain is None:
            raise refused("a row was changed")
        return Standing(chain, start, since_utc_ns, newest)

    async def check_head(self, head: HeadFile, standing: Standing) -> None:
        """Raises AuditError and sqlite3.Error."""
        seq, mac = await self.files.run(head.read)
        if seq > standing.chain.size:
            raise refused("its last rows are gone")
        if seq < standing.start.first_seq:
            found = standing.start.former_mac if seq == standing.start.first_seq - 1 else None
        else:
            [[found]] = await self.connection.execute_fetchall(_MAC, [seq])
        if found is None or not compare_digest(found, mac):
            raise refused("its last row is another one")

    def _refused_for_old_key(self) -> AuditError:
        path = self.places.chain_key_file
        cause = (
            f"its key is older than it is (was {path} put back from a backup?), or rows were added"
        )
        return refused(cause)

    async def _start(self) -> SegmentStart:
        rows = [*await self.connection.execute_fetchall("SELECT * FROM segment")]
        origin = origin_of(self.keys.chain.trail_id)
        if len(rows) != 1 or rows[0][3] != origin:
            raise refused("its last file belongs to another one")
        first_seq, former_mac, stored, _ = rows[0]
        frontier = decode_frontier(stored, first_seq - 1)
        is_last = self.places.segment_file(first_seq) == self.places.segment_files()[-1]
        if frontier is None or len(former_mac) != HASH_BYTES or not is_last:
            raise refused("its last file does not belong there")
        return SegmentStart(origin, first_seq, former_mac, frontier)

    async def _extent(self, start: SegmentStart) -> tuple[int, int | None]:
        [[last_seq, since_utc_ns]] = await self.connection.execute_fetchall(_EXTENT)
        return last_seq or start.first_seq - 1, since_utc_ns

    async def _newest_checkpoint(self) -> Checkpoint | None:
        notes = [row[0] for row in await self.connection.execute_fetchall(_NEWEST_NOTE)]
        return self._opened(notes[0]) if notes else None

    def _opened(self, note: str) -> Checkpoint | None:
        checkpoint = open_checkpoint(note, self.keys.signing.public_key())
        origin = origin_of(self.keys.chain.trail_id)
        return checkpoint if checkpoint and checkpoint.origin == origin else None

    async def _signed_base(self, start: SegmentStart) -> tuple[ChainState, Checkpoint | None]:
        """The chain at the end of the last epoch, as it was signed then."""
        size = self.keys.chain.after_seq
        if size == 0:
            return ChainState(), None
        if size == start.first_seq - 1:
            chain = ChainState(size, start.former_mac, start.frontier)
            notes = await self.files.run(newest_notes, self.places.checkpoints_file)
        else:
            chain, notes = await self._signed_in_segment(size)
        for note in reversed(notes):
            signed = self._opened(note)
            told = (size, chain.mac, root_of(chain.frontier))
            if signed and not signed.dropped and (signed.size, signed.mac, signed.root) == told:
                return chain, signed
        raise refused(f"no signed checkpoint is of its row {size}")

    async def _signed_in_segment(self, size: int) -> tuple[ChainState, list[str]]:
        rows = [*await self.connection.execute_fetchall(_CHECKPOINT, [size])]
        macs = [row[0] for row in await self.connection.execute_fetchall(_MAC, [size])]
        frontier = decode_frontier(rows[0][1], size) if rows else None
        if frontier is None or not macs:
            return ChainState(size), []
        return ChainState(size, macs[0], frontier), [rows[0][0]]
