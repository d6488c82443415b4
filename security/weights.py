"""A folder of sealed files in, model files in private memory out; plain files in, such a folder
out.

Opened weights live in anonymous memory that goes to no core file and no child process, and nowhere
else: no plain byte is written to a path. Nothing is handed out before every tag of every file is
verified, and whatever fails on the way leaves zeros. A folder is a pack only if it holds exactly
what its manifest names, as regular files: a missing, an added or a linked one refuses the whole.
Sealing works in a folder beside the target that gets its manifest last and its name by one rename,
so a killed sealing leaves something that does not open, and never half a pack under the right
name.

Both take seconds for a large model and release the interpreter lock in the cipher: run them in a
thread.
"""

import io
import mmap
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from typing_extensions import override

from security.durable import create_file, sync_folder
from security.errors import PackError, PackReason, SealError
from security.manifest import (
    MAX_MANIFEST_BYTES,
    Manifest,
    PackedFile,
    decode_manifest,
    encode_manifest,
)
from security.sealed import PREFIX_BYTES, SALT_BYTES, ReadInto, open_stream, seal_stream
from security.secret import SecretBytes, wipe_buffer

MANIFEST_NAME = "manifest.json"

Source: TypeAlias = bytes | Path | io.BufferedIOBase
"""A plain file to seal: its content, its path, or the open file, read from its start."""
OnProgress: TypeAlias = Callable[[int, int], None]
"""Bytes done, bytes in all."""

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class OpenedPack:
    """The files of one model, plain, until `wipe`, which also ends a `with` block over it."""

    def __init__(self, manifest: Manifest, regions: list[mmap.mmap]) -> None:
        """Takes over `regions`, the verified content of `manifest.files` in their order."""
        self.model_id = manifest.model_id
        self.engine = manifest.engine
        self.version = manifest.version
        self.files = {
            file.name: memoryview(region)[: file.plain_size].toreadonly()
            for file, region in zip(manifest.files, regions, strict=True)
        }
        """(plain_size,) uint8, read-only, by name; not to be used after `wipe`."""
        self._regions = regions

    def wipe(self) -> None:
        """Zero the memory and give it back; may be called again."""
        regions, self._regions = self._regions, []
        files, self.files = self.files, {}
        for region in regions:
            _zero(region)
        for file in files.values():
            with suppress(BufferError):
                file.release()
        _close(regions)

    @override
    def __repr__(self) -> str:
        return "OpenedPack(…)"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.wipe()


def open_pack(
    pack_dir: Path, key: SecretBytes, on_progress: OnProgress | None = None
) -> OpenedPack:
    """Open the pack into memory. Raises PackError, and MemoryError if there is no room for it."""
    try:
        with _opened(pack_dir, _FOLDER_FLAGS) as folder:
            manifest = decode_manifest(_read_manifest(folder), key)
            _check_listing(folder, manifest)
            return _open_files(folder, manifest, key, on_progress)
    except FileNotFoundError:
        raise PackError(PackReason.MISSING_FILE) from None
    except OSError:
        raise PackError(PackReason.UNREADABLE) from None


def seal_pack(  # noqa: PLR0913 (keywords: what the manifest says)
    pack_dir: Path,
    *,
    model_id: str,
    engine: str,
    version: int,
    files: Mapping[str, Source],
    key: SecretBytes,
    on_progress: OnProgress | None = None,
) -> None:
    """Write `files` as a new pack to `pack_dir`, which must not exist. Raises SealError."""
    if os.path.lexists(pack_dir):
        raise SealError(f"{pack_dir} exists; a pack is never overwritten, move it away")
    try:
        with ExitStack() as stack:
            names = sorted(files)
            plain = [stack.enter_context(_open_source(files[name])) for name in names]
            sizes = [source.seek(0, os.SEEK_END) for source in plain]
            packed = tuple(map(PackedFile, range(len(names)), names, sizes))
            manifest = Manifest(model_id=model_id, engine=engine, version=version, files=packed)
            _seal_files(pack_dir, manifest, key, plain, on_progress)
    except OSError as error:
        raise SealError(f"{pack_dir} cannot be made: {error.strerror}") from None


