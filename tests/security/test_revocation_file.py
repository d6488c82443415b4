"""Revocations by many hands, torn and damaged ones among them, in; what counts out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from security import revocation_file
from security.errors import RevocationError
from security.revocation_file import KEPT_S, RevocationFile, append_revocation
from security.revocations import RevokedKey, RevokedSubject, RevokedToken, encode_revocation

ROOT = Path(revocation_file.__file__).parents[1]
NOW_S = 1_800_000_000


@pytest.fixture
def path(tmp_path):
    return tmp_path / "revocations.ndjson"


def key(number):
    return RevokedKey("bank", f"k-{number}")


def counts(file, number):
    return file.current.matches("alice", "bank", "t-1", f"k-{number}", NOW_S) is not None


def test_without_a_file_nothing_is_revoked(path):
    file = RevocationFile(path, NOW_S)
    assert not file.poll()
    assert not counts(file, 1)


def test_what_others_append_counts_at_the_next_look(path):
    file = RevocationFile(path, NOW_S)
    for number in range(3):
        append_revocation(path, key(number))
        assert not counts(file, number)
        assert file.poll()
        assert counts(file, number)
        assert not file.poll()
    assert counts(RevocationFile(path, NOW_S), 0)


def test_the_file_is_closed_to_others(path):
    append_revocation(path, key(1))
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("n_bytes", range(1, len(encode_revocation(key(2)))))
def test_a_line_torn_anywhere_never_counted_and_the_next_append_takes_it_away(path, n_bytes):
    append_revocation(path, key(1))
    file = RevocationFile(path, NOW_S)
    with path.open("ab") as torn:
        torn.write(encode_revocation(key(2))[:n_bytes])
    file.poll()
    append_revocation(path, key(3))
    assert file.poll()
    for read in (file, RevocationFile(path, NOW_S)):
        assert [counts(read, number) for number in (1, 2, 3)] == [True, False, True]
    assert path.read_bytes() == encode_revocation(key(1)) + encode_revocation(key(3))


def test_a_torn_line_is_gone_after_a_start(path):
    path.write_bytes(encode_revocation(key(1)) + b'{"rev')
    file = RevocationFile(path, NOW_S)
    assert counts(file, 1)
    assert path.read_bytes() == encode_revocation(key(1))


def test_a_line_that_says_nothing_is_told_at_the_start(path):
    path.write_bytes(b"hello\n" + encode_revocation(key(1)))
    with pytest.raises(RevocationError, match="1 lines say nothing"):
        RevocationFile(path, NOW_S)
    assert b"hello" in path.read_bytes()


def test_a_line_that_says_nothing_is_told_once_and_the_others_count(path):
    append_revocation(path, key(1))
    file = RevocationFile(path, NOW_S)
    with path.open("ab") as damaged:
        damaged.write(b"hello\n" + encode_revocation(key(2)))
    with pytest.raises(RevocationError, match="say nothing"):
        file.poll()
    assert not file.poll()
    assert counts(file, 1)
    assert counts(file, 2)


def test_what_has_expired_is_forgotten_at_a_start(path):
    kept = RevokedToken("bank", "t-2", NOW_S)
    for revocation in (RevokedToken("bank", "t-1", NOW_S - 1), kept, key(1)):
        append_revocation(path, revocation)
    append_revocation(path, RevokedSubject("bank", "alice", 1, NOW_S - 1))
    running = RevocationFile(path, 0)
    whole = path.read_bytes()
    RevocationFile(path, NOW_S)  # by a clock that is a week ahead
    assert path.read_bytes() == whole
    RevocationFile(path, NOW_S + KEPT_S)
    assert path.read_bytes() == encode_revocation(kept) + encode_revocation(key(1))
    assert running.poll()
    assert counts(running, 1)
    assert running.current.matches("a", "bank", "t-1", "k-9", 9) is None
    append_revocation(path, key(2))
    assert running.poll()
    assert counts(running, 2)


def test_a_list_that_vanishes_still_counts_and_a_new_one_is_read(path):
    append_revocation(path, key(1))
    file = RevocationFile(path, NOW_S)
    path.unlink()
    assert not file.poll()
    assert counts(file, 1)
    append_revocation(path, key(2))
    assert file.poll()
    assert counts(file, 2)


def test_a_list_that_was_cut_is_read_from_its_beginning(path):
    for number in (1, 2):
        append_revocation(path, key(number))
    file = RevocationFile(path, NOW_S)
    os.truncate(path, len(encode_revocation(key(1))))
    assert file.poll()
    assert [counts(file, number) for number in (1, 2)] == [True, False]


def test_a_link_in_its_place_is_neither_read_nor_written(path, tmp_path):
    (tmp_path / "other").write_bytes(b"other\n")
    file = RevocationFile(path, NOW_S)
    path.symlink_to(tmp_path / "other")
    with pytest.raises(RevocationError, match="cannot be read"):
        file.poll()
    with pytest.raises(RevocationError, match="cannot be written"):
        append_revocation(path, key(1))
    assert (tmp_path / "other").read_bytes() == b"other\n"


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RevocationError, match="cannot be written"):
        append_revocation(tmp_path / "no" / "list", key(1))
    (tmp_path / "file").write_text("")
    with pytest.raises(RevocationError, match="cannot be read"):
        RevocationFile(tmp_path / "file" / "list", NOW_S)


APPEND = """
import sys
from pathlib import Path
from security.revocation_file import RevocationFile, append_revocation
from security.revocations import RevokedKey
path, name = Path(sys.argv[1]), sys.argv[2]
for number in range(50):
    append_revocation(path, RevokedKey("bank", f"k-{name}{number:02}"))
    if number % 10 == 0:
        RevocationFile(path, 1_900_000_000)
"""


def test_processes_that_append_and_start_at_once_lose_nothing(path):
    append_revocation(path, RevokedToken("bank", "past", 1))
    writers = [
        subprocess.Popen([sys.executable, "-c", APPEND, str(path), name], cwd=ROOT)  # noqa: S603
        for name in "abcd"
    ]
    file = RevocationFile(path, NOW_S)
    while any(writer.poll() is None for writer in writers):
        file.poll()
    assert [writer.returncode for writer in writers] == [0, 0, 0, 0]
    file.poll()
    names = [f"{name}{number:02}" for name in "abcd" for number in range(50)]
    assert all(counts(file, name) for name in names)
    assert path.read_bytes().count(b"\n") == 200
