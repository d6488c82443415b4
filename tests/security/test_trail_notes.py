"""Notes, whole and torn, in; a file in which each ends where it should out."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.checkpoint import Checkpoint, sign_checkpoint
from security.trail_notes import append_copy, append_note, newest_notes

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)


def note(n_rows):
    return sign_checkpoint(Checkpoint("origin", n_rows, bytes(32), 0, bytes(32), 1), KEY)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints"


def test_notes_stand_one_after_the_other(path):
    for n_rows in range(1, 4):
        append_note(path, note(n_rows))
    assert newest_notes(path) == [note(1), note(2), note(3)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("n_chars", range(1, len(note(2)), 7))
def test_a_note_that_was_cut_short_goes_before_the_next(path, n_chars):
    append_note(path, note(1))
    with path.open("a") as file:
        file.write(note(2)[:n_chars])
    append_note(path, note(3))
    assert path.read_text() == note(1) + note(3)


def test_a_first_note_that_was_cut_short_goes_too(path):
    path.write_text(note(1)[:40])
    append_note(path, note(2))
    assert path.read_text() == note(2)


def test_only_the_end_of_a_long_file_is_read(path):
    notes = [note(n_rows) for n_rows in range(1, 400)]
    path.write_text("".join(notes))
    read = newest_notes(path)
    assert 100 < len(read) < 399
    assert read[1:] == notes[-len(read) + 1 :]
    append_note(path, note(400))
    assert path.read_text() == "".join([*notes, note(400)])


def test_no_file_has_no_notes(path):
    assert newest_notes(path) == []


def test_a_copy_is_only_appended_to(path):
    path.write_text("torn")
    append_copy(path, note(1))
    assert path.read_text() == "torn" + note(1)
