"""Keys of epochs and heads in; files that only this server reads, and no former key, out."""

import os
import stat

import pytest

from security.audit_chain import ChainState, next_key
from security.errors import AuditError
from security.secret import SecretBytes
from security.trail_keys import (
    HeadFile,
    create_chain_key,
    destroy_former_key,
    read_chain_key,
    replace_chain_key,
    stamp_of,
)
from security.trail_state import ChainKey

SECRET = bytes(range(32))


def chain_key(epoch=0, after_seq=0, secret=SECRET):
    return ChainKey("0123456789abcdef", epoch, after_seq, SecretBytes(bytearray(secret)))


@pytest.fixture
def path(tmp_path):
    create_chain_key(tmp_path / "audit-chain.key", chain_key())
    return tmp_path / "audit-chain.key"


def test_a_key_reads_back_from_one_line_that_is_closed_to_others(path):
    assert path.read_text() == (
        '{"trail":"0123456789abcdef","epoch":0,"after_seq":0,"key":"' + SECRET.hex() + '"}\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_chain_key(path) == chain_key()
    assert "00" not in repr(read_chain_key(path).key)


def test_the_key_of_the_next_epoch_is_made_from_the_last_and_takes_its_place(path):
    following = chain_key().next(7)
    assert (following.epoch, following.after_seq) == (1, 7)
    assert bytes(following.key.expose()) == next_key(SECRET)
    before = stamp_of(path)
    with path.open("rb") as former:
        replace_chain_key(path, following)
        assert former.read() == bytes(126)
    assert read_chain_key(path) == following
    assert stamp_of(path) != before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_replacement_that_was_cut_short_leaves_no_second_key(path):
    former, temporary = (path.with_name(path.name + end) for end in (".former", ".new"))
    os.link(path, former)
    create_chain_key(temporary, chain_key(1))
    destroy_former_key(path)
    assert read_chain_key(path) == chain_key()
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    create_chain_key(former, chain_key(5))
    destroy_former_key(path)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_no_key_is_none_and_a_file_that_holds_none_or_is_open_to_others_is_refused(tmp_path, path):
    assert read_chain_key(tmp_path / "none") is None
    assert stamp_of(tmp_path / "none") is None
    path.chmod(0o640)
    with pytest.raises(AuditError, match="chmod 600"):
        read_chain_key(path)
    path.chmod(0o600)
    for content in ("garbage\n", path.read_text().replace("epoch", "Epoch"), path.read_text()[:-1]):
        path.write_text(content)
        with pytest.raises(AuditError, match="does not hold the key of a trail"):
            read_chain_key(path)


def test_a_head_is_written_in_place(tmp_path):
    HeadFile.create(tmp_path / "head")
    head = HeadFile(tmp_path / "head")
    assert head.read() == (0, bytes(32))
    head.write(ChainState(12, b"\xab" * 32))
    head.sync()
    assert head.read() == (12, b"\xab" * 32)
    assert (tmp_path / "head").read_text() == f"{12:020d} {'ab' * 32}\n"
    (tmp_path / "head").write_text("garbage")
    with pytest.raises(AuditError, match="cannot be trusted"):
        head.read()
    head.close()
    head.close()


def test_a_head_that_is_not_there_is_told(tmp_path):
    with pytest.raises(AuditError, match="is missing: put it back"):
        HeadFile(tmp_path / "head")


def test_a_head_that_is_no_file_is_told(tmp_path):
    with pytest.raises(AuditError, match="cannot be opened"):
        HeadFile(tmp_path)
