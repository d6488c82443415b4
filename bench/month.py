"""A number of events in, a trail of a busy month with that many out: segments with right MACs.

`python -m bench.month FOLDER` writes it as a server's data folder has it: four closed segments, the
one that is written to, a signed checkpoint at each segment's end, and the keys. Nobody was ever
heard: subjects, addresses and times are drawn, always the same ones for the same number. Working
days are busier than weekends and nights, some budgets run out, some tokens are old, and on three
days somebody tries the door: a burst of forged tokens, used tickets, and a crowd of names from one
address.
"""

import argparse
import json
import random
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.audit import AuditRecord, token_hash_of
from security.audit_chain import (
    ChainState,
    canonical,
    encode_frontier,
    extend,
    first_key,
    next_key,
    root_of,
)
from security.audit_schema import APPLICATION_ID, MIGRATIONS
from security.checkpoint import Checkpoint, origin_of, sign_checkpoint
from security.rules import WATCHED_EVENTS
from security.suspicion import Suspicion, SuspicionSettings
from security.trail_places import TrailPlaces

DAYS = 30
SEGMENTS = 5
BEGAN_UTC_NS = 1_767_225_600 * 10**9
"""2026-01-01 00:00 UTC."""
N_SUBJECTS = 400
_S_NS = 10**9
_DAY_NS = 86_400 * _S_NS
_TRAIL_ID = "00ea4b1750deca5e"
_AUDITOR_KEY = bytes(range(32))
_TRIGGER = "CREATE TRIGGER"
_MODEL = "base"
_AGENTS = ("earwitness/0.1", "Mozilla/5.0 (X11; Linux x86_64)", "okhttp/5.0")
_ENDS = ("stopped",) * 40 + ("client_left",) * 6 + ("idle",) * 2 + ("quota_audio", "token_expired")
_REFUSED = (
    *("token_expired",) * 12,
    *("too_many_sessions",) * 3,
    *("token_missing",) * 2,
    *("origin_refused", "token_unknown_key", "scope_missing", "engine_full"),
)
_FIRST_HOURS = (0, 0, 0, 0, 0, 1, 2, 5, 9, 12, 12, 11, 8, 11, 12, 11, 9, 6, 3, 2, 1, 1, 0, 0)
"""How many sessions begin in each hour, beside the others."""
_INSERT = f"INSERT INTO events VALUES ({', '.join('?' * 14)})"  # noqa: S608 (constants)

Row = tuple[str | int | None, ...]
"""Columns from `at_utc_ns` on, without epoch and MAC."""


def make_month(data_folder: Path, n_events: int = 1_000_000) -> TrailPlaces:
    """The trail in a data folder that has none."""
    places = TrailPlaces(data_folder / "audit", data_folder / "keys")
    for folder in (places.folder, places.keys_folder):
        folder.mkdir(parents=True, mode=0o700)
    signing_key = Ed25519PrivateKey.from_private_bytes(_AUDITOR_KEY)
    rows = with_findings(month_rows(n_events))
    state, key, notes = ChainState(), first_key(_AUDITOR_KEY), ""
    after_seq = 0
    for epoch in range(SEGMENTS):
        n_rows = n_events * (epoch + 1) // SEGMENTS - n_events * epoch // SEGMENTS
        segment = [next(rows) for _ in range(n_rows)]
        before = state
        state, macs = extend(before, _texts(segment, before.size, epoch), key)
        is_last = epoch == SEGMENTS - 1
        note = ""
        if not is_last:
            note = _note(state, epoch, int(segment[-1][0] or 0), signing_key)
            after_seq, key = state.size, next_key(key)
        _write_segment(places, before, (epoch, segment, macs), state, note)
        notes += note
    places.checkpoints_file.write_text(notes)
    _write_keys(places, signing_key, state, key, after_seq)
    return places


