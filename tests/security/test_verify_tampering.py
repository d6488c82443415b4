"""Trails with one thing changed in; each found, out. And those that nobody touched verify."""
# ruff: noqa: S608 - tables and numbers of the tests' own

import base64
import os
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security import verify_trail
from security.audit_chain import NO_MAC, ChainState, canonical, extend
from security.checkpoint import open_checkpoint, sign_checkpoint, split_notes
from security.verify_trail import UnreadableError, verify_folder
from tests.security.chained_trails import (
    INSERT,
    SIGNING,
    begin_trail,
    copy_of,
    make_trail,
    means_of,
)

COLUMNS = (
    *("at_utc_ns", "epoch", "event", "outcome", "session_id", "subject", "token_hash"),
    *("address", "reason", "audio_ms", "bytes_received", "detail", "mac"),
)
SECRETS = ("auditor_key", "chain_key", "head")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Verified once, copied for each test."""
    places = make_trail(tmp_path_factory.mktemp("original")).places
    assert codes(places) == set()
    return places


@pytest.fixture
def places(original, tmp_path):
    return copy_of(original, tmp_path / "copy")


def problems(places, *left_out, **others):
    return verify_folder(places.folder, means_of(places, *left_out, **others)).problems


def codes(places, *left_out, **others):
    return {problem.code for problem in problems(places, *left_out, **others)}


def change(path, *statements, values=()):
    """As whoever owns the file can: without the triggers, which are put back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement, values if "?" in statement else ())
        for _, sql in triggers:
            connection.execute(sql)


def segment(places, number):
    return places.segment_files()[number]


