"""Files that say which versions were opened, whole and absurd, in; versions or a refusal out."""

import stat

import pytest

from security.accepted import read_accepted, write_accepted
from security.errors import SealError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "accepted.json"


def test_where_nothing_was_accepted_yet_there_is_no_version(path):
    assert read_accepted(path) == {}


def test_a_version_comes_back_and_leaves_the_other_models_alone(path):
    write_accepted(path, "openai/tiny", 3)
    write_accepted(path, "openai/base", 1)
    write_accepted(path, "openai/tiny", 4)
    assert read_accepted(path) == {"openai/base": 1, "openai/tiny": 4}


def test_an_operator_may_go_back_to_an_older_version(path):
    write_accepted(path, "openai/tiny", 4)
    write_accepted(path, "openai/tiny", 3)
    assert read_accepted(path) == {"openai/tiny": 3}


def test_the_same_version_again_writes_nothing(path):
    write_accepted(path, "openai/tiny", 3)
    before = path.stat().st_ino
    write_accepted(path, "openai/tiny", 3)
    assert path.stat().st_ino == before


def test_the_file_has_one_spelling_and_anybody_may_read_it(path):
    write_accepted(path, "openai/tiny", 3)
    write_accepted(path, "openai/base", 1)
    assert path.read_bytes() == b'{"openai/base":1,"openai/tiny":3}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_a_killed_one_left_does_not_stand_in_the_way(path):
    path.with_name(".accepted.json.new").write_bytes(b"half")
    write_accepted(path, "openai/tiny", 3)
    assert [entry.name for entry in path.parent.iterdir()] == ["accepted.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"\xff",
        b"[]",
        b"[" * 20_000,
        b'{"m":0}',
        b'{"m":-1}',
        b'{"m":"3"}',
        b'{"m":9223372036854775808}',
        b'{"":1}',
        b'{"a b":1}',
        b'{"m":1' + b" " * (1 << 20) + b"}",
    ],
)
def test_a_file_that_says_something_else_is_refused_and_kept(path, content):
    path.write_bytes(content)
    with pytest.raises(SealError, match=r"accepted\.json cannot be read"):
        read_accepted(path)
    with pytest.raises(SealError, match="bring it back"):
        write_accepted(path, "openai/tiny", 3)
    assert path.read_bytes() == content


def test_a_folder_in_place_of_the_file_is_refused(path):
    path.mkdir()
    with pytest.raises(SealError, match="cannot be read"):
        read_accepted(path)


def test_a_version_that_cannot_be_kept_is_told(tmp_path):
    with pytest.raises(SealError, match="cannot be written: No such file"):
        write_accepted(tmp_path / "none" / "accepted.json", "openai/tiny", 3)
