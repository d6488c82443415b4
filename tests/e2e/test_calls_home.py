"""A server that hears somebody speak in; no word to any other machine, and no file but its own,
out.
"""

import re
import sys

import miniaudio
import pytest

from tests.e2e.conftest import copy_data
from tests.e2e.tracing import ROOT, traced

NETWORK = "socket,connect,sendto,sendmsg,sendmmsg"
ELSEWHERE = re.compile(r'sa_family=AF_INET6?, .*?inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]*)"')
OUR_OWN = ("127.", "::1", "0.0.0.0")  # noqa: S104 - nothing listens there: it is compared
SERVE = """
import signal, subprocess, sys
run = [sys.executable, sys.argv[1] + '/run.py']
server = subprocess.Popen([*run, 'serve', '--port', '0'], stdout=subprocess.PIPE, text=True)
for line in server.stdout:
    if 'listens on' in line:
        break
address = [word for word in line.split() if word.startswith('http')][0]
token = subprocess.run([*run, 'token', 'mint', '--subject', 'alice'], check=True, text=True,
    capture_output=True).stdout.strip()
url = address.rstrip('/.').replace('http', 'ws', 1) + '/v1/stream'
subprocess.run([sys.executable, '-m', 'client', sys.argv[2], '--fast', '--url', url, '--token',
    token], check=True)
server.send_signal(signal.SIGTERM)
sys.exit(server.wait(60))
"""
CALLS_HOME = """
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 53))
"""


def others_addressed(lines):
    addresses = (found[1] for line in lines if (found := ELSEWHERE.search(line)))
    return sorted({address for address in addresses if not address.startswith(OUR_OWN)})


def test_a_session_is_heard_without_a_word_to_another_machine_or_a_file_in_the_account(
    embedded_model_pack, english_recordings, tmp_path
):
    copy_data(embedded_model_pack, tmp_path / "data")
    recording = next(r for r in english_recordings if r.name == "hello_world")
    speech = tmp_path / "speech.wav"
    speech.write_bytes(recording.wav_bytes)
    assert miniaudio.get_file_info(str(speech)).duration > 0.5
    done, lines = traced(
        tmp_path / "data", NETWORK, sys.executable, "-c", SERVE, str(ROOT), str(speech)
    )
    assert done.returncode == 0, done.stderr
    assert b"world" in done.stdout.lower()
    assert any("AF_INET" in line for line in lines)
    assert others_addressed(lines) == []
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [
        path for path in written if path != speech and tmp_path / "data" not in path.parents
    ] == []


@pytest.mark.parametrize(
    "use",
    [
        "from server.vad import SileroNetwork; SileroNetwork()",
        "import server.serving, server.engines.whisper_ct2",
    ],
)
def test_a_library_says_nothing_when_it_is_loaded(use, tmp_path):
    done, lines = traced(tmp_path / "data", NETWORK, sys.executable, "-c", use)
    assert (done.returncode, done.stderr) == (0, b"")
    assert others_addressed(lines) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_process_that_calls_another_machine_would_be_found_out(tmp_path):
    _, lines = traced(tmp_path / "data", NETWORK, sys.executable, "-c", CALLS_HOME)
    assert others_addressed(lines) == ["192.0.2.1"]
