"""A folder of the audit trail and the keys at hand in; what is proven about it, and every
alteration, out: `python verify_trail.py FOLDER --public-key FILE`.

This is a second implementation of docs/audit-format.md. It imports nothing of the server and is one
file, longer than others here, so that an auditor can copy it, read it and run it anywhere with
`cryptography` installed. It changes nothing in the folder, which may be read-only or in use. It
says what it could not check, because a trail that verifies without the right key proves less. Exit
codes: 0 unaltered, 1 altered, 2 it could not be read, or nothing at hand could prove anything.
"""

import argparse
import base64
import binascii
import hashlib
import hmac
import json
import multiprocessing
import re
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

try:
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_public_key,
    )
except ImportError as error:  # pragma: no cover - in a process of its own
    print(f"not verified: {error}: pip install cryptography", file=sys.stderr)
    sys.exit(2)  # Python's own 1 would say that the trail was altered

APPLICATION_ID, SCHEMA_VERSION = 0x45415257, 1
SCHEMA_SHA256 = "9e0177c95ab248e642a1dc72b40d3534aab09d5826b7aa1cb6b6e14a298161ec"
"""Of `schema_text`; docs/audit-format.md has the schema in full."""
COLUMNS = (
    "seq, at_utc_ns, epoch, event, outcome, session_id, subject, token_hash, address, reason,"
    " audio_ms, bytes_received, detail"
)
_FAST = f"SELECT seq, epoch, mac, json_array({COLUMNS}) FROM events"  # noqa: S608 (constants)
_PLAIN = f"SELECT mac, {COLUMNS} FROM events"  # noqa: S608 (constants)
_SPAN = " WHERE seq > ? AND seq <= ? ORDER BY seq"
_GAPS = """SELECT seq, after FROM (SELECT seq, lead(seq) OVER (ORDER BY seq) AS after FROM events)
    WHERE after > seq + 1 LIMIT 100"""
_NUMBER, _HASH = r"(0|[1-9]\d{0,18})", r"([A-Za-z\d+/]{43}=)"
_NOTE = re.compile(
    rf"([!-*,-~]+)\n{_NUMBER}\n{_HASH}\nepoch {_NUMBER}\nmac {_HASH}\nat {_NUMBER}\n"
    rf"(?:dropped {_NUMBER} {_NUMBER} ([a-z\d_-]+)\n)?\n((?:— [^\n]*\n)+)",
    re.ASCII,
)
_CHAIN_KEY = re.compile(
    rf'{{"trail":"([\da-f]{{16}})","epoch":{_NUMBER},"after_seq":{_NUMBER},"key":"([\da-f]{{64}})"}}\n',
    re.ASCII,
)
_HEAD = re.compile(r"(\d{20}) ([\da-f]{64})\n", re.ASCII)
_SEGMENT = re.compile(r"segment-\d{12}\.sqlite3", re.ASCII)
_NAMES = re.compile(
    rf"{_SEGMENT.pattern}(\.new)?(-wal|-shm|-journal)?|checkpoints|lock|in-use", re.ASCII
)
_SPAN_ROWS, _MOST_PROBLEMS = 50_000, 1000
_MOST_EPOCHS = 1 << 24
"""Seconds of work, and hours of a thousand years: no trail can keep its verifier busy for good."""
_MOST_TRIES = 3
"""While a server at work begins segments and lets others go."""
_NOT_READ = {3, 5, 6, 7, 8, 10, 14}  # SQLite: PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, CANTOPEN
_NASTY = ("".join(map(chr, range(160))), "é\u2028\U0001f600", "", None, -(2**63), 2**63 - 1)

Nodes: TypeAlias = list[tuple[int, bytes]]
"""Complete subtrees side by side: the power of two that each spans, and its root."""
Key: TypeAlias = tuple[int, bytes, int]
"""An epoch, its key, and the row after which it began."""


class UnreadableError(Exception):
    """It cannot be said whether the trail was altered."""


