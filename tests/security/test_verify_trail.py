"""The verifier by itself: what it says, what it leaves as it is, where it runs."""

import ast
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from security import verify_trail
from security.checkpoint import open_checkpoint, origin_of, sign_checkpoint, split_notes
from security.keys import public_half
from security.trail_places import TrailPlaces
from security.verify_trail import Means, UnreadableError, lines_of, main, verify_folder
from tests.security.chained_trails import SIGNING, begin_trail, copy_of, make_trail, means_of

SCRIPT = Path(verify_trail.__file__)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make_trail(tmp_path_factory.mktemp("original"))


@pytest.fixture
def places(original, tmp_path):
    return copy_of(original.places, tmp_path / "copy")


def codes(places, *left_out, **others):
    found = verify_folder(places.folder, means_of(places, *left_out, **others)).problems
    return {problem.code for problem in found}


def arguments(places):
    return [
        str(places.folder),
        *("--public-key", str(places.signing_key_file.with_name("audit-signing.pem.pub"))),
        *("--auditor-key", str(places.auditor_key_file), "--head", str(places.head_file)),
        *("--chain-key", str(places.chain_key_file), "--known", str(places.checkpoints_file)),
    ]


def snapshot(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_it_imports_nothing_of_ours():
    for node in ast.walk(ast.parse(SCRIPT.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            top = name.split(".")[0]
            assert top == "cryptography" or top in sys.stdlib_module_names


def test_it_runs_elsewhere_alone(places, tmp_path):
    shutil.copy(SCRIPT, tmp_path / "alone.py")
    command = [sys.executable, "-I", str(tmp_path / "alone.py"), *arguments(places)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)  # noqa: S603
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("unaltered, as far as checked: rows 1 to 58, segments: 3\n")


def test_the_folder_around_a_copy_is_taken_for_the_copy_and_the_key_in_it(places, capsys):
    outer = places.folder.parent
    (outer / "README.txt").write_text("what to do")
    assert main([str(outer)]) == 2
    assert "a key is needed" in capsys.readouterr().err
    key = outer / "audit-signing.pem.pub"
    shutil.copy(public_half(places.signing_key_file), key)
    assert main([str(outer)]) == 0
    said = capsys.readouterr().out
    assert "checked: rows 1 to 53 by 6 signed checkpoints" in said
    assert f"not checked: whether {key} is the key of the server: it lay beside the trail" in said
    assert main([str(outer), *arguments(places)[1:]]) == 0
    assert "lay beside the trail" not in capsys.readouterr().out


def test_without_its_library_it_does_not_say_altered(places):
    command = [sys.executable, "-I", "-S", str(SCRIPT), *arguments(places)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("pip install cryptography\n")
    assert "public_bytes_raw" not in SCRIPT.read_text()  # which older ones do not have


def test_a_fault_that_nobody_thought_of_does_not_say_altered(places, capsys):
    assert main(["no\0folder", *arguments(places)[1:]]) == 2
    assert capsys.readouterr().err == "not verified: ValueError: embedded null byte\n"


def test_it_says_what_is_covered_and_what_is_not(places):
    assert lines_of(verify_folder(places.folder, means_of(places)))[1:] == [
        "checked: rows 1 to 53 by 6 signed checkpoints",
        "checked: rows 1 to 58 by their MACs",
    ]
    result = verify_folder(places.folder, means_of(places, "auditor_key", "chain_key", "head"))
    assert result.unchecked == (
        "MACs of rows 1 to 58: no key at hand opens them",
        "rows 54 to 58 come after the last checkpoint and no key was given",
        "whether rows after 58 were cut off: no head was given",
        "whether it was rewritten with the server's keys: neither the auditor's key nor"
        " checkpoints that were kept elsewhere were given",
    )
    of_server = verify_folder(places.folder, means_of(places, "auditor_key"))
    assert "rows 54 to 58 by their MACs" in of_server.checked
    assert of_server.unchecked[0] == "MACs of rows 1 to 53: no key at hand opens them"
    unsigned = verify_folder(places.folder, means_of(places, "public_key"))
    assert "signatures of checkpoints: no public key was given" in unsigned.unchecked


def test_exit_codes_and_lines(places, capsys):
    assert main(arguments(places)) == 0
    with closing(sqlite3.connect(places.segment_files()[0])) as connection:
        connection.execute("DROP TRIGGER events_are_not_updated")
        connection.execute("UPDATE events SET reason = 'x' WHERE seq IN (5, 6)")
        connection.commit()
    assert main(arguments(places)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "ALTERED: rows 1 to 58, segments: 3" in lines
    assert "segment.schema: segment-000000000001.sqlite3: its tables are not ours" in lines
    assert main([*arguments(places), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["problems"][0]["code"] == "segment.schema"
    assert (said["first_seq"], said["last_seq"], said["n_segments"]) == (1, 58, 3)


def test_the_rows_of_a_problem_are_named(places, capsys):
    with closing(sqlite3.connect(places.segment_files()[0])) as connection:
        [trigger] = connection.execute(
            "SELECT sql FROM sqlite_schema WHERE name = 'events_are_not_updated'"
        ).fetchone()
        connection.execute("DROP TRIGGER events_are_not_updated")
        connection.execute("UPDATE events SET reason = 'x' WHERE seq IN (9, 10)")
        connection.execute(trigger)
        connection.commit()
    assert main(arguments(places)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "row.mac rows 9-10: not as their keys have bound them" in lines
    assert "rows.root rows 8-20: not the rows that were signed" in lines


def test_another_auditors_key_is_a_line_and_not_one_for_each_row(places, capsys):
    places.auditor_key_file.write_text(f"{'00' * 32}\n")
    assert main(arguments(places)) == 1
    assert capsys.readouterr().out.splitlines()[1:3] == [
        "key.chain: the key of the chain does not come from the auditor's: this may be another key",
        "row.mac rows 1-58: none is as its key has bound it: this may be another key",
    ]


@pytest.mark.parametrize("case", ["folder", "key", "no_key", "auditor", "chain", "no_public"])
def test_what_cannot_be_read_is_no_answer(places, tmp_path, capsys, case):
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk").write_text("junk")
    junk, public = str(tmp_path / "junk"), arguments(places)[2]
    given = {
        "folder": [str(tmp_path / "nothing"), "--public-key", public],
        "key": [str(places.folder), "--public-key", junk],
        "no_key": [str(places.folder)],
        "auditor": [str(places.folder), "--auditor-key", junk],
        "chain": [str(places.folder), "--chain-key", junk],
        "no_public": [str(places.folder), "--public-key", str(tmp_path / "nothing")],
    }[case]
    assert main(given) == 2
    assert capsys.readouterr().err.startswith("not verified: ")


def test_a_trail_of_which_nothing_is_proven_is_no_good_trail(tmp_path, capsys):
    trail = begin_trail(tmp_path).rows(3)
    public = str(trail.places.signing_key_file.with_name("audit-signing.pem.pub"))
    assert main([str(trail.places.folder), "--public-key", public]) == 2
    assert "nothing could be proven" in capsys.readouterr().out


def test_a_new_trail_without_rows_verifies_as_that(tmp_path):
    trail = begin_trail(tmp_path)
    assert codes(trail.places) == set()


@pytest.mark.parametrize("until", ["file", "table"])
def test_what_a_crash_leaves_at_a_checkpoint_verifies(tmp_path, until):
    trail = begin_trail(tmp_path / "trail").rows(5).checkpoint().rows(5)
    trail.checkpoint(until=until)
    assert codes(trail.places) == set()
    trail.rows(4)
    assert codes(trail.places) == set()
    trail.checkpoint().segment().rows(2)
    assert codes(trail.places) == set()
    assert codes(trail.places, "auditor_key") == set()


def test_a_checkpoint_that_a_crash_cut_short_is_told_and_no_alteration(original, tmp_path):
    places = copy_of(original.places, tmp_path / "torn")
    with places.checkpoints_file.open("a") as file:
        file.write(original.note()[:150])
    result = verify_folder(places.folder, means_of(places))
    assert result.problems == ()
    assert "the last checkpoint of the file: a crash cut it short" in result.unchecked


@pytest.mark.parametrize("n_dropped", [1, 2])
def test_rows_that_were_let_go_by_rule_are_covered_by_what_was_signed(tmp_path, n_dropped):
    trail = make_trail(tmp_path / "trail")
    kept = copy_of(trail.places, tmp_path / "kept")
    for _ in range(n_dropped):
        trail.drop_first()
    known = [kept.checkpoints_file]
    result = verify_folder(trail.places.folder, means_of(trail.places, known=known))
    assert result.problems == ()
    assert "rows 1 to 20 were let go (pci), as signed" in result.checked
    assert result.first_seq == (21, 42)[n_dropped - 1]


def test_a_tombstone_for_other_rows_covers_nothing(tmp_path):
    trail = make_trail(tmp_path)
    notes = trail.places.checkpoints_file.read_text()
    trail.drop_first()
    trail.drop_first()
    with_both = trail.places.checkpoints_file.read_text()
    stones = with_both.removeprefix(notes)
    second = stones[stones.index("earwitness", 10 + stones.index("— ") + 40) :]
    trail.places.checkpoints_file.write_text(notes + second)
    assert codes(trail.places) == {"rows.missing"}


def test_a_crash_between_the_tombstone_and_the_end_of_the_file_verifies(tmp_path):
    trail = make_trail(tmp_path / "trail")
    first = trail.places.segment_files()[0]
    shutil.copy(first, tmp_path / "aside")
    trail.drop_first()
    shutil.copy(tmp_path / "aside", first)
    assert codes(trail.places) == set()


def test_nothing_in_the_folder_is_changed(places):
    before = snapshot(places.folder)
    assert codes(places) == set()
    assert snapshot(places.folder) == before


def test_a_trail_in_use_is_read_with_what_is_only_in_its_log(tmp_path):
    trail = begin_trail(tmp_path / "trail").rows(5).checkpoint()
    copy = TrailPlaces(tmp_path / "raw", trail.places.keys_folder)
    with closing(sqlite3.connect(trail.newest, isolation_level=None)) as server:
        server.execute("PRAGMA journal_mode = WAL")
        server.execute("SELECT count(*) FROM events").fetchall()
        trail.rows(5).checkpoint().rows(5)
        names = {path.name for path in trail.places.folder.iterdir()}
        assert codes(trail.places) == set()
        assert {path.name for path in trail.places.folder.iterdir()} == names
        shutil.copytree(trail.places.folder, copy.folder)
    log = next(copy.folder.glob("*-wal"))
    assert codes(copy) == set()
    next(copy.folder.glob("*-shm")).unlink()
    before = snapshot(copy.folder)
    assert verify_folder(copy.folder, means_of(copy)).last_seq == 15
    assert snapshot(copy.folder) == before
    log.unlink()
    assert "head.ahead" in codes(copy)


def test_several_processes_find_what_one_does(places, monkeypatch):
    monkeypatch.setattr(verify_trail, "_SPAN_ROWS", 5)
    whole = verify_folder(places.folder, means_of(places), 2)
    assert whole.problems == ()
    with closing(sqlite3.connect(places.segment_files()[1])) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE type = 'trigger'")
        connection.commit()
    alone = verify_folder(places.folder, means_of(places), 1)
    assert alone == verify_folder(places.folder, means_of(places), 2)
    assert {problem.code for problem in alone.problems} >= {"segment.schema"}


def test_several_processes_are_begun_afresh_beside_other_threads(places, monkeypatch):
    monkeypatch.setattr(verify_trail, "_SPAN_ROWS", 20)
    is_over = threading.Event()
    beside = threading.Thread(target=is_over.wait)
    beside.start()
    try:
        assert verify_folder(places.folder, means_of(places), 2).problems == ()
    finally:
        is_over.set()
        beside.join()


def test_without_the_json_of_sqlite_the_answer_is_the_same(places, monkeypatch):
    monkeypatch.setattr(verify_trail, "_NASTY", ("a", b"no JSON"))
    assert codes(places) == set()


def test_a_server_that_lets_a_segment_go_meanwhile_is_no_alteration(tmp_path, monkeypatch):
    trail = make_trail(tmp_path)
    first_look = verify_trail._is_ours
    is_first = [True]

    def is_ours(connection):
        if is_first.pop() if is_first else False:
            trail.drop_first()
            trail.rows(1).checkpoint()
        return first_look(connection)

    monkeypatch.setattr(verify_trail, "_is_ours", is_ours)
    assert codes(trail.places) == set()


def test_a_file_that_may_not_be_opened_is_not_an_altered_one(places, monkeypatch):
    def locked(path):
        raise sqlite3_error(14)

    def sqlite3_error(code):
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = code
        return error

    monkeypatch.setattr(verify_trail, "_connect", locked)
    with pytest.raises(UnreadableError, match="unable to open"):
        codes(places)


def test_keys_kept_in_known_files_of_others_are_told(places, tmp_path):
    other = tmp_path / "known"
    other.write_text("nothing\nat all")
    assert codes(places, known=[other]) == {"known.text"}


def test_a_known_file_that_holds_nothing_proves_nothing(places, tmp_path):
    kept = tmp_path / "known"
    kept.write_text("")
    means = means_of(places, "auditor_key", known=[kept])
    unchecked = verify_folder(places.folder, means).unchecked
    assert any("checkpoints that were kept elsewhere" in text for text in unchecked)


def test_checkpoints_of_another_trail_are_told_from_ours(places, tmp_path):
    ours = places.checkpoints_file.read_text()
    signed = open_checkpoint(split_notes(ours)[0], SIGNING.public_key())
    theirs = sign_checkpoint(replace(signed, origin=origin_of("f" * 16)), SIGNING)
    kept = tmp_path / "kept"
    kept.write_text(theirs)
    assert codes(places, known=[kept]) == {"known.trail"}
    kept.write_text(theirs + ours)
    result = verify_folder(places.folder, means_of(places, known=[kept]))
    assert result.problems == ()
    assert result.unchecked == (f"another trail, which {kept} knows as well: where is it?",)


def test_the_schema_it_knows_is_the_documents(original):
    with closing(sqlite3.connect(original.newest)) as connection:
        connection.text_factory = bytes
        text = verify_trail.schema_text(connection)
    assert hashlib.sha256(text.encode()).hexdigest() == verify_trail.SCHEMA_SHA256


def test_means_may_be_left_out(places):
    with pytest.raises(UnreadableError, match="a key is needed"):
        verify_folder(places.folder, Means())


def test_a_read_only_folder_is_read(places):
    for path in places.folder.iterdir():
        path.chmod(0o400)
    places.folder.chmod(0o500)
    powerless = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"]  # root may write anywhere
    command = [sys.executable, verify_trail.__file__, str(places.folder)]
    keys = ["--public-key", str(public_half(places.signing_key_file))]
    ran = subprocess.run(  # noqa: S603 (our own)
        [*(powerless if os.geteuid() == 0 else []), *command, *keys], check=False
    )
    assert ran.returncode == 0
    places.folder.chmod(0o700)
