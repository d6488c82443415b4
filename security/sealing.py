"""Plain files in, a new pack on disk out; or an old pack in, the same model under a new key out.

A pack key is made for each pack and lives only while it is sealed: afterwards it is in the key
slots. Sealing works in a folder beside the target that gets its signature last and its name by one
rename, so a killed sealing leaves something that does not open, and never half a pack under the
right name. Resealing opens and seals segment by segment, so that no more than two segments of the
model are plain at a time, and changes places with the old pack by one exchange of names; what a
killed one has left goes with the next.
"""

import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.durable import create_file, exchange_folders, sync_folder
from security.errors import SealError
from security.keys import new_key
from security.manifest import Core, new_core, new_manifest, sealed_name, sign_manifest
from security.pack_folder import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    SLOTS_NAME,
    PackTrust,
    SealedFile,
    changing_pack,
)
from security.sealed import PREFIX_BYTES, SALT_BYTES, SEGMENT_BYTES, ReadInto, seal_stream
from security.secret import SecretBytes, wipe_buffer
from security.slots import Kek, encode_slots, wrap_slot
from security.weights import OnProgress

Source: TypeAlias = bytes | Path | io.BufferedIOBase
"""A plain file to seal: its content, its path, or the open file, read from its start."""


@dataclass(frozen=True, slots=True)
class Seal:
    """What a new pack is sealed with."""

    keks: Sequence[Kek]
    """Each gets a slot."""
    publisher: Ed25519PrivateKey
    """Signs the manifest."""


def seal_pack(  # noqa: PLR0913 (keywords: what the manifest says)
    pack_dir: Path,
    *,
    model_id: str,
    engine: str,
    version: int,
    files: Mapping[str, Source],
    seal: Seal,
    on_progress: OnProgress | None = None,
) -> None:
    """Write `files` as a new pack to `pack_dir`, which must not exist.

    Raises SealError, and KekError if a key cannot be asked.
    """
    if os.path.lexists(pack_dir):
        raise SealError(f"{pack_dir} exists; a pack is never overwritten, move it away")
    with _told_as_seal_error(pack_dir), ExitStack() as stack:
        names = sorted(files)
        plain = [stack.enter_context(_open_source(files[name])) for name in names]
        sizes = {n: source.seek(0, os.SEEK_END) for n, source in zip(names, plain, strict=True)}
        pack_key = stack.enter_context(new_key())
        core = new_core(model_id, engine, version, sizes, pack_key)
        for source in plain:
            source.seek(0)
        readers = [source.readinto for source in plain]
        with _new_folder(pack_dir) as temporary:
            _Sealing(core, pack_key, seal, on_progress).write(temporary, readers)
            temporary.rename(pack_dir)
            sync_folder(pack_dir.parent)


def reseal_pack(
    pack_dir: Path, trust: PackTrust, seal: Seal, on_progress: OnProgress | None = None
) -> int:
    """Put the model under a new pack key, as the next version; gives that version.

    Every tag of the old pack is verified on the way. Raises PackError, SealError and KekError.
    """
    with (
        changing_pack(pack_dir, trust) as old,
        new_key() as pack_key,
        _told_as_seal_error(pack_dir),
        _new_folder(pack_dir) as temporary,
    ):
        _remove_left_over(pack_dir, temporary)
        former = old.described.manifest.core
        sizes = {file.name: file.opener.layout.plain_bytes for file in old.files}
        version = former.version + 1
        core = new_core(former.model_id, former.engine, version, sizes, pack_key)
        readers = [_PlainReader(file).read_into for file in old.files]
        _Sealing(core, pack_key, seal, on_progress).write(temporary, readers)
        exchange_folders(temporary, pack_dir)  # the old one is removed under the other name
        sync_folder(pack_dir.parent)
        return version