@dataclass(frozen=True, slots=True)
class Means:
    """Files that the trail is held against; each that is missing leaves something unchecked."""

    public_key: Path | None = None
    auditor_key: Path | None = None
    chain_key: Path | None = None
    head: Path | None = None
    known: tuple[Path, ...] = ()
    """Checkpoints that were kept elsewhere."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One alteration; `code` is stable."""

    code: str
    text: str
    first_seq: int | None = None
    last_seq: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What is proven and what is not."""

    first_seq: int
    last_seq: int
    n_segments: int
    problems: tuple[Problem, ...]
    checked: tuple[str, ...]
    unchecked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Note:
    source: str
    origin: str
    size: int
    root: bytes
    epoch: int
    mac: bytes
    dropped: tuple[int, int, str] | None
    frontier: bytes | None
    """As a segment has it beside the note."""


@dataclass(slots=True)
class _Segment:
    path: Path
    first_seq: int
    last_seq: int
    is_readable: bool = False
    former_mac: bytes = b""
    frontier: bytes = b""
    origin: str = ""
    checkpoints: list[tuple[int, str, bytes]] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)
    """Rows without a gap: how many come before them, and the last."""


@dataclass(slots=True)
class _Piece:
    begin: int
    """Rows before it."""
    end: int
    nodes: Nodes = field(default_factory=list)
    mac: bytes = b""
    """Of its last row."""
    epochs: list[tuple[int, int]] = field(default_factory=list)
    """Each with its first row."""
    bad: list[int] = field(default_factory=list)
    """Rows whose MAC is not theirs."""
    damage: str | None = None


def verify_folder(folder: Path, means: Means, n_processes: int = 2) -> Result:
    """Hold the trail against all that is at hand. Raises UnreadableError."""
    is_plain, n_tries = not _is_sqlite_exact(), 0
    try:
        while True:
            before, n_tries = _seen(folder), n_tries + 1
            try:
                result = _Verification(folder, means, n_processes, is_plain=is_plain).result()
            except UnreadableError:
                if before == _seen(folder) or n_tries > _MOST_TRIES:
                    raise
                continue
            is_still = before == _seen(folder) or n_tries > _MOST_TRIES
            if not result.problems or (is_plain and is_still):
                return result
            is_plain = True  # no row is called altered by what SQLite makes of its text alone
    except OSError as error:
        raise UnreadableError(f"{error.filename or folder}: {error.strerror}") from None


class _Verification:
    def __init__(self, folder: Path, means: Means, n_processes: int, *, is_plain: bool) -> None:
        self._folder, self._n_processes, self._is_plain = folder, n_processes, is_plain
        self._problems: list[Problem] = []
        self._checked: list[str] = []
        self._unchecked: list[str] = []
        # What the server moves ahead is read before what it has to be behind.
        self._public = _public_key(means.public_key) if means.public_key else None
        self._known = [(path, _text(path)) for path in means.known]
        self._head = _head(means.head) if means.head else None
        self._trail, self._chain = _chain_key(means.chain_key) if means.chain_key else ("", None)
        self._auditor = _first_key(means.auditor_key) if means.auditor_key else None
        self._key = self._auditor or self._chain
        if not self._key and not self._public:
            raise UnreadableError("a key is needed: --public-key, --auditor-key or --chain-key")
        earlier = _split(self._file())
        self._segments = [self._open(path) for path in _segment_files(folder)]
        self._first = self._segments[0].first_seq if self._segments else 1
        self._last = max((segment.last_seq for segment in self._segments), default=0)
        self._notes = self._read_notes(len(earlier))
        self._chain_after = _chain_key(means.chain_key)[1] if means.chain_key else None
        """As it was once the rows had been read: never of an epoch before theirs."""
        self._signed_to = self._first - 1
        self._n_signed = 0
        self._ends: dict[int, tuple[int | None, bytes]] = {}
        """Epoch and MAC of rows that something is known about."""
        self._epochs: list[tuple[int, int]] = []

    def result(self) -> Result:
        for path in sorted(self._folder.iterdir()):
            if not _NAMES.fullmatch(path.name):
                self._find("folder.file", f"{path.name!a} is no file of a trail")
            elif _is_odd(path):
                self._find("folder.file", f"{path.name!a} is no regular file, and was not read")
        self._walk()
        self._check_epochs()
        self._check_beginning()
        self._check_keys()
        if not self._segments and not self._problems:
            raise UnreadableError(f"{self._folder}: there is no trail here")
        self._say()
        extent = self._first, self._last, len(self._segments)
        problems = tuple(self._told()[:_MOST_PROBLEMS])
        return Result(*extent, problems, tuple(self._checked), tuple(self._unchecked))

    def _told(self) -> list[Problem]:
        """What is wrong with keys first, as it can be why the rest is; one for rows that follow."""
        bound = max(self._key[2] + 1, self._first) if self._key else 0
        told = _merged(self._problems)
        for at, problem in enumerate(told):
            extent = problem.first_seq, problem.last_seq
            if problem.code == "row.mac" and extent == (bound, self._last):
                text = "none is as its key has bound it: this may be another key"
                told[at] = replace(problem, text=text)
        return sorted(told, key=lambda problem: not problem.code.startswith("key."))

    def _find(
        self, code: str, text: str, first: int | None = None, last: int | None = None
    ) -> None:
        self._problems.append(Problem(code, text, first, first if last is None else last))

    def _file(self) -> str:
        path = self._folder / "checkpoints"
        return _text(path) if path.exists() and not _is_odd(path) else ""

    def _open(self, path: Path) -> _Segment:
        first_seq = int(path.name[8:20])
        segment = _Segment(path, first_seq, first_seq - 1)
        try:
            connection = _connect(path)
            try:
                if _is_ours(connection):
                    length_bytes = path.stat().st_size  # before its pages are counted: it may grow
                    _fill(segment, connection)
                    segment.is_readable = True
                    if length_bytes > _n_bytes(connection):
                        self._find("segment.damaged", f"{path.name}: bytes behind its last page")
                else:
                    self._find("segment.schema", f"{path.name}: its tables are not ours")
            finally:
                connection.close()
        except (sqlite3.Error, ValueError, TypeError) as error:
            self._find("segment.damaged", f"{path.name}: {_damage(path, error)}")
        except OSError as error:  # let go meanwhile
            raise UnreadableError(f"{path}: {error.strerror}") from None
        return segment

    def _read_notes(self, n_earlier: int) -> list[_Note]:
        """All that are whole, signed, of this trail, and of rows that are there."""
        in_file = _split(self._file())
        notes = [*self._notes_of_file(in_file, n_earlier), *self._notes_of_segments(set(in_file))]
        for path, text in self._known:
            notes += self._notes_elsewhere(path, _split(text))
        return [note for note in notes if note and note.size <= self._last]

    def _notes_elsewhere(self, path: Path, texts: Sequence[str]) -> list[_Note]:
        read = [self._opened(text, "known", f"one in {path}", is_any=True) for text in texts]
        notes = [note for note in read if note and note.origin in self._origins()]
        if len(notes) < len([note for note in read if note]):
            text = f"another trail, which {path} knows as well: where is it?"
            self._unchecked.append(text)
            if not notes:
                self._find("known.trail", f"{path} knows another trail and not this one")
        for note in notes:
            if note.size > self._last:
                self._find("known.ahead", f"{path} knows more rows than there are", note.size)
        return notes

    def _notes_of_file(self, in_file: Sequence[str], n_earlier: int) -> Iterator[_Note | None]:
        for number, note in enumerate(in_file, 1):
            if number == len(in_file) and not _is_whole(note):
                if self._can_begin(note):
                    self._unchecked.append("the last checkpoint of the file: a crash cut it short")
                else:
                    self._find("checkpoint.text", "what ends the file is no checkpoint")
                return
            read = self._opened(note, "checkpoint", f"number {number} of the file")
            if read and read.size > self._last and number <= n_earlier:  # else it came since
                self._find("checkpoint.ahead", "it says more rows than there are", read.size)
            yield read

    def _can_begin(self, note: str) -> bool:
        """Whether a crash can have left this of a note; some file systems leave zeros."""
        line, end, _ = note.rstrip("\0").partition("\n")
        origins = self._origins()
        return not origins or any(
            origin == line if end else origin.startswith(line) for origin in origins
        )

    def _notes_of_segments(self, in_file: set[str]) -> Iterator[_Note | None]:
        for segment in self._segments:
            for size, note, frontier in segment.checkpoints:
                if note not in in_file:
                    self._find("checkpoint.missing", "the file has not what the segment has", size)
                read = self._opened(note, "checkpoint", f"{size} of {segment.path.name}", frontier)
                is_here = segment.first_seq <= size <= segment.last_seq
                if read and (read.size != size or not is_here):
                    self._find("checkpoint.place", "it is not where it belongs", size)
                yield read

    def _opened(
        self,
        text: str,
        source: str,
        where: str,
        frontier: bytes | None = None,
        *,
        is_any: bool = False,
    ) -> _Note | None:
        """A note, if it is signed, and of this trail or `is_any`."""
        note = _parse(text, source, frontier)
        if note is None:
            self._find(f"{source}.text", f"{where} is no checkpoint")
        elif self._public and not _is_signed(text, note.origin, self._public):
            self._find(f"{source}.signature", f"{where} is not signed by this key", note.size)
        elif not is_any and {note.origin} != (self._origins() or {note.origin}):
            self._find(f"{source}.trail", f"{where} is of another trail", note.size)
        else:
            return note
        return None

    def _origins(self) -> set[str]:
        return {segment.origin for segment in self._segments if segment.is_readable}

    def _pieces(self) -> Iterator[tuple[_Segment, list[_Piece]]]:
        """The rows of each segment, read in several processes, cut where something is known."""
        stops = {note.size for note in self._notes} | {self._head[0] if self._head else 0}
        stops |= {self._chain[2] if self._chain else 0}
        tasks, owners = [], []
        for segment in self._segments:
            if segment.is_readable:
                tasks.append(partial(_look_through, segment.path))
                owners.append(segment)
            for begin, end in segment.runs:
                inner = [stop for stop in stops if begin < stop < end]
                cuts = sorted({*inner, *range(begin + _SPAN_ROWS, end, _SPAN_ROWS), begin, end})
                for batch in _batches(list(pairwise(cuts))):
                    start = (segment.first_seq - 1, segment.former_mac)
                    read = partial(_read_rows, segment.path, start, batch, self._key)
                    tasks.append(partial(read, is_plain=self._is_plain))
                    owners.append(segment)
        done = _run(tasks, self._n_processes if self._last > _SPAN_ROWS else 1)
        for segment in self._segments:
            results = [
                pieces for owner, pieces in zip(owners, done, strict=True) if owner is segment
            ]
            yield segment, [piece for pieces in results for piece in pieces]

    def _walk(self) -> None:
        """Grow the tree row by row, and hold it against all that was signed."""
        at: dict[int, list[_Note]] = {}
        for note in self._notes:
            at.setdefault(note.size, []).append(note)
        state: Nodes | None = None
        end = self._first - 1
        for segment, pieces in self._pieces():
            state = self._begin_segment(segment, end, state, at)
            end = segment.first_seq - 1
            for piece in pieces:
                if piece.damage:
                    self._find("segment.damaged", f"{segment.path.name}: {piece.damage}")
                    state = None if piece.end else state
                    continue
                if piece.begin > end:
                    self._find("rows.missing", "there are no such rows", end + 1, piece.begin)
                    state = None
                for first, last in _ranges(piece.bad):
                    self._find("row.mac", "not as their keys have bound them", first, last)
                self._note_epochs(piece)
                end = piece.end
                state = self._grown(state, piece, at.get(end, []))
            end = segment.last_seq

    def _begin_segment(
        self, segment: _Segment, end: int, state: Nodes | None, at: dict[int, list[_Note]]
    ) -> Nodes | None:
        """The tree as a segment claims to find it, if that is proven."""
        first, name = segment.first_seq, segment.path.name
        if first != end + 1:
            text = "no segment has such rows" if first > end + 1 else "two segments have such rows"
            self._find("segment.gap", text, *sorted((min(end + 1, first), max(end, first - 1))))
        if not segment.is_readable:
            return None
        claimed = _nodes(segment.frontier, first - 1)
        signed = [(note.root, note.mac) for note in at.get(first - 1, [])]
        known = [(hashlib.sha256().digest(), bytes(32))] if first == 1 else []
        if state is not None and first == end + 1:
            known.append((_root(state), self._ends[end][1]))
        mine = (_root(claimed), segment.former_mac) if claimed is not None else None
        if mine is None or any(other != mine for other in [*signed, *known]):
            self._find("segment.start", f"{name} does not go on where the one before ends", first)
            return None
        self._ends.setdefault(first - 1, (None, segment.former_mac))
        return claimed if signed or known else None

    def _grown(self, state: Nodes | None, piece: _Piece, notes: list[_Note]) -> Nodes | None:
        """The tree behind a piece; where it is not what was signed, the signed one goes on."""
        if state is not None:
            _append(state, piece.begin, piece.nodes)
        wrong = [note for note in notes if state is not None and note.root != _root(state)]
        self._n_signed += bool(notes) and state is not None and not wrong
        if wrong:
            what = "known.root" if all(n.source == "known" for n in wrong) else "rows.root"
            first = min(self._signed_to + 1, piece.end)
            self._find(what, "not the rows that were signed", first, piece.end)
        for note in notes:
            claimed = _nodes(note.frontier, note.size) if note.frontier is not None else None
            is_right = claimed is not None and _root(claimed) == note.root
            if note.frontier is not None and not is_right:
                self._find("checkpoint.frontier", "not that of the signed tree", note.size)
            if is_right and (state is None or wrong):
                state, wrong = claimed, []
            if note.mac != piece.mac:
                self._find(f"{note.source}.mac", "the last row has another MAC", note.size)
            if note.epoch != self._epochs[-1][1]:
                self._find(f"{note.source}.epoch", "the last row has another epoch", note.size)
        if notes and state is not None:
            self._signed_to = piece.end
        return state

    def _note_epochs(self, piece: _Piece) -> None:
        for seq, epoch in piece.epochs:
            if not self._epochs or self._epochs[-1][1] != epoch:
                self._epochs.append((seq, epoch))
        self._ends[piece.end] = (piece.epochs[-1][1], piece.mac)

    def _check_epochs(self) -> None:
        """One follows the other, and each ends with a checkpoint that its segment has."""
        ends = {(note.size, note.epoch) for note in self._notes if note.frontier is not None}
        behind = [note.epoch for note in self._notes if note.size == self._first - 1]
        before = (0, -1) if self._first == 1 else (self._first - 1, behind[0]) if behind else None
        for seq, epoch in self._epochs:
            if before and epoch != before[1] + 1:
                what = "back" if epoch <= before[1] else "skipped"
                self._find(f"epoch.{what}", "the epoch does not follow the one before", seq)
            elif before and seq > self._first and (seq - 1, before[1]) not in ends:
                self._find("epoch.unsigned", "an epoch ended without a checkpoint", seq - 1)
            before = (seq, epoch)

    def _check_beginning(self) -> None:
        """Rows that are not there any more were let go by rule, and that was signed."""
        next_seq = 1
        stones = [note for note in self._notes if note.source == "checkpoint"]
        dropped = [note.dropped for note in stones if note.dropped and note.dropped[1] == note.size]
        for first, last, profile in sorted(dropped):
            if first == next_seq and last < self._first:
                self._checked.append(f"rows {first} to {last} were let go ({profile}), as signed")
                next_seq = last + 1
        if next_seq < self._first:
            text = "nothing that is signed says that these rows were let go"
            self._find("rows.missing", text, next_seq, self._first - 1)
        roots: dict[int, set[tuple[bytes, bytes]]] = {}
        for note in self._notes:
            roots.setdefault(note.size, set()).add((note.root, note.mac))
        for size in [size for size, signed in roots.items() if len(signed) > 1]:
            self._find("checkpoint.fork", "two that differ were signed", size)

    def _check_keys(self) -> None:
        """What the server alone keeps of the trail's end."""
        if self._head:
            seq, mac = self._head
            if seq > self._last:
                text = "the trail ends before the row that the head names"
                self._find("head.ahead", text, self._last + 1, seq)
            elif seq in self._ends and self._ends[seq][1] != mac:
                self._find("head.mac", "the row that the head names has another MAC", seq)
        if self._chain:
            self._check_chain_key(*self._chain)

    def _check_chain_key(self, epoch: int, key: bytes, after_seq: int) -> None:
        own = f"earwitness/audit/{self._trail}"
        if any(segment.origin != own for segment in self._segments if segment.is_readable):
            self._find("key.trail", "the key of the chain is of another trail")
        if after_seq > self._last:
            text = "the key of the chain is of later rows: these were cut off"
            self._find("key.ahead", text, self._last + 1, after_seq)
        elif after_seq and after_seq not in {note.size for note in self._notes}:
            self._find(
                "checkpoint.missing", "the key was changed here, and nothing signed", after_seq
            )
        former = self._ends.get(after_seq, (None, b""))[0]
        if former not in {None, epoch - 1}:
            self._find("key.epoch", "the key of the chain is of another epoch", after_seq)
        self._check_age()
        first = [e for seq, e in self._epochs if seq == after_seq + 1]
        if self._last > after_seq >= self._first - 1 and first != [epoch]:
            self._find("key.epoch", "the key of the chain is of another epoch", after_seq + 1)
        if self._auditor and _Ratchet(self._auditor).key_of(epoch, self._last + 1) != key:
            text = "the key of the chain does not come from the auditor's: this may be another key"
            self._find("key.chain", text)

    def _check_age(self) -> None:
        epoch, _, after_seq = self._chain_after or (0, b"", 0)
        ends = [note.size for note in self._notes if note.epoch > epoch]
        later = [seq - 1 for seq, other in self._epochs if other > epoch]
        later += [each.first_seq - 1 for each in self._segments if each.is_readable]
        newest = max([*ends, *later], default=0)
        if newest > after_seq:
            text = (
                "the key of the chain is an older one: an epoch ended here that it knows nothing of"
            )
            self._find("key.epoch", text, newest)

    def _say(self) -> None:
        first, last, key = self._first, self._last, self._key
        if self._n_signed and self._public:
            text = f"rows {first} to {self._signed_to} by {self._n_signed} signed checkpoints"
            self._checked.append(text)
        elif not self._public:
            self._unchecked.append("signatures of checkpoints: no public key was given")
        bound = max(key[2] + 1, first) if key else last + 1
        if bound <= last:
            self._checked.append(f"rows {bound} to {last} by their MACs")
        if bound > first:
            text = f"MACs of rows {first} to {min(bound - 1, last)}: no key at hand opens them"
            self._unchecked.append(text)
        loose = (self._signed_to if self._public else first - 1) + 1, min(bound - 1, last)
        if loose[0] <= loose[1]:
            text = "come after the last checkpoint and no key was given"
            self._unchecked.append(f"rows {loose[0]} to {loose[1]} {text}")
        if not self._head:
            self._unchecked.append(f"whether rows after {last} were cut off: no head was given")
        if not self._auditor and all(note.source != "known" for note in self._notes):
            text = "whether it was rewritten with the server's keys: neither the auditor's key nor"
            self._unchecked.append(f"{text} checkpoints that were kept elsewhere were given")


