"""`run.py seal …` on small folders of a model's files."""

import shutil

import pytest

from security.weights import open_pack
from server.config import load_settings
from server.pack_commands import app
from server.packs import pack_trust
from tests.pack_fakes import turn_bit
from tests.server.commands import complaint, shown, spoil_trail
from tests.server.test_provision import wheels  # noqa: F401 (a fixture)
from tests.trail_rows import read_trail


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    made.mkdir()
    (made / "model.bin").write_bytes(b"weights" * 1000)
    (made / "config.json").write_text("{}")
    return made


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.setenv("EARWITNESS_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("EARWITNESS_MODEL", "mine")
    return load_settings()


@pytest.fixture
def sealed(settings, folder):
    shown(app, "folder", str(folder), "--name", "mine")
    return settings


def trail(settings):
    return [
        (record.event, record.reason, dict(record.detail))
        for record in read_trail(settings.trail)[1:]
    ]


def test_a_folder_is_sealed_once_and_left_as_it_is(settings, folder):
    lines = shown(app, "folder", str(folder), "--name", "mine")
    assert lines[0].startswith("Sealed 0.0 MB in ")
    assert lines[0].endswith("GB/s")
    assert lines[1].startswith("2 files are sealed")
    assert "keys add" in lines[2]
    with open_pack(settings.pack_folder, pack_trust(settings)) as pack:
        assert bytes(pack.files["model.bin"]) == (folder / "model.bin").read_bytes()
        assert (pack.card.engine, pack.card.version) == ("whisper-ct2", 1)
    again = complaint(app, "folder", str(folder), "--name", "mine", exit_code=3)
    assert "never overwritten" in again
    assert trail(settings) == [
        ("pack.sealed", None, {"model": "mine", "pack": "mine", "pack_version": 1})
    ]


@pytest.mark.usefixtures("wheels")
def test_a_model_of_the_package_index_is_sealed_once(settings):
    assert len(shown(app, "embedded", "small")) == 2
    assert shown(app, "embedded", "small") == []
    made = {"model": "small", "pack": "small", "pack_version": 1}
    assert trail(settings) == [("pack.sealed", None, made)]


def test_what_a_download_leaves_beside_a_model_is_left_out_and_told(settings, folder):
    (folder / ".cache").mkdir()
    (folder / ".gitattributes").touch()
    (folder / "onnx").mkdir()
    lines = shown(app, "folder", str(folder), "--name", "mine")
    assert lines[1].startswith("2 files")
    assert lines[2].endswith(": .cache, .gitattributes, onnx")


def test_a_folder_for_two_keys_gives_no_advice(settings, folder, monkeypatch):
    monkeypatch.setenv("A", "aa" * 32)
    monkeypatch.setenv("B", "bb" * 32)
    monkeypatch.setenv("EARWITNESS_PACKS__KEYS", '["env:A", "env:B"]')
    assert len(shown(app, "folder", str(folder), "--name", "mine")) == 2


def test_a_folder_that_no_engine_reads_is_refused(settings, tmp_path):
    (tmp_path / "empty").mkdir()
    line = complaint(app, "folder", str(tmp_path / "empty"), "--name", "mine", exit_code=3)
    assert "neither model.bin" in line
    assert not settings.pack_folder.exists()


def test_the_next_version_follows_the_one_that_was_accepted(sealed, folder):
    shown(app, "reseal")
    shutil.rmtree(sealed.pack_folder)
    shown(app, "folder", str(folder), "--name", "mine")
    assert shown(app, "inspect")[0].startswith("mine version 3")


def test_a_pack_shows_its_files_to_whoever_has_the_key(sealed):
    title, config, model, opened_by = shown(app, "inspect")
    assert title.startswith("mine version 1, engine whisper-ct2, publisher ")
    assert config.split() == ["2", "config.json"]
    assert model.split() == ["7,000", "model.bin"]
    assert opened_by.startswith("opened by local:")


def test_a_pack_shows_nothing_without_the_key_but_can_be_checked(sealed):
    sealed.pack_key_file.write_text("00" * 32 + "\n")
    assert "no key at hand fits" in complaint(app, "inspect", exit_code=3)
    [line] = shown(app, "verify", "--without-key")
    assert line.endswith("all as a trusted publisher sealed them")


def test_every_byte_of_a_pack_is_verified(sealed):
    speed, title = shown(app, "verify")
    assert speed.startswith("Verified")
    assert title == "mine version 1: 2 files, all as they were sealed"


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "--without-key"], ["reseal"]])
def test_a_damaged_pack_is_refused_and_on_record(sealed, arguments):
    turn_bit(sealed.pack_folder / "f001.seg", 100)
    complaint(app, *arguments, exit_code=3)
    assert trail(sealed)[-1] == ("model.refused", "bad_segment", {"pack": "mine"})


def test_a_refusal_makes_the_trail_that_it_is_in(sealed):
    shutil.rmtree(sealed.trail.folder)
    sealed.trail.chain_key_file.unlink()
    sealed.trail.head_file.unlink()
    turn_bit(sealed.pack_folder / "f001.seg")
    complaint(app, "verify", exit_code=3)
    assert trail(sealed) == [("model.refused", "bad_segment", {"pack": "mine"})]


def test_a_refusal_is_told_even_if_it_cannot_be_recorded(sealed):
    spoil_trail(sealed)
    turn_bit(sealed.pack_folder / "f001.seg")
    assert "no key at hand fits" in complaint(app, "verify", exit_code=3)


@pytest.mark.parametrize(
    "command", [["verify"], ["verify", "--without-key"], ["inspect"], ["reseal"]]
)
def test_a_pack_that_is_not_there_is_told_and_not_called_damaged(sealed, command):
    shutil.rmtree(sealed.pack_folder)
    assert "no such pack" in complaint(app, *command, exit_code=3)


def test_a_resealed_pack_has_a_new_key_and_the_old_one_is_refused(sealed, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(sealed.pack_folder, old)
    speed, line = shown(app, "reseal")
    assert speed.startswith("Resealed")
    assert line.startswith("mine is version 2 now")
    assert shown(app, "inspect")[0].startswith("mine version 2")
    shutil.rmtree(sealed.pack_folder)
    old.rename(sealed.pack_folder)
    complaint(app, "verify", exit_code=3)
    assert [(event, reason) for event, reason, _ in trail(sealed)] == [
        ("pack.sealed", None),
        ("pack.sealed", None),
        ("model.refused", "older_version"),
    ]


def test_a_publisher_that_is_not_trusted_here_is_refused(sealed, tmp_path, monkeypatch):
    other = load_settings(data_folder=tmp_path / "other")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EARWITNESS_DATA_FOLDER", str(other.data_folder))
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "model.bin").touch()
        shown(app, "folder", str(tmp_path / "two"), "--name", "mine")
    monkeypatch.setenv("EARWITNESS_PACKS__PUBLISHERS", str(other.publisher_files[0]))
    complaint(app, "verify", "--without-key", exit_code=3)


def test_what_cannot_be_recorded_is_not_sealed(sealed, folder):
    spoil_trail(sealed)
    complaint(app, "reseal", exit_code=5)
    assert shown(app, "inspect")[0].startswith("mine version 1")
    complaint(app, "folder", str(folder), "--name", "other", exit_code=5)
    assert not (sealed.models_folder / "other").exists()


def test_a_hub_that_gives_nothing_is_one_line(settings):
    pytest.importorskip("huggingface_hub")
    assert "OWNER/NAME" in complaint(app, "hub", "what is this?", "--name", "x", exit_code=3)
    assert not settings.pack_folder.exists()
