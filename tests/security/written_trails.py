"""What tests of the trail share: places, clocks, events, a model of what a trail must hold, and
a look at the files that knows nothing of the code that wrote them.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import resource
import sqlite3
from contextlib import closing, contextmanager

from security.audit_chain import ChainState, canonical, grow, leaf_hash, root_of
from security.audit_events import ServerStarted
from security.checkpoint import open_checkpoint, split_notes
from security.door_events import SessionEnded
from security.errors import AuditError
from security.keys import open_verifying_key, public_half
from security.trail_places import TrailPlaces

_FIRST_EPOCH = b"earwitness audit: first epoch"
_NEXT_EPOCH = b"earwitness audit: next epoch"


def places_in(folder):
    return TrailPlaces(folder / "audit", folder / "keys")


def counting_clock():
    return itertools.count(1_000).__next__


def ended(session_id="s-1", audio_ms=2):
    return SessionEnded(
        session_id=session_id,
        subject="ward-7",
        issuer="earwitness",
        token_id="t-1",  # noqa: S106 (names a token, opens nothing)
        peer_address="::1",
        model="tiny.en",
        bytes_received=1,
        audio_ms=audio_ms,
        speech_ms=3,
        segments=4,
        close_code=1000,
        reason="stopped",
    )


def started(version="0.1"):
    return ServerStarted(version)


async def record_all(store, events):
    """What became of each: a sequence number or an AuditError."""

    async def outcome(event):
        try:
            return await store.record(event)
        except AuditError as error:
            return error

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(outcome(event)) for event in events]
    return [task.result() for task in waiting]


@contextmanager
def full_disk():
    """Files take no more from here on."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def rows_of(places):
    """All columns of all rows, over all segments."""
    rows = []
    for path in places.segment_files():
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            rows += connection.execute("SELECT * FROM events ORDER BY seq").fetchall()
    return rows


def names_of(places):
    return [row[3] for row in rows_of(places)]


def checkpoints_of(places):
    """Those of the file, which must all open."""
    key = open_verifying_key(public_half(places.signing_key_file))
    if not places.checkpoints_file.exists():
        return []
    notes = split_notes(places.checkpoints_file.read_text())
    opened = [open_checkpoint(note, key) for note in notes]
    assert all(opened)
    return opened


def assert_whole(places):
    """Numbers without a gap, MACs under the keys of their epochs, roots as they were signed."""
    key = bytes.fromhex(places.auditor_key_file.read_text())
    key = hmac.digest(key, _FIRST_EPOCH, "sha256")
    chain, epoch, mac, ends = ChainState(), 0, bytes(32), {}
    signed = {each.size: each for each in checkpoints_of(places)}
    for expected, (*columns, row_mac) in enumerate(rows_of(places), 1):
        assert columns[0] == expected
        while columns[2] > epoch:
            assert expected - 1 in signed, "an epoch has ended without a checkpoint"
            assert ends.setdefault(epoch, expected - 1) == expected - 1
            key, epoch = hmac.digest(key, _NEXT_EPOCH, "sha256"), epoch + 1
        assert columns[2] == epoch
        text = json.dumps(columns, ensure_ascii=False, separators=(",", ":")).encode()
        assert text == canonical(columns)
        leaf = hashlib.sha256(b"\0" + text).digest()
        assert leaf == leaf_hash(text)
        mac = hmac.digest(key, mac + leaf, "sha256")
        assert mac == row_mac
        chain = grow(chain, [leaf])
        if expected in signed:
            assert signed[expected].root == root_of(chain.frontier)
            assert signed[expected].mac == mac
            assert signed[expected].epoch == epoch
    assert max(signed, default=0) <= chain.size
    head_seq, head_mac = places.head_file.read_text().split()
    assert int(head_seq) <= chain.size
    if int(head_seq) == chain.size:
        assert head_mac == mac.hex()
    return chain.size