class _Ratchet:
    """Keys of epochs, which only ever go forward."""

    def __init__(self, key: Key) -> None:
        self._epoch, self._key, self.after_seq = key
        self._last_epoch = self._epoch + _MOST_EPOCHS

    def key_of(self, epoch: int, seq: int) -> bytes | None:
        """None if it cannot be made, or no row of that number can be in so late an epoch."""
        if not self._epoch <= epoch <= min(seq, self._last_epoch):
            return None
        while self._epoch < epoch:
            self._key = hmac.digest(self._key, b"earwitness audit: next epoch", "sha256")
            self._epoch += 1
        return self._key


def _read_rows(
    path: Path,
    start: tuple[int, bytes],
    spans: Sequence[tuple[int, int]],
    key: Key | None,
    *,
    is_plain: bool,
) -> list[_Piece]:
    """Hash the rows of each span; `start`: rows before the segment, and the MAC of the last."""
    pieces, span = [], (0, 1)
    try:
        connection = _connect(path)
        try:
            ratchet = _Ratchet(key) if key else None
            for span in spans:
                stored = connection.execute("SELECT mac FROM events WHERE seq = ?", span[:1])
                [former] = stored.fetchone() or (start[1] if span[0] == start[0] else None,)
                pieces.append(_read_span(_rows(connection, span, is_plain), span, former, ratchet))
        finally:
            connection.close()
    except (sqlite3.Error, ValueError, TypeError) as error:
        pieces.append(_Piece(*span, damage=_damage(path, error)))
    return pieces


