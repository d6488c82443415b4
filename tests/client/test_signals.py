"""Ctrl-C and SIGTERM, sent to the program."""

import os
import shlex
import signal
import threading

import pytest

from tests.client.audio_files import write_wav
from tests.client.fake_server import (
    READY,
    deny,
    ended,
    fake_server_in_thread,
    final,
    partial,
    says,
)
from tests.client.programs import start_program

EITHER = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
TERMINATED = b"earwitness: Ended by SIGTERM. What was heard until then is told.\n"
INTERRUPTED = b"earwitness: Interrupted.\n"


@pytest.fixture
def speech(tmp_path):
    return str(write_wav(tmp_path / "speech.wav", [1] * 16_000))


def test_ctrl_c_stops_and_waits_for_the_finals():
    with fake_server_in_thread(says(final(0, "Hello."))) as fake:
        program = start_program("-", "--rate", "16000", "--json", "--url", fake.url)
        assert b"ready" in program.stdout.readline()
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=30)
    assert (program.returncode, err) == (0, b"")
    assert b"Hello." in out


@EITHER
def test_a_signal_ends_several_files_at_once_and_leaves_none_half_done(speech, tmp_path, number):
    is_asked = threading.Event()

    async def never_end(session):
        await session.hear_start()
        await session.say(READY)
        is_asked.set()
        await session.socket.wait_closed()

    output = tmp_path / "out"
    with fake_server_in_thread(never_end) as fake:
        program = start_program(speech, "--output-folder", str(output), "--url", fake.url)
        assert is_asked.wait(30)
        program.send_signal(number)
        out, err = program.communicate(timeout=30)
    assert (program.returncode, out, err) == (130, b"", b"earwitness: Interrupted.\n")
    assert not output.exists()


@EITHER
def test_a_second_signal_does_not_wait(number):
    async def never_end(session):
        await session.hear_start()
        await session.say(READY)
        await session.hear_until_stop()
        await session.say(partial(0, 0, "stop was heard"))
        await session.socket.wait_closed()

    with fake_server_in_thread(never_end) as fake:
        program = start_program("-", "--rate", "16000", "--json", "--url", fake.url)
        program.stdout.readline()
        program.send_signal(number)
        assert b"stop was heard" in program.stdout.readline()
        program.send_signal(number)
        _, err = program.communicate(timeout=30)
    assert (program.returncode, err) == (130, b"earwitness: Interrupted.\n")


@pytest.fixture
def recorder(tmp_path):
    """A machine whose recorder hears silence."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "arecord").write_text("#!/bin/sh\nexec /bin/cat /dev/zero\n")
    (folder / "arecord").chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, b""), (signal.SIGTERM, TERMINATED)])
@pytest.mark.parametrize("source", ["file", "microphone"])
def test_what_was_heard_until_a_signal_is_written(tmp_path, recorder, source, number, told):
    has_heard = threading.Event()

    async def script(session):
        await session.hear_start()
        await session.say(READY)
        session.audio_frames.append(await session.socket.recv())
        has_heard.set()
        await session.hear_until_stop()
        await session.say(final(0, "Hello."), ended())

    hour = str(write_wav(tmp_path / "hour.wav", [1] * 1_600_000))
    inputs = [hour, "--realtime"] if source == "file" else ["--microphone"]
    output = tmp_path / "notes.txt"
    with fake_server_in_thread(script) as fake:
        program = start_program(*inputs, "--output", str(output), "--url", fake.url, PATH=recorder)
        assert has_heard.wait(30)
        program.send_signal(number)
        assert program.communicate(timeout=30) == (b"", told)
    assert program.returncode == 0
    assert output.read_text() == "Hello.\n"


@EITHER
def test_what_a_microphone_heard_is_written_even_if_nobody_waits_for_the_rest(
    tmp_path, recorder, number
):
    has_heard, has_stopped = threading.Event(), threading.Event()

    async def script(session):
        await session.hear_start()
        await session.say(READY, final(0, "so far"))
        session.audio_frames.append(await session.socket.recv())
        has_heard.set()
        await session.hear_until_stop()
        has_stopped.set()
        await session.socket.wait_closed()

    output = tmp_path / "notes.txt"
    inputs = ["--microphone", "--output", str(output)]
    with fake_server_in_thread(script) as fake:
        program = start_program(*inputs, "--url", fake.url, PATH=recorder)
        assert has_heard.wait(30)
        program.send_signal(number)
        assert has_stopped.wait(30)
        program.send_signal(number)
        assert program.communicate(timeout=30) == (b"", INTERRUPTED)
    assert program.returncode == 130
    assert output.read_text() == "so far\n"


@EITHER
def test_a_token_command_is_ended_at_once(speech, tmp_path, number):
    began = tmp_path / "began"
    os.mkfifo(began)
    command = shlex.join(["sh", "-c", f"echo > {began}; exec sleep 60"])
    program = start_program(speech, "--token-command", command)
    began.read_bytes()
    program.send_signal(number)
    assert program.communicate(timeout=30) == (b"", INTERRUPTED)
    assert program.returncode == 130


@EITHER
def test_a_token_command_holds_up_no_other_files(speech, tmp_path, number):
    began = tmp_path / "began"
    os.mkfifo(began)
    command = shlex.join(["sh", "-c", f"echo > {began}; exec sleep 60"])
    output = ["--output-folder", str(tmp_path / "out")]
    program = start_program(speech, *output, "--token-command", command)
    began.read_bytes()
    program.send_signal(number)
    assert program.communicate(timeout=30) == (b"", INTERRUPTED)
    assert program.returncode == 130


@EITHER
def test_a_wait_for_a_full_server_can_be_interrupted(speech, number):
    full = deny(503, b'{"code":"overloaded","message":"The server is full."}')
    with fake_server_in_thread(denial=full) as fake:
        program = start_program(speech, "--url", fake.url)
        assert b"Asking again" in program.stderr.readline()
        program.send_signal(number)
        while (line := program.stderr.readline()) and line != INTERRUPTED:
            assert b"Asking again" in line
        program.communicate(timeout=30)
    assert (program.returncode, line) == (130, INTERRUPTED)
