"""`run.py keys …` on a data folder with two small packs."""

import json

import pytest
from typer.testing import CliRunner

from security.key_files import read_retired
from security.weights import open_pack
from server.config import load_settings
from server.key_commands import app
from server.packs import make_pack_keys, pack_trust
from server.provision import make_keys, seal
from tests.server.commands import complaint, shown, spoil_trail
from tests.trail_rows import read_trail


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Packs `one`, which the commands take, and `two`, under one key file."""
    monkeypatch.setenv("EARWITNESS_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("EARWITNESS_MODEL", "one")
    made = load_settings()
    make_pack_keys(made)
    for name in ("one", "two"):
        named = load_settings(model=name)
        seal(named, engine="e", version=1, files={"weights": name.encode()})
    return made


def opens(model="one", **packs):
    settings = load_settings(model=model, packs=packs)
    with open_pack(settings.pack_folder, pack_trust(settings)) as pack:
        return bytes(pack.files["weights"]) == model.encode()


def trail(settings):
    return [(record.event, dict(record.detail)) for record in read_trail(settings.trail)[1:]]


def test_the_keys_of_a_pack_are_listed_without_any_of_them(settings):
    settings.pack_key_file.unlink()
    [kek_id] = shown(app, "list")
    assert kek_id.startswith("local:")


def test_a_second_key_opens_a_pack_when_the_first_is_lost(settings, tmp_path, monkeypatch):
    second = f"file:{tmp_path / 'second.key'}"
    assert shown(app, "new", str(tmp_path / "second.key")) == []
    shown(app, "add", second)
    [first_id, second_id] = shown(app, "list")
    settings.pack_key_file.unlink()
    assert opens(keys=[second])
    monkeypatch.setenv("EARWITNESS_PACKS__KEYS", json.dumps([second]))
    shown(app, "drop", first_id)
    assert shown(app, "list") == [second_id]
    assert "last key" in complaint(app, "drop", second_id, exit_code=3)
    added, dropped = trail(settings)
    assert added == (
        "keys.changed",
        {"change": "added", "former_kek": None, "kek": second_id, "pack": "one"},
    )
    assert dropped[1]["change"] == "dropped"


def test_without_a_target_the_key_file_of_all_packs_is_rotated(settings):
    [former] = shown(app, "list")
    lines = shown(app, "rotate")
    [new] = shown(app, "list")
    assert [line.startswith(new) and line.endswith(former) for line in lines] == [True, True]
    assert opens("one")
    assert opens("two")
    assert trail(settings) == [
        ("keys.changed", {"change": "rotated", "former_kek": former, "kek": new, "pack": name})
        for name in ("one", "two")
    ]


def test_a_pack_can_be_rotated_to_a_passphrase(settings, tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    source = f"passphrase:file={passphrase}"
    setting, line = shown(app, "rotate", "--to", source)
    assert source in setting
    assert line.startswith("passphrase opens")
    assert opens(keys=[source])
    assert opens("two")


def test_two_people_can_each_have_a_passphrase(settings, tmp_path):
    sources = []
    for person in ("alice", "bob"):
        path = tmp_path / person
        path.write_text(f"the long passphrase of {person}\n")
        path.chmod(0o600)
        sources.append(f"passphrase:file={path}")
        shown(app, "add", sources[-1])
    assert shown(app, "list")[1:] == ["passphrase", "passphrase"]
    assert opens(keys=sources[:1])
    assert opens(keys=sources[1:])
    shown(app, "add", sources[0])
    assert shown(app, "list")[1:] == ["passphrase", "passphrase"]
    shown(app, "drop", "passphrase")
    assert len(shown(app, "list")) == 1


def test_keys_that_the_settings_name_are_not_rotated_without_a_target(settings, monkeypatch):
    monkeypatch.setenv("EARWITNESS_PACKS__KEYS", "env:KEK")
    assert "--to" in complaint(app, "rotate", exit_code=2)


def test_a_source_that_nobody_knows_is_told_without_repeating_it(settings):
    line = complaint(app, "add", "s3cret:abc", exit_code=4)
    assert "file:PATH" in line
    assert "s3cret" not in line


def test_a_key_that_is_not_there_is_told(settings, tmp_path):
    assert "cannot be opened" in complaint(app, "add", f"file:{tmp_path / 'no'}", exit_code=4)


def test_a_slot_that_is_not_there_is_told(settings):
    assert "no slot" in complaint(app, "drop", "local:0", exit_code=3)


def test_a_key_file_is_not_made_over_another(settings):
    assert "never overwritten" in complaint(app, "new", str(settings.pack_key_file), exit_code=4)


def test_publishers_keys_are_made_in_two_files(settings, tmp_path):
    shown(app, "new-publisher", str(tmp_path / "publisher.pem"))
    assert (tmp_path / "publisher.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "publisher.pem.pub").is_file()


def test_a_key_that_is_lost_does_not_stand_in_the_way_of_the_next(settings, tmp_path, monkeypatch):
    second = f"file:{tmp_path / 'second.key'}"
    shown(app, "new", str(tmp_path / "second.key"))
    shown(app, "add", second)
    settings.pack_key_file.unlink()
    both = [f"file:{settings.pack_key_file}", second]
    assert opens(keys=both)
    monkeypatch.setenv("EARWITNESS_PACKS__KEYS", json.dumps(both[:1]))
    assert "cannot be opened" in complaint(app, "add", second, exit_code=4)


def test_a_pack_that_does_not_open_cannot_be_changed_which_is_on_record(settings):
    settings.pack_key_file.write_text("00" * 32 + "\n")
    complaint(app, "drop", "local:0", exit_code=3)
    assert trail(settings) == [("model.refused", {"pack": "one"})]


def test_a_pack_that_is_not_there_has_no_keys(settings):
    assert "no such pack" in complaint(app, "list", "--model", "three", exit_code=3)


@pytest.mark.parametrize("command", ["rotate", "add env:SECOND", "drop local:0"])
def test_what_cannot_be_recorded_is_not_done(settings, monkeypatch, command):
    monkeypatch.setenv("SECOND", "ab" * 32)
    before = shown(app, "list")
    spoil_trail(settings)
    complaint(app, *command.split(), exit_code=5)
    assert shown(app, "list") == before


def test_signing_keys_are_made_in_two_files(settings, tmp_path):
    shown(app, "new-signing", str(tmp_path / "signing.pem"))
    assert (tmp_path / "signing.pem").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "signing.pem.pub").is_file()
    assert "never overwritten" in complaint(
        app, "new-signing", str(tmp_path / "signing.pem"), exit_code=4
    )


def test_the_signing_key_is_rotated_on_record(settings):
    make_keys(settings)
    [line] = shown(app, "rotate-signing", "--overlap", "2h")
    [(event, detail)] = trail(settings)
    assert event == "keys.signing_rotated"
    assert detail["overlap_s"] == 7200
    assert line.startswith(f"{detail['key_id']} signs")
    assert detail["former_key_id"] in line
    [retired] = read_retired(settings.retired_keys_file).keys
    assert retired.key_id == detail["former_key_id"]


@pytest.mark.parametrize("overlap", ["", "24", "h", "-1h", "1.5h", "1w", "1" * 10 + "s", "²h"])
def test_an_overlap_that_is_no_duration_is_told(settings, overlap):
    make_keys(settings)
    result = CliRunner().invoke(app, ["rotate-signing", "--overlap", overlap])
    assert result.exit_code == 2
    assert not settings.retired_keys_file.exists()


def test_a_rotation_of_the_signing_key_that_cannot_be_recorded_is_not_done(settings):
    make_keys(settings)
    before = settings.signing_key_file.read_bytes()
    spoil_trail(settings)
    complaint(app, "rotate-signing", exit_code=5)
    assert settings.signing_key_file.read_bytes() == before
