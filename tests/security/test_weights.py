"""Folders whole, mutated and half written in; model files in memory, or one refusal, out."""

import io
import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from security import weights
from security.errors import PackError, PackReason, SealError
from security.sealed import HEADER_BYTES, SEGMENT_BYTES
from security.secret import SecretBytes
from security.weights import open_pack, seal_pack

ROOT = Path(weights.__file__).parents[1]
CANARY = b"a-canary-that-must-stay-in-memory"
FILES = {
    "config.json": b'{"d_model": 384}',
    "empty.txt": b"",
    "model.bin": CANARY + bytes(index * 7 % 256 for index in range(1024)) * 2100,
    "vocabulary.json": b'["a","b"]',
}
SEALED = ("f000.seg", "f001.seg", "f002.seg", "f003.seg")
ALL = (*SEALED, "manifest.json")
SHARED = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def pack_key(seed=7):
    return SecretBytes(bytearray([seed] * 32))


def seal(pack_dir, files=FILES, version=3, key=None):
    seal_pack(
        pack_dir,
        model_id="openai/whisper-tiny.en",
        engine="whisper-ct2",
        version=version,
        files=files,
        key=key or pack_key(),
    )
    return pack_dir


@pytest.fixture(scope="module")
def sealed_once(tmp_path_factory):
    """A pack that tests change and put back."""
    return seal(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture
def pack_dir(sealed_once, tmp_path):
    """A pack of the test's own."""
    return Path(shutil.copytree(sealed_once, tmp_path / "pack"))


def refused(pack_dir, key=None):
    with pytest.raises(PackError) as caught:
        open_pack(pack_dir, key or pack_key())
    assert str(caught.value) == PackError.TEXT
    return caught.value.reason


def test_what_was_sealed_opens(pack_dir):
    with open_pack(pack_dir, pack_key()) as pack:
        assert {name: bytes(view) for name, view in pack.files.items()} == FILES
        assert (pack.model_id, pack.engine, pack.version) == (
            "openai/whisper-tiny.en",
            "whisper-ct2",
            3,
        )


def test_bytes_paths_and_open_files_seal_the_same(tmp_path):
    (tmp_path / "plain").write_bytes(FILES["model.bin"])
    source = io.BytesIO(FILES["config.json"])
    source.read(3)
    files = {"a": tmp_path / "plain", "b": source, "c": b"bytes"}
    with open_pack(seal(tmp_path / "pack", files), pack_key()) as pack:
        assert bytes(pack.files["a"]) == FILES["model.bin"]
        assert bytes(pack.files["b"]) == FILES["config.json"]
        assert bytes(pack.files["c"]) == b"bytes"


def test_a_file_that_the_caller_opened_stays_open(tmp_path):
    source = io.BytesIO(b"plain")
    seal(tmp_path / "pack", {"a": source})
    assert not source.closed


def test_the_opened_files_cannot_be_written(pack_dir):
    with open_pack(pack_dir, pack_key()) as pack, pytest.raises(TypeError):
        pack.files["model.bin"][0] = 0


def test_an_opened_pack_shows_its_type_only(pack_dir):
    with open_pack(pack_dir, pack_key()) as pack:
        assert repr(pack) == "OpenedPack(…)"


def test_wiping_ends_the_views(pack_dir):
    pack = open_pack(pack_dir, pack_key())
    view = pack.files["model.bin"]
    pack.wipe()
    pack.wipe()
    assert pack.files == {}
    with pytest.raises(ValueError, match="released"):
        view[0]


def test_an_array_that_outlives_the_pack_holds_zeros(pack_dir):
    pack = open_pack(pack_dir, pack_key())
    array = np.frombuffer(pack.files["model.bin"], np.uint8)
    assert array.any()
    pack.wipe()
    assert not array.any()


def test_no_plain_byte_lies_in_the_pack(pack_dir):
    assert not any(CANARY in path.read_bytes() for path in pack_dir.iterdir())


def test_opening_writes_nothing(pack_dir):
    before = {path: path.stat().st_mtime_ns for path in pack_dir.parent.rglob("*")}
    open_pack(pack_dir, pack_key()).wipe()
    assert {path: path.stat().st_mtime_ns for path in pack_dir.parent.rglob("*")} == before


def test_progress_ends_at_the_whole(tmp_path):
    steps = []
    sealed = tmp_path / "pack"
    seal_pack(
        sealed,
        model_id="m",
        engine="e",
        version=1,
        files=FILES,
        key=pack_key(),
        on_progress=lambda done, total: steps.append((done, total)),
    )
    plain = sum(map(len, FILES.values()))
    assert steps[-1] == (plain, plain)
    steps.clear()
    open_pack(sealed, pack_key(), lambda done, total: steps.append((done, total))).wipe()
    size = sum((sealed / name).stat().st_size for name in SEALED)
    assert steps[-1] == (size, size)
    assert steps == sorted(steps)


def test_a_wrong_key_is_refused(pack_dir):
    assert refused(pack_dir, pack_key(8)) is PackReason.WRONG_KEY_OR_MANIFEST


@SHARED
@given(data=st.data())
def test_any_turned_bit_is_refused(sealed_once, data):
    path = sealed_once / data.draw(st.sampled_from(ALL))
    whole = path.read_bytes()
    edges = [n * SEGMENT_BYTES + d for n in range(4) for d in (-17, -16, -1, 0, 1)]
    near = st.sampled_from([e for e in [*edges, HEADER_BYTES] if 0 <= e < len(whole)] or [0])
    position = data.draw(near | st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[position] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        refused(sealed_once)
    finally:
        path.write_bytes(whole)


@SHARED
@given(data=st.data())
def test_a_file_cut_or_grown_is_refused(sealed_once, data):
    path = sealed_once / data.draw(st.sampled_from(ALL))
    whole = path.read_bytes()
    edges = [n * SEGMENT_BYTES + d for n in range(4) for d in (-1, 0, 1)]
    near = st.sampled_from([e for e in [*edges, 0, 1, 40, 56] if 0 <= e < len(whole)])
    cut = whole[: data.draw(near | st.integers(0, len(whole) - 1))]
    grown = whole + data.draw(st.binary(min_size=1, max_size=64))
    path.write_bytes(data.draw(st.sampled_from([cut, grown])))
    try:
        refused(sealed_once)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("order", list(itertools.permutations(SEALED))[1:])
def test_files_of_one_size_that_changed_places_are_refused(tmp_path, order):
    pack = seal(tmp_path / "pack", {name: name.encode() * 20 for name in "abcd"})
    contents = [(pack / name).read_bytes() for name in order]
    for name, content in zip(SEALED, contents, strict=True):
        (pack / name).write_bytes(content)
    assert refused(pack) is PackReason.BAD_SEGMENT


@pytest.mark.parametrize("swapped", [0, 1])
def test_segments_that_changed_places_are_refused(pack_dir, swapped):
    path = pack_dir / "f002.seg"
    whole = path.read_bytes()
    parts = [whole[start : start + SEGMENT_BYTES] for start in range(0, len(whole), SEGMENT_BYTES)]
    parts[swapped] = parts[1 - swapped]
    path.write_bytes(b"".join(parts))
    assert refused(pack_dir) is PackReason.BAD_SEGMENT


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_refused(pack_dir, name):
    (pack_dir / name).unlink()
    assert refused(pack_dir) is PackReason.MISSING_FILE


@pytest.mark.parametrize("name", ["f004.seg", "manifest.sig", ".hidden", "model.bin"])
def test_an_added_file_is_refused(pack_dir, name):
    (pack_dir / name).write_bytes(b"x")
    assert refused(pack_dir) is PackReason.EXTRA_FILE


@pytest.mark.parametrize("name", ALL)
def test_a_file_of_another_version_is_refused(pack_dir, tmp_path, name):
    other = seal(tmp_path / "other", version=4)
    shutil.copy(other / name, pack_dir / name)
    refused(pack_dir)


@pytest.mark.parametrize("name", SEALED)
def test_a_plain_file_in_place_of_a_sealed_one_is_refused(pack_dir, name):
    size = (pack_dir / name).stat().st_size
    (pack_dir / name).write_bytes(FILES["model.bin"][:size].ljust(size, b"\0"))
    refused(pack_dir)


def test_a_pack_under_another_key_with_the_manifest_kept_is_refused(pack_dir, tmp_path):
    other = seal(tmp_path / "other", key=pack_key(8))
    for name in SEALED:
        shutil.copy(other / name, pack_dir / name)
    assert refused(pack_dir) is PackReason.BAD_SEGMENT


@pytest.mark.parametrize("name", ALL)
def test_a_link_is_refused_even_to_the_right_file(pack_dir, tmp_path, name):
    (pack_dir / name).rename(tmp_path / name)
    (pack_dir / name).symlink_to(tmp_path / name)
    assert refused(pack_dir) is PackReason.UNREADABLE


@pytest.mark.parametrize("name", ALL)
def test_a_folder_in_place_of_a_file_is_refused(pack_dir, name):
    (pack_dir / name).unlink()
    (pack_dir / name).mkdir()
    assert refused(pack_dir) is PackReason.UNREADABLE


@pytest.mark.parametrize("name", ALL)
def test_a_pipe_in_place_of_a_file_is_refused_without_waiting(pack_dir, name):
    (pack_dir / name).unlink()
    os.mkfifo(pack_dir / name)
    assert refused(pack_dir) is PackReason.UNREADABLE


def test_a_link_to_a_pack_is_refused(pack_dir, tmp_path):
    (tmp_path / "link").symlink_to(pack_dir)
    assert refused(tmp_path / "link") is PackReason.UNREADABLE


def test_no_folder_an_empty_folder_and_a_file_are_no_packs(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    assert refused(tmp_path / "none") is PackReason.MISSING_FILE
    assert refused(tmp_path / "empty") is PackReason.MISSING_FILE
    assert refused(tmp_path / "file") is PackReason.UNREADABLE


def frames_of(trace):
    while trace:
        yield trace.tb_frame
        trace = trace.tb_next


def test_a_pack_that_fails_late_gives_back_the_memory_of_what_was_opened(pack_dir):
    content = bytearray((pack_dir / "f003.seg").read_bytes())
    content[-1] ^= 1
    (pack_dir / "f003.seg").write_bytes(content)
    with pytest.raises(PackError) as caught:
        open_pack(pack_dir, pack_key())
    (regions,) = (
        frame.f_locals["regions"] for frame in frames_of(caught.tb) if "regions" in frame.f_locals
    )
    assert len(regions) == len(SEALED)
    assert all(region.closed for region in regions)


def test_a_model_larger_than_memory_is_not_called_damaged():
    with pytest.raises(MemoryError):
        weights._private_memory(1 << 62)


def test_an_existing_pack_is_never_overwritten(pack_dir):
    with pytest.raises(SealError, match="never overwritten"):
        seal(pack_dir)
    open_pack(pack_dir, pack_key()).wipe()


@pytest.mark.parametrize(
    "files", [{}, {"../a": b""}, {".a": b""}, {"a/b": b""}, {"a": Path("/nonexistent/plain")}]
)
def test_a_pack_that_cannot_be_made_leaves_nothing_behind(tmp_path, files):
    with pytest.raises(SealError):
        seal(tmp_path / "pack", files)
    assert list(tmp_path.iterdir()) == []


class ShrinkingFile(io.BytesIO):
    """A source that is cut while it is read."""

    def readinto(self, view):
        return super().readinto(view) if self.tell() == 0 else 0


def test_a_source_that_shrinks_leaves_nothing_behind(tmp_path):
    with pytest.raises(SealError, match="shorter"):
        seal(tmp_path / "pack", {"a": b"first", "b": ShrinkingFile(FILES["model.bin"])})
    assert list(tmp_path.iterdir()) == []


KILLED = """
import io, os, sys
from pathlib import Path
from security.secret import SecretBytes
from security.weights import seal_pack

def on_progress(done, total):
    if done >= int(sys.argv[2]):
        os.kill(os.getpid(), 9)

seal_pack(Path(sys.argv[1]), model_id="m", engine="e", version=1, key=SecretBytes(bytearray(32)),
          files={"a": b"x" * 10, "b": b"y" * 3_000_000}, on_progress=on_progress)
"""


@pytest.mark.parametrize("after_bytes", [1, 11, 2_000_000, 3_000_010])
def test_a_killed_sealing_leaves_no_pack_and_does_not_stand_in_the_way(tmp_path, after_bytes):
    child = subprocess.run(  # noqa: S603 (our own interpreter, constant text)
        [sys.executable, "-c", KILLED, tmp_path / "pack", str(after_bytes)], cwd=ROOT, check=False
    )
    assert child.returncode == -9
    (left_over,) = tmp_path.iterdir()
    assert left_over.name.endswith(".sealing")
    assert refused(left_over, SecretBytes(bytearray(32))) is PackReason.MISSING_FILE
    with open_pack(seal(tmp_path / "pack"), pack_key()) as pack:
        assert bytes(pack.files["model.bin"]) == FILES["model.bin"]