def rechain(path, first, last, key):
    """Bind rows anew with a key, as a thief of it can."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT * FROM events WHERE seq >= ? AND seq <= ? ORDER BY seq"
        rows = connection.execute(query, (first, last)).fetchall()
        former = connection.execute("SELECT mac FROM events WHERE seq = ?", (first - 1,)).fetchone()
    state = ChainState(mac=former[0] if former else NO_MAC)
    _, macs = extend(state, [canonical(row[:-1]) for row in rows], key)
    for row, mac in zip(rows, macs, strict=True):
        change(path, "UPDATE events SET mac = ? WHERE seq = ?", values=(mac, row[0]))


def test_what_nobody_touched_verifies_with_whatever_is_at_hand(places, original):
    for left_out in ((), ("auditor_key",), SECRETS, ("public_key",), ("public_key", "head")):
        assert codes(places, *left_out, known=[original.checkpoints_file]) == set()


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("seq", [1, 7, 8, 20, 21, 41, 42, 53, 54, 58])
def test_a_changed_column_of_a_row_is_found_by_its_number(places, column, seq):
    path = segment(places, 0 if seq <= 20 else 1 if seq <= 41 else 2)
    new = {"at_utc_ns": 1, "epoch": 9, "audio_ms": 4, "bytes_received": 4, "mac": b"m" * 32}
    change(
        path,
        f"UPDATE events SET {column} = ? WHERE seq = ?",
        values=(new.get(column, "other"), seq),
    )
    found = problems(places)
    assert any(p.code in {"row.mac", "head.mac"} and p.first_seq == seq for p in found) or (
        column == "epoch" and any(p.code.startswith("epoch.") for p in found)
    )
    assert codes(places, "public_key") & {"row.mac", "epoch.skipped", "epoch.back"}
    if seq <= 53 and column != "mac":  # what is signed needs no other key
        assert codes(places, *SECRETS) & {"rows.root"}
    if seq > 53:
        assert codes(places, "auditor_key")


@pytest.mark.parametrize(
    "value", ["nul\0in", 'a"b', "a\\b", "\x7f", "é", "", "null", "1", " plain", "plain\n"]
)
@pytest.mark.parametrize("seq", [6, 7, 55])
def test_text_that_looks_alike_is_found(places, value, seq):
    path = segment(places, 0 if seq <= 20 else 2)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT reason FROM events WHERE seq = ?"
        assert connection.execute(query, (seq,)).fetchone()[0] != value
    change(path, "UPDATE events SET reason = ? WHERE seq = ?", values=(value, seq))
    assert "row.mac" in codes(places)


@pytest.mark.parametrize("value", [-(2**63), 2**63 - 1, 0, -1, None])
def test_numbers_of_every_size_are_found(places, value):
    change(segment(places, 0), "UPDATE events SET audio_ms = ? WHERE seq = 5", values=(value,))
    assert [(p.code, p.first_seq) for p in problems(places) if p.code == "row.mac"] == [
        ("row.mac", 5)
    ]


def test_swapped_columns_of_a_row_are_found(places):
    change(segment(places, 0), "UPDATE events SET address = reason, reason = address WHERE seq = 4")
    assert {"row.mac", "rows.root"} <= codes(places)


@pytest.mark.parametrize("seq", [1, 8, 20, 21, 41, 42, 53, 54, 57])
def test_a_deleted_row_is_found(places, seq):
    path = segment(places, 0 if seq <= 20 else 1 if seq <= 41 else 2)
    change(path, f"DELETE FROM events WHERE seq = {seq}")
    for left_out in ((), ("auditor_key",), SECRETS, ("public_key",)):
        assert codes(places, *left_out)
    assert "rows.missing" in codes(places) | ({"rows.missing"} if seq in {20, 41} else set())


def test_deleted_rows_that_were_numbered_anew_are_found(places):
    change(
        segment(places, 0),
        "DELETE FROM events WHERE seq = 5",
        "UPDATE events SET seq = seq - 1 WHERE seq > 5",
    )
    assert codes(places, *SECRETS)
    assert "row.mac" in codes(places)


def test_an_inserted_row_is_found(places):
    change(
        segment(places, 2),
        "UPDATE events SET seq = seq + 1000 WHERE seq > 44",
        "UPDATE events SET seq = seq - 999 WHERE seq > 1000",
        """INSERT INTO events SELECT 45, at_utc_ns, epoch, event, outcome, session_id, subject,
        token_hash, address, reason, audio_ms, bytes_received, detail, mac
        FROM events WHERE seq = 44""",
    )
    assert {"row.mac", "rows.root"} <= codes(places)
    assert "rows.root" in codes(places, *SECRETS)


@pytest.mark.parametrize("seq", [59, 60, 10**18, 2**63 - 1, 0, -1])
def test_a_row_put_before_or_behind_the_others_is_found(places, seq):
    row = (seq, 1, 6, "session.ended", "success", *[None] * 7, "{}", bytes(32))
    change(segment(places, 2), INSERT, values=row)
    assert codes(places)
    assert codes(places, "auditor_key")


@pytest.mark.parametrize(("one", "other"), [(1, 2), (7, 8), (54, 55), (57, 58)])
def test_rows_in_another_order_are_found(places, one, other):
    change(
        segment(places, 0 if one < 20 else 2),
        f"UPDATE events SET seq = 1000 WHERE seq = {one}",
        f"UPDATE events SET seq = {one} WHERE seq = {other}",
        f"UPDATE events SET seq = {other} WHERE seq = 1000",
    )
    assert "row.mac" in codes(places)
    assert codes(places, "auditor_key")


def test_a_row_of_one_place_at_another_is_found(places):
    change(
        segment(places, 0),
        "DELETE FROM events WHERE seq = 6",
        """INSERT INTO events SELECT 6, at_utc_ns, epoch, event, outcome, session_id, subject,
        token_hash, address, reason, audio_ms, bytes_received, detail, mac
        FROM events WHERE seq = 3""",
    )
    assert {"row.mac", "rows.root"} <= codes(places)


@pytest.mark.parametrize("kept", [57, 56, 53, 50, 42, 41])
def test_a_tail_that_was_cut_off_is_found(places, original, kept):
    path = segment(places, 2)
    change(
        path,
        f"DELETE FROM events WHERE seq > {kept}",
        f"DELETE FROM checkpoints WHERE size > {kept}",
    )
    assert "head.ahead" in codes(places)
    notes = split_notes(places.checkpoints_file.read_text())
    left = [n for n in notes if open_checkpoint(n, SIGNING.public_key()).size <= kept]
    places.checkpoints_file.write_text("".join(left))  # he knows that file, too
    assert "head.ahead" in codes(places)
    if kept < 53:
        assert "key.ahead" in codes(places, "head")
        assert "known.ahead" in codes(places, *SECRETS, known=[original.checkpoints_file])


def test_a_last_segment_that_was_taken_away_is_found(places, original):
    segment(places, 2).unlink()
    assert {"head.ahead", "key.ahead", "checkpoint.ahead"} <= codes(places)
    notes = split_notes(places.checkpoints_file.read_text())
    places.checkpoints_file.write_text("".join(notes[:4]))
    assert {"head.ahead", "key.ahead"} == codes(places)
    assert {"known.ahead"} == codes(places, *SECRETS, known=[original.checkpoints_file])


@pytest.mark.parametrize("number", [0, 1])
def test_a_segment_that_was_taken_out_is_found(places, number):
    segment(places, number).unlink()
    for left_out in ((), ("auditor_key",), SECRETS, ("public_key",)):
        assert codes(places, *left_out) & {"rows.missing", "segment.gap"}


def test_all_segments_taken_away_are_found(places):
    for path in places.segment_files():
        path.unlink()
    assert "head.ahead" in codes(places)
    places.checkpoints_file.unlink()
    with pytest.raises(UnreadableError, match="no trail"):
        codes(places, "head", "chain_key")


def test_yesterdays_file_or_folder_is_found(tmp_path):
    trail = begin_trail(tmp_path / "trail")
    trail.rows(10).checkpoint().rows(5)
    yesterday = copy_of(trail.places, tmp_path / "yesterday")
    trail.rows(20).checkpoint().rows(3)
    today = copy_of(trail.places, tmp_path / "today")
    assert codes(yesterday) == codes(today) == set()
    shutil.copy(segment(yesterday, 0), segment(today, 0))
    assert "head.ahead" in codes(today)
    assert "key.ahead" in codes(today, "head", "auditor_key")
    shutil.copy(yesterday.checkpoints_file, today.checkpoints_file)
    assert "head.ahead" in codes(today)
    known = [trail.places.checkpoints_file]
    assert {"known.ahead"} == codes(yesterday, known=known)  # the keys are yesterday's, too


def test_a_trail_of_another_server_is_found(places, tmp_path):
    other = begin_trail(tmp_path / "other")
    other.rows(58).checkpoint()
    shutil.rmtree(places.folder)
    shutil.copytree(other.places.folder, places.folder)
    assert codes(places) & {"head.mac", "key.epoch"}


@pytest.mark.parametrize("number", [0, 1])
def test_whoever_has_todays_key_cannot_rewrite_yesterday(places, number):
    """He binds every row anew with it, and signs every root."""
    key = bytes.fromhex(re.search(r"[0-9a-f]{64}", places.chain_key_file.read_text())[0])
    path = segment(places, number)
    first, last = ((1, 20), (21, 41))[number]
    change(path, f"UPDATE events SET reason = 'nothing' WHERE seq = {first + 2}")
    rechain(path, first, last, key)
    assert "row.mac" in codes(places)


def test_whoever_signs_anew_is_found_by_the_macs_and_by_what_was_kept(tmp_path):
    trail = begin_trail(tmp_path / "trail")
    trail.rows(10).checkpoint().rows(10).checkpoint()
    kept = copy_of(trail.places, tmp_path / "kept")
    forged = begin_trail(tmp_path / "forged")
    forged.key = b"x" * 32  # any but the first epoch's, which is gone
    forged.rows(9).rows(1).checkpoint().rows(10).checkpoint()
    change(segment(forged.places, 0), "UPDATE events SET reason = 'no' WHERE seq = 3")
    again = begin_trail(tmp_path / "again")
    again.key = b"x" * 32
    again.rows(10).checkpoint().rows(10).checkpoint()
    assert codes(again.places, *SECRETS) == set()  # so far it is the server's own word
    assert "row.mac" in codes(again.places, "chain_key", "head")
    known = [kept.checkpoints_file]
    assert {"known.mac"} <= codes(again.places, *SECRETS, known=known)
    assert "rows.root" in codes(forged.places, *SECRETS)


def replaced_note(places, size, into, *, key=SIGNING):
    """Another note at one size, wherever it stands."""
    text = places.checkpoints_file.read_text()
    [note] = [n for n in split_notes(text) if open_checkpoint(n, SIGNING.public_key()).size == size]
    new = into(note, open_checkpoint(note, SIGNING.public_key()), key)
    places.checkpoints_file.write_text(text.replace(note, new))
    for path in places.segment_files():
        change(path, "UPDATE checkpoints SET note = ? WHERE note = ?", values=(new, note))


def spaced(note, _, __):
    return note.replace("epoch", "epoch ")


def signed_with(**changes):
    return lambda _, checkpoint, key: sign_checkpoint(replace(checkpoint, **changes), key)


@pytest.mark.parametrize(
    ("into", "found"),
    [
        pytest.param(spaced, "checkpoint.text", id="spaced"),
        (lambda note, _, __: note.replace("\nat ", "\nat 1"), "checkpoint.signature"),
        (lambda _, __, ___: "nothing\n", "checkpoint.text"),
        (signed_with(root=b"r" * 32), "rows.root"),
        (signed_with(mac=b"m" * 32), "checkpoint.mac"),
        (signed_with(epoch=8), "checkpoint.epoch"),
        (signed_with(size=30), "checkpoint.place"),
        (signed_with(size=300), "checkpoint.ahead"),
        (signed_with(origin="earwitness/audit/ffffffffffffffff"), "checkpoint.trail"),
    ],
)
@pytest.mark.parametrize("size", [7, 20, 29, 53])
def test_a_changed_checkpoint_is_found(places, into, found, size):
    replaced_note(places, size, into)
    assert found in codes(places)
    assert found in codes(places, *SECRETS)


def test_signatures_of_others_beside_ours_change_nothing(places):
    others = "— witness.test AAAA\n— nobody !!\n"
    replaced_note(places, 29, lambda note, _, __: note + others)
    assert codes(places) == set()


@pytest.mark.parametrize("seq", [3, 20, 53, 58])
def test_a_mac_that_is_none_is_found(places, seq):
    change(segment(places, 0 if seq <= 20 else 2), f"UPDATE events SET mac = x'' WHERE seq = {seq}")
    assert codes(places) & {"row.mac", "segment.damaged"}


def test_a_checkpoint_signed_with_another_key_is_found(places):
    other = Ed25519PrivateKey.generate()
    replaced_note(places, 29, lambda _, c, __: sign_checkpoint(c, other))
    assert "checkpoint.signature" in codes(places)


def test_a_checkpoint_that_is_gone_from_one_place_or_both_is_found(places, tmp_path):
    notes = split_notes(places.checkpoints_file.read_text())
    for index, size in enumerate((7, 20, 29, 41, 45, 53)):
        copy = copy_of(places, tmp_path / str(size))
        copy.checkpoints_file.write_text("".join(notes[:index] + notes[index + 1 :]))
        assert "checkpoint.missing" in codes(copy)
        for path in copy.segment_files():
            change(path, f"DELETE FROM checkpoints WHERE size = {size}")
        assert codes(copy) & {"epoch.unsigned", "checkpoint.missing"}
        copy.checkpoints_file.write_text("".join(notes))
        assert "epoch.unsigned" in codes(copy) or size == 53  # may be a crash


def test_the_file_of_checkpoints_gone_or_cut_is_found(places):
    text = places.checkpoints_file.read_text()
    places.checkpoints_file.write_text(text[:-9])
    assert "checkpoint.missing" in codes(places)
    places.checkpoints_file.unlink()
    assert "checkpoint.missing" in codes(places, *SECRETS)


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE checkpoints SET frontier = zeroblob(length(frontier))", "checkpoint.frontier"),
        ("UPDATE checkpoints SET frontier = x''", "checkpoint.frontier"),
        ("UPDATE checkpoints SET size = size - 1", "checkpoint.place"),
        ("UPDATE segment SET former_mac = randomblob(32)", "segment.start"),
        ("UPDATE segment SET former_mac = x''", "segment.damaged"),
        ("UPDATE segment SET frontier = randomblob(64)", "segment.start"),
        ("UPDATE segment SET frontier = x'00'", "segment.start"),
        ("UPDATE segment SET first_seq = first_seq + 1", "segment.damaged"),
        ("UPDATE segment SET origin = 'earwitness/audit/ffffffffffffffff'", "checkpoint.trail"),
        ("DELETE FROM segment", "segment.damaged"),
        ("INSERT INTO segment VALUES (99, zeroblob(32), x'', '')", "segment.damaged"),
        ("PRAGMA user_version = 7", "segment.schema"),
        ("PRAGMA application_id = 7", "segment.schema"),
    ],
)
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_changed_row_of_the_other_tables_is_found(places, statement, found, number):
    change(segment(places, number), statement)
    assert found in codes(places)
    assert found in codes(places, *SECRETS)


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER events_are_not_updated",
        "CREATE TRIGGER more AFTER INSERT ON events BEGIN SELECT 1; END",
        "CREATE VIEW more AS SELECT * FROM events",
        "CREATE TEMP VIEW events AS SELECT 1",
        "CREATE TABLE more (a)",
        "CREATE INDEX more ON events (detail)",
        "DROP INDEX events_by_time",
        "ALTER TABLE events ADD COLUMN more TEXT",
        "ALTER TABLE events ADD COLUMN more TEXT AS ('x')",
        "ALTER TABLE events RENAME COLUMN reason TO cause",
        "ANALYZE",
    ],
)
def test_a_changed_schema_is_found(places, statement):
    with closing(sqlite3.connect(segment(places, 1))) as connection:
        connection.execute(statement)
    if "TEMP" in statement:  # leaves nothing
        assert codes(places) == set()
    else:
        assert "segment.schema" in codes(places)


@pytest.mark.parametrize(
    ("former", "new"),
    [
        ("reason TEXT", "reason ANY"),
        ("audio_ms INTEGER", "audio_ms ANY"),
        (") STRICT", ")"),
        ("mac BLOB", "mac ANY"),
        ("subject TEXT", "subject TEXT COLLATE NOCASE"),
        ("seq INTEGER PRIMARY KEY", "seq INTEGER PRIMARY KEY AUTOINCREMENT"),
    ],
)
def test_a_table_that_takes_other_types_is_found(places, former, new):
    with closing(sqlite3.connect(segment(places, 0))) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        query = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'events'"
        connection.execute(query, (former, new))
        connection.commit()
    assert "segment.schema" in codes(places)


@pytest.mark.parametrize("value", [1.5, b"plain", 7])
def test_a_value_of_another_type_is_found_when_the_schema_was_put_back(places, value):
    path = segment(places, 0)
    schema = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = 'events'"
    for former, new in (("reason TEXT", "reason ANY"), ("reason ANY", "reason TEXT")):
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(schema, (former, new))
            connection.commit()
        if new == "reason ANY":
            change(path, "UPDATE events SET reason = ? WHERE seq = 7", values=(value,))
    assert codes(places) & {"row.mac", "segment.damaged"}
    assert codes(places, *SECRETS)


def test_an_index_that_hides_a_row_is_found(places):
    path = segment(places, 0)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = ?"
        [event] = connection.execute(query, ("events_by_event",)).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET rootpage = ? WHERE name = 'events_by_time'", (event,)
        )
        connection.commit()
    assert "segment.damaged" in codes(places)


def test_a_file_beside_the_trails_own_is_found(places):
    (places.folder / "segment-000000000001.sqlite3.bak").write_bytes(b"")
    assert codes(places) == {"folder.file"}


def test_a_segment_under_another_number_or_twice_is_found(places):
    shutil.copy(segment(places, 1), places.segment_file(59))
    assert "segment.damaged" in codes(places)
    places.segment_file(59).unlink()
    segment(places, 1).rename(places.segment_file(22))
    assert {"segment.damaged", "segment.gap"} <= codes(places)


def test_a_file_that_is_no_database_is_found(places):
    path = segment(places, 1)
    path.chmod(0o600)
    for content in (b"", b"nothing", path.read_bytes()[:4096], bytes(8192)):
        path.write_bytes(content)
        assert codes(places) & {"segment.damaged", "segment.schema"}


@pytest.mark.parametrize("text", ["", "0", f"{58:020d} {'00' * 32}", f"{58:020d} {'0g' * 32}\n"])
def test_a_head_that_is_none_is_not_read(places, text):
    places.head_file.write_text(text)
    with pytest.raises(UnreadableError):
        codes(places)


@pytest.mark.parametrize("with_segment", [True, False])
def test_a_key_of_the_chain_that_was_put_back_is_found(tmp_path, with_segment):
    trail = begin_trail(tmp_path)
    trail.rows(5).checkpoint()
    key = trail.places.chain_key_file.read_text()
    trail.rows(5).checkpoint()
    if with_segment:
        trail.segment()
    else:
        trail.rows(2)
    assert codes(trail.places) == set()
    trail.places.chain_key_file.write_text(key)
    found = problems(trail.places, "auditor_key")
    assert ("key.epoch", 10) in [(each.code, each.first_seq) for each in found]
    assert "the key of the chain is an older one" in found[0].text


@pytest.mark.parametrize("name", ["", "-wal", "-shm", "-journal", "checkpoints"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_regular_file_is_told_and_not_read(places, name, make):
    path = segment(places, 2)
    path = path.with_name(name if name == "checkpoints" else path.name + name)
    path.unlink(missing_ok=True)
    make(path)
    found = [each.text for each in problems(places) if each.code == "folder.file"]
    assert found == [f"'{path.name}' is no regular file, and was not read"]


@pytest.mark.parametrize("tail", [b"\x81\xfe\x07", b"\n", b"earwitness/audit/00\n1", b"x\ny\n"])
def test_what_follows_the_last_checkpoint_is_told(places, tail):
    with places.checkpoints_file.open("ab") as file:
        file.write(tail)
    assert codes(places) == {"checkpoint.text"}


@pytest.mark.parametrize("tail", [b"earwitness/audit/0011", b"\0" * 300])
def test_what_a_crash_leaves_of_a_checkpoint_is_no_alteration(places, tail):
    with places.checkpoints_file.open("ab") as file:
        file.write(tail)
    result = verify_folder(places.folder, means_of(places))
    assert result.problems == ()
    assert "the last checkpoint of the file: a crash cut it short" in result.unchecked


@pytest.mark.parametrize("number", [0, 2])
@pytest.mark.parametrize("n_bytes", [1, 4096, 10_000])
def test_bytes_behind_the_last_page_of_a_segment_are_told(places, number, n_bytes):
    with segment(places, number).open("ab") as file:
        file.write(b"x" * n_bytes)
    assert codes(places) == {"segment.damaged"}


def test_a_segment_behind_a_link_is_none_of_the_folder(places):
    path = segment(places, 2)
    path.symlink_to(path.rename(places.keys_folder / "elsewhere"))
    assert {"folder.file", "head.ahead"} <= codes(places)


def test_a_head_of_another_row_is_found(places):
    places.head_file.write_text(f"{57:020d} {'00' * 32}\n")
    assert codes(places) == {"head.mac"}
    places.head_file.write_text(f"{0:020d} {'00' * 32}\n")
    assert codes(places) == set()  # it may be behind


@pytest.mark.parametrize(
    ("former", "new", "found"),
    [
        ('"epoch":6', '"epoch":5', "key.epoch"),
        ('"epoch":6', '"epoch":7', "key.epoch"),
        ('"epoch":6', '"epoch":999999999999', "key.epoch"),
        ('"after_seq":53', '"after_seq":54', "checkpoint.missing"),
        ('"after_seq":53', '"after_seq":52', "key.epoch"),
        ('"after_seq":53', '"after_seq":59', "key.ahead"),
        ("00112233445566aa", "00112233445566ab", "key.trail"),
    ],
)
def test_a_changed_key_file_is_found(places, former, new, found):
    text = places.chain_key_file.read_text()
    assert former in text
    places.chain_key_file.write_text(text.replace(former, new))
    assert found in codes(places)


def test_a_key_of_the_chain_that_is_not_the_auditors_is_found(places):
    text = places.chain_key_file.read_text()
    places.chain_key_file.write_text(re.sub("[0-9a-f]{64}", "0" * 64, text))
    assert codes(places) == {"key.chain"}
    assert codes(places, "auditor_key") == {"row.mac"}


MUTATION = st.sampled_from(["events", "checkpoints", "segment"])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_change_of_any_value_is_found(original, tmp_path_factory, data):
    places = copy_of(original, tmp_path_factory.mktemp("any"))
    path = segment(places, data.draw(st.integers(0, 2)))
    table = data.draw(MUTATION)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    row = data.draw(st.sampled_from(rows))
    at = data.draw(st.integers(0, len(names) - 1))
    former = row[1 + at]
    kinds = {
        str: st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        bytes: st.binary(max_size=64),
        int: st.integers(-(2**63), 2**63 - 1) | st.integers(-9, 99),
    }
    new = data.draw(kinds.get(type(former), st.just("filled")))
    if new == former:
        return
    with closing(sqlite3.connect(path)) as connection:
        taken = f"SELECT 1 FROM {table} WHERE rowid = ?"
        if at == 0 and connection.execute(taken, (new,)).fetchone():
            return
    try:
        change(path, f"UPDATE {table} SET {names[at]} = ? WHERE rowid = ?", values=(new, row[0]))
    except sqlite3.IntegrityError:  # of no kind that the table takes
        return
    assert codes(places)


def content_of(path):
    """All that is read of a file: what is declared, the tables, and each index in its order."""
    found = []
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        connection.text_factory = bytes
        for query in (
            "SELECT type, name, tbl_name, sql FROM sqlite_schema",
            "SELECT *, typeof(detail) FROM events",
            "SELECT * FROM checkpoints",
            "SELECT * FROM segment",
            "SELECT session_id, seq FROM events INDEXED BY events_by_session"
            " WHERE session_id IS NOT NULL ORDER BY session_id, seq",
            "SELECT subject, seq FROM events INDEXED BY events_by_subject"
            " WHERE subject IS NOT NULL ORDER BY subject, seq",
            "SELECT address, seq FROM events INDEXED BY events_by_address"
            " WHERE address IS NOT NULL ORDER BY address, seq",
            "SELECT event, at_utc_ns, seq FROM events INDEXED BY events_by_event"
            " ORDER BY event, at_utc_ns, seq",
            "SELECT at_utc_ns, event, outcome, seq FROM events INDEXED BY events_by_time"
            " ORDER BY at_utc_ns, event, outcome, seq",
            "PRAGMA integrity_check",
        ):
            found.append(connection.execute(query).fetchall())
    return found


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_any_flipped_byte_is_found_or_not_read(original, tmp_path_factory, number, at, bits):
    places = copy_of(original, tmp_path_factory.mktemp("flip"))
    path = segment(places, number)
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= bits
    before = content_of(path)
    path.write_bytes(content)
    try:
        found = codes(places)
    except UnreadableError:
        return
    assert found or content_of(path) == before


def test_a_base64_that_says_the_same_is_not_the_same(places):
    """The last character of a hash has bits that no decoder looks at."""
    note = split_notes(places.checkpoints_file.read_text())[0]
    root = note.split("\n")[2]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = root[:-2] + letters[letters.index(root[-2]) | 1] + "="
    assert base64.b64decode(other) == base64.b64decode(root)
    assert other != root
    replaced_note(places, 7, lambda note, _, __: note.replace(root, other))
    assert "checkpoint.text" in codes(places)


def forged_without_keys(places, epoch):
    """The rows behind the tombstones written anew by somebody who has the folder and no key; of
    what was signed only the tombstones are left.
    """
    for path in places.segment_files():
        statements = "DELETE FROM checkpoints", f"UPDATE events SET epoch = {epoch}, subject = 'me'"
        change(path, *statements)
    notes = split_notes(places.checkpoints_file.read_text())
    stones = [note for note in notes if "\ndropped " in note]
    places.checkpoints_file.write_text("".join(stones))


@pytest.mark.parametrize("epoch", [0, 3, 4, 10**6, 2**63 - 1, -1])
def test_rows_that_claim_an_epoch_without_a_key_are_found_behind_a_tombstone(tmp_path, epoch):
    trail = make_trail(tmp_path)
    trail.drop_first()
    trail.drop_first()
    forged_without_keys(trail.places, epoch)
    assert "row.mac" in codes(trail.places, "chain_key", "head")


def test_the_first_row_behind_a_tombstone_is_of_the_next_epoch(tmp_path):
    trail = make_trail(tmp_path)
    trail.drop_first()
    trail.drop_first()
    forged_without_keys(trail.places, 10**6)
    assert codes(trail.places, *SECRETS) == {"epoch.skipped"}
    forged_without_keys(trail.places, 3)
    assert codes(trail.places, *SECRETS) == {"epoch.back"}


def test_keys_of_so_many_epochs_are_made_and_no_more(places, monkeypatch):
    monkeypatch.setattr(verify_trail, "_MOST_EPOCHS", 2)
    found = [each for each in problems(places, "chain_key") if each.code == "row.mac"]
    assert [(each.first_seq, each.last_seq) for each in found] == [(30, 58)]
