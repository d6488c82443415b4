"""Chunks and disks in every state in; whole files, or none, out."""

import os
import resource
import stat

import pytest

from security.durable import create_file, exchange_folders, replace_file, sync_folder


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


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "link", [b"new"], 0o600)
    assert not (tmp_path / "target").exists()


def test_a_file_has_its_mode_under_any_umask(tmp_path):
    before = os.umask(0o777)
    try:
        create_file(tmp_path / "a", [b"one"], 0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


def test_a_disk_that_takes_no_more_leaves_no_file(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            create_file(tmp_path / "a", [b"x" * 100], 0o600)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_by_another_with_its_own_mode(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    replace_file(tmp_path / "a", tmp_path / "a.new", b"new", 0o640)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_who_has_the_old_file_open_still_reads_it(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with (tmp_path / "a").open("rb") as file:
        replace_file(tmp_path / "a", tmp_path / "a.new", b"new", 0o644)
        assert file.read() == b"old"


def test_what_a_killed_one_left_does_not_stand_in_the_way(tmp_path):
    (tmp_path / "a.new").write_bytes(b"half")
    replace_file(tmp_path / "a", tmp_path / "a.new", b"new", 0o644)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_file_that_cannot_be_replaced_stays(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "a", tmp_path / "a.new", b"new", 0o644)
    assert (tmp_path / "a").is_dir()


def test_two_folders_change_places(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange_folders(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "other").exists()
    assert (tmp_path / "other" / "one").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_a_folder_that_is_not_there_changes_no_places(tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(FileNotFoundError):
        exchange_folders(tmp_path / "one", tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_folder_that_is_not_there_cannot_be_synced(tmp_path):
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "none")
