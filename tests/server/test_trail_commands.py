"""`run.py audit verify | retain | copy | checkpoint | set-aside` on a data folder with a trail."""

import asyncio
import base64
import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from security.audit_events import ServerStarted
from security.audit_store import AuditStore
from security.checkpoint import open_checkpoint
from security.keys import open_verifying_key, public_half
from server.command_line import account_name
from server.config import load_settings
from server.trail_commands import join
from tests.server import commands

DAY_NS = 86_400 * 10**9
app = typer.Typer()
join(app)


def with_config(arguments):
    """The file of settings that the fixture has made, if it has."""
    file = Path(os.environ["EARWITNESS_DATA_FOLDER"]).with_name("settings.toml")
    return [*arguments, "--config", str(file)] if file.exists() else arguments


def shown(*arguments):
    return commands.shown(app, *with_config(arguments))


def complaint(*arguments, exit_code):
    return commands.complaint(app, *with_config(arguments), exit_code=exit_code)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """Two closed segments, two years old, and one of today."""
    monkeypatch.setenv("EARWITNESS_DATA_FOLDER", str(tmp_path / "data"))
    monkeypatch.setenv("EARWITNESS_AUDIT__SEGMENT_ROWS", "10")
    config = tmp_path / "settings.toml"
    config.write_text(f"[audit]\ncheckpoint_copies = ['{tmp_path / 'elsewhere'}']\n")
    made = load_settings(config)
    made.data_folder.mkdir()
    write(made, 10, time.time_ns() - 730 * DAY_NS)
    write(made, 10, time.time_ns() - 720 * DAY_NS)
    write(made, 3, time.time_ns())
    return made


def write(settings, n_rows, now_utc_ns):
    async def record():
        async with await AuditStore.open(
            settings.trail, lambda: now_utc_ns, settings.audit
        ) as store:
            for number in range(n_rows):
                await store.record(ServerStarted(str(number)))

    asyncio.run(record())


def rows(settings):
    found = []
    for path in settings.trail.segment_files():
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            found += connection.execute("SELECT seq, event, detail FROM events").fetchall()
    return found


def exit_code(*arguments):
    return CliRunner().invoke(app, list(with_config(arguments)), catch_exceptions=False).exit_code


