"""Real processes that open, crash and are killed, in; nothing plain on any disk, and packs that
still open, out.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from security.weights import open_pack
from server.config import load_settings
from server.packs import make_pack_keys, pack_trust
from server.provision import engine_of, seal
from tests.e2e.conftest import copy_data
from tests.pack_fakes import FILES, FakeKek, seal_of, seal_small, trust_of

ROOT = Path(__file__).parents[2]
CANARY = b"Canary0123456789Canary0123456789Canary0123456789Canary0123456789"
CALLS = (
    "open,openat,openat2,creat,mmap,memfd_create,write,pwrite64,writev,pwritev,pwritev2,"
    "sendto,sendmsg,sendfile,splice,copy_file_range,rename,renameat,renameat2,link,linkat"
)
OPENED_TO_WRITE = re.compile(r'open(?:at2?)?\((?:AT_FDCWD, )?"([^"]*)".*O_(?:WRONLY|RDWR|CREAT)')
HEX = re.compile(r"(?:\\x[0-9a-f]{2})+")
SHARED_FILE = re.compile(r"mmap\([^,]*, (\d+), \S*PROT_WRITE\S* MAP_SHARED, \d+, ")
SQLITE_INDEX_BYTES = 32_768
"""What SQLite maps of its `-shm` file."""
ITS_OWN = ("audit.sqlite3", "accepted-versions.json", "/dev/null", "/dev/tty", "/proc/self/")
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
    seal(settings, model_id="small", engine="e", version=1, files=files)
    return settings.data_folder


def environment(data):
    """Every place that a library might write to lies in the test's own folder."""
    places = {}
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "HF_HOME"):
        places[name] = str(data.parent / name)
        Path(places[name]).mkdir(exist_ok=True)
    given = {"EARWITNESS_DATA_FOLDER": str(data), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, "PYTHONPATH": str(ROOT), **places, **given}


def traced(data, *command):
    """What the command and its children did with files, a line a call."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    log = data.parent / "strace.log"
    options = ["-f", "-qq", "-xx", "-e", f"trace={CALLS}", "-s", "3000000", "-o", log]
    done = subprocess.run(  # noqa: S603 - our own programs
        ["strace", *options, *command],  # noqa: S607 - wherever the system has it
        cwd=data.parent,
        env=environment(data),
        capture_output=True,
        timeout=300,
        check=False,
    )
    lines = [HEX.sub(unescaped, line) for line in log.read_text().splitlines()]
    log.unlink()
    return done, lines


def unescaped(match):
    """Bytes as strace writes them, in one character each."""
    return bytes.fromhex(match.group().replace("\\x", "")).decode("latin-1")


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]


def assert_nothing_plain_was_written(lines, data, secret):
    opened = [m.group(1) for line in lines if (m := OPENED_TO_WRITE.search(line))]
    assert [path for path in opened if not any(own in path for own in ITS_OWN)] == []
    shared = [int(m.group(1)) for line in lines if (m := SHARED_FILE.search(line))]
    assert all(n_bytes == SQLITE_INDEX_BYTES for n_bytes in shared)
    assert [line[:200] for line in lines if "memfd_create(" in line] == []
    assert [line[:200] for line in lines if secret.decode("latin-1") in line] == []
    assert [path for path in files_below(data.parent) if secret in path.read_bytes()] == []


def test_opening_a_pack_writes_nothing(data):
    done, lines = traced(data, sys.executable, "-c", OPEN, "small")
    assert (done.returncode, done.stderr) == (0, b"")
    assert any("f001.seg" in line for line in lines)
    assert_nothing_plain_was_written(lines, data, CANARY)


def test_a_process_that_writes_would_be_found_out(data):
    writing = OPEN + "Path('leak').write_bytes(pack.files['config.json'])\n"
    _, lines = traced(data, sys.executable, "-c", writing, "small")
    with pytest.raises(AssertionError, match="leak"):
        assert_nothing_plain_was_written(lines, data, CANARY)
    assert any(CANARY.decode() in line for line in lines)


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
    done, lines = traced(tmp_path / "data", sys.executable, "-c", stopping)
    assert (done.returncode, done.stderr) == (0, b"")
    for secret in secrets:
        assert_nothing_plain_was_written(lines, tmp_path / "data", secret)


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
    seal(settings, model_id="qwen", engine=engine_of(files), version=1, files=files)
    assert CANARY in (folder / "model.safetensors").read_bytes()
    shutil.rmtree(folder)
    done, lines = traced(settings.data_folder, sys.executable, "-c", OPEN_A_MODEL, "qwen")
    assert done.stdout.startswith(b"opened"), done.stderr
    assert_nothing_plain_was_written(lines, settings.data_folder, CANARY)


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT])
def test_a_crash_leaves_no_core(data, number):
    raised = "import resource\nresource.setrlimit(resource.RLIMIT_CORE, (-1, -1))\n"
    dying = f"import os\nos.kill(os.getpid(), {int(number)})\n"
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", raised + OPEN + dying, "small"],
        cwd=data.parent,
        env=environment(data),
        check=False,
    )
    assert done.returncode == -number
    assert [path for path in files_below(data.parent) if CANARY in path.read_bytes()] == []
    assert not list(data.parent.glob("*core*"))


SPY = """
import ctypes, os, resource, signal, sys
from security.process import harden_process