def _rows(
    connection: sqlite3.Connection, span: tuple[int, int], is_plain: bool
) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Number, epoch, MAC and canonical text."""
    if not is_plain:
        return connection.execute(_FAST + _SPAN, span)
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    rows = connection.execute(_PLAIN + _SPAN, span).fetchall()
    connection.text_factory = bytes
    return iter([(row[1], row[3], row[0], _canonical(row[1:])) for row in rows])


def _read_span(
    rows: Iterator[tuple[int, int, bytes, bytes]],
    span: tuple[int, int],
    former: bytes | None,
    ratchet: _Ratchet | None,
) -> _Piece:
    """What costs time is in this loop: 5 microseconds a row."""
    piece = _Piece(*span)
    sha256, nodes, bad = hashlib.sha256, piece.nodes, piece.bad
    if ratchet and span[0] < ratchet.after_seq:
        ratchet = None
    epoch: int | None = None
    inner, outer = None, sha256()
    for seq, row_epoch, mac, text in rows:
        if row_epoch != epoch:
            epoch = row_epoch
            piece.epochs.append((seq, epoch))
            key = ratchet.key_of(epoch, seq) if ratchet else None
            inner, outer = (_padded(key, 0x36), _padded(key, 0x5C)) if key else (None, outer)
        node = sha256(b"\x00" + text).digest()
        if inner is not None and former is not None:  # HMAC, from states made once an epoch
            first, second = inner.copy(), outer.copy()
            first.update(former + node)
            second.update(first.digest())
            if second.digest() != mac:
                bad.append(seq)
        elif ratchet and inner is None:  # of an epoch in which no row of ours can be
            bad.append(seq)
        former, place, level = mac, seq - 1, 0
        while place & 1 and nodes and nodes[-1][0] == level:  # as in `_push`
            node = sha256(b"\x01" + nodes.pop()[1] + node).digest()
            place, level = place >> 1, level + 1
        nodes.append((level, node))
    n_rows = sum(1 << level for level, _ in nodes)
    if n_rows != span[1] - span[0] or len(former or b"") != 32:
        raise ValueError("rows are not as many as they were, or a MAC is none")
    piece.mac = former or b""
    return piece


def _look_through(path: Path) -> list[_Piece]:
    """Whether the file is sound in itself, so that its indices find what is in its tables."""
    try:
        connection = _connect(path)
        try:
            connection.execute("PRAGMA mmap_size = 2000000000")  # indices are searched row by row
            lines = [line.decode() for [line] in connection.execute("PRAGMA integrity_check(3)")]
        finally:
            connection.close()
    except sqlite3.Error as error:
        lines = [_damage(path, error)]
    return [] if lines == ["ok"] else [_Piece(0, 0, damage="; ".join(lines))]


def _connect(path: Path) -> sqlite3.Connection:
    """To read only. What lies beside the file decides how nothing is changed by that."""

    def has(suffix: str) -> bool:
        beside = path.with_name(path.name + suffix)
        return beside.exists() and beside.stat().st_size > 0

    how = "mode=ro" if has("-wal") or has("-journal") else "mode=ro&immutable=1"
    is_copy = has("-wal") and not has("-shm")  # of one in use: its log is read without a file more
    uri = f"{path.resolve().as_uri()}?{how}{'&vfs=unix-none' if is_copy else ''}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    connection.text_factory = bytes
    connection.execute("PRAGMA trusted_schema = OFF")
    if is_copy:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return connection


def schema_text(connection: sqlite3.Connection) -> str:
    """All that a file declares, a line each, with single spaces."""
    lines = [
        " ".join(
            re.sub(rb"[ \t\r\n]+", b" ", part or b"").decode("utf-8", "replace") for part in row
        )
        for row in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema")
    ]
    return "".join(f"{line}\n" for line in sorted(lines))


def _is_ours(connection: sqlite3.Connection) -> bool:
    [[application_id]] = connection.execute("PRAGMA application_id").fetchall()
    [[version]] = connection.execute("PRAGMA user_version").fetchall()
    digest = hashlib.sha256(schema_text(connection).encode()).hexdigest()
    return (application_id, version, digest) == (APPLICATION_ID, SCHEMA_VERSION, SCHEMA_SHA256)


def _n_bytes(connection: sqlite3.Connection) -> int:
    """Of all pages."""
    [[n_pages]] = connection.execute("PRAGMA page_count").fetchall()
    [[page_bytes]] = connection.execute("PRAGMA page_size").fetchall()
    return int(n_pages) * int(page_bytes)


def _fill(segment: _Segment, connection: sqlite3.Connection) -> None:
    """What the tables say. Raises ValueError if they cannot be those of this segment."""
    connection.execute("BEGIN")
    [(first, mac, frontier, origin)] = connection.execute("SELECT * FROM segment").fetchall()
    if first != segment.first_seq or len(mac) != 32:
        raise ValueError("it is another segment than its name says")
    segment.former_mac, segment.frontier, segment.origin = mac, frontier, origin.decode()
    for size, note, nodes in connection.execute("SELECT * FROM checkpoints ORDER BY size"):
        segment.checkpoints.append((size, note.decode(), nodes))
    query = "SELECT min(seq), max(seq), count(*) FROM events NOT INDEXED"
    [(low, high, n_rows)] = connection.execute(query).fetchall()
    if not n_rows:
        return
    if low < first:
        raise ValueError("it has rows that belong before it")
    gaps = connection.execute(_GAPS).fetchall() if n_rows != high - first + 1 else []
    begins = [low - 1, *(after - 1 for _, after in gaps)]
    segment.runs = list(zip(begins, [*(seq for seq, _ in gaps), high], strict=True))[:100]
    segment.last_seq = high


def _damage(path: Path, error: Exception) -> str:
    """What is wrong in a file, if it is the file. Raises UnreadableError."""
    if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF in _NOT_READ:
        raise UnreadableError(f"{path}: {error}") from None
    return str(error) if isinstance(error, ValueError | sqlite3.Error) else "a value is of no kind"


def _run(tasks: "list[partial[list[_Piece]]]", n_processes: int) -> list[list[_Piece]]:
    if n_processes == 1:
        return [task() for task in tasks]
    is_alone = threading.active_count() == 1  # else a fork could copy a lock that is held
    kind = "fork" if is_alone and sys.platform == "linux" else "spawn"
    with ProcessPoolExecutor(n_processes, multiprocessing.get_context(kind)) as pool:
        return list(pool.map(_call, tasks))


def _call(task: "partial[list[_Piece]]") -> list[_Piece]:
    return task()  # pragma: no cover - in a process of its own


def _batches(spans: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    batch: list[tuple[int, int]] = []
    for span in spans:
        batch.append(span)
        if span[1] - batch[0][0] >= _SPAN_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _push(nodes: Nodes, place: int, level: int, node: bytes) -> None:
    """Put a subtree behind the others; `place` counts those of its level that come before it."""
    while place & 1 and nodes and nodes[-1][0] == level:
        node = hashlib.sha256(b"\x01" + nodes.pop()[1] + node).digest()
        place, level = place >> 1, level + 1
    nodes.append((level, node))


def _append(nodes: Nodes, size: int, others: Nodes) -> None:
    """Put what stands behind `size` rows behind them."""
    for level, node in others:
        _push(nodes, size >> level, level, node)
        size += 1 << level


def _root(nodes: Nodes) -> bytes:
    """Of the whole tree (RFC 6962, section 2.1)."""
    root = nodes[-1][1] if nodes else hashlib.sha256().digest()
    for _, node in nodes[-2::-1]:
        root = hashlib.sha256(b"\x01" + node + root).digest()
    return root


def _nodes(frontier: bytes, size: int) -> Nodes | None:
    """As stored, for a tree of that size; None if it cannot be that."""
    levels = [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]
    if len(frontier) != 32 * len(levels):
        return None
    return [(level, frontier[32 * at : 32 * at + 32]) for at, level in enumerate(levels)]


def _canonical(columns: Sequence[object]) -> bytes:
    text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"), default=repr)
    return text.encode("utf-8", "surrogateescape")


def _padded(key: bytes, pad: int) -> "hashlib._Hash":
    return hashlib.sha256(bytes(byte ^ pad for byte in key.ljust(64, b"\x00")))  # RFC 2104


def _is_sqlite_exact() -> bool:
    """Whether its JSON is ours to the letter; it is faster."""
    connection = sqlite3.connect(":memory:")
    try:
        query = f"SELECT json_array({', '.join('?' * len(_NASTY))})"
        return bool(connection.execute(query, _NASTY).fetchone()[0].encode() == _canonical(_NASTY))
    except sqlite3.Error:  # pragma: no cover - one that was built without JSON
        return False
    finally:
        connection.close()


def _split(text: str) -> list[str]:
    """The notes of a file: each ends where, behind signatures, another line begins."""
    notes = [""]
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        if _is_whole(notes[-1]) and not line.startswith("— "):
            notes.append("")
        notes[-1] += line
    return notes if notes[0] else []


def _is_whole(note: str) -> bool:
    return bool(re.search(r"\n— [^\n]*\n\Z", note))


def _parse(text: str, source: str, frontier: bytes | None) -> _Note | None:
    found = _NOTE.fullmatch(text)
    if found is None:
        return None
    origin, size, root, epoch, mac, _, first, last, profile, _ = found.groups()
    hashes = [base64.b64decode(root), base64.b64decode(mac)]
    if [base64.b64encode(part).decode() for part in hashes] != [root, mac]:
        return None
    dropped = (int(first), int(last), profile) if profile else None
    return _Note(source, origin, int(size), hashes[0], int(epoch), hashes[1], dropped, frontier)


def _is_signed(note: str, origin: str, public: Ed25519PublicKey) -> bool:
    """C2SP signed-note; lines of other keys are left alone."""
    text, _, signatures = note.partition("\n\n")
    raw = b"\x01" + public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    key_hash = hashlib.sha256(origin.encode() + b"\n" + raw).digest()[:4]
    n_good = 0
    for line in signatures.removesuffix("\n").split("\n"):
        name, _, encoded = line.removeprefix("— ").partition(" ")
        try:
            signed = base64.b64decode(encoded, validate=True)
            if name == origin and signed[:4] == key_hash:
                public.verify(signed[4:], text.encode() + b"\n")
                n_good += 1
        except InvalidSignature:
            return False
        except (ValueError, binascii.Error):
            continue
    return n_good > 0


def _ranges(numbers: Sequence[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        is_next = ranges and ranges[-1][1] == number - 1
        first = ranges.pop()[0] if is_next else number
        ranges.append((first, number))
    return ranges


def _merged(problems: Sequence[Problem]) -> list[Problem]:
    """Those that say the same of rows that follow become one."""
    merged: list[Problem] = []
    newest: dict[tuple[str, str], int] = {}
    for problem in problems:
        what = problem.code, problem.text
        former = merged[newest[what]].last_seq if what in newest else None
        if former is not None and problem.first_seq == former + 1:
            merged[newest[what]] = replace(merged[newest[what]], last_seq=problem.last_seq)
        else:
            newest[what] = len(merged)
            merged.append(problem)
    return merged


def _segment_files(folder: Path) -> list[Path]:
    """Those that can be opened: a pipe would never end, a link leads to what is not ours."""
    found = [path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)]
    suffixes = "", "-wal", "-shm", "-journal"
    return sorted(
        path
        for path in found
        if not any(_is_odd(path.with_name(path.name + suffix)) for suffix in suffixes)
    )


def _is_odd(path: Path) -> bool:
    """No regular file, though something is there."""
    try:
        return not stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _trail_in(folder: Path) -> tuple[Path, Path | None]:
    """The trail's own folder, also if one that holds a copy is named; and the key beside it."""
    inner, key = folder / "audit", folder / "audit-signing.pem.pub"
    if not inner.is_dir() or _segment_files(folder) or not _segment_files(inner):
        return folder, None
    return inner, key if key.exists() else None


