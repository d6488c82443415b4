"""Folders whole and mutated in; proven descriptions of them, or one refusal, out."""

import os
import socket
from contextlib import chdir
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.durable import exchange_folders
from security.errors import KekError, PackError, PackReason, SealError
from security.manifest import decode_manifest, new_manifest, sign_manifest
from security.pack_folder import (
    changing_pack,
    described_pack,
    open_sealed_file,
    unlocked_pack,
)
from security.sealed import SEGMENT_BYTES
from security.slots import MAX_SLOTS_BYTES
from tests.pack_fakes import (
    FILES,
    MODEL_ID,
    OTHER_PUBLISHER,
    OWN_NAMES,
    PUBLISHER,
    SEALED_NAMES,
    VERSION,
    FakeKek,
    copied,
    pack_key,
    reason_of,
    seal_of,
    seal_small,
    trust_of,
    turn_bit,
)

ALL = (*SEALED_NAMES, *OWN_NAMES)


@pytest.fixture(scope="module")
def sealed_once(tmp_path_factory):
    return seal_small(tmp_path_factory.mktemp("packs") / "tiny")


@pytest.fixture(scope="module")
def other_pack(tmp_path_factory):
    """The same files as another version, under the same key-encrypting key."""
    return seal_small(tmp_path_factory.mktemp("packs") / "other", version=VERSION + 1)


@pytest.fixture
def pack_dir(sealed_once, tmp_path):
    """A pack of the test's own."""
    return copied(sealed_once, tmp_path / "pack")


def refused(pack_dir, trust=None):
    """Before its content is touched."""
    with pytest.raises(PackError) as caught, unlocked_pack(pack_dir, trust or trust_of()):
        pass
    return reason_of(caught.value)


def refused_undescribed(pack_dir, trust):
    with pytest.raises(PackError) as caught, described_pack(pack_dir, trust):
        pass
    return reason_of(caught.value)


def n_descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def accepts(version):
    """Trust after this version was opened; the key must not be asked by whoever refuses it."""
    return trust_of(FakeKek("fake:a", is_reachable=False), accepted={MODEL_ID: version})


def test_a_pack_is_described_without_a_key(sealed_once):
    with described_pack(sealed_once, trust_of("fake:stranger")) as described:
        assert described.manifest.core.model_id == MODEL_ID
        assert described.publisher == PUBLISHER.public_key()
        assert described.slots == (sealed_once / "keyslots.json").read_bytes()


def test_an_unlocked_pack_has_its_key_its_slot_and_its_files_in_order(sealed_once):
    with unlocked_pack(sealed_once, trust_of()) as pack:
        assert pack.slot.kek == "fake:a"
        assert {file.name: file.opener.layout.plain_bytes for file in pack.files} == {
            name: len(content) for name, content in FILES.items()
        }
        assert [file.name for file in pack.files] == sorted(FILES)


def test_the_key_is_wiped_and_everything_closed_when_the_block_ends(sealed_once):
    before = n_descriptors()
    with unlocked_pack(sealed_once, trust_of()) as pack:
        assert n_descriptors() == before + 1 + len(FILES)
    assert n_descriptors() == before
    with pytest.raises(ValueError, match="wiped"):
        pack.pack_key.expose()


def test_a_refusal_leaves_nothing_open_and_no_key(pack_dir):
    (pack_dir / SEALED_NAMES[3]).write_bytes(b"cut")
    before = n_descriptors()
    assert refused(pack_dir) is PackReason.WRONG_SIZE
    assert n_descriptors() == before


def test_a_segment_is_read_from_its_place(sealed_once):
    whole = (sealed_once / "f002.seg").read_bytes()
    staging = memoryview(bytearray(SEGMENT_BYTES))
    with unlocked_pack(sealed_once, trust_of()) as pack:
        for index, (start, end) in enumerate(
            [(40, SEGMENT_BYTES), (SEGMENT_BYTES, 2 * SEGMENT_BYTES), (2 * SEGMENT_BYTES, None)]
        ):
            assert pack.files[2].read_segment(index, staging) == whole[start:end]


def test_a_file_that_shrinks_while_it_is_read_is_refused(pack_dir):
    staging = memoryview(bytearray(SEGMENT_BYTES))
    with unlocked_pack(pack_dir, trust_of()) as pack:
        os.truncate(pack_dir / "f002.seg", SEGMENT_BYTES + 10)
        with pytest.raises(PackError) as caught:
            pack.files[2].read_segment(1, staging)
    assert reason_of(caught.value) is PackReason.WRONG_SIZE