def _open_files(
    folder: int, manifest: Manifest, key: SecretBytes, on_progress: OnProgress | None
) -> OpenedPack:
    streams = [manifest.stream(file) for file in manifest.files]
    counted = _counter(sum(stream.layout.sealed_bytes for stream in streams), on_progress)
    regions: list[mmap.mmap] = []
    with ExitStack() as stack, ExitStack() as undo:
        sealed = [
            stack.enter_context(_opened(file.sealed_name, _FILE_FLAGS, folder))
            for file in manifest.files
        ]
        for descriptor, stream in zip(sealed, streams, strict=True):
            if _size_of_regular(descriptor) != stream.layout.sealed_bytes:
                raise PackError(PackReason.WRONG_SIZE)
        undo.callback(_discard, regions)
        for descriptor, stream in zip(sealed, streams, strict=True):
            region = _private_memory(stream.layout.plain_bytes)
            regions.append(region)
            with memoryview(region) as whole, whole[: stream.layout.plain_bytes] as into:
                open_stream(stream, key, counted(_reader(descriptor)), into)
        undo.pop_all()
    return OpenedPack(manifest, regions)


def _seal_files(
    pack_dir: Path,
    manifest: Manifest,
    key: SecretBytes,
    plain: list[io.BufferedIOBase],
    on_progress: OnProgress | None,
) -> None:
    counted = _counter(sum(file.plain_size for file in manifest.files), on_progress)
    encoded = encode_manifest(manifest, key)
    temporary = pack_dir.with_name(f".{pack_dir.name}.{secrets.token_hex(8)}.sealing")
    temporary.mkdir()
    try:
        for file, source in zip(manifest.files, plain, strict=True):
            source.seek(0)
            salt, prefix = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(PREFIX_BYTES)
            stream, read_into = manifest.stream(file), counted(source.readinto)
            sealed = seal_stream(stream, key, read_into, salt, prefix)
            create_file(temporary / file.sealed_name, sealed, 0o644)
        create_file(temporary / MANIFEST_NAME, [encoded], 0o644)
        sync_folder(temporary)
        temporary.rename(pack_dir)
        sync_folder(pack_dir.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _open_source(source: Source) -> Iterator[io.BufferedIOBase]:
    if isinstance(source, io.BufferedIOBase):
        yield source
    else:
        with source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as file:
            yield file


@contextmanager
def _opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read_manifest(folder: int) -> bytes:
    with _opened(MANIFEST_NAME, _FILE_FLAGS, folder) as descriptor:
        if not 0 < _size_of_regular(descriptor) <= MAX_MANIFEST_BYTES:
            raise PackError(PackReason.BAD_MANIFEST)
        return os.read(descriptor, MAX_MANIFEST_BYTES + 1)


def _check_listing(folder: int, manifest: Manifest) -> None:
    there = set(os.listdir(folder))
    expected = {MANIFEST_NAME} | {file.sealed_name for file in manifest.files}
    if expected - there:
        raise PackError(PackReason.MISSING_FILE)
    if there - expected:
        raise PackError(PackReason.EXTRA_FILE)


def _size_of_regular(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise PackError(PackReason.UNREADABLE)
    return status.st_size


def _reader(descriptor: int) -> ReadInto:
    return lambda view: os.readv(descriptor, [view])


def _counter(total_bytes: int, on_progress: OnProgress | None) -> Callable[[ReadInto], ReadInto]:
    """Wraps readers so that what they read together is told to `on_progress`."""
    done_bytes = 0

    def counted(read_into: ReadInto) -> ReadInto:
        def read(view: memoryview) -> int:
            nonlocal done_bytes
            n_bytes = read_into(view)
            done_bytes += n_bytes
            if on_progress and n_bytes:
                on_progress(done_bytes, total_bytes)
            return n_bytes

        return read

    return counted


def _private_memory(n_bytes: int) -> mmap.mmap:
    """At least `n_bytes` of zeros that belong to no file."""
    try:
        region = mmap.mmap(-1, max(1, n_bytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:
        raise MemoryError("no room for the opened model") from None
    if sys.platform == "linux":  # pragma: no branch
        region.madvise(mmap.MADV_DONTDUMP)
        region.madvise(mmap.MADV_DONTFORK)
    return region


def _zero(region: mmap.mmap) -> None:
    with memoryview(region) as view:
        wipe_buffer(view)


def _close(regions: list[mmap.mmap]) -> None:
    for region in regions:
        # an array made from a view keeps the memory mapped until it goes; it holds zeros
        with suppress(BufferError):
            region.close()


def _discard(regions: list[mmap.mmap]) -> None:
    for region in regions:
        _zero(region)
    _close(regions)
