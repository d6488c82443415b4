"""Which recorder a machine has, what it is told, and what devices it knows."""

import os
import subprocess
import sys

import pytest

from client.errors import SourceError
from client.recorders import NO_RECORDER, RECORDERS, find_recorder, list_devices

BY_NAME = {recorder.name: recorder for recorder in RECORDERS}


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A machine with no programs but those that a test installs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.syspath_prepend(str(tmp_path / "python"))
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-packages" not in p])

    def install(name, output="", exit_code=0):
        (folder / name).write_text(f"#!/bin/sh\nprintf '{output}'\nexit {exit_code}\n")
        (folder / name).chmod(0o755)

    return install


@pytest.mark.parametrize("name", ["parec", "arecord", "ffmpeg"])
def test_a_recorder_that_is_installed_is_found(programs, name):
    programs(name)
    assert find_recorder().name == name


def test_the_systems_own_come_first(programs):
    for name in ("ffmpeg", "arecord", "parec"):
        programs(name)
    assert find_recorder().name == "parec"


def test_a_machine_without_any_is_told_what_to_install(programs):
    with pytest.raises(SourceError) as caught:
        find_recorder()
    assert str(caught.value) == NO_RECORDER


def test_the_python_package_will_do(programs, tmp_path):
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sounddevice.py").write_text("")
    assert find_recorder().name == "sounddevice"


def test_each_is_told_the_device_the_rate_and_mono():
    parec, arecord, ffmpeg = (BY_NAME[name] for name in ("parec", "arecord", "ffmpeg"))
    assert parec.command_for("mic")[-1] == "--device=mic"
    assert arecord.command_for("hw:1")[-1] == "--device=hw:1"
    assert not any("device" in word for word in arecord.command_for(None))
    command = ffmpeg.command_for("mic")
    assert command[command.index("-i") + 1] == "mic"
    assert command[-1] == "-"
    assert "-i" in ffmpeg.command_for(None)
    for recorder in (parec, arecord, ffmpeg):
        assert "16000" in " ".join(recorder.command_for(None))


def test_devices_of_pulse_are_its_sources_without_monitors(programs):
    programs("pactl", "1\\talsa_out.monitor\\tx\\n2\\talsa_in\\tx\\nodd\\n")
    assert list_devices(BY_NAME["parec"]) == ["alsa_in"]


def test_devices_of_alsa_are_the_names_in_its_list(programs):
    programs("arecord", "null\\n    Discard all\\ndefault\\n    Default\\nhw:CARD=1\\n")
    assert list_devices(BY_NAME["arecord"]) == ["default", "hw:CARD=1"]


def test_a_recorder_that_cannot_list_lists_nothing():
    assert list_devices(BY_NAME["ffmpeg"]) == []


def test_a_list_that_fails_is_an_error(programs):
    programs("pactl", exit_code=1)
    with pytest.raises(SourceError, match="pactl could not list"):
        list_devices(BY_NAME["parec"])


FAKE_SOUNDDEVICE = """
class PortAudioError(Exception): pass
class RawInputStream:
    def __init__(self, samplerate, channels, dtype, device):
        if device == "none": raise ValueError("No input device matching 'none'")
        assert (samplerate, channels, dtype) == (16000, 1, "int16")
    def __enter__(self): self.left = 3; return self
    def __exit__(self, *_): pass
    def read(self, n):
        self.left -= 1
        if self.left < 0: raise PortAudioError("unplugged")
        return bytes(2 * n), False
def query_devices():
    return [{"name": "mic", "max_input_channels": 1}, {"name": "out", "max_input_channels": 0}]
"""


def record(tmp_path, *arguments, package=FAKE_SOUNDDEVICE):
    (tmp_path / "sounddevice.py").write_text(package)
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ran = subprocess.run(  # noqa: S603 the interpreter that runs this test
        [sys.executable, "-m", "client.record", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    return ran.returncode, ran.stdout, ran.stderr


def test_the_package_records_until_it_cannot(tmp_path):
    assert record(tmp_path, "--device=mic") == (1, bytes(1920), b"unplugged\n")
    assert record(tmp_path)[1] == bytes(1920)


def test_the_package_lists_what_can_record(tmp_path):
    assert record(tmp_path, "--list") == (0, b"mic\n", b"")


def test_a_device_that_the_package_does_not_know_is_told(tmp_path):
    assert record(tmp_path, "--device=none") == (1, b"", b"No input device matching 'none'\n")


def test_a_package_without_portaudio_is_told(tmp_path):
    package = "raise OSError('PortAudio library not found')"
    assert record(tmp_path, package=package) == (1, b"", b"PortAudio library not found\n")
