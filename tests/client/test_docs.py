"""What docs/client.md and docs/examples show is run."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client.options import parse_options
from client.recorders import NO_RECORDER
from server import wire
from tests.client.audio_files import write_call, write_wav
from tests.client.fake_server import (
    TOKEN,
    fake_server_in_thread,
    final,
    partial,
    said,
    says,
    says_by_turns,
)

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples"
GUIDE = (ROOT / "docs/client.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
COMMANDS = re.findall(r"^python -m client (.*?)\s*(?:#.*)?$", GUIDE, re.MULTILINE)
HELLO = wire.Final(0, 0, 900, "Hello.", "en", 0.9, [wire.WordEvent("Hello.", 0, 400, 0.8)])


def start(fake, folder, *arguments, path=""):
    return subprocess.Popen(  # noqa: S603 the interpreter that runs this test
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "EARWITNESS_TOKEN": TOKEN,
            "EARWITNESS_URL": fake.url,
            "PATH": path,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        },
    )


@pytest.fixture
def talk(tmp_path):
    return write_wav(tmp_path / "talk.wav", [1] * 1600)


@pytest.fixture
def recorder(tmp_path):
    """A machine whose recorder hears silence."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "arecord").write_text("#!/bin/sh\nexec /bin/cat /dev/zero\n")
    (folder / "arecord").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs_in_the_guide_run(talk, program):
    with fake_server_in_thread(says(partial(0, 0, "hel"), HELLO)) as fake:
        out, err = start(fake, talk.parent, "-c", program).communicate(timeout=30)
    assert err == ""
    assert "Hello." in out


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_in_the_guide_are_understood(command):
    assert parse_options([*shlex.split(command), "--token", TOKEN]).input != "devices"


def test_the_guide_names_every_option_and_exit_code(capsys):
    with pytest.raises(SystemExit):
        parse_options(["--help"])
    described = GUIDE + (ROOT / "README.md").read_text()
    options = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out))
    known_elsewhere = {"--help", "--language", "--end-of-speech-ms", "--context", "--fast"}
    assert [option for option in sorted(options - known_elsewhere) if option not in described] == []


def test_the_example_of_a_file(talk):
    with fake_server_in_thread(says(HELLO)) as fake:
        program = start(fake, talk.parent, EXAMPLES / "file.py", talk)
        assert program.communicate(timeout=30) == ("Hello.\n    0.00 s  Hello.  (80%)\n", "")


def test_the_example_of_a_call(tmp_path):
    call = write_call(tmp_path / "call.wav")
    script = says_by_turns(says(said(0, 0, 200, "Hello.")), says(said(0, 200, 400, "Hi!")))
    with fake_server_in_thread(script) as fake:
        program = start(fake, tmp_path, EXAMPLES / "call_recording.py", call)
        out, err = program.communicate(timeout=30)
    assert (out, err) == ("    0.00 s  Agent: Hello.\n    0.20 s  Caller: Hi!\n", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["call_recording.py", "talk.wav"], "talk.wav: has no two channels to split"),
        (["file.py", "none.wav"], "none.wav: No such file or directory"),
        (["microphone.py"], NO_RECORDER),
        (["obs_captions.py", "captions.txt"], NO_RECORDER),
    ],
)
def test_an_example_says_in_a_line_what_went_wrong(talk, arguments, complaint):
    example, *others = arguments
    with fake_server_in_thread() as fake:
        program = start(fake, talk.parent, EXAMPLES / example, *others, path=str(talk.parent))
        assert program.communicate(timeout=30) == ("", f"{complaint}\n")
    assert program.returncode == 1


async def talk_back(session):
    """A final as soon as it hears anything, and another when the audio ends."""
    await session.hear_start()
    await session.say(wire.Ready("s", "fake", "en", 500, wire.Limits(None, None, 600)))
    session.audio_frames.append(await session.socket.recv())
    await session.say(final(0, "Hello."))
    await session.hear_until_stop()
    await session.say(partial(1, 0, "and", " by"), final(1, "Bye."))
    await session.say(wire.Ended("stopped", wire.Usage(0, 0, 0, 1)))


def test_the_example_of_a_microphone_ends_with_ctrl_c_and_loses_no_word(tmp_path, recorder):
    with fake_server_in_thread(talk_back) as fake:
        program = start(fake, tmp_path, EXAMPLES / "microphone.py", path=recorder)
        assert program.stdout.readline() == "Hello.\n"
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30) == ("Bye.\n", "")
    assert fake.sessions[0].audio


def test_the_example_of_captions_in_obs_keeps_the_newest_line_in_a_file(tmp_path, recorder):
    captions = tmp_path / "captions.txt"
    with fake_server_in_thread(talk_back) as fake:
        program = start(fake, tmp_path, EXAMPLES / "obs_captions.py", captions, path=recorder)
        while not captions.exists() or captions.read_text() != "Hello.":
            assert program.poll() is None
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30) == ("", "")
    assert captions.read_text() == "Bye."
