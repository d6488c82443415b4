"""A profile and the day in, whole closed segments that may go out; and their tombstones.

What rules ask to be kept is kept in days, by name. Rows never go one by one: a segment goes when
its newest row is older than that, the oldest first and the open one never, and what stays is a
checkpoint that was signed for it (a tombstone), so that the trail still verifies and says what is
gone and by which rule. A segment whose end is not what was signed does not go: it is evidence.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from security.audit_chain import decode_frontier, root_of
from security.audit_schema import is_closed
from security.checkpoint import Checkpoint, Dropped, open_checkpoint, sign_checkpoint, split_notes
from security.durable import sync_folder
from security.errors import AuditError
from security.trail_notes import append_note
from security.trail_places import TrailPlaces

_DAY_NS = 86_400 * 10**9
_END = """SELECT first_seq, (SELECT max(seq) FROM events), (SELECT max(at_utc_ns) FROM events),
    (SELECT note FROM checkpoints ORDER BY size DESC LIMIT 1) FROM segment"""
_START = "SELECT former_mac, frontier FROM segment"


@dataclass(frozen=True, slots=True)
class Profile:
    """How long rows are kept, and who asks for it."""

    days: int
    rule: str


PROFILES: Mapping[str, Profile] = {
    "pci": Profile(400, "PCI DSS v4, 10.5.1: 12 months, and some to look back over them"),
    "hipaa": Profile(6 * 365 + 2, "45 CFR 164.316(b)(2)(i): 6 years, with their leap days"),
    "cn": Profile(180, "Cybersecurity Law of China, article 21: 6 months at least"),
    "dev": Profile(30, "none: for machines on which nobody works"),
}


@dataclass(frozen=True, slots=True)
class Expired:
    """A segment that may go."""

    path: Path
    rows: Dropped
    end: Checkpoint
    """As it was signed behind the last row."""
    newest_utc_ns: int


def kept_days(profile: str, days: int | None) -> int:
    """A profile's, or more. Raises AuditError."""
    if profile not in PROFILES:
        names = ", ".join(PROFILES)
        raise AuditError(f"There is no such retention profile; there are: {names}.")
    least = PROFILES[profile].days
    if days is not None and days < least:
        raise AuditError(f"The profile {profile} keeps {least} days at least; more may be asked.")
    return least if days is None else days


def expired_segments(
    places: TrailPlaces, key: Ed25519PublicKey, profile: str, days: int, now_utc_ns: int
) -> list[Expired]:
    """Those that may go, the oldest first. Raises AuditError."""
    found: list[Expired] = []
    for path, following in pairwise(places.segment_files()):
        if not is_closed(path):
            break
        try:
            expired = _read(path, following, key, profile)
        except (sqlite3.Error, TypeError, ValueError):
            expired = None
        if expired is None:
            text = "its end is not what was signed: keep it, and see what run.py audit verify says"
            raise AuditError(f"{path}: {text}")
        if expired.newest_utc_ns >= now_utc_ns - days * _DAY_NS:
            break
        found.append(expired)
    return found


def write_tombstone(
    places: TrailPlaces, expired: Expired, key: Ed25519PrivateKey, now_utc_ns: int
) -> str:
    """Sign and append it, while the `WriteLock` is held; one that is there is not made again.
    Raises OSError.
    """
    for note in split_notes(places.checkpoints_file.read_text(errors="replace")):
        made = open_checkpoint(note, key.public_key())
        if made is not None and made.dropped == expired.rows:
            return note
    end = expired.end
    stone = Checkpoint(
        end.origin, end.size, end.root, end.epoch, end.mac, now_utc_ns, dropped=expired.rows
    )
    note = sign_checkpoint(stone, key)
    append_note(places.checkpoints_file, note)
    return note


def remove_segment(expired: Expired) -> None:
    """Once its tombstone and its row in the trail are durable. Raises OSError."""
    expired.path.unlink()
    sync_folder(expired.path.parent)


def _read(path: Path, following: Path, key: Ed25519PublicKey, profile: str) -> Expired | None:
    """None if the segment's end, what was signed of it and the next one's start differ."""
    [(first_seq, last_seq, newest_utc_ns, note)] = _fetch(path, _END)
    [(mac, frontier)] = _fetch(following, _START)
    end = open_checkpoint(note, key) if note else None
    parts = decode_frontier(frontier, last_seq)
    if end is None or parts is None:
        return None
    if (end.size, end.root, end.mac) != (last_seq, root_of(parts), mac):
        return None
    return Expired(path, Dropped(first_seq, last_seq, profile), end, newest_utc_ns)


def _fetch(path: Path, query: str) -> list[sqlite3.Row]:
    uri = f"file:{quote(str(path))}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        return connection.execute(query).fetchall()