def alter(settings):
    path = settings.trail.segment_files()[0]
    path.chmod(0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TRIGGER events_are_not_updated")
        connection.execute("UPDATE events SET detail = '{}' WHERE seq = 3")
        connection.commit()
    path.chmod(0o400)


def test_a_trail_verifies_with_all_that_lies_on_the_server_and_that_is_on_record(settings):
    lines = shown("verify")
    assert lines[0].startswith("unaltered, as far as checked: rows 1 to ")
    _, event, detail = rows(settings)[-1]
    assert (event, json.loads(detail)) == ("trail.verified", {"by": account_name(), "problems": 0})
    said = json.loads(shown("verify", "--json")[0])
    assert (said["problems"], said["unchecked"]) == ([], [])
    settings.trail.auditor_key_file.unlink()  # taken away, as it ought to be
    assert shown("verify")[0].startswith("unaltered")


def test_an_altered_trail_is_told_by_the_exit_code(settings):
    alter(settings)
    assert exit_code("verify") == 1


def test_checkpoints_elsewhere_are_held_against_it(settings, tmp_path):
    (tmp_path / "kept").write_text((tmp_path / "elsewhere").read_text())
    assert exit_code("verify", "--known", str(tmp_path / "kept")) == 0
    (tmp_path / "kept").write_text("nothing\n")
    assert exit_code("verify", "--known", str(tmp_path / "kept")) == 1


def test_without_a_trail_each_command_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("EARWITNESS_DATA_FOLDER", str(tmp_path))
    copy = ("copy", str(tmp_path / "copy"))
    for command in (
        ("verify",),
        ("retain", "--profile", "dev"),
        copy,
        ("checkpoint",),
        ("set-aside",),
    ):
        assert "there is no audit trail yet" in complaint(*command, exit_code=5)


def test_an_auditors_key_that_is_not_there_is_no_answer(settings, tmp_path):
    text = complaint("verify", "--auditor-key", str(tmp_path / "none"), exit_code=2)
    assert str(tmp_path / "none") in text


def test_whole_old_files_go_and_leave_their_tombstones(settings, tmp_path):
    first, second, *others = settings.trail.segment_files()
    assert len(shown("retain", "--profile", "pci", "--dry-run")) == 2
    assert first.exists()
    lines = shown("retain", "--profile", "pci")
    assert [
        line.endswith(f"are gone: {path.name}")
        for line, path in zip(lines, (first, second), strict=True)
    ] == [True, True]
    assert not first.exists()
    assert not second.exists()
    assert all(path.exists() for path in others)
    dropped = [
        json.loads(detail) for _, event, detail in rows(settings) if event == "trail.dropped"
    ]
    assert [each["by"] for each in dropped] == [account_name()] * 2
    assert (tmp_path / "elsewhere").read_text().count("\ndropped ") == 2
    lines = shown("verify")
    assert any("were let go (pci), as signed" in line for line in lines)
    [line] = shown("retain", "--profile", "pci")
    assert line == "Nothing is older than 400 days in a closed file."


def test_what_a_profile_asks_for_is_kept(settings, monkeypatch):
    assert len(shown("retain", "--profile", "hipaa")) == 1
    assert len(settings.trail.segment_files()) >= 3
    assert "400 days at least" in complaint(
        "retain", "--profile", "pci", "--days", "9", exit_code=5
    )
    [line] = shown("retain", "--profile", "pci", "--days", "725", "--dry-run")
    assert "would go" in line
    assert "no such" in complaint("retain", "--profile", "sox", exit_code=5)
    assert "--profile" in complaint("retain", exit_code=2)
    monkeypatch.setenv("EARWITNESS_AUDIT__RETENTION", "pci")
    assert len(shown("retain", "--dry-run")) == 2


def test_nothing_of_an_altered_trail_goes(settings):
    alter(settings)
    assert "was altered" in complaint("retain", "--profile", "pci", exit_code=5)
    assert "was altered" in complaint("retain", "--profile", "pci", "--dry-run", exit_code=5)
    assert len(settings.trail.segment_files()) >= 3


def test_a_copy_verifies_by_the_script_beside_it(settings, tmp_path):
    folder = tmp_path / "copy"
    lines = shown("copy", str(folder))
    assert lines[0].startswith("unaltered")
    assert {path.name for path in folder.iterdir()} == {
        *("audit", "README.txt", "audit-signing.pem.pub", "verify_trail.py")
    }
    assert not any(path.name.endswith(("-wal", "-shm")) for path in (folder / "audit").iterdir())
    command = next(
        line.split()
        for line in (folder / "README.txt").read_text().splitlines()
        if line.startswith("    python3 ")
    )
    done = subprocess.run(  # noqa: S603
        [sys.executable, *command[1:]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.splitlines()[: len(lines)]) == (0, lines)
    _, event, detail = rows(settings)[-1]
    assert (event, json.loads(detail)["by"]) == ("trail.copied", account_name())
    assert "is there already" in complaint("copy", str(folder), exit_code=5)


def test_a_checkpoint_is_printed_and_its_key(settings):
    note = "\n".join(shown("checkpoint")) + "\n"
    public = open_verifying_key(public_half(settings.trail.signing_key_file))
    signed = open_checkpoint(note, public)
    assert signed.size == rows(settings)[-1][0]
    [key] = shown("checkpoint", "--key")
    assert key.startswith(f"{signed.origin}+")


def test_a_trail_without_a_readable_checkpoint_is_told(settings):
    settings.trail.checkpoints_file.write_text("")
    assert "audit verify" in complaint("checkpoint", exit_code=5)


def test_a_trail_that_was_set_aside_is_whole_and_a_new_one_begins(settings):
    before = rows(settings)
    alter(settings)
    newest = shown("checkpoint")
    [line] = shown("set-aside")
    [aside] = settings.data_folder.glob("audit-set-aside-*")
    assert str(aside) in line
    assert {path.name for path in aside.iterdir()} == {
        *("audit", "audit-chain.key", "audit-head", "audit-auditor.key", "audit-signing.pem.pub")
    }
    [(_, event, detail)] = rows(settings)
    assert event == "trail.began"
    told = json.loads(detail)
    assert [told["former_origin"], str(told["former_size"])] == newest[:2]
    assert bytes.fromhex(told["former_root"]) == base64.b64decode(newest[2])
    assert shown("verify")[0].startswith("unaltered")
    assert len(before) == 24


def test_a_trail_without_its_head_says_what_to_put_back_and_may_be_set_aside(settings):
    settings.trail.head_file.unlink()
    result = CliRunner().invoke(app, with_config(["verify"]), catch_exceptions=False)
    assert f"{settings.trail.head_file} is missing: put it back" in result.stderr
    assert "a new one has begun" in shown("set-aside")[0]


def test_a_trail_that_verifies_is_set_aside_only_when_that_is_meant(settings):
    assert "--although-unaltered" in complaint("set-aside", exit_code=5)
    assert len(rows(settings)) == 24
    assert "a new one has begun" in shown("set-aside", "--although-unaltered")[0]


def test_a_trail_that_a_server_has_open_is_not_set_aside(settings):
    alter(settings)

    async def try_beside_a_server():
        async with await AuditStore.open(settings.trail, time.time_ns, settings.audit):
            return await asyncio.to_thread(complaint, "set-aside", exit_code=5)

    assert "is open in another process: stop it first" in asyncio.run(try_beside_a_server())
    assert len(rows(settings)) >= 24
    assert "a new one has begun" in shown("set-aside")[0]


def test_a_trail_that_cannot_be_read_is_set_aside_and_named_by_its_key(settings):
    settings.trail.checkpoints_file.write_text("nothing\n")
    own = json.loads(settings.trail.chain_key_file.read_text())["trail"]
    shown("set-aside")
    [(_, _, detail)] = rows(settings)
    assert json.loads(detail)["former_origin"] == f"earwitness/audit/{own}"
    assert json.loads(detail)["former_size"] is None


def test_a_damaged_trail_is_not_copied(settings, tmp_path):
    path = settings.trail.segment_files()[0]
    path.chmod(0o600)
    path.write_bytes(b"nothing" * 1000)
    assert "cannot be copied" in complaint("copy", str(tmp_path / "copy"), exit_code=5)


def test_a_copy_of_tombstones_that_cannot_be_written_is_told(settings, tmp_path):
    (tmp_path / "elsewhere").unlink()
    config = tmp_path / "settings.toml"
    config.write_text(f"[audit]\ncheckpoint_copies = ['{tmp_path / 'gone' / 'elsewhere'}']\n")
    arguments = ["retain", "--profile", "pci", "--config", str(config)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert "elsewhere: No such file" in result.stderr
    assert result.stdout.count("are gone") == 2


def test_a_trail_without_the_public_half_of_its_key_is_set_aside_too(settings):
    public_half(settings.trail.signing_key_file).unlink()
    assert "a new one has begun" in shown("set-aside", "--although-unaltered")[0]
