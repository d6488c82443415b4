"""Real processes that open, crash and are killed, in; nothing plain on any disk, and packs that
still open, out.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from security.weights import open_pack
from server.config import load_settings
from server.model_folder import engine_of
from server.packs import make_pack_keys, pack_trust
from server.provision import seal
from tests.e2e.conftest import copy_data
from tests.e2e.pack_children import NEW, OLD, Killed
from tests.e2e.tracing import ROOT, traced
from tests.pack_fakes import VERSION, seal_small

PIECES = [b"canary".rjust(16, end) for end in (b"0", b"1", b"2", b"3")]
CANARY = b"".join(PIECES)
"""Of 64 bytes. If it is cut in two somewhere, three of its pieces are whole."""
CALLS = (
    "open,openat,openat2,creat,truncate,mknod,mknodat,mmap,memfd_create,io_uring_setup,"
    "write,pwrite64,writev,pwritev,pwritev2,sendto,sendmsg,sendmmsg,sendfile,splice,tee,vmsplice,"
    "copy_file_range,process_vm_writev,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
)
CALL = re.compile(r"\d+ +(\w+)\(")
TO_WRITE = re.compile(r"\b(?:O_(?:WRONLY|RDWR|CREAT|TRUNC|TMPFILE))\b")
NAMED = re.compile(r'"([^"]*)"')
CHANGING = re.compile(r"open|creat|truncate|mknod|rename|link|symlink")
SHARED_FILE = re.compile(r"mmap\([^,]*, (\d+), \S*PROT_WRITE\S* MAP_SHARED\S*, \d+, ")
WITHOUT_A_NAME = {"memfd_create", "io_uring_setup", "vmsplice", "process_vm_writev"}
"""Ways around a file's name, which nothing here needs."""
SQLITE_INDEX_BYTES = "32768"
"""What SQLite maps of its `-shm` file."""
OF_A_SERVER = (
    "/audit/",
    "/audit-",
    "accepted-versions.json",
    "/dev/null",
    "/dev/tty",
    "/proc/self/",
)
"""The trail, the memory of versions, and what is no file of anybody."""

OPEN = """
import sys
from pathlib import Path
from security.process import harden_process
from security.weights import open_pack
from server.config import load_settings
from server.packs import pack_trust

harden_process()
settings = load_settings(model=sys.argv[1])
pack = open_pack(settings.pack_folder, pack_trust(settings))
"""
OPEN_A_MODEL = OPEN + (
    "from server.engines.hf_folder import load_model, load_processor\n"
    "load_processor(pack.files)\n"
    "model = load_model(pack.files)\n"
    "print('opened', sum(p.numel() for p in model.parameters()))\n"
)


@pytest.fixture
def data(tmp_path):
    """A data folder with a pack `small` that holds the canary in two files."""
    settings = load_settings(data_folder=tmp_path / "data", model="small")
    make_pack_keys(settings)
    files = {"model.safetensors": bytes(1_500_000) + CANARY + bytes(99), "config.json": CANARY}
    seal(settings, engine="e", version=1, files=files)
    return settings.data_folder


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def changed_names(lines):
    """Each file that was opened to be written, or made, or moved."""
    for line in lines:
        call = CALL.match(line)
        if call is None or not CHANGING.match(call[1]):
            continue
        if TO_WRITE.search(line) or not call[1].startswith("open"):
            yield NAMED.search(line)[1]


def assert_nothing_plain_was_written(lines, data, pieces, *, allowed=(), shared_bytes=()):
    """Nothing but the files `allowed` was written or mapped, and the secret went nowhere."""
    changed = [name for name in changed_names(lines) if not any(own in name for own in allowed)]
    assert changed == []
    assert [n for line in lines for n in SHARED_FILE.findall(line) if n not in shared_bytes] == []
    calls = {call[1] for line in lines if (call := CALL.match(line))}
    assert calls & WITHOUT_A_NAME == set()
    for piece in pieces:
        assert [line[:200] for line in lines if piece.decode("latin-1") in line] == []
        assert [path for path in files_below(data.parent) if holds(path, piece)] == []
        assert [path for path in files_below(Path("/dev/shm")) if holds(path, piece)] == []  # noqa: S108


def holds(path, piece):
    with suppress(FileNotFoundError):  # another process's, in shared memory
        return piece in path.read_bytes()
    return False


def test_opening_a_pack_writes_nothing(data):
    done, lines = traced(data, CALLS, sys.executable, "-c", OPEN, "small")
    assert (done.returncode, done.stderr) == (0, b"")
    assert any("f001.seg" in line for line in lines)
    assert_nothing_plain_was_written(lines, data, PIECES)


LEAKS = [
    "Path('leak').write_bytes(b'')",
    "os.open('leak', os.O_CREAT, dir_fd=os.open('.', os.O_RDONLY))",
    "os.open('.', os.O_TMPFILE | os.O_RDWR)",
    "os.rename('HOME', 'leak')",
    "os.symlink('.', 'leak')",
    "os.memfd_create('leak')",
    "os.write(1, b'x' + bytes(pack.files['config.json'])[10:40])",
    "os.writev(1, [b'x', pack.files['model.safetensors'][1_500_030:]])",
    "pair = socket.socketpair(); pair[0].send(pack.files['config.json'])",
    "mmap.mmap(os.open('data/models/small/f000.seg', os.O_RDWR), 1)",
]


