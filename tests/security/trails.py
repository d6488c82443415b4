"""Trails made from docs/audit-format.md and the chain, as a server would: several segments, epochs
and checkpoints, with all keys beside them.
"""

import json
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from security.audit_chain import (
    ChainState,
    canonical,
    encode_frontier,
    extend,
    first_key,
    next_key,
    root_of,
)
from security.checkpoint import Checkpoint, Dropped, origin_of, sign_checkpoint
from security.trail_places import TrailPlaces
from security.verify_trail import Means

FORMAT = Path(__file__).parent.parent.parent / "docs" / "audit-format.md"
SCHEMA = re.search(r"```sql\n(.*?)```", FORMAT.read_text(), re.DOTALL)[1]
INSERT = f"INSERT INTO events VALUES ({','.join('?' * 14)})"  # noqa: S608 (constants)
TRAIL_ID = "00112233445566aa"
SIGNING = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
AUDITOR_KEY = b"a" * 32
DAY_NS = 86_400 * 10**9


def columns_of(seq, epoch):
    """A row that differs from all others, with values of every kind."""
    odd = [None, "plain", 'quo"te\\', "nul\x00in", "é\u2028\U0001f600\x7f\x80", ""][seq % 6]
    detail = json.dumps({"n": seq, "odd": odd}, separators=(",", ":"))
    return (
        *(seq, seq * DAY_NS // 100, epoch, "session.ended", ("success", "failure")[seq % 2]),
        *(f"session{seq // 3}" if seq % 3 else None, odd, "ab" * 16, f"192.0.2.{seq % 9}", odd),
        *(seq * 7 if seq % 4 else None, 2**40 + seq, detail),
    )


@dataclass
class Trail:
    """One that is written to; `segment`, `checkpoint` and `rows` go on with it."""

    places: TrailPlaces
    chain: ChainState = field(default_factory=ChainState)
    epoch: int = 0
    key: bytes = field(default_factory=lambda: first_key(AUDITOR_KEY))
    after_seq: int = 0

    def segment(self):
        path = self.places.segment_file(self.chain.size + 1)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(SCHEMA)
            connection.execute(f"PRAGMA application_id = {0x45415257}")
            connection.execute("PRAGMA user_version = 1")
            frontier = encode_frontier(self.chain.frontier)
            start = (self.chain.size + 1, self.chain.mac, frontier, origin_of(TRAIL_ID))
            connection.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", start)
        return self

    def rows(self, n_rows):
        first = self.chain.size + 1
        columns = [columns_of(seq, self.epoch) for seq in range(first, first + n_rows)]
        self.chain, macs = extend(self.chain, [canonical(row) for row in columns], self.key)
        rows = [(*row, mac) for row, mac in zip(columns, macs, strict=True)]
        with closing(sqlite3.connect(self.newest, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            connection.executemany(INSERT, rows)
            connection.execute("COMMIT")
        return self.keep()

    def note(self, dropped=None):
        at = self.chain.size * DAY_NS // 100 + 5
        root = root_of(self.chain.frontier)
        origin = origin_of(TRAIL_ID)
        made = Checkpoint(origin, self.chain.size, root, self.epoch, self.chain.mac, at, dropped)
        return sign_checkpoint(made, SIGNING)

    def checkpoint(self, *, until="key"):
        """`until`: where a crash comes; all is done by then."""
        note = self.note()
        with self.places.checkpoints_file.open("a") as file:
            file.write(note)
        if until == "file":
            return self
        with closing(sqlite3.connect(self.newest, isolation_level=None)) as connection:
            values = (self.chain.size, note, encode_frontier(self.chain.frontier))
            connection.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", values)
        if until == "table":
            return self
        self.key, self.epoch, self.after_seq = next_key(self.key), self.epoch + 1, self.chain.size
        return self.keep()

    def drop_first(self, profile="pci"):
        """Let the oldest segment go, whose end is that of a tree made anew here."""
        path, second = self.places.segment_files()[:2]
        first, last = (int(name.name[8:20]) for name in (path, second))
        with closing(sqlite3.connect(second)) as connection:
            [(mac, frontier)] = connection.execute("SELECT former_mac, frontier FROM segment")
        parts = [frontier[at : at + 32] for at in range(0, len(frontier), 32)]
        with closing(sqlite3.connect(path)) as connection:
            [(epoch,)] = connection.execute("SELECT epoch FROM events ORDER BY seq DESC LIMIT 1")
        dropped = Dropped(first, last - 1, profile)
        stone = Checkpoint(origin_of(TRAIL_ID), last - 1, root_of(parts), epoch, mac, 9, dropped)
        with self.places.checkpoints_file.open("a") as file:
            file.write(sign_checkpoint(stone, SIGNING))
        path.unlink()

    def keep(self):
        """What the server keeps beside the trail."""
        key = {
            "trail": TRAIL_ID,
            "epoch": self.epoch,
            "after_seq": self.after_seq,
            "key": self.key.hex(),
        }
        line = json.dumps(key, separators=(",", ":"))
        self.places.chain_key_file.write_text(f"{line}\n")
        self.places.head_file.write_text(f"{self.chain.size:020d} {self.chain.mac.hex()}\n")
        return self

    @property
    def newest(self):
        return self.places.segment_files()[-1]


def begin_trail(folder):
    """An empty one."""
    places = TrailPlaces(folder / "audit", folder / "keys")
    places.folder.mkdir(parents=True)
    places.keys_folder.mkdir()
    public = SIGNING.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    places.signing_key_file.with_name("audit-signing.pem.pub").write_bytes(public)
    places.auditor_key_file.write_text(f"{AUDITOR_KEY.hex()}\n")
    return Trail(places).segment().keep()


def make_trail(folder):
    """Rows 1 to 20, 21 to 41 and 42 to 58; the last 5 are not signed yet."""
    trail = begin_trail(folder)
    trail.rows(7).checkpoint().rows(13).checkpoint()
    trail.segment().rows(9).checkpoint().rows(12).checkpoint()
    return trail.segment().rows(4).checkpoint().rows(8).checkpoint().rows(5)


def copy_of(places, folder):
    """All of it, elsewhere."""
    shutil.copytree(places.folder, folder / "audit")
    shutil.copytree(places.keys_folder, folder / "keys")
    return TrailPlaces(folder / "audit", folder / "keys")


def means_of(places, *left_out, known=()):
    """All files that there are to verify with, but for some."""
    means = {
        "public_key": places.signing_key_file.with_name("audit-signing.pem.pub"),
        "auditor_key": places.auditor_key_file,
        "chain_key": places.chain_key_file,
        "head": places.head_file,
    }
    given = {name: path for name, path in means.items() if name not in left_out}
    return Means(**given, known=tuple(known))
