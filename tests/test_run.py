"""The command line: what a person can mend is one line and an exit code."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import copy_data

ROOT = Path(__file__).parent.parent


def run(data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "run.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "EARWITNESS_DATA_FOLDER": str(data), "PIP_NO_INDEX": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def complaint(result: subprocess.CompletedProcess, exit_code: int) -> str:
    """The one line on standard error."""
    assert result.returncode == exit_code, result.stderr
    [line] = result.stderr.splitlines()
    assert line.startswith("earwitness: ")
    return line


@pytest.fixture
def data(embedded_model_pack, tmp_path) -> Path:
    copy_data(embedded_model_pack, tmp_path / "data")
    return tmp_path / "data"


def a_sealed_file(data: Path) -> Path:
    return max((data / "models" / "tiny.en").iterdir(), key=lambda path: path.stat().st_size)


def test_a_damaged_model_is_refused(data):
    with a_sealed_file(data).open("r+b") as file:
        file.seek(5_000_000)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    assert "cannot be opened: no key at hand fits" in complaint(run(data, "serve"), 3)
    rows = run(data, "audit", "list", "--event", "model.refused").stdout
    assert "reason=bad_segment" in rows


def test_a_model_cut_short_is_refused(data):
    os.truncate(a_sealed_file(data), 4_000_000)
    assert "models/tiny.en" in complaint(run(data, "serve"), 3)


def test_a_wrong_key_is_refused_in_the_same_words(data):
    (data / "keys" / "pack.key").write_text("00" * 32 + "\n")
    assert "cannot be opened: no key at hand fits" in complaint(run(data, "serve"), 3)


def test_a_missing_model_that_cannot_be_fetched_is_told(data):
    shutil.rmtree(data / "models")
    assert "could not be downloaded" in complaint(run(data, "serve"), 3)


def test_a_model_nobody_knows_is_told(data):
    assert "seal any other" in complaint(run(data, "serve", "--model", "huge"), 3)


def test_a_key_open_to_others_is_refused(data):
    (data / "keys" / "pack.key").chmod(0o644)
    assert "chmod 600" in complaint(run(data, "serve"), 4)


def test_a_missing_key_is_not_made_anew_over_a_pack(data):
    (data / "keys" / "pack.key").unlink()
    assert "stays sealed" in complaint(run(data, "serve"), 4)
    assert not (data / "keys" / "pack.key").exists()


def test_a_port_in_use_is_told(data):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"port {port}" in complaint(run(data, "serve", "--port", port), 6)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_its_trail(data, number):
    environment = {**os.environ, "EARWITNESS_DATA_FOLDER": str(data)}
    command = [sys.executable, "run.py", "serve", "--port", "0"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        assert b"listens on" in server.stdout.readline()
        server.send_signal(number)
        output, errors = server.communicate(timeout=60)
    logged = [json.loads(line)["event"] for line in errors.splitlines()]
    assert all(event.startswith("sqlite has the WAL-reset fault") for event in logged)
    assert (server.returncode, output) == (0, b"")
    assert "server.stopped" in run(data, "audit", "list").stdout.splitlines()[-1]


def test_the_code_is_printed_where_it_is_asked_for_and_is_in_no_log(data):
    environment = {**os.environ, "EARWITNESS_DATA_FOLDER": str(data)}
    command = [sys.executable, "run.py", "serve", "--port", "0", "--print-code"]
    with subprocess.Popen(  # noqa: S603 - our own program
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as server:
        url = server.stdout.readline().split()[3].decode()
        server.stdout.readline()
        address, _, code = server.stdout.readline().decode().strip().partition("#code=")
        server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=60)
    assert address == f"{url}/"
    assert len(code) == 22
    assert code not in errors.decode()
    assert code not in run(data, "audit", "list").stdout


def test_a_data_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "data").write_text("a file where a folder should be")
    assert str(tmp_path / "data") in complaint(run(tmp_path / "data", "serve"), 5)


def spoil_trail(data):
    (data / "audit").mkdir(exist_ok=True)
    (data / "audit" / "segment-000000000001.sqlite3").write_bytes(b"not a database" * 1000)


def test_a_damaged_trail_is_told(data):
    spoil_trail(data)
    assert "audit-chain.key" in complaint(run(data, "serve"), 5)


def test_settings_that_are_wrong_are_told_together(data):
    result = run(data, "serve", EARWITNESS_LISTEN__PORT="x", EARWITNESS_SESSION__IDLE_LIMIT_S="y")
    assert result.returncode == 2
    assert "listen.port" in result.stderr
    assert "session.idle_limit_s" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_minted_token_is_all_that_is_printed(data):
    result = run(data, "token", "mint", "--subject", "alice", "--audio-s", "60")
    assert result.stdout.count(".") == 2
    assert len(result.stdout.split()) == 1
    assert result.stderr == ""


def test_a_token_that_would_live_too_long_is_not_minted(data):
    complaint(run(data, "token", "mint", "--lifetime-s", "999999"), 2)


def test_a_pack_can_be_verified(data):
    result = run(data, "seal", "verify")
    assert result.returncode == 0
    assert "tiny.en version 1: 4 files" in result.stdout


def test_a_folder_can_be_sealed_and_is_not_sealed_twice(data, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.bin").write_text("weights")
    arguments = ("seal", "folder", str(folder), "--name", "mine")
    assert run(data, *arguments).returncode == 0
    assert "never overwritten" in complaint(run(data, *arguments), 3)
    assert "does not hold" in complaint(run(data, "serve", "--model", "mine"), 3)


def test_a_folder_that_is_not_there_is_an_argument_that_is_wrong(data, tmp_path):
    result = run(data, "seal", "folder", str(tmp_path / "nowhere"), "--name", "mine")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr


def test_output_that_nobody_reads_is_told_without_a_file(data):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody:
        result = subprocess.run(
            [sys.executable, "-u", "run.py", "token", "mint"],
            cwd=ROOT,
            env={**os.environ, "EARWITNESS_DATA_FOLDER": str(data)},
            stdout=nobody,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert complaint(result, 5) == "earwitness: [Errno 32] Broken pipe"


def test_a_trail_that_does_not_exist_is_told(data):
    assert "no audit trail yet" in complaint(run(data, "audit", "list"), 5)


def shown(data, *arguments: str, **environment: str) -> list[str]:
    """The lines that a command prints."""
    result = run(data, *arguments, **environment)
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout.splitlines()


def test_the_key_file_can_be_rotated_and_the_model_opens(data):
    [former] = shown(data, "keys", "list")
    old_key = (data / "keys" / "pack.key").read_text()
    [line] = shown(data, "keys", "rotate")
    [new] = shown(data, "keys", "list")
    assert line.startswith(new)
    assert line.endswith(former)
    assert shown(data, "seal", "verify")[-1].endswith("all as they were sealed")
    row = shown(data, "audit", "list")[-1]
    assert f"change=rotated former_kek={former} kek={new} pack=tiny.en" in row
    (data / "keys" / "pack.key").write_text(old_key)
    complaint(run(data, "seal", "verify"), 3)


def test_a_resealed_pack_has_a_new_key_and_the_old_one_is_refused(data, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(data / "models" / "tiny.en", old)
    assert shown(data, "seal", "reseal")[-1].startswith("tiny.en is version 2 now")
    assert shown(data, "seal", "inspect")[0].startswith("tiny.en version 2")
    shutil.rmtree(data / "models" / "tiny.en")
    old.rename(data / "models" / "tiny.en")
    complaint(run(data, "serve"), 3)
    assert "reason=older_version" in shown(data, "audit", "list")[-1]


def test_a_fresh_installation_passes_the_doctor(data):
    lines = shown(data, "doctor", "--full", EARWITNESS_LISTEN__PORT="0")
    assert any("every byte is as it was sealed" in line for line in lines)
    assert not any(line.startswith("bad") for line in lines)


def test_the_doctor_says_all_that_is_broken(data):
    (data / "keys" / "signing.pem").chmod(0o644)
    os.truncate(a_sealed_file(data), 4_000_000)
    spoil_trail(data)
    wrong = {
        "EARWITNESS_LISTEN__HOST": "192.0.2.1",
        "EARWITNESS_LISTEN__ORIGINS": "http://page.example",
        "EARWITNESS_SESSION__IDLE_LIMIT_S": "0",
    }
    result = run(data, "doctor", "--json", **wrong)
    assert (result.returncode, result.stderr) == (1, "")
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {finding["check"] for finding in found if finding["level"] == "bad"} == {
        *("signing key", "pack", "trail", "chain", "exposure", "origins", "port", "time-outs")
    }
    assert all(finding["remedy"] for finding in found if finding["level"] != "ok")
