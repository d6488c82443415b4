"""A small pack, whole and harmed; devices that are there and that are not."""

import shutil

import pytest

from security.keks.uris import open_kek
from security.keys import create_key_file
from security.rotation import add_slot
from server.config import load_settings
from server.doctor.model import check_device, check_pack, check_slots
from server.packs import make_pack_keys, pack_trust
from server.provision import seal


@pytest.fixture
def settings(tmp_path):
    made = load_settings(data_folder=tmp_path / "data", model="one")
    make_pack_keys(made)
    seal(made, engine="e", version=1, files={"weights": b"w" * 1000})
    return made


@pytest.mark.parametrize("is_full", [False, True])
def test_a_whole_pack_opens(settings, is_full):
    finding, card = check_pack(settings, is_full=is_full)
    assert (finding.level, card.engine) == ("ok", "e")
    assert ("every byte" in finding.text) is is_full


def test_only_the_full_check_sees_a_byte_that_was_turned(settings):
    sealed = settings.pack_folder / "f000.seg"
    content = bytearray(sealed.read_bytes())
    content[-1] ^= 1
    sealed.write_bytes(content)
    assert check_pack(settings, is_full=False)[0].level == "ok"
    finding, card = check_pack(settings, is_full=True)
    assert (finding.level, card) == ("bad", None)


@pytest.mark.parametrize("missing", ["pack_folder", "keys_folder"])
def test_a_pack_or_a_key_that_is_gone_is_bad(settings, missing):
    shutil.rmtree(getattr(settings, missing))
    assert check_pack(settings, is_full=False)[0].level == "bad"
    assert check_slots(settings).level == "bad"


def test_a_pack_wants_a_second_key(settings, tmp_path):
    assert check_slots(settings).level == "warn"
    create_key_file(tmp_path / "second.key")
    with pack_trust(settings) as trust:
        add_slot(settings.pack_folder, trust, open_kek(f"file:{tmp_path / 'second.key'}"))
    assert check_slots(settings).level == "ok"


@pytest.mark.parametrize(
    ("engine", "device", "has_torch", "has_cuda", "level"),
    [
        ("whisper-ct2", "auto", False, False, "ok"),
        ("transformers", "auto", False, False, "bad"),
        ("transformers", "cpu", True, False, "ok"),
        ("transformers", "auto", True, True, "ok"),
        ("transformers", "auto", True, False, "warn"),
        ("transformers", "cuda", True, True, "ok"),
        ("transformers", "cuda", True, False, "bad"),
    ],
)
def test_a_model_finds_what_it_is_to_run_on(engine, device, has_torch, has_cuda, level):
    assert check_device(engine, device, lambda: has_cuda, has_torch).level == level


def test_torch_is_looked_for():
    assert check_device("transformers", "cpu", lambda: False).level in {"ok", "bad"}