def _seen(folder: Path) -> dict[str, bool]:
    return {path.name: path.lstat().st_size > 0 for path in folder.iterdir()}


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace")


def _public_key(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UnreadableError(f"{path}: no Ed25519 public key in PEM")
    return key


def _first_key(path: Path) -> Key:
    digits = _text(path).removesuffix("\n")
    if not re.fullmatch(r"[\da-f]{64}", digits, re.ASCII):
        raise UnreadableError(f"{path}: no key of an auditor, which is 64 hex digits")
    text = b"earwitness audit: first epoch"
    return 0, hmac.digest(bytes.fromhex(digits), text, "sha256"), 0


def _chain_key(path: Path) -> tuple[str, Key | None]:
    found = _CHAIN_KEY.fullmatch(_text(path))
    if found is None:
        raise UnreadableError(f"{path}: no key of a chain")
    trail, epoch, after_seq, key = found.groups()
    return trail, (int(epoch), bytes.fromhex(key), int(after_seq))


def _head(path: Path) -> tuple[int, bytes]:
    found = _HEAD.fullmatch(_text(path))
    if found is None:
        raise UnreadableError(f"{path}: no head of a trail")
    return int(found[1]), bytes.fromhex(found[2])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; gives the exit code."""
    parser = argparse.ArgumentParser(description="Say whether an audit trail was altered.")
    parser.add_argument("folder", type=Path, help="of the trail, or of a copy of it")
    parser.add_argument("--public-key", type=Path, help="signs checkpoints: audit-signing.pem.pub")
    parser.add_argument("--auditor-key", type=Path, help="opens every MAC: audit-auditor.key")
    parser.add_argument("--chain-key", type=Path, help="of the running epoch: audit-chain.key")
    parser.add_argument("--head", type=Path, help="names the last row: audit-head")
    parser.add_argument("--known", type=Path, action="append", default=[], help="kept checkpoints")
    parser.add_argument("--json", action="store_true", help="for other programs")
    given = parser.parse_args(arguments)
    try:
        folder, beside = _trail_in(given.folder)
        public = given.public_key or beside
        keys = public, given.auditor_key, given.chain_key, given.head
        result = verify_folder(folder, Means(*keys, tuple(given.known)))
        if public != given.public_key:
            text = f"whether {public} is the key of the server: it lay beside the trail"
            result = replace(result, unchecked=(*result.unchecked, text))
    except UnreadableError as error:
        print(f"not verified: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # noqa: BLE001 - Python's exit code 1 would say "altered"
        text = " ".join(str(error).split())
        print(f"not verified: {type(error).__name__}: {text}", file=sys.stderr)
        return 2
    for line in [json.dumps(asdict(result))] if given.json else lines_of(result):
        print(line)
    return exit_code_of(result)


def exit_code_of(result: Result) -> int:
    """0 unaltered, 1 altered, 2 nothing was proven."""
    return 1 if result.problems else 0 if result.checked else 2


def lines_of(result: Result) -> list[str]:
    """For people."""
    says = ("unaltered, as far as checked", "ALTERED", "nothing could be proven")
    extent = f"rows {result.first_seq} to {result.last_seq}, segments: {result.n_segments}"
    lines = [f"{says[exit_code_of(result)]}: {extent}"]
    for problem in result.problems:
        first, last = problem.first_seq, problem.last_seq
        rows = (
            "" if first is None else f" row {first}" if first == last else f" rows {first}-{last}"
        )
        lines.append(f"{problem.code}{rows}: {problem.text}")
    lines += [f"checked: {text}" for text in result.checked]
    return lines + [f"not checked: {text}" for text in result.unchecked]


if __name__ == "__main__":  # pragma: no cover - in a process of its own
    sys.exit(main())
