"""Plain files or old packs in; new packs whole under their name, or nothing of them, out."""

import io
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from security import sealing
from security.errors import KekError, PackError, PackReason, SealError
from security.manifest import fingerprint
from security.pack_folder import changing_pack
from security.rotation import rotate_slot, slots_of
from security.sealing import Seal, reseal_pack
from security.slots import MAX_SLOTS
from security.weights import inspect_pack, open_pack
from tests.pack_fakes import (
    CANARY,
    ENGINE,
    FILES,
    MODEL_ID,
    OTHER_PUBLISHER,
    OWN_NAMES,
    PUBLISHER,
    SEALED_NAMES,
    VERSION,
    FakeKek,
    content_of,
    copied,
    files_of_at_most,
    reason_of,
    seal_of,
    seal_small,
    trust_of,
    turn_bit,
)

ROOT = Path(sealing.__file__).parents[1]
SMALL_FILES = {"a": b"x" * 10, "b": b"y" * 3_000_000}


@pytest.fixture(scope="module")
def sealed_once(tmp_path_factory):
    return seal_small(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture
def pack_dir(sealed_once, tmp_path):
    """A pack of the test's own."""
    return copied(sealed_once, tmp_path / "pack")


def opened(pack_dir, trust=None):
    with open_pack(pack_dir, trust or trust_of()) as pack:
        return pack.card, {name: bytes(view) for name, view in pack.files.items()}


def refused(pack_dir, trust=None):
    with pytest.raises(PackError) as caught:
        open_pack(pack_dir, trust or trust_of())
    return reason_of(caught.value)


class ShrinkingFile(io.BytesIO):
    """A source that is cut while it is read."""

    def readinto(self, view):
        return super().readinto(view) if self.tell() == 0 else 0


class FailingFile(io.BytesIO):
    """A source on a disk that fails."""

    def readinto(self, view):
        raise OSError(5, "Input/output error")


def test_a_new_pack_has_its_description_and_a_file_for_each_plain_one(sealed_once):
    assert set(content_of(sealed_once)) == {*SEALED_NAMES, *OWN_NAMES}
    card, files = opened(sealed_once)
    assert (card.model_id, card.engine, card.version) == (MODEL_ID, ENGINE, VERSION)
    assert files == FILES


def test_every_key_gets_a_slot_and_opens_the_pack(tmp_path):
    pack_dir = seal_small(tmp_path / "pack", seal=seal_of("fake:a", "fake:b"))
    assert slots_of(pack_dir, trust_of()) == ("fake:a", "fake:b")
    assert opened(pack_dir, trust_of("fake:b")) == opened(pack_dir, trust_of("fake:b"))
    assert [opened(pack_dir, trust_of(kek))[1] for kek in ("fake:a", "fake:b")] == [FILES] * 2


def test_bytes_paths_and_open_files_seal_the_same(tmp_path):
    (tmp_path / "plain").write_bytes(FILES["model.bin"])
    source = io.BytesIO(FILES["config.json"])
    source.read(3)
    files = {"a": tmp_path / "plain", "b": source, "c": b"bytes"}
    assert opened(seal_small(tmp_path / "pack", files))[1] == {
        "a": FILES["model.bin"],
        "b": FILES["config.json"],
        "c": b"bytes",
    }


def test_a_file_that_the_caller_opened_stays_open(tmp_path):
    source = io.BytesIO(b"plain")
    seal_small(tmp_path / "pack", {"a": source})
    assert not source.closed


def test_the_same_files_sealed_twice_have_nothing_in_common(tmp_path):
    one, other = (content_of(seal_small(tmp_path / name)) for name in ("one", "other"))
    assert [name for name in one if one[name] == other[name]] == []


def test_no_plain_byte_and_no_name_lies_in_the_pack(sealed_once):
    for content in content_of(sealed_once).values():
        assert CANARY not in content
        assert b"model.bin" not in content


def test_progress_grows_and_ends_at_the_whole(tmp_path):
    steps = []
    seal_small(tmp_path / "pack", on_progress=lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert len({total for _, total in steps}) == 1
    assert steps[-1][0] == steps[-1][1]


def test_an_existing_pack_is_never_overwritten(pack_dir):
    before = content_of(pack_dir)
    with pytest.raises(SealError, match="never overwritten"):
        seal_small(pack_dir)
    assert content_of(pack_dir) == before


def test_a_link_that_leads_nowhere_is_in_the_way_too(tmp_path):
    (tmp_path / "pack").symlink_to(tmp_path / "none")
    with pytest.raises(SealError, match="never overwritten"):
        seal_small(tmp_path / "pack")


@pytest.mark.parametrize(
    ("files", "word"),
    [
        ({}, "described"),
        ({"../a": b""}, "described"),
        ({".a": b""}, "described"),
        ({"a/b": b""}, "described"),
        ({"a": Path("/nonexistent/plain")}, "No such file"),
        ({"a": b"first", "b": ShrinkingFile(FILES["model.bin"])}, "shorter"),
        ({"a": b"first", "b": FailingFile(b"plain")}, "Input/output error"),
    ],
)
def test_a_pack_that_cannot_be_made_leaves_nothing_behind(tmp_path, files, word):
    with pytest.raises(SealError, match=word):
        seal_small(tmp_path / "pack", files)
    assert list(tmp_path.iterdir()) == []


def test_a_pack_that_no_key_opens_is_not_made(tmp_path):
    with pytest.raises(SealError, match="cannot be kept"):
        seal_small(tmp_path / "pack", seal=Seal([], PUBLISHER))
    assert list(tmp_path.iterdir()) == []


def test_more_keys_than_slots_are_refused_before_anything_is_sealed(tmp_path):
    steps = []
    too_many = seal_of(*(f"fake:{number}" for number in range(MAX_SLOTS + 1)))
    with pytest.raises(SealError, match="cannot be kept"):
        seal_small(tmp_path / "pack", seal=too_many, on_progress=lambda *step: steps.append(step))
    assert steps == []


def test_a_key_that_cannot_be_asked_leaves_nothing_behind(tmp_path):
    away = Seal([FakeKek("fake:a", is_reachable=False)], PUBLISHER)
    with pytest.raises(KekError):
        seal_small(tmp_path / "pack", seal=away)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_no_more_leaves_nothing_behind(tmp_path):
    with files_of_at_most(1000), pytest.raises(SealError, match="File too large"):
        seal_small(tmp_path / "pack")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SealError, match="cannot be made: No such file"):
        seal_small(tmp_path / "none" / "pack")


def test_a_resealed_pack_is_the_same_model_in_the_next_version(pack_dir):
    assert reseal_pack(pack_dir, trust_of(), seal_of()) == VERSION + 1
    card, files = opened(pack_dir)
    assert (card.model_id, card.engine, card.version) == (MODEL_ID, ENGINE, VERSION + 1)
    assert files == FILES
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


def test_a_resealed_pack_has_other_slots_and_another_publisher(pack_dir):
    reseal_pack(pack_dir, trust_of(), seal_of("fake:b", publisher=OTHER_PUBLISHER))
    trust = trust_of("fake:b", publishers=[OTHER_PUBLISHER])
    card, files = opened(pack_dir, trust)
    assert card.publisher == fingerprint(OTHER_PUBLISHER.public_key())
    assert files == FILES
    assert slots_of(pack_dir, trust) == ("fake:b",)
    both = [PUBLISHER, OTHER_PUBLISHER]
    assert refused(pack_dir, trust_of("fake:a", publishers=both)) is PackReason.NO_SLOT


def test_the_former_slots_and_files_do_not_fit_the_resealed_pack(pack_dir):
    former = content_of(pack_dir)
    reseal_pack(pack_dir, trust_of(), seal_of())
    resealed = content_of(pack_dir)
    assert [name for name in former if former[name] == resealed[name]] == []
    (pack_dir / "keyslots.json").write_bytes(former["keyslots.json"])
    assert refused(pack_dir) is PackReason.NO_SLOT
    (pack_dir / "keyslots.json").write_bytes(resealed["keyslots.json"])
    (pack_dir / "f000.seg").write_bytes(former["f000.seg"])
    assert refused(pack_dir) is PackReason.BAD_SEGMENT


def test_a_former_version_is_refused_once_the_resealed_one_was_accepted(sealed_once, pack_dir):
    version = reseal_pack(pack_dir, trust_of(), seal_of())
    trust = trust_of(accepted={MODEL_ID: version})
    assert opened(pack_dir, trust)[1] == FILES
    assert refused(sealed_once, trust) is PackReason.OLDER_VERSION


def test_while_a_pack_is_resealed_no_plain_byte_is_on_the_disk(pack_dir):
    seen = []

    def look(done, total):
        for path in pack_dir.parent.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                seen.append(path.name)
                assert CANARY not in content
                assert FILES["model.bin"][-2000:] not in content

    reseal_pack(pack_dir, trust_of(), seal_of(), look)
    assert {*SEALED_NAMES, *OWN_NAMES} <= set(seen)


def test_progress_of_resealing_ends_at_the_whole(pack_dir):
    steps = []
    reseal_pack(pack_dir, trust_of(), seal_of(), lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.parametrize("name", SEALED_NAMES)
def test_a_damaged_pack_is_not_resealed_and_stays_as_it_was(pack_dir, name):
    turn_bit(pack_dir / name)
    before = content_of(pack_dir)
    with pytest.raises(PackError) as caught:
        reseal_pack(pack_dir, trust_of(), seal_of())
    assert reason_of(caught.value) is PackReason.BAD_SEGMENT
    assert content_of(pack_dir) == before
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


def test_a_pack_that_the_key_does_not_open_is_not_resealed(pack_dir):
    before = content_of(pack_dir)
    with pytest.raises(PackError):
        reseal_pack(pack_dir, trust_of("fake:b"), seal_of())
    assert content_of(pack_dir) == before


def test_a_new_key_that_cannot_be_asked_leaves_the_old_pack(pack_dir):
    before = content_of(pack_dir)
    away = Seal([FakeKek("fake:b", is_reachable=False)], PUBLISHER)
    with pytest.raises(KekError):
        reseal_pack(pack_dir, trust_of(), away)
    assert content_of(pack_dir) == before
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


def test_a_full_disk_leaves_the_old_pack(pack_dir):
    before = content_of(pack_dir)
    with files_of_at_most(1000), pytest.raises(SealError, match="File too large"):
        reseal_pack(pack_dir, trust_of(), seal_of())
    assert content_of(pack_dir) == before
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


def test_a_name_too_long_for_the_folder_beside_it_is_told_as_such(pack_dir):
    long = pack_dir.rename(pack_dir.with_name("p" * 250))
    with pytest.raises(SealError, match="File name too long"):
        reseal_pack(long, trust_of(), seal_of())


def test_the_last_version_that_can_be_counted_is_not_resealed(tmp_path):
    pack_dir = seal_small(tmp_path / "pack", {"a": b""}, version=(1 << 63) - 1)
    with pytest.raises(SealError, match="cannot be described"):
        reseal_pack(pack_dir, trust_of(), seal_of())
    assert list(tmp_path.iterdir()) == [pack_dir]


def test_while_a_pack_is_resealed_nobody_else_changes_it(pack_dir):
    refusals = []

    def interfere(done, total):
        for change in (
            lambda: rotate_slot(pack_dir, trust_of(), FakeKek("fake:b")),
            lambda: reseal_pack(pack_dir, trust_of(), seal_of("fake:b")),
        ):
            with pytest.raises(SealError, match="try again") as caught:
                change()
            refusals.append(caught.value)

    reseal_pack(pack_dir, trust_of(), seal_of(), interfere)
    assert len(refusals) > 2
    assert opened(pack_dir)[1] == FILES


def test_a_pack_that_is_being_changed_is_not_resealed(pack_dir):
    with (
        changing_pack(pack_dir, trust_of()),
        pytest.raises(SealError, match="try again"),
    ):
        reseal_pack(pack_dir, trust_of(), seal_of())
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


def test_whoever_has_the_old_pack_open_keeps_it(pack_dir):
    with open_pack(pack_dir, trust_of()) as pack:
        reseal_pack(pack_dir, trust_of(), seal_of())
        assert bytes(pack.files["model.bin"]) == FILES["model.bin"]


KILLED = """
import os, sys
from pathlib import Path
from security.sealing import reseal_pack
from tests.pack_fakes import seal_of, seal_small, trust_of

def on_progress(done, total):
    if done >= int(sys.argv[2]):
        os.kill(os.getpid(), 9)

pack_dir = Path(sys.argv[1])
if pack_dir.exists():
    reseal_pack(pack_dir, trust_of(), seal_of("fake:b"), on_progress)
else:
    files = {"a": b"x" * 10, "b": b"y" * 3_000_000}
    seal_small(pack_dir, files, on_progress=on_progress)
"""


def killed(pack_dir, after_bytes):
    child = subprocess.run(  # noqa: S603 (our own interpreter, constant text)
        [sys.executable, "-c", KILLED, pack_dir, str(after_bytes)], cwd=ROOT, check=False
    )
    assert child.returncode == -9


@pytest.mark.parametrize("after_bytes", [1, 51, 2_000_000, 3_000_130])
def test_a_killed_sealing_leaves_no_pack_and_does_not_stand_in_the_way(tmp_path, after_bytes):
    killed(tmp_path / "pack", after_bytes)
    (left_over,) = tmp_path.iterdir()
    assert left_over.name.endswith(".sealing")
    assert refused(left_over) is PackReason.MISSING_FILE
    assert opened(seal_small(tmp_path / "pack"))[1] == FILES


@pytest.mark.parametrize("after_bytes", [1, 2_000_000, 3_000_130])
def test_a_killed_resealing_leaves_the_old_pack_whole(tmp_path, after_bytes):
    pack_dir = seal_small(tmp_path / "pack", SMALL_FILES)
    before = content_of(pack_dir)
    killed(pack_dir, after_bytes)
    assert content_of(pack_dir) == before
    assert opened(pack_dir)[1] == SMALL_FILES
    assert reseal_pack(pack_dir, trust_of(), seal_of("fake:b")) == VERSION + 1


RESEALING = """
import sys
from pathlib import Path
from security.sealing import reseal_pack
from tests.pack_fakes import seal_of, trust_of

print(flush=True)
while True:
    reseal_pack(Path(sys.argv[1]), trust_of(), seal_of())
"""


def test_a_resealing_killed_at_any_moment_leaves_a_whole_pack_under_the_name(tmp_path):
    pack_dir = seal_small(tmp_path / "pack", {"a": b"weights"})
    chance, version = random.Random(7), VERSION  # noqa: S311 (moments, not keys)
    for _ in range(5):
        with subprocess.Popen(  # noqa: S603 (our own interpreter, constant text)
            [sys.executable, "-c", RESEALING, pack_dir], cwd=ROOT, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.01, 0.06))
            os.kill(child.pid, signal.SIGKILL)
        card = inspect_pack(pack_dir, trust_of(accepted={MODEL_ID: version}))
        version = card.version
        assert opened(pack_dir)[1] == {"a": b"weights"}


def test_a_resealing_removes_what_killed_ones_have_left_of_this_pack_alone(tmp_path):
    pack_dir = seal_small(tmp_path / "pack")
    copied(pack_dir, tmp_path / ".pack.0123.sealing")
    copied(pack_dir, tmp_path / ".other.0123.sealing")
    reseal_pack(pack_dir, trust_of(), seal_of())
    assert {path.name for path in tmp_path.iterdir()} == {"pack", ".other.0123.sealing"}


def test_something_else_in_the_place_of_left_over_does_not_hold_a_resealing_up(tmp_path):
    pack_dir = seal_small(tmp_path / "pack")
    os.mkfifo(tmp_path / ".pack.0.sealing")
    (tmp_path / ".pack.1.sealing").symlink_to(tmp_path)
    (tmp_path / ".pack.2.sealing").touch()
    reseal_pack(pack_dir, trust_of(), seal_of())
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


def test_left_over_that_cannot_be_removed_is_named(tmp_path):
    pack_dir = seal_small(tmp_path / "pack")
    deep = tmp_path / ".pack.0.sealing"
    descriptor = os.open(tmp_path, os.O_RDONLY)
    name = deep.name
    for _ in range(1500):
        os.mkdir(name, dir_fd=descriptor)
        inner = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor, name = inner, "d"
    os.close(descriptor)
    with pytest.raises(SealError, match="sealing is in the way"):
        reseal_pack(pack_dir, trust_of(), seal_of())
    subprocess.run(["rm", "-rf", deep], check=True)  # noqa: S603, S607 (our own folder)
    open_pack(pack_dir, trust_of()).wipe()
