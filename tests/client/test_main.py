"""The program while it is still being loaded."""

import signal

import pytest

from tests.client.programs import start_program


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_is_loaded_is_130_without_a_traceback(tmp_path, number):
    slow = "import sys, time; print('loading', flush=True); time.sleep(60)"
    (tmp_path / "msgspec.py").write_text(slow)
    program = start_program("talk.wav", PYTHONPATH=str(tmp_path))
    assert program.stdout.readline() == b"loading\n"
    program.send_signal(number)
    assert program.communicate(timeout=30) == (b"", b"")
    assert program.returncode == 130
