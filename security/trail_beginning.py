"""Places without a trail in, an empty trail out, with the keys that bind and sign it.

The segment is made last: before it is there, a beginning that a crash has cut short is begun again.
A key of rows that are not there is no beginning: the trail was taken away, and that is told.
"""

import hashlib
import secrets
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from security.audit_chain import first_key
from security.audit_events import TrailBegan
from security.audit_schema import (
    WHAT_TO_DO,
    SegmentStart,
    close_segment,
    create_segment,
    is_closed,
)
from security.checkpoint import Checkpoint, open_checkpoint, origin_of, split_notes
from security.durable import sync_folder
from security.errors import AuditError, KeyFileError
from security.keys import (
    create_key_file,
    create_public_half,
    create_signing_key,
    open_key_file,
    open_signing_key,
    public_half,
)
from security.secret import SecretBytes
from security.trail_keys import HeadFile, create_chain_key, destroy_former_key, read_chain_key
from security.trail_places import TrailPlaces
from security.trail_state import ChainKey

_TRAIL_ID_BYTES = 8
_MADE_IN = "audit-new"
SET_ASIDE = "audit-set-aside-"
"""Begins the name of a folder beside the trail's that holds a former one."""


def make_folder(folder: Path) -> None:
    """The trail's own, closed to other accounts; the one that it lies in must be there. Raises
    AuditError.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        text = f"{folder} cannot be made: {error.strerror}; its folder must exist and be ours"
        raise AuditError(text) from None


def prepare(places: TrailPlaces) -> None:
    """Begin a trail if there is none, and end what a crash has left half done; while the
    `WriteLock` is held. Raises AuditError.
    """
    try:
        destroy_former_key(places.chain_key_file)
        signing = places.signing_key_file
        if signing.exists() and not public_half(signing).exists():
            create_public_half(signing)
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


def beginning_of(places: TrailPlaces) -> TrailBegan:
    """What the first row says of the trails before this one. Raises OSError."""
    sha256, origin = _former_sha256(places), None
    aside = max(places.folder.parent.glob(f"{SET_ASIDE}*"), default=None)  # named by its time
    if aside is None:
        return TrailBegan(sha256)
    former = TrailPlaces(aside / places.folder.name, aside)
    with suppress(AuditError):
        chain_key = read_chain_key(former.chain_key_file)
        origin = origin_of(chain_key.trail_id) if chain_key else None
    newest = _newest_signed(former, open_signing_key(places.signing_key_file).public_key())
    if newest is None or newest.origin != (origin or newest.origin):
        return TrailBegan(sha256, origin)
    return TrailBegan(sha256, newest.origin, newest.size, newest.root.hex())


def _newest_signed(former: TrailPlaces, key: Ed25519PublicKey) -> Checkpoint | None:
    if not former.checkpoints_file.is_file():
        return None
    notes = split_notes(former.checkpoints_file.read_text(errors="replace"))
    signed = [read for note in notes if (read := open_checkpoint(note, key))]
    return max(signed, key=lambda each: each.size, default=None)


def _former_sha256(places: TrailPlaces) -> str | None:
    """In hex; None if no file held the trail before this one."""
    if not places.former_file.is_file():
        return None
    with places.former_file.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _begin(places: TrailPlaces) -> None:
    places.keys_folder.mkdir(mode=0o700, exist_ok=True)
    chain_key = read_chain_key(places.chain_key_file)
    is_used = chain_key is not None and (chain_key.after_seq or chain_key.epoch)
    if is_used or _head_seq(places):
        raise AuditError(f"{places.folder} has lost its rows: {WHAT_TO_DO}")
    if chain_key is None:
        chain_key = _make_keys(places)
    create_segment(places.segment_file(1), SegmentStart(origin_of(chain_key.trail_id)))
    sync_folder(places.folder.parent)


def _make_keys(places: TrailPlaces) -> ChainKey:
    """Each is whole before it has its name; the chain's comes last."""
    made = places.keys_folder / _MADE_IN
    if made.exists():
        shutil.rmtree(made)
    made.mkdir(mode=0o700)
    new = TrailPlaces(places.folder, made)
    if not places.signing_key_file.exists():
        create_signing_key(new.signing_key_file)
        public_half(new.signing_key_file).rename(public_half(places.signing_key_file))
        new.signing_key_file.rename(places.signing_key_file)
    if not places.auditor_key_file.exists():
        create_key_file(new.auditor_key_file)
        new.auditor_key_file.rename(places.auditor_key_file)
    with open_key_file(places.auditor_key_file) as auditor_key:
        key = SecretBytes(bytearray(first_key(auditor_key.expose())))
    chain_key = ChainKey(secrets.token_hex(_TRAIL_ID_BYTES), 0, 0, key)
    HeadFile.create(new.head_file)
    new.head_file.rename(places.head_file)
    sync_folder(places.keys_folder)
    create_chain_key(new.chain_key_file, chain_key)
    new.chain_key_file.rename(places.chain_key_file)
    sync_folder(places.keys_folder)
    made.rmdir()
    return chain_key


def _head_seq(places: TrailPlaces) -> int:
    if not places.head_file.exists():
        return 0
    head = HeadFile(places.head_file)
    try:
        return head.read()[0]
    finally:
        head.close()
