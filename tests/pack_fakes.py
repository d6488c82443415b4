"""Stands for what a pack is sealed and opened with: keys that really wrap, and small packs."""

import resource
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from threading import Lock, get_ident

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.errors import KekError, PackError, PackReason
from security.pack_folder import PackTrust
from security.sealed import SEGMENT_BYTES
from security.sealing import Seal, Source, seal_pack
from security.secret import SecretBytes

PUBLISHER = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
OTHER_PUBLISHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
MODEL_ID, ENGINE, VERSION = "openai/whisper-tiny.en", "whisper-ct2", 3
CANARY = b"a-canary-that-must-stay-in-memory"
FILES: Mapping[str, bytes] = {
    "config.json": b'{"d_model": 384}',
    "empty.txt": b"",
    "model.bin": CANARY + bytes(index * 7 % 256 for index in range(1024)) * 2100,
    "vocabulary.json": b'["a","b"]',
}
"""Four files; the largest takes three segments."""
SEALED_NAMES = ("f000.seg", "f001.seg", "f002.seg", "f003.seg")
OWN_NAMES = ("keyslots.json", "manifest.json", "manifest.sig")


@dataclass(slots=True)
class FakeKek:
    """AES-256-GCM under a key made from its name, and a note of each time it was asked."""

    kek_id: str
    is_reachable: bool = True
    is_lying: bool = False
    """Wraps what it will not give back."""
    after_wrapping: Callable[[], object] = lambda: None
    before_unwrapping: Callable[[], object] = lambda: None
    n_unwrapped: int = field(default=0, init=False)
    is_wiped: bool = field(default=False, init=False)

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        self._be_reached()
        nonce = secrets.token_bytes(12)
        wrapped = nonce + self._cipher().encrypt(nonce, pack_key.expose(), context)
        self.after_wrapping()
        return wrapped

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        self.n_unwrapped += 1
        self._be_reached()
        self.before_unwrapping()
        try:
            return SecretBytes(
                bytearray(self._cipher().decrypt(wrapped[:12], wrapped[12:], context))
            )
        except InvalidTag:
            return None

    def wipe(self) -> None:
        self.is_wiped = True

    def _be_reached(self) -> None:
        if not self.is_reachable:
            raise KekError(f"{self.kek_id} does not answer")

    def _cipher(self) -> AESGCM:
        said_otherwise = b"?" if self.is_lying and self.n_unwrapped else b""
        return AESGCM((self.kek_id.encode() + said_otherwise).ljust(32, b".")[:32])


class FakePlace:
    """Takes a file as a GPU does: by way of two small buffers a thread, copied when delivered."""

    def __init__(self, plain: bytes, hurdle: Callable[[int], object] = lambda start: None) -> None:
        """`hurdle` is passed, or not, on the way to each buffer."""
        self.events: list[tuple[str, int, int] | str] = []
        self.content = bytearray(len(plain))
        self._plain = plain
        self._hurdle = hurdle
        self._lock = Lock()
        self._rings: dict[int, Iterator[memoryview]] = {}
        self._in_use: dict[tuple[int, int], memoryview] = {}

    def buffer(self, start: int, end: int) -> memoryview:
        self._hurdle(start)
        with self._lock:
            self.events.append(("buffer", start, end))
            ring = self._rings.setdefault(get_ident(), cycle(self._new_ring()))
            buffer = self._in_use[get_ident(), start] = next(ring)[: end - start]
            return buffer

    def deliver(self, start: int, end: int) -> None:
        with self._lock:
            buffer = self._in_use.pop((get_ident(), start))
            assert buffer == self._plain[start:end]
            self.events.append(("deliver", start, end))
            self.content[start:end] = buffer

    def wipe(self) -> None:
        self.events.append("wipe")
        self.content[:] = bytes(len(self.content))

    @staticmethod
    def _new_ring() -> list[memoryview]:
        return [memoryview(bytearray(SEGMENT_BYTES)) for _ in range(2)]


def pack_key(seed: int = 7) -> SecretBytes:
    return SecretBytes(bytearray([seed] * 32))


def seal_of(*kek_ids: str, publisher: Ed25519PrivateKey = PUBLISHER) -> Seal:
    return Seal([FakeKek(kek_id) for kek_id in kek_ids or ("fake:a",)], publisher)


def trust_of(
    *keks: FakeKek | str,
    publishers: Sequence[Ed25519PrivateKey] = (PUBLISHER,),
    accepted: Mapping[str, int] | None = None,
) -> PackTrust:
    """Trust in these keys, or the ids of such; in one named `fake:a` if none is given."""
    named = [FakeKek(kek) if isinstance(kek, str) else kek for kek in keks or ("fake:a",)]
    return PackTrust(named, [publisher.public_key() for publisher in publishers], accepted or {})


def seal_small(
    pack_dir: Path,
    files: Mapping[str, Source] = FILES,
    *,
    version: int = VERSION,
    seal: Seal | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    seal_pack(
        pack_dir,
        model_id=MODEL_ID,
        engine=ENGINE,
        version=version,
        files=files,
        seal=seal or seal_of(),
        on_progress=on_progress,
    )
    return pack_dir


def copied(pack_dir: Path, target: Path) -> Path:
    return Path(shutil.copytree(pack_dir, target))


def turn_bit(path: Path, position: int = -1, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


@contextmanager
def files_of_at_most(n_bytes: int) -> Iterator[None]:
    """A disk that takes no more in one file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def reason_of(error: PackError) -> PackReason:
    """The reason, once it is sure that the text says nothing."""
    assert str(error) == PackError.TEXT
    return error.reason


EDGES = sorted(n * SEGMENT_BYTES + d for n in range(4) for d in (-17, -16, -1, 0, 1, 40, 56))
"""Where something begins or ends in a sealed file."""
