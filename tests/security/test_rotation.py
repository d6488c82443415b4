"""Packs and new keys in; the same packs under other keys, and never one that nothing opens, out."""

import fcntl
import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from security import rotation
from security.durable import exchange_folders
from security.errors import KekError, PackError, PackReason, SealError
from security.rotation import add_slot, drop_slot, rotate_slot, slots_of
from security.sealing import reseal_pack
from security.slots import MAX_SLOTS
from security.weights import inspect_pack, open_pack
from tests.pack_fakes import (
    FILES,
    OWN_NAMES,
    SEALED_NAMES,
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

ROOT = Path(rotation.__file__).parents[1]
A, B, C = "fake:a", "fake:b", "fake:c"
SMALL_FILES = {"a": b"weights"}


@pytest.fixture(scope="module")
def sealed_once(tmp_path_factory):
    return seal_small(tmp_path_factory.mktemp("packs") / "tiny", seal=seal_of(A, B))


@pytest.fixture
def pack_dir(sealed_once, tmp_path):
    """A pack of the test's own, which the keys A and B open."""
    return copied(sealed_once, tmp_path / "pack")


def opens_with(pack_dir, *keks):
    with open_pack(pack_dir, trust_of(*keks)) as pack:
        assert {name: bytes(view) for name, view in pack.files.items()} == FILES
        return pack.card.kek_id


def refused(pack_dir, *keks):
    with pytest.raises(PackError) as caught:
        open_pack(pack_dir, trust_of(*keks))
    return reason_of(caught.value)


@contextmanager
def locked(pack_dir):
    descriptor = os.open(pack_dir, os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        os.close(descriptor)


def test_the_slots_are_listed_without_any_key(pack_dir):
    assert slots_of(pack_dir, trust_of("fake:stranger")) == (A, B)


def test_an_added_key_opens_the_pack_and_so_do_the_others(pack_dir):
    assert add_slot(pack_dir, trust_of(A), FakeKek(C)) == A
    assert [opens_with(pack_dir, kek) for kek in (A, B, C)] == [A, B, C]


def test_after_a_rotation_the_new_key_opens_and_the_old_does_not(pack_dir):
    assert rotate_slot(pack_dir, trust_of(A), FakeKek(C)) == A
    assert opens_with(pack_dir, C) == C
    assert refused(pack_dir, A) is PackReason.NO_SLOT


def test_a_rotation_leaves_the_other_slots_as_they_were(pack_dir):
    rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    assert slots_of(pack_dir, trust_of()) == (B, C)
    assert opens_with(pack_dir, B) == B


def test_a_rotation_drops_the_slot_that_opened_the_pack(pack_dir):
    away = FakeKek(A, is_reachable=False)
    assert rotate_slot(pack_dir, trust_of(away, B), FakeKek(C)) == B
    assert slots_of(pack_dir, trust_of()) == (A, C)


def test_only_the_slots_file_changes(pack_dir):
    before = content_of(pack_dir)
    rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    after = content_of(pack_dir)
    assert [name for name in before if after.pop(name) != before[name]] == ["keyslots.json"]
    assert after == {}


def test_nothing_is_left_beside_the_pack(pack_dir):
    rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


def test_a_key_may_be_rotated_to_its_next_version_under_the_same_id(pack_dir):
    before = content_of(pack_dir)["keyslots.json"]
    rotate_slot(pack_dir, trust_of(A), FakeKek(A))
    assert slots_of(pack_dir, trust_of()) == (B, A)
    assert content_of(pack_dir)["keyslots.json"] != before
    assert opens_with(pack_dir, A) == A


@pytest.mark.parametrize("change", [add_slot, rotate_slot])
def test_a_key_that_has_a_slot_already_gets_one_new_slot_for_it(pack_dir, change):
    change(pack_dir, trust_of(A), FakeKek(B))
    assert slots_of(pack_dir, trust_of()).count(B) == 1
    assert opens_with(pack_dir, B) == B


def test_a_key_added_over_its_own_slot_has_one(pack_dir):
    add_slot(pack_dir, trust_of(A), FakeKek(A))
    assert slots_of(pack_dir, trust_of()) == (B, A)
    assert opens_with(pack_dir, A) == A


def test_a_dropped_key_opens_the_pack_no_more(pack_dir):
    drop_slot(pack_dir, trust_of(A), B)
    assert refused(pack_dir, B) is PackReason.NO_SLOT
    assert opens_with(pack_dir, A) == A


def test_a_key_may_drop_its_own_slot(pack_dir):
    drop_slot(pack_dir, trust_of(A), A)
    assert slots_of(pack_dir, trust_of()) == (B,)


def test_the_last_slot_cannot_be_dropped(pack_dir):
    drop_slot(pack_dir, trust_of(A), B)
    with pytest.raises(SealError, match="last key"):
        drop_slot(pack_dir, trust_of(A), A)
    assert opens_with(pack_dir, A) == A


def test_a_slot_that_is_not_there_cannot_be_dropped(pack_dir):
    with pytest.raises(SealError, match="no slot for fake:c"):
        drop_slot(pack_dir, trust_of(A), C)


@pytest.mark.parametrize("change", [add_slot, rotate_slot])
def test_a_key_that_does_not_open_the_pack_changes_nothing(pack_dir, change):
    before = content_of(pack_dir)
    with pytest.raises(PackError) as caught:
        change(pack_dir, trust_of(C), FakeKek("fake:d"))
    assert reason_of(caught.value) is PackReason.NO_SLOT
    assert content_of(pack_dir) == before


@pytest.mark.parametrize("change", [add_slot, rotate_slot])
def test_a_damaged_list_is_not_changed(pack_dir, change):
    turn_bit(pack_dir / "keyslots.json", -5)
    before = content_of(pack_dir)
    with pytest.raises(PackError) as caught:
        change(pack_dir, trust_of(A), FakeKek(C))
    assert reason_of(caught.value) is PackReason.BAD_SLOTS
    assert content_of(pack_dir) == before


def test_a_new_key_that_cannot_be_asked_changes_nothing(pack_dir):
    before = content_of(pack_dir)
    with pytest.raises(KekError):
        rotate_slot(pack_dir, trust_of(A), FakeKek(C, is_reachable=False))
    assert content_of(pack_dir) == before


@pytest.mark.parametrize("change", [add_slot, rotate_slot])
@pytest.mark.parametrize("kek_id", [A, B, C])
def test_a_key_that_lies_leaves_every_old_slot(pack_dir, change, kek_id):
    with pytest.raises(SealError, match=f"{kek_id} does not give back"):
        change(pack_dir, trust_of(A), FakeKek(kek_id, is_lying=True))
    assert [opens_with(pack_dir, kek) for kek in (A, B)] == [A, B]
    assert slots_of(pack_dir, trust_of()) == (A, B)


def test_a_key_that_gives_back_another_key_leaves_the_old_slot(pack_dir):
    with pytest.raises(SealError, match="does not give back"):
        rotate_slot(pack_dir, trust_of(A), Forgetful(C))
    assert opens_with(pack_dir, A) == A


class Forgetful(FakeKek):
    """Gives back a key that it was never given."""

    def unwrap(self, wrapped, context):
        return rotation.SecretBytes(bytearray(32))


@pytest.mark.parametrize("change", [add_slot, rotate_slot])
def test_a_change_that_is_broken_off_before_the_proof_leaves_all_as_it_was(pack_dir, change):
    def break_off():
        raise KeyboardInterrupt

    before = content_of(pack_dir)
    with pytest.raises(KeyboardInterrupt):
        change(pack_dir, trust_of(A), FakeKek(C, before_unwrapping=break_off))
    assert content_of(pack_dir) == before


def test_a_lying_key_can_be_tried_again_once_it_is_mended(pack_dir):
    with pytest.raises(SealError):
        rotate_slot(pack_dir, trust_of(A), FakeKek(C, is_lying=True))
    rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    assert slots_of(pack_dir, trust_of()) == (B, C)
    assert opens_with(pack_dir, C) == C


def test_a_list_that_is_full_keeps_what_it_has(pack_dir):
    for number in range(MAX_SLOTS - 2):
        add_slot(pack_dir, trust_of(A), FakeKek(f"fake:{number}"))
    with pytest.raises(SealError, match="cannot be kept"):
        add_slot(pack_dir, trust_of(A), FakeKek(C))
    assert len(slots_of(pack_dir, trust_of())) == MAX_SLOTS
    assert opens_with(pack_dir, A) == A


@pytest.mark.parametrize(
    "change",
    [
        lambda pack, trust: add_slot(pack, trust, FakeKek(C)),
        lambda pack, trust: rotate_slot(pack, trust, FakeKek(C)),
        lambda pack, trust: drop_slot(pack, trust, B),
    ],
    ids=["add", "rotate", "drop"],
)
def test_two_changes_at_once_are_refused(pack_dir, change):
    before = content_of(pack_dir)
    with locked(pack_dir), pytest.raises(SealError, match="try again"):
        change(pack_dir, trust_of(A))
    assert content_of(pack_dir) == before


def test_the_lock_ends_with_the_change(pack_dir):
    rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    with locked(pack_dir):
        assert slots_of(pack_dir, trust_of()) == (B, C)


def test_while_the_new_key_is_asked_nobody_else_changes_the_pack(pack_dir):
    refusals = []

    def interfere():
        for change in (
            lambda: add_slot(pack_dir, trust_of(B), FakeKek("fake:d")),
            lambda: reseal_pack(pack_dir, trust_of(B), seal_of(B)),
        ):
            with pytest.raises(SealError, match="try again") as caught:
                change()
            refusals.append(caught.value)

    rotate_slot(pack_dir, trust_of(A), FakeKek(C, after_wrapping=interfere))
    assert len(refusals) == 2
    assert slots_of(pack_dir, trust_of()) == (B, C)
    assert opens_with(pack_dir, C) == C


def test_a_pack_that_was_moved_away_while_its_key_was_asked_is_not_changed(pack_dir):
    other = copied(pack_dir, pack_dir.with_name("other"))
    before = content_of(pack_dir)
    slow = FakeKek(A, before_unwrapping=lambda: exchange_folders(pack_dir, other))
    with pytest.raises(SealError, match="try again"):
        add_slot(pack_dir, trust_of(slow), FakeKek(C))
    assert content_of(pack_dir) == content_of(other) == before


def test_what_a_killed_rotation_left_does_not_stand_in_the_way(pack_dir):
    (pack_dir.parent / ".pack.keyslots.json").write_bytes(b"half of the")
    rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    assert opens_with(pack_dir, C) == C
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


def test_a_link_under_the_temporary_name_is_not_followed(pack_dir):
    precious = pack_dir.parent / "precious"
    precious.write_bytes(b"precious")
    (pack_dir.parent / ".pack.keyslots.json").symlink_to(precious)
    rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    assert precious.read_bytes() == b"precious"


def test_a_disk_that_takes_no_more_leaves_the_old_slots(pack_dir):
    before = content_of(pack_dir)
    with files_of_at_most(100), pytest.raises(SealError, match="cannot be written: File too large"):
        rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    assert content_of(pack_dir) == before
    assert list(pack_dir.parent.iterdir()) == [pack_dir]


@pytest.mark.parametrize("name", [*SEALED_NAMES, *OWN_NAMES])
def test_a_pack_with_a_file_missing_is_not_changed(pack_dir, name):
    (pack_dir / name).unlink()
    before = content_of(pack_dir)
    with pytest.raises(PackError):
        rotate_slot(pack_dir, trust_of(A), FakeKek(C))
    assert content_of(pack_dir) == before


ROTATING = """
import sys
from pathlib import Path
from security.rotation import rotate_slot
from tests.pack_fakes import FakeKek, trust_of

print(flush=True)
while True:
    for old, new in (("fake:a", "fake:b"), ("fake:b", "fake:a")):
        rotate_slot(Path(sys.argv[1]), trust_of(old), FakeKek(new))
"""


def test_a_rotation_killed_at_any_moment_leaves_a_pack_that_the_old_or_the_new_key_opens(tmp_path):
    pack_dir = seal_small(tmp_path / "pack", SMALL_FILES, seal=seal_of(A))
    chance = random.Random(7)  # noqa: S311 (moments, not keys)
    for _ in range(5):
        with subprocess.Popen(  # noqa: S603 (our own interpreter, constant text)
            [sys.executable, "-c", ROTATING, pack_dir], cwd=ROOT, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(chance.uniform(0.01, 0.06))
            child.send_signal(signal.SIGKILL)
        card = inspect_pack(pack_dir, trust_of(A, B))
        rotate_slot(pack_dir, trust_of(card.kek_id), FakeKek(A))
    assert set(content_of(pack_dir)) == {"f000.seg", *OWN_NAMES}