def test_a_folder_that_is_renamed_after_it_was_opened_is_read_on(pack_dir):
    with described_pack(pack_dir, trust_of()) as described:
        pack_dir.rename(pack_dir.with_name("elsewhere"))
        with open_sealed_file(described, 0) as descriptor:
            assert os.fstat(descriptor).st_size > 0


def test_a_pack_without_a_signature_is_refused(pack_dir):
    (pack_dir / "manifest.sig").unlink()
    assert refused(pack_dir) is PackReason.MISSING_FILE


def test_the_second_trusted_publisher_is_accepted(pack_dir):
    trust = trust_of(publishers=[OTHER_PUBLISHER, PUBLISHER])
    with unlocked_pack(pack_dir, trust) as pack:
        assert pack.described.publisher == PUBLISHER.public_key()


def test_a_publisher_who_is_not_trusted_is_refused(pack_dir):
    trust = trust_of(publishers=[OTHER_PUBLISHER, Ed25519PrivateKey.generate()])
    assert refused(pack_dir, trust) is PackReason.BAD_SIGNATURE


def test_a_manifest_that_nobody_signed_is_not_parsed(pack_dir):
    (pack_dir / "manifest.json").write_bytes(b"{not json")
    assert refused(pack_dir) is PackReason.BAD_SIGNATURE


def test_a_signature_comes_before_the_version_and_the_listing(pack_dir):
    (pack_dir / "f000.seg").unlink()
    turn_bit(pack_dir / "manifest.sig")
    assert refused(pack_dir, accepts(VERSION + 1)) is PackReason.BAD_SIGNATURE


def test_an_older_version_than_the_accepted_one_is_refused_before_a_key_is_asked(pack_dir):
    assert refused(pack_dir, accepts(VERSION + 1)) is PackReason.OLDER_VERSION


@pytest.mark.parametrize("accepted", [VERSION, VERSION - 1])
def test_the_accepted_version_and_a_newer_one_are_opened(pack_dir, accepted):
    with unlocked_pack(pack_dir, trust_of(accepted={MODEL_ID: accepted})) as pack:
        assert pack.described.manifest.core.version == VERSION


def test_the_accepted_version_of_another_model_does_not_matter(pack_dir):
    with unlocked_pack(pack_dir, trust_of(accepted={"openai/other": 99})) as pack:
        assert pack.described.manifest.core.version == VERSION


def test_a_listing_is_checked_before_a_key_is_asked(pack_dir):
    (pack_dir / "more").touch()
    assert refused(pack_dir, accepts(VERSION)) is PackReason.EXTRA_FILE


def test_a_key_that_does_not_fit_is_refused(pack_dir):
    assert refused(pack_dir, trust_of("fake:b")) is PackReason.NO_SLOT


def test_a_key_that_cannot_be_asked_is_told(pack_dir):
    trust = trust_of(FakeKek("fake:a", is_reachable=False))
    with pytest.raises(KekError, match="does not answer"), unlocked_pack(pack_dir, trust):
        pass


def test_a_manifest_for_another_key_is_refused_though_the_right_publisher_signed_it(pack_dir):
    encoded = (pack_dir / "manifest.json").read_bytes()
    whole, _ = decode_manifest(
        encoded, (pack_dir / "manifest.sig").read_bytes(), [PUBLISHER.public_key()]
    )
    other = new_manifest(whole.core, whole.sealed_sha256, pack_key(8)).encoded
    (pack_dir / "manifest.json").write_bytes(other)
    (pack_dir / "manifest.sig").write_bytes(sign_manifest(other, PUBLISHER))
    assert refused(pack_dir) is PackReason.BAD_MANIFEST


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file_is_refused(pack_dir, name):
    (pack_dir / name).unlink()
    assert refused(pack_dir) is PackReason.MISSING_FILE


def test_a_file_that_goes_after_the_listing_is_refused(pack_dir):
    vanishing = FakeKek("fake:a", before_unwrapping=(pack_dir / "f001.seg").unlink)
    assert refused(pack_dir, trust_of(vanishing)) is PackReason.MISSING_FILE


@pytest.mark.parametrize("name", ["f004.seg", "manifest.json.new", ".hidden", "model.bin"])
def test_an_added_file_is_refused(pack_dir, name):
    (pack_dir / name).touch()
    assert refused(pack_dir) is PackReason.EXTRA_FILE


def test_an_added_folder_is_refused(pack_dir):
    (pack_dir / "more").mkdir()
    assert refused(pack_dir) is PackReason.EXTRA_FILE


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


@pytest.mark.parametrize("name", ALL)
def test_a_socket_in_place_of_a_file_is_refused(pack_dir, name):
    (pack_dir / name).unlink()
    with chdir(pack_dir), socket.socket(socket.AF_UNIX) as listener:
        listener.bind(name)
        assert refused(pack_dir) is PackReason.UNREADABLE


