"""Chunks and disks in every state in; whole files, or none, out."""

import resource
import stat

import pytest

from security.durable import create_file, sync_folder


def test_the_chunks_follow_each_other(tmp_path):
    create_file(tmp_path / "a", [b"one ", memoryview(b"two"), b""], 0o600)
    sync_folder(tmp_path)
    assert (tmp_path / "a").read_bytes() == b"one two"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_an_existing_file_keeps_its_content(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "a", [b"new"], 0o600)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_chunk_that_cannot_be_made_leaves_no_file(tmp_path):
    def chunks():
        yield b"one"
        raise KeyError

    with pytest.raises(KeyError):
        create_file(tmp_path / "a", chunks(), 0o600)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_leaves_no_file(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            create_file(tmp_path / "a", [b"x" * 100], 0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
