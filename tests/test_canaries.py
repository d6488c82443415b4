"""The scan at the end of a run finds what is planted, in whatever form, and nothing else."""

import asyncio
import base64
import bz2
import gzip
import lzma
import secrets
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.audit_store import AuditStore
from security.door_events import HandshakeRefused
from security.keys import create_key_file, create_signing_key
from security.tokens import TokenPolicy, mint_token
from security.trail_places import TrailPlaces
from tests.canaries import SPOKEN, Canaries, Leak, told

ROOT = Path(__file__).parent.parent
SEGMENT = "segment-000000000001.sqlite3"


@pytest.fixture
def folder():
    """Where this run does not look itself at its end."""
    path = ROOT / "build" / "canaries" / secrets.token_hex(8)
    path.mkdir(parents=True)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def canaries(folder):
    made = Canaries()
    made.watch(folder)
    return made


@pytest.fixture
def token():
    policy = TokenPolicy(issuer="i", audience="a")
    key = Ed25519PrivateKey.generate()
    return mint_token(
        key, policy, subject="s", scopes={"transcribe"}, lifetime_s=60, wall_s=1_800_000_000
    )


FORMS = {
    "as it is": lambda text: text,
    "in UTF-16": lambda text: text.decode().encode("utf-16-le"),
    "in UTF-16, the other way": lambda text: text.decode().encode("utf-16-be"),
    "in base64": base64.b64encode,
    "in base64, from the second byte": lambda text: base64.b64encode(b"?" + text),
    "in base64, from the third": lambda text: b"x" + base64.urlsafe_b64encode(b"??" + text),
    "in base64, a line at a time": base64.encodebytes,
    "in hex": lambda text: text.hex().encode(),
    "in gzip": gzip.compress,
    "in zlib": zlib.compress,
    "in bzip2": bz2.compress,
    "in xz": lzma.compress,
    "in gzip in base64": lambda text: base64.b64encode(gzip.compress(text)),
    "in UTF-16 in gzip": lambda text: gzip.compress(text.decode().encode("utf-16")),
    "in a stream that was cut": lambda text: zlib.compress(text + secrets.token_bytes(9000))[:4000],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("planted", ["token", "words", "key"])
def test_what_is_planted_in_a_log_is_found(canaries, folder, token, form, planted):
    create_signing_key(folder / "signing.pem")
    secret, kind = {
        "token": (token.encode(), "a token"),
        "words": (f'{{"text": "The {SPOKEN[0].title()}."}}'.encode(), "words of a recording"),
        "key": ((folder / "signing.pem").read_bytes(), "a private key"),
    }[planted]
    log = folder / "server.log"
    log.write_bytes(b"\x00\xffnothing before\n" + form(b"a line: " + secret) + b"\nnor after\n\0")
    found = canaries.leaks()
    assert {(leak.place, leak.kind) for leak in found} == {(str(log), kind)}
    assert token.encode() not in told(found).encode()
    assert told(found).startswith("What must lie nowhere")


def test_a_part_of_a_token_that_was_marked_is_found(canaries, folder, token):
    (folder / "log").write_text(f"signature={token.rsplit('.', 1)[1]}")
    assert canaries.leaks() == []
    assert canaries.mark_token(token) == token
    assert canaries.leaks() == [Leak(str(folder / "log"), "a token", "as it is")]


def test_the_key_of_a_pack_is_found_in_hex_and_in_bytes(canaries, folder):
    (folder / "keys").mkdir()
    create_key_file(folder / "keys" / "pack.key")
    key = (folder / "keys" / "pack.key").read_text().strip()
    (folder / "log").write_text(f"key={key};")
    (folder / "dump").write_text("raw:" + base64.b64encode(bytes.fromhex(key)).decode())
    (folder / "other").write_text(secrets.token_hex(32))
    assert {Path(leak.place).name for leak in canaries.leaks()} == {"dump", "log"}


def test_a_secret_may_lie_in_a_file_that_is_nothing_else(canaries, folder, token):
    (folder / "keys").mkdir()
    create_signing_key(folder / "keys" / "signing.pem")
    create_key_file(folder / "keys" / "pack.key")
    (folder / "token").write_text(f"{canaries.mark_token(token)}\n")
    assert canaries.leaks() == []


def test_a_row_of_the_trail_is_looked_into(canaries, folder, token):
    async def record():
        async with await AuditStore.open(TrailPlaces(folder, folder / "keys"), lambda: 1) as store:
            await store.record(
                HandshakeRefused(
                    peer_address="a",
                    peer_port=1,
                    origin=None,
                    user_agent=f"Bearer {token}",
                    http_status=401,
                    reason="token_missing",
                    subject=None,
                    token_id=None,
                )
            )
            return {Path(leak.place).name for leak in canaries.leaks()}

    assert asyncio.run(record()) & {SEGMENT, f"{SEGMENT}-wal"}
    assert {Path(leak.place).name for leak in canaries.leaks()} == {SEGMENT}


def test_what_a_test_wrote_is_looked_into(canaries, token):
    canaries.hear("test_it, standard error", f"refused {token}")
    assert [leak.place for leak in canaries.leaks()] == ["test_it, standard error"]


def test_what_is_read_is_read_once_and_neither_links_nor_sealed_files_are(canaries, folder, token):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "log").write_text(f"x {token}")
    (folder / "link").symlink_to(folder / "a" / "log")
    (folder / "f000.seg").write_text(f"ciphertext, for all we know: {token}")
    assert [leak.place for leak in canaries.leaks()] == [str(folder / "a" / "log")]


@pytest.mark.parametrize("encoding", ["ascii", "utf-16-le"])
def test_a_long_file_is_looked_into_as_it_is(canaries, folder, token, encoding):
    create_signing_key(folder / "signing.pem")
    secrets_of = {
        "a token": f"x {token}",
        "a private key": "log:" + (folder / "signing.pem").read_text(),
        "words of a recording": "over the lazy dog",
    }
    for kind, text in secrets_of.items():
        noise = secrets.token_bytes(3 << 20)
        (folder / kind).write_bytes(noise + b"\0" + text.encode(encoding) + noise)
    (folder / "noise").write_bytes(noise * 2)
    found = {(Path(leak.place).name, leak.kind) for leak in canaries.leaks()}
    assert found == {(kind, kind) for kind in secrets_of}


PLANTED = """
def test_it(tmp_path):
    (tmp_path / "server.log").write_text("{text}")

def test_out():
    print("{printed}")
"""


@pytest.mark.parametrize(
    ("text", "printed", "code"),
    [("nothing", "nothing", 0), ("the quick brown fox", "", 1), ("", "over the lazy dog", 1)],
)
def test_a_run_that_leaves_something_behind_has_failed(folder, text, printed, code):
    (folder / "test_it.py").write_text(PLANTED.format(text=text, printed=printed))
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(  # noqa: S603 (our own interpreter)
        [*command, "-q", "-c", str(ROOT / "pyproject.toml"), "--rootdir", folder, folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert ("words of a recording" in done.stdout) is bool(code)
