"""Places of a trail in, where it has got to out: a new one begun, or one that is there checked.

What only this server knows must fit what the disk holds: the last rows are bound by the key of the
running epoch, those before by the newest signed checkpoint, and the head must be among them. So a
row that was changed, a tail that was cut off and yesterday's file in the place of today's are found
before anything is written behind them. What does not fit is refused, and left as it is.
"""

import os
import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiosqlite
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.audit_chain import ChainState, decode_frontier, first_key, root_of
from security.audit_schema import (
    WHAT_TO_DO,
    SegmentStart,
    close_segment,
    create_segment,
    is_closed,
    open_segment,
)
from security.checkpoint import Checkpoint, open_checkpoint, origin_of
from security.durable import sync_folder
from security.errors import AuditError, KeyFileError
from security.keys import create_key_file, create_signing_key, open_key_file, open_signing_key
from security.secret import SecretBytes
from security.trail_keys import (
    HeadFile,
    Stamp,
    create_chain_key,
    destroy_former_key,
    read_chain_key,
    stamp_of,
)
from security.trail_notes import newest_notes
from security.trail_places import TrailPlaces
from security.trail_state import ChainKey, follow

_Done = TypeVar("_Done")
_TRAIL_ID_BYTES = 8
_ROWS = "SELECT * FROM events WHERE seq > ? ORDER BY seq"
_CHECKPOINT = "SELECT size, note, frontier FROM checkpoints WHERE size = ?"
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
    """When its first row happened."""
    newest: Checkpoint | None


def open_keys(places: TrailPlaces) -> Keys:
    """Raises AuditError."""
    stamp = stamp_of(places.chain_key_file)
    chain = read_chain_key(places.chain_key_file)
    if chain is None:
        raise _refused(f"its key {places.chain_key_file} is gone")
    try:
        return Keys(chain, stamp, open_signing_key(places.signing_key_file))
    except KeyFileError as error:
        raise AuditError(str(error)) from None


def prepare(places: TrailPlaces) -> None:
    """Begin a trail if there is none, and mend what a crash has left. Raises AuditError."""
    try:
        destroy_former_key(places.chain_key_file)
        if not places.segment_files():
            _begin(places)
        for path in places.segment_files()[:-1]:
            if not is_closed(path):
                close_segment(path)
    except KeyFileError as error:
        raise AuditError(str(error)) from None
    except (OSError, sqlite3.Error) as error:
        cause = error.strerror if isinstance(error, OSError) else error
        text = f"{places.folder} cannot be written: {cause}; check its folder and disk"
        raise AuditError(text) from None


def make_folder(folder: Path) -> None:
    """The trail's own, closed to other accounts; the one that it lies in must be there. Raises
    AuditError.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        text = f"{folder} cannot be made: {error.strerror}; its folder must exist and be ours"
        raise AuditError(text) from None


def _begin(places: TrailPlaces) -> None:
    """The segment comes last: before it is there, a beginning that was cut short is begun again."""
    places.keys_folder.mkdir(mode=0o700, exist_ok=True)
    former = read_chain_key(places.chain_key_file)
    if former is not None and (former.after_seq or former.epoch or _head_seq(places)):
        raise _refused(f"{places.folder} has lost its files")
    if not places.signing_key_file.exists():
        create_signing_key(places.signing_key_file)
    if not places.auditor_key_file.exists():
        create_key_file(places.auditor_key_file)
    if former is None:
        with open_key_file(places.auditor_key_file) as auditor_key:
            key = SecretBytes(bytearray(first_key(auditor_key.expose())))
        former = ChainKey(secrets.token_hex(_TRAIL_ID_BYTES), 0, 0, key)
        places.chain_key_file.unlink(missing_ok=True)
        create_chain_key(places.chain_key_file, former)
    if not places.head_file.exists():
        HeadFile.create(places.head_file)
    create_segment(places.segment_file(1), SegmentStart(origin_of(former.trail_id)))
    sync_folder(places.folder.parent)


def _head_seq(places: TrailPlaces) -> int:
    if not places.head_file.exists():
        return 0
    head = HeadFile(places.head_file)
    try:
        return head.read()[0]
    finally:
        head.close()


async def standing_of(
    connection: aiosqlite.Connection,
    keys: Keys,
    places: TrailPlaces,
    known: ChainState | None,
    run: "Run",
) -> Standing:
    """Where the trail has got to, checked; `known`: what need not be checked again. Raises
    AuditError and sqlite3.Error.
    """
    start = await _start_of(connection)
    own = origin_of(keys.chain.trail_id)
    if start.origin != own or places.segment_file(start.first_seq) != places.segment_files()[-1]:
        raise _refused("a file of it belongs to another trail, or to another place")
    last_seq, since_utc_ns = await _extent(connection, start)
    if last_seq < keys.chain.after_seq or keys.chain.after_seq < start.first_seq - 1:
        raise _refused("it is an old one: its key is of later rows")
    newest = None
    [*rows] = await connection.execute_fetchall(_NEWEST_NOTE)
    if rows:
        newest = open_checkpoint(rows[0][0], keys.signing.public_key())
    if known is None or not start.first_seq - 1 <= keys.chain.after_seq <= known.size <= last_seq:
        known, newest = await _signed_base(connection, keys, start, places, run), newest
    try:
        stored = await connection.execute_fetchall(_ROWS, [known.size])
        chain = await run(follow, known, [tuple(row) for row in stored], keys.chain)
    except AuditError as error:
        raise _refused(str(error)) from None
    return Standing(chain, start, since_utc_ns, newest)