NOBODY, PR_SET_DUMPABLE = 65534, 4
reading, writing = os.pipe()
victim = os.fork()
if victim == 0:
    if os.geteuid() == 0:
        os.setgroups([]); os.setgid(NOBODY); os.setuid(NOBODY)
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if sys.argv[1] == "hardened":
        harden_process()
    os.write(writing, b"x")
    os.close(writing)
    signal.pause()
os.close(writing)
if os.read(reading, 1) != b"x":
    sys.exit("the other process failed")
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(NOBODY); os.setuid(NOBODY)
try:
    os.close(os.open(f"/proc/{victim}/mem", os.O_RDONLY))
    print("read")
except PermissionError:
    print("refused")
os.kill(victim, signal.SIGKILL)
"""


@pytest.mark.parametrize(("state", "outcome"), [("soft", "read\n"), ("hardened", "refused\n")])
def test_memory_of_a_hardened_process_is_closed_to_its_own_account(state, outcome):
    spied = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", SPY, state],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (spied.stdout, spied.stderr) == (outcome, "")


def killed_while(work, moment_s=None, step=None):
    """Do it in a child that is killed at a moment, or at its n-th change of a file.

    True if the kill came before the end.
    """
    child = os.fork()
    if child == 0:  # pragma: no cover - dies
        if step is not None:
            die_at(step)
        work()
        os._exit(0)
    if moment_s is not None:
        signal.sigtimedwait([], moment_s)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def die_at(step):  # pragma: no cover - dies
    left = step

    def hook(event, arguments):
        nonlocal left
        creates = event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT
        if event in {"os.rename", "os.remove", "os.chmod", "fcntl.flock", "os.mkdir"} or creates:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def assert_one_of_two_opens(pack_dir, one, other):
    """The id of the key that opens it now."""
    trust = trust_of(one, other)
    with open_pack(pack_dir, trust) as pack:
        assert {name: bytes(view) for name, view in pack.files.items()} == FILES
        return pack.card.kek_id


def test_a_rotation_killed_two_hundred_times_leaves_a_pack_that_opens(tmp_path):
    from security.rotation import rotate_slot

    chance = random.Random(7)  # noqa: S311
    pack_dir = seal_small(tmp_path / "pack", seal=seal_of("fake:a"))
    n_killed, at, step = 0, "fake:a", 1
    outcomes = set()
    while n_killed < 200:
        to = "fake:b" if at == "fake:a" else "fake:a"
        how = {"step": step} if n_killed % 2 else {"moment_s": chance.random() * 0.006}

        def rotate(at=at, to=to):
            rotate_slot(pack_dir, trust_of(at), FakeKek(to))

        was_killed = killed_while(rotate, **how)
        n_killed += was_killed
        step = step + 1 if "step" in how and was_killed else 1 if "step" in how else step
        opened_by = assert_one_of_two_opens(pack_dir, to, at)
        outcomes.add((was_killed, opened_by == to))
        rotate_slot(pack_dir, trust_of(opened_by), FakeKek("fake:a"))
        at = "fake:a"
    assert outcomes >= {(True, False), (True, True)}
    assert {path.name for path in tmp_path.iterdir()} <= {"pack", ".pack.keyslots.json"}


def test_a_resealing_killed_forty_times_leaves_a_whole_pack(tmp_path):
    from security.sealing import reseal_pack

    chance = random.Random(7)  # noqa: S311
    pack_dir = seal_small(tmp_path / "pack", seal=seal_of("fake:a"))
    n_killed, step = 0, 1
    versions = set()
    while n_killed < 40:
        how = {"step": step} if n_killed % 2 else {"moment_s": chance.random() * 0.03}
        was_killed = killed_while(
            lambda: reseal_pack(pack_dir, trust_of("fake:a"), seal_of("fake:a")), **how
        )
        n_killed += was_killed
        step = step + 1 if "step" in how and was_killed else 1 if "step" in how else step
        with open_pack(pack_dir, trust_of("fake:a")) as pack:
            assert {name: bytes(view) for name, view in pack.files.items()} == FILES
            versions.add(pack.card.version)
    assert len(versions) > 1