@pytest.mark.parametrize("leak", LEAKS)
def test_a_process_that_writes_would_be_found_out(data, leak):
    done, lines = traced(
        data, CALLS, sys.executable, "-c", f"{OPEN}import mmap, os, socket\n{leak}", "small"
    )
    assert (done.returncode, done.stderr) == (0, b"")
    with pytest.raises(AssertionError):
        assert_nothing_plain_was_written(lines, data, PIECES)


def test_a_plain_byte_left_in_a_file_would_be_found(data):
    (data.parent / "HOME").mkdir()
    (data.parent / "HOME" / ".left").write_bytes(b"x" + CANARY[10:40])
    with pytest.raises(AssertionError, match="left"):
        assert_nothing_plain_was_written([], data, PIECES)


def test_a_server_with_the_embedded_model_writes_nothing_of_it(embedded_model_pack, tmp_path):
    copy_data(embedded_model_pack, tmp_path / "data")
    with open_pack(embedded_model_pack.pack_folder, pack_trust(embedded_model_pack)) as pack:
        weights = pack.files["model.bin"]
        secrets = [bytes(weights[at : at + 64]) for at in (30_000_000, 60_000_000)]
    stopping = (
        "import os, signal, subprocess, sys\n"
        f"server = subprocess.Popen([sys.executable, {str(ROOT / 'run.py')!r}, 'serve', '--port',"
        " '0'], stdout=subprocess.PIPE)\n"
        "assert b'listens on' in server.stdout.readline()\n"
        "server.send_signal(signal.SIGTERM)\n"
        "sys.exit(server.wait(60))\n"
    )
    done, lines = traced(tmp_path / "data", CALLS, sys.executable, "-c", stopping)
    told = [line for line in done.stderr.splitlines() if b"WAL-reset fault" not in line]
    assert (done.returncode, told) == (0, [])
    assert_nothing_plain_was_written(
        lines, tmp_path / "data", secrets, allowed=OF_A_SERVER, shared_bytes=(SQLITE_INDEX_BYTES,)
    )


def test_a_hugging_face_folder_becomes_a_model_and_writes_nothing_of_it(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file, save_file

    from tests.hf_models import write_qwen3_asr

    folder = write_qwen3_asr(tmp_path / "plain")
    tensors = load_file(folder / "model.safetensors")
    marked = tensors["model.language_model.embed_tokens.weight"]
    marked.view(torch.uint8).flatten()[:64] = torch.frombuffer(bytearray(CANARY), dtype=torch.uint8)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    settings = load_settings(data_folder=tmp_path / "data", model="qwen")
    make_pack_keys(settings)
    files = {path.name: path for path in folder.iterdir()}
    seal(settings, engine=engine_of(files), version=1, files=files)
    assert CANARY in (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    done, lines = traced(settings.data_folder, CALLS, sys.executable, "-c", OPEN_A_MODEL, "qwen")
    assert done.stdout.startswith(b"opened"), done.stderr
    assert_nothing_plain_was_written(lines, settings.data_folder, PIECES)


def told_by(command, folder, *arguments):
    """What a program of `pack_children` says of a pack of its own, sealed for it."""
    pack_dir = seal_small(folder / "pack")
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "tests.e2e.pack_children", command, pack_dir, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_leaves_no_core(tmp_path, number):
    [crash] = told_by("crash", tmp_path, str(int(number)))
    assert json.loads(crash) == [number, False, [0, 0, 0]]
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


@pytest.mark.parametrize(("state", "outcome"), [("soft", "read"), ("hardened", "refused")])
def test_an_opened_pack_in_a_hardened_process_is_closed_to_its_own_account(
    tmp_path, state, outcome
):
    assert told_by("spy", tmp_path, state) == [outcome]


def test_a_rotation_killed_two_hundred_times_leaves_a_pack_that_opens(tmp_path):
    kills = [Killed(**json.loads(line)) for line in told_by("rotate", tmp_path)]
    assert len([kill for kill in kills if kill.moment != "end"]) >= 200
    assert [kill for kill in kills if not (kill.is_whole and kill.is_sealed)] == []
    assert {kill.opened_by for kill in kills} == {OLD, NEW}
    assert [kill for kill in kills if kill.kek_ids != [OLD]] == []
    assert [kill for kill in kills if kill.names_beside != ["pack"]] == []


def test_a_resealing_killed_forty_times_leaves_a_whole_pack(tmp_path):
    kills = [Killed(**json.loads(line)) for line in told_by("reseal", tmp_path)]
    assert len([kill for kill in kills if kill.moment != "end"]) >= 40
    assert [kill for kill in kills if not (kill.is_whole and kill.is_sealed)] == []
    # each is mended by one more resealing
    before = [VERSION, *(kill.version + 1 for kill in kills)]
    steps = [kill.version - old for kill, old in zip(kills, before, strict=False)]
    assert set(steps) == {0, 1}
    assert [kill for kill in kills if kill.names_beside != ["pack"]] == []
