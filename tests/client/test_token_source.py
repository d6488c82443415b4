"""Where a token comes from, and that nobody else gets to see it."""

import os
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from client import token_source
from client.errors import UnusableError
from client.token_source import TokenCommand, find_token, looks_like_token, split_command
from tests.client.fake_server import TOKEN


def python(program):
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(program)}"


def test_it_comes_from_the_command_line_a_file_a_command_or_the_environment(tmp_path):
    file = tmp_path / "token"
    file.write_text("from-file\n")
    environment = {"EARWITNESS_TOKEN": " from-environment "}
    command = python("print('from-command')")
    sources = [("given", None, None), (None, file, None), (None, None, command), (None, None, None)]
    found = [find_token(*source, environment)() for source in sources]
    assert found == ["given", "from-file", "from-command", "from-environment"]


def test_without_any_it_says_where_to_put_one():
    with pytest.raises(UnusableError, match="--token-command"):
        find_token(None, None, None, {})


def test_a_file_is_read_again_each_time(tmp_path):
    file = tmp_path / "token"
    file.write_text("old")
    find = find_token(None, file, None)
    assert find() == "old"
    file.write_text("new")
    assert find() == "new"


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UnusableError, match="No such file"):
        find_token(None, tmp_path / "none", None)()


@pytest.mark.parametrize("content", [b"\xff\xfe", b" \n", b"a" * 16_385])
def test_a_file_that_holds_no_token_is_refused(tmp_path, content):
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(UnusableError, match="holds no token"):
        find_token(None, tmp_path / "token", None)()


@pytest.mark.parametrize(
    ("program", "complaint"),
    [
        (f"print({TOKEN!r}); raise SystemExit(3)", "exit code 3"),
        (f"import sys; sys.stderr.write({TOKEN!r}); sys.exit(1)", "exit code 1"),
        ("pass", "printed no token"),
        ("print('x' * 20_000)", "printed no token"),
        ("import sys; sys.stdout.buffer.write(bytes([255]))", "printed no token"),
    ],
)
def test_a_command_that_fails_is_told_without_its_output(program, complaint, capfd):
    with pytest.raises(UnusableError, match=complaint) as caught:
        find_token(None, None, python(program))()
    out, err = capfd.readouterr()
    assert TOKEN not in str(caught.value) + out + err


@pytest.mark.parametrize("command", ["", "  ", 'echo "'])
def test_what_is_no_command_is_refused(command):
    with pytest.raises(UnusableError, match="quotes"):
        split_command(command)


def test_a_command_that_is_not_there_is_refused():
    with pytest.raises(UnusableError, match="could not be run: no such file"):
        TokenCommand(["no-such-program-here"])()


def test_there_is_no_shell():
    assert TokenCommand(split_command("echo $HOME;ls"))() == "$HOME;ls"


def test_a_command_has_no_input():
    program = [sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"]
    assert TokenCommand(program)() == "''"


def test_a_command_that_hangs_is_ended_with_all_that_it_started():
    began_s = time.monotonic()
    with pytest.raises(UnusableError, match="too long"):
        TokenCommand(["sh", "-c", "sleep 60 & sleep 60"], timeout_s=0.2)()
    assert time.monotonic() - began_s < 5


def test_the_limit_is_half_a_minute():
    assert token_source.COMMAND_TIMEOUT_S == 30


def test_a_token_is_known_by_its_looks():
    assert looks_like_token(TOKEN)
    assert not any(map(looks_like_token, ["talk.wav", "a.b.c", "talks/2026.11.24.flac"]))


def test_a_command_that_nobody_waits_for_is_ended_and_not_run_again(tmp_path):
    began = tmp_path / "began"
    os.mkfifo(began)
    command = TokenCommand(["sh", "-c", f"echo > {began}; sleep 60"])
    with ThreadPoolExecutor(1) as thread:
        asking = thread.submit(command)
        began.read_bytes()
        command.end()
        assert isinstance(asking.exception(30), UnusableError)
    with pytest.raises(UnusableError):
        command()
