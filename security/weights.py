"""A folder of sealed files in, model files in private memory out.

Each segment is read into a small buffer of the thread's own and opened straight into its place, by
as many threads as there are cores: the cipher and the kernel's copy release the interpreter lock.
The place is anonymous memory that goes to no core file and no child process, in huge pages where
the kernel has them, or what the caller brings, such as memory of a GPU. No plain byte is written
to a path. Nothing is handed out before every tag of every file is verified, and whatever fails on
the way leaves zeros.

It takes seconds for a large model: run it in a thread.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self, TypeAlias

from typing_extensions import override

from security.errors import PackError, PackReason
from security.manifest import fingerprint
from security.memory import Destination, Nowhere, PrivateMemory
from security.pack_folder import (
    PackTrust,
    SealedFile,
    Unlocked,
    described_pack,
    open_sealed_file,
    unlocked_pack,
)
from security.sealed import SEGMENT_BYTES

OnProgress: TypeAlias = Callable[[int, int], None]
"""Bytes of the model done, bytes in all; called from several threads, one at a time."""
_MOST_THREADS = 4


@dataclass(frozen=True, slots=True)
class PackCard:
    """What a pack says of itself, all of it proven."""

    model_id: str
    engine: str
    version: int
    publisher: str
    """Fingerprint of the key that signed it."""
    kek_id: str
    """Of the key that opened it."""
    sizes: Mapping[str, int]
    """Bytes of each file, by name."""


Places: TypeAlias = Mapping[str, Callable[[int], Destination]]
"""By file name, what makes its destination, given its length in bytes."""
Prepare: TypeAlias = Callable[[PackCard], Places]
"""Called before any file is opened; may raise what it likes to have none opened."""


class OpenedPack:
    """The files of one model, plain, until `wipe`, which also ends a `with` block over it."""

    def __init__(self, card: PackCard, memory: dict[str, PrivateMemory]) -> None:
        """Takes over `memory`, the verified content of the files by name."""
        self.card = card
        self.files: Mapping[str, memoryview] = {
            name: part.view.toreadonly() for name, part in memory.items()
        }
        """(plain_size,) uint8, read-only, by name; not to be used after `wipe`."""
        self._memory = memory

    def wipe(self) -> None:
        """Zero the memory and give it back; may be called again."""
        memory, self._memory = self._memory, {}
        files, self.files = self.files, {}
        for file in files.values():
            with suppress(BufferError):
                file.release()
        for part in memory.values():
            part.wipe()

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
    pack_dir: Path,
    trust: PackTrust,
    on_progress: OnProgress | None = None,
    prepare: Prepare | None = None,
) -> OpenedPack:
    """Open the pack into memory.

    Files that `prepare` names go to its places and belong to the caller; the rest are in the
    `OpenedPack`.
    Raises PackError, KekError, and MemoryError if there is no room for it.
    """
    with unlocked_pack(pack_dir, trust) as pack, ExitStack() as undo:
        card = _card_of(pack)
        elsewhere = prepare(card) if prepare else {}
        memory: dict[str, PrivateMemory] = {}
        destinations: list[Destination] = []
        for file in pack.files:
            n_bytes = file.opener.layout.plain_bytes
            if file.name in elsewhere:
                destination = elsewhere[file.name](n_bytes)
            else:
                destination = memory[file.name] = PrivateMemory(n_bytes)
            undo.callback(destination.wipe)
            destinations.append(destination)
        _Opening(pack.files, destinations, on_progress).run()
        undo.pop_all()
        return OpenedPack(card, memory)


def verify_pack(
    pack_dir: Path, trust: PackTrust, on_progress: OnProgress | None = None
) -> PackCard:
    """Check every tag and keep nothing. Raises PackError and KekError."""
    with unlocked_pack(pack_dir, trust) as pack:
        _Opening(pack.files, [Nowhere()] * len(pack.files), on_progress).run()
        return _card_of(pack)


def inspect_pack(pack_dir: Path, trust: PackTrust) -> PackCard:
    """What is in it, from the manifest alone. Raises PackError and KekError."""
    with unlocked_pack(pack_dir, trust) as pack:
        return _card_of(pack)


def hashed_pack(pack_dir: Path, trust: PackTrust) -> int:
    """Check signature and hashes, as anybody can; gives the bytes checked. Raises PackError."""
    n_bytes = 0
    with described_pack(pack_dir, trust) as described:
        for ordinal, expected in enumerate(described.manifest.sealed_sha256):
            with open_sealed_file(described, ordinal) as descriptor:
                hashed = hashlib.sha256()
                while chunk := os.read(descriptor, SEGMENT_BYTES):
                    hashed.update(chunk)
                    n_bytes += len(chunk)
            if hashed.hexdigest() != expected:
                raise PackError(PackReason.BAD_SEGMENT)
    return n_bytes


def _card_of(pack: Unlocked) -> PackCard:
    core = pack.described.manifest.core
    return PackCard(
        core.model_id,
        core.engine,
        core.version,
        fingerprint(pack.described.publisher),
        pack.slot.kek,
        {file.name: file.opener.layout.plain_bytes for file in pack.files},
    )


class _Opening:
    """All segments of all files, opened by a few threads; the first failure stops them all."""

    def __init__(
        self,
        files: Sequence[SealedFile],
        destinations: Sequence[Destination],
        on_progress: OnProgress | None,
    ) -> None:
        self._lock = Lock()
        self._jobs = self._all_jobs(files, destinations)
        self._on_progress = on_progress
        self._done_bytes = 0
        self._total_bytes = sum(file.opener.layout.plain_bytes for file in files)
        self._is_stopped = False

    def run(self) -> None:
        """Returns when everything is verified. Raises what the first thread to fail raised."""
        n_threads = min(_MOST_THREADS, os.cpu_count() or 1)
        with ThreadPoolExecutor(n_threads, "open-pack") as pool:
            try:
                for worker in [pool.submit(self._work) for _ in range(n_threads)]:
                    worker.result()
            finally:
                self._is_stopped = True

    @staticmethod
    def _all_jobs(
        files: Sequence[SealedFile], destinations: Sequence[Destination]
    ) -> Iterator[tuple[SealedFile, Destination, int]]:
        for file, destination in zip(files, destinations, strict=True):
            for index in range(file.opener.layout.segments):
                yield file, destination, index

    def _work(self) -> None:
        staging = memoryview(bytearray(SEGMENT_BYTES))
        try:
            while (job := self._next()) is not None:
                file, destination, index = job
                start, end = file.opener.layout.plain_range(index)
                sealed = file.read_segment(index, staging)
                file.opener.open_segment(index, sealed, destination.buffer(start, end))
                destination.deliver(start, end)
                self._tell(end - start)
        finally:
            self._is_stopped = True

    def _next(self) -> tuple[SealedFile, Destination, int] | None:
        with self._lock:
            return None if self._is_stopped else next(self._jobs, None)

    def _tell(self, n_bytes: int) -> None:
        if self._on_progress is None:
            return
        with self._lock:
            self._done_bytes += n_bytes
            self._on_progress(self._done_bytes, self._total_bytes)