def month_rows(n_events: int) -> Iterator[Row]:
    """In the order of their times."""
    draw = random.Random(7)  # noqa: S311 - the same month each time, no secret
    subjects = [
        f"{draw.choice(('ward', 'desk', 'court', 'studio'))}-{n}" for n in range(N_SUBJECTS)
    ]
    homes = {name: f"10.{n // 250}.{n % 7}.{n % 250 + 1}" for n, name in enumerate(subjects)}
    numbers = count(1)
    weights = [0.3 if (day + 3) % 7 > 4 else 1.0 for day in range(DAYS)]  # 1 January: a Thursday
    ends = [round(n_events * sum(weights[: day + 1]) / sum(weights)) for day in range(DAYS)]
    for day, (first, last) in enumerate(zip([0, *ends], ends, strict=False)):
        began_ns = BEGAN_UTC_NS + day * _DAY_NS
        rows = list(_attack(draw, day, began_ns))[: (last - first) // 2]
        while len(rows) < last - first:
            subject = draw.choice(subjects)
            rows += _visit(draw, next(numbers), subject, homes[subject], _moment(draw, began_ns))
        rows.sort(key=lambda row: int(row[0] or 0))
        yield from rows[: last - first]


def with_findings(rows: Iterable[Row]) -> Iterator[Row]:
    """And what the rules find in them, each behind the row that led to it."""
    suspicion, seq = Suspicion(SuspicionSettings()), 0
    for row in rows:
        seq += 1
        yield row
        if row[1] not in WATCHED_EVENTS:
            continue
        at_utc_ns, *columns = row[:-1]
        record = AuditRecord(seq, at_utc_ns, *columns, {})  # type: ignore[arg-type]  # made above
        for finding in suspicion.receive(record):
            seq += 1
            numbers = " ".join(map(str, finding.seqs))
            named = {"rule": finding.rule, "severity": finding.severity}
            detail = _detail(**named, n_events=finding.n_events, seqs=numbers)
            who = (finding.subject, None, finding.address)
            name = "suspicion.found"
            yield at_utc_ns, name, "success", None, *who, None, None, None, detail


def _visit(
    draw: random.Random, number: int, subject: str, address: str, at_ns: int
) -> Iterator[Row]:
    """What one caller leaves: a refusal, or a session with what belongs to it."""
    token_hash = token_hash_of(f"{subject}-{at_ns // _DAY_NS}")
    agent = draw.choice(_AGENTS)
    shown = {"origin": None, "peer_port": draw.randrange(1024, 65_536), "user_agent": agent}
    if draw.random() < 0.04:
        reason = draw.choice(_REFUSED)
        is_known = reason in {"too_many_sessions", "scope_missing", "engine_full"}
        who = (subject, token_hash) if is_known else (None, None)
        refused = _detail(**shown, http_status=401)
        name = "handshake.refused"
        yield at_ns, name, "failure", None, *who, address, reason, None, None, refused
        return
    session_id = f"{number:024x}"
    named = (session_id, subject, token_hash, address)
    if draw.random() < 0.3:
        ticket = _detail(issuer="earwitness", origin=None)
        asked_ns = at_ns - 2 * _S_NS
        yield (asked_ns, "ticket.issued", "success", None, *named[1:], None, None, None, ticket)
    if draw.random() < 0.1:
        known = _detail(**shown, issuer="earwitness", scopes="transcribe")
        name = "authentication.succeeded"
        yield at_ns - _S_NS, name, "success", None, *named[1:], None, None, None, known
    started = _detail(**shown, issuer="earwitness", model=_MODEL)
    yield at_ns, "session.started", "success", *named, None, None, None, started
    audio_ms = min(7_200_000, int(draw.lognormvariate(11.6, 0.9)))
    reason = draw.choice(_ENDS)
    ended = _detail(
        issuer="earwitness",
        model=_MODEL,
        speech_ms=audio_ms * 6 // 10,
        segments=audio_ms // 4000,
        close_code=1000,
    )
    outcome = "success" if reason in {"stopped", "client_left"} else "failure"
    ended_ns = at_ns + audio_ms * 10**6
    yield ended_ns, "session.ended", outcome, *named, reason, audio_ms, audio_ms * 32, ended


def _attack(draw: random.Random, day: int, began_ns: int) -> Iterator[Row]:
    tries = {9: "token_bad_signature", 17: "ticket_replayed", 24: "token_unknown_key"}.get(day)
    for n in range(400 if tries else 0):
        at_ns = began_ns + 3 * 3600 * _S_NS + n * draw.randrange(_S_NS, 2 * _S_NS)
        detail = _detail(origin=None, peer_port=4000 + n, user_agent="curl/8", http_status=401)
        name, address = "handshake.refused", f"203.0.113.{day}"
        yield at_ns, name, "failure", None, None, None, address, tries, None, None, detail


def _moment(draw: random.Random, began_ns: int) -> int:
    hour = draw.choices(range(24), _FIRST_HOURS)[0]
    return began_ns + hour * 3600 * _S_NS + draw.randrange(3600 * _S_NS)


def _detail(**fields: str | int | None) -> str:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def _texts(rows: Sequence[Row], size_before: int, epoch: int) -> list[bytes]:  # a count of rows
    return [
        canonical([seq, row[0], epoch, *row[1:]]) for seq, row in enumerate(rows, size_before + 1)
    ]


def _note(state: ChainState, epoch: int, at_utc_ns: int, key: Ed25519PrivateKey) -> str:
    checkpoint = Checkpoint(
        origin_of(_TRAIL_ID), state.size, root_of(state.frontier), epoch, state.mac, at_utc_ns
    )
    return sign_checkpoint(checkpoint, key)


def _write_segment(
    places: TrailPlaces,
    before: ChainState,
    written: tuple[int, Sequence[Row], Sequence[bytes]],
    after: ChainState,
    note: str,
) -> None:
    epoch, rows, macs = written
    path = places.segment_file(before.size + 1)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {'DELETE' if note else 'WAL'}")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    statements = [each for migration in MIGRATIONS for each in migration.statements]
    for statement in statements:
        if not statement.startswith(_TRIGGER):
            connection.execute(statement)
    numbered = enumerate(zip(rows, macs, strict=True), before.size + 1)
    whole = ((seq, row[0], epoch, *row[1:], mac) for seq, (row, mac) in numbered)
    connection.executemany(_INSERT, whole)
    former = (before.size + 1, before.mac, encode_frontier(before.frontier), origin_of(_TRAIL_ID))
    connection.execute("INSERT INTO segment VALUES (?, ?, ?, ?)", former)
    if note:
        grown = (after.size, note, encode_frontier(after.frontier))
        connection.execute("INSERT INTO checkpoints VALUES (?, ?, ?)", grown)
    for statement in statements:
        if statement.startswith(_TRIGGER):  # behind the rows: they look at each
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    connection.execute("COMMIT")
    connection.close()
    path.chmod(0o400 if note else 0o600)


def _write_keys(
    places: TrailPlaces,
    signing_key: Ed25519PrivateKey,
    state: ChainState,
    key: bytes,
    after_seq: int,
) -> None:
    running = {"trail": _TRAIL_ID, "epoch": SEGMENTS - 1, "after_seq": after_seq, "key": key.hex()}
    pem = signing_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = signing_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    public_file = places.signing_key_file.with_name(places.signing_key_file.name + ".pub")
    files = {
        places.chain_key_file: json.dumps(running, separators=(",", ":")).encode() + b"\n",
        places.head_file: f"{state.size:020d} {state.mac.hex()}\n".encode(),
        places.auditor_key_file: _AUDITOR_KEY.hex().encode() + b"\n",
        places.signing_key_file: pem,
        public_file: public,
    }
    for path, content in files.items():
        path.touch(0o600)
        path.write_bytes(content)


def main() -> None:
    """Make one, and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--events", type=int, default=1_000_000)
    given = parser.parse_args()
    began_s = time.perf_counter()
    places = make_month(given.folder, given.events)
    size_mb = sum(path.stat().st_size for path in places.segment_files()) / 1e6
    took_s = time.perf_counter() - began_s
    print(f"{given.events} events, {size_mb:.0f} MB, in {took_s:.1f} s: {places.folder}")


if __name__ == "__main__":
    main()