@pytest.mark.parametrize("name", ALL)
def test_an_empty_file_is_refused(pack_dir, name):
    (pack_dir / name).write_bytes(b"")
    assert refused(pack_dir) is PackReason.WRONG_SIZE


@pytest.mark.parametrize("name", SEALED_NAMES)
@pytest.mark.parametrize("n_bytes", [-1, 1])
def test_a_sealed_file_cut_or_grown_is_refused_unread(pack_dir, name, n_bytes):
    os.truncate(pack_dir / name, (pack_dir / name).stat().st_size + n_bytes)
    assert refused(pack_dir) is PackReason.WRONG_SIZE


@pytest.mark.parametrize(
    ("name", "n_bytes"),
    [
        ("manifest.sig", 65),
        ("manifest.json", 256 * 1024 + 1),
        ("keyslots.json", MAX_SLOTS_BYTES + 1),
    ],
)
def test_a_small_file_over_its_limit_is_refused_unread(pack_dir, name, n_bytes):
    os.truncate(pack_dir / name, n_bytes)
    assert refused(pack_dir) is PackReason.WRONG_SIZE


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_a_part_of_another_signed_pack_is_refused(pack_dir, other_pack, name):
    (pack_dir / name).write_bytes((other_pack / name).read_bytes())
    assert refused(pack_dir) is PackReason.BAD_SIGNATURE


def test_the_slots_of_another_pack_are_refused(pack_dir, other_pack):
    (pack_dir / "keyslots.json").write_bytes((other_pack / "keyslots.json").read_bytes())
    assert refused(pack_dir) is PackReason.NO_SLOT


def test_the_whole_manifest_of_another_pack_is_refused(pack_dir, other_pack):
    for name in ("manifest.json", "manifest.sig"):
        (pack_dir / name).write_bytes((other_pack / name).read_bytes())
    assert refused(pack_dir) is PackReason.NO_SLOT


@pytest.mark.parametrize("name", OWN_NAMES)
@pytest.mark.parametrize("position", [0, 1, 20, 50, -1, -2, -20])
def test_a_turned_bit_in_what_describes_the_pack_is_refused(pack_dir, name, position):
    turn_bit(pack_dir / name, position)
    refused(pack_dir)


def test_a_header_that_says_another_length_is_refused(pack_dir):
    turn_bit(pack_dir / "f000.seg", 0)
    assert refused(pack_dir) is PackReason.BAD_SEGMENT


def test_a_link_to_a_pack_is_refused(pack_dir, tmp_path):
    (tmp_path / "link").symlink_to(pack_dir)
    assert refused(tmp_path / "link") is PackReason.UNREADABLE


def test_no_folder_an_empty_folder_and_a_file_are_no_packs(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_bytes(b"")
    reasons = [refused_undescribed(tmp_path / n, trust_of()) for n in ("none", "empty", "file")]
    assert reasons == [PackReason.MISSING_FILE, PackReason.MISSING_FILE, PackReason.UNREADABLE]


def test_one_at_a_time_changes_a_pack_and_any_number_open_it(pack_dir):
    with changing_pack(pack_dir, trust_of()) as pack, unlocked_pack(pack_dir, trust_of()) as other:
        assert pack.pack_key == other.pack_key
        with pytest.raises(SealError, match="try again"), changing_pack(pack_dir, trust_of()):
            pass
    with changing_pack(pack_dir, trust_of()) as pack:
        assert pack.slot.kek == "fake:a"


def test_a_pack_that_lost_its_name_while_the_key_was_asked_is_not_changed(pack_dir, tmp_path):
    other = seal_small(tmp_path / "other", seal=seal_of("fake:b"))
    slow = FakeKek("fake:a", before_unwrapping=lambda: exchange_folders(pack_dir, other))
    with pytest.raises(SealError, match="try again"), changing_pack(pack_dir, trust_of(slow)):
        pass


def test_a_pack_that_is_gone_while_the_key_was_asked_is_not_changed(pack_dir, tmp_path):
    slow = FakeKek("fake:a", before_unwrapping=lambda: pack_dir.rename(tmp_path / "moved"))
    with pytest.raises(PackError), changing_pack(pack_dir, trust_of(slow)):
        pass


def test_what_is_no_pack_is_not_changed(tmp_path):
    with pytest.raises(PackError) as caught, changing_pack(tmp_path / "none", trust_of()):
        pass
    assert reason_of(caught.value) is PackReason.MISSING_FILE


def test_trust_that_ends_wipes_its_keys():
    kek = FakeKek("fake:a")
    with trust_of(kek):
        assert not kek.is_wiped
    assert kek.is_wiped