class _Sealing:
    """One pack on its way to the disk."""

    def __init__(
        self, core: Core, pack_key: SecretBytes, seal: Seal, on_progress: OnProgress | None
    ) -> None:
        self._core = core
        self._pack_key = pack_key
        self._seal = seal
        self._on_progress = on_progress
        self._done_bytes = 0
        self._total_bytes = sum(stream.layout.sealed_bytes for stream in core.streams)

    def write(self, folder: Path, readers: Sequence[ReadInto]) -> None:
        """The whole pack into `folder`, synced, the signature last."""
        slots = [wrap_slot(kek, self._pack_key, self._core.sha256) for kek in self._seal.keks]
        encoded_slots = encode_slots(slots, self._pack_key, self._core.sha256)
        hashes = [self._write_file(folder, n, reader) for n, reader in enumerate(readers)]
        manifest = new_manifest(self._core, hashes, self._pack_key).encoded
        create_file(folder / SLOTS_NAME, [encoded_slots], 0o644)
        create_file(folder / MANIFEST_NAME, [manifest], 0o644)
        create_file(folder / SIGNATURE_NAME, [sign_manifest(manifest, self._seal.publisher)], 0o644)
        sync_folder(folder)

    def _write_file(self, folder: Path, ordinal: int, reader: ReadInto) -> str:
        """The sealed file's SHA-256."""
        salt, prefix = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(PREFIX_BYTES)
        sealed = seal_stream(self._core.streams[ordinal], self._pack_key, reader, salt, prefix)
        hashed = hashlib.sha256()

        def told() -> Iterator[memoryview]:
            for piece in sealed:
                hashed.update(piece)
                yield piece
                self._done_bytes += len(piece)
                if self._on_progress:
                    self._on_progress(self._done_bytes, self._total_bytes)

        create_file(folder / sealed_name(ordinal), told(), 0o644)
        return hashed.hexdigest()


class _PlainReader:
    """A sealed file read as if it were plain, one verified segment at a time."""

    def __init__(self, file: SealedFile) -> None:
        self._file = file
        self._next_segment = 0
        self._staging = memoryview(bytearray(SEGMENT_BYTES))
        self._plain = memoryview(bytearray(SEGMENT_BYTES))
        self._unread = self._plain[:0]

    def read_into(self, view: memoryview) -> int:
        """See `ReadInto`."""
        layout = self._file.opener.layout
        if not self._unread and self._next_segment < layout.segments:
            start, end = layout.plain_range(self._next_segment)
            sealed = self._file.read_segment(self._next_segment, self._staging)
            self._unread = self._plain[: end - start]
            self._file.opener.open_segment(self._next_segment, sealed, self._unread)
            self._next_segment += 1
        n_bytes = min(len(view), len(self._unread))
        view[:n_bytes] = self._unread[:n_bytes]
        wipe_buffer(self._unread[:n_bytes])
        self._unread = self._unread[n_bytes:]
        return n_bytes


@contextmanager
def _new_folder(pack_dir: Path) -> Iterator[Path]:
    """A folder beside the pack; whatever has its name at the end is removed."""
    temporary = pack_dir.with_name(f".{pack_dir.name}.{secrets.token_hex(8)}.sealing")
    try:
        temporary.mkdir()
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_left_over(pack_dir: Path, temporary: Path) -> None:
    """What killed ones have left: half a pack, or a whole one under the key that was to go."""
    for path in pack_dir.parent.iterdir():
        is_one = path.name.startswith(f".{pack_dir.name}.") and path.suffix == ".sealing"
        if not is_one or path == temporary:
            continue
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except (OSError, RecursionError):
            raise SealError(f"{path} is in the way and cannot be removed: remove it") from None


@contextmanager
def _told_as_seal_error(pack_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SealError(f"{pack_dir} cannot be made: {error.strerror}") from None


@contextmanager
def _open_source(source: Source) -> Iterator[io.BufferedIOBase]:
    if isinstance(source, io.BufferedIOBase):
        yield source
    else:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            yield file
