"""Settings in; keys, trust and rotations of the key file, killed at every step, out."""

import fcntl
import os
import shutil
import sys
from dataclasses import replace

import pytest

from security.errors import KeyFileError, PackError, PackReason
from security.rotation import add_slot, slots_of
from security.weights import open_pack
from server.config import load_settings
from server.packs import (
    make_pack_keys,
    model_packs,
    open_keks,
    pack_trust,
    published_trust,
    rotate_key_file,
)
from server.provision import seal
from server.start_error import StartError


@pytest.fixture
def settings(tmp_path):
    """A data folder with two small packs under one key file."""
    made = load_settings(data_folder=tmp_path / "data", model="one")
    make_pack_keys(made)
    for name in ("one", "two"):
        named = load_settings(data_folder=made.data_folder, model=name)
        seal(named, engine="e", version=1, files={"weights": name.encode()})
    return made


def opened(settings):
    """What each pack holds, opened with the keys at hand."""
    contents = []
    for path in model_packs(settings):
        named = load_settings(data_folder=settings.data_folder, model=path.name)
        with open_pack(path, pack_trust(named)) as pack:
            contents.append(bytes(pack.files["weights"]))
    return contents


def slots_in(path, settings):
    """Ids of the keys that open a pack, whichever model it is."""
    return slots_of(path, replace(published_trust(settings), model_id=None))


def test_all_packs_are_found_and_nothing_else(settings):
    (settings.models_folder / ".two.0123.sealing").mkdir()
    (settings.models_folder / ".two.0123.sealing" / "manifest.json").touch()
    (settings.models_folder / "empty").mkdir()
    assert [path.name for path in model_packs(settings)] == ["one", "two"]


def test_no_key_is_made_where_the_settings_name_keys_and_publishers(tmp_path):
    elsewhere = {"keys": ["env:KEK"], "publishers": [str(tmp_path / "p.pub")]}
    settings = load_settings(data_folder=tmp_path / "data", packs=elsewhere)
    make_pack_keys(settings)
    assert list(settings.keys_folder.iterdir()) == []
    assert settings.pack_key_uris == ("env:KEK",)


@pytest.mark.parametrize("missing", ["pack.key", "publisher.pem.pub"])
def test_no_key_is_made_over_packs_that_lack_theirs(settings, missing):
    (settings.keys_folder / missing).unlink()
    with pytest.raises(KeyFileError, match="stays sealed"):
        make_pack_keys(settings)
    assert not (settings.keys_folder / missing).exists()


def test_a_publisher_of_another_installation_is_not_trusted_until_it_is_named(settings, tmp_path):
    other = load_settings(data_folder=tmp_path / "other")
    make_pack_keys(other)
    with pytest.raises(PackError):
        slots_in(settings.pack_folder, other)
    both = {"publishers": [*map(str, other.publisher_files), *map(str, settings.publisher_files)]}
    trusting = load_settings(data_folder=other.data_folder, packs=both)
    assert len(slots_in(settings.pack_folder, trusting)) == 1


def test_a_new_key_file_opens_every_pack_and_the_old_one_none(settings):
    old_key = settings.pack_key_file.read_bytes()
    [old] = open_keks(settings)
    former, new, packs = rotate_key_file(settings)
    assert (former, packs) == (old.kek_id, model_packs(settings))
    assert [slots_in(pack, settings) for pack in packs] == [(new,), (new,)]
    assert opened(settings) == [b"one", b"two"]
    assert {path.suffix for path in settings.keys_folder.iterdir()} == {".key", ".pem", ".pub"}
    settings.pack_key_file.write_bytes(old_key)
    with pytest.raises(PackError):
        opened(settings)


def test_other_keys_keep_their_slots_through_a_rotation(settings, monkeypatch):
    monkeypatch.setenv("SECOND", "ab" * 32)
    second = load_settings(data_folder=settings.data_folder, packs={"keys": ["env:SECOND"]})
    [kek] = open_keks(second)
    add_slot(settings.pack_folder, pack_trust(settings), kek)
    rotate_key_file(settings)
    with open_pack(settings.pack_folder, replace(pack_trust(second), model_id=None)) as pack:
        assert pack.card.kek_id == kek.kek_id


def test_two_rotations_at_once_do_not_meet(settings):
    folder = os.open(settings.keys_folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        with pytest.raises(StartError, match="try again"):
            rotate_key_file(settings)
    finally:
        os.close(folder)
    assert opened(settings) == [b"one", b"two"]


def test_a_pack_that_does_not_open_stops_the_rotation_by_its_name(settings):
    (settings.models_folder / "two" / "keyslots.json").write_text("{}")
    with pytest.raises(StartError, match="models/two: "):
        rotate_key_file(settings)
    assert not settings.pack_key_file.with_suffix(".next").exists()


def test_a_pack_under_other_keys_is_left_alone(settings, monkeypatch):
    monkeypatch.setenv("SECOND", "ab" * 32)
    third = load_settings(
        data_folder=settings.data_folder, model="three", packs={"keys": ["env:SECOND"]}
    )
    seal(third, engine="e", version=1, files={"weights": b"three"})
    _, _, packs = rotate_key_file(settings)
    assert [path.name for path in packs] == ["one", "two"]
    open_pack(third.pack_folder, pack_trust(third)).wipe()


class Killed(BaseException):
    """Stands for a kill: nothing in the code catches it."""


def killed_after(n_steps):
    """A trace of Python's own audit events that ends the work at the n-th change of a file."""
    left = n_steps

    def hook(event, arguments):
        nonlocal left
        if event in {"os.rename", "os.remove"} or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        ):
            left -= 1
            if left == 0:
                raise Killed

    return hook


HOOKS = []
sys.addaudithook(lambda event, arguments: [hook(event, arguments) for hook in HOOKS])


@pytest.mark.parametrize("n_steps", range(1, 30))
def test_a_rotation_ended_at_any_step_leaves_packs_that_open_and_can_be_done_again(
    settings, n_steps
):
    HOOKS.append(killed_after(n_steps))
    try:
        rotate_key_file(settings)
    except Killed:
        pass
    finally:
        HOOKS.clear()
    assert opened(settings) == [b"one", b"two"]
    _, new, _ = rotate_key_file(settings)
    assert opened(settings) == [b"one", b"two"]
    for pack in model_packs(settings):
        assert slots_in(pack, settings) == (new,)


def test_versions_that_cannot_be_read_open_nothing(settings):
    settings.accepted_file.write_text("{")
    with pytest.raises(StartError, match="bring it back"):
        pack_trust(settings)


def test_a_version_older_than_one_accepted_opens_only_if_allowed(settings):
    settings.accepted_file.write_text('{"one":2}')
    with pytest.raises(PackError):
        open_pack(settings.pack_folder, pack_trust(settings))
    open_pack(settings.pack_folder, pack_trust(settings, is_older_allowed=True)).wipe()


def test_a_genuine_pack_of_another_model_does_not_take_its_place(settings):
    shutil.rmtree(settings.models_folder / "one")
    shutil.copytree(settings.models_folder / "two", settings.models_folder / "one")
    with pytest.raises(PackError) as refused:
        open_pack(settings.pack_folder, pack_trust(settings))
    assert refused.value.reason is PackReason.OTHER_MODEL


def test_a_copy_of_the_data_folder_opens(settings, tmp_path):
    shutil.copytree(settings.data_folder, tmp_path / "copy")
    assert opened(load_settings(data_folder=tmp_path / "copy")) == [b"one", b"two"]
