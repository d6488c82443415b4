"""A pack's folder in, the proven description of what lies in it and its open files out.

Everything is reached by descriptors below the folder's own, and no link is followed, so that what
was checked is what is read. Order matters: the signature before anything is parsed, the version
before a key is asked for, the key before a name is known. A folder is a pack only if it holds
exactly what its manifest names, as regular files of the right length: a missing, an added or a
linked one refuses the whole. Opening needs no lock; whoever changes a pack holds one on its folder.
"""

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from security.errors import PackError, PackReason, SealError
from security.manifest import (
    MAX_MANIFEST_BYTES,
    SIGNATURE_BYTES,
    Manifest,
    decode_manifest,
    open_names,
    sealed_name,
)
from security.sealed import HEADER_BYTES, StreamOpener
from security.secret import SecretBytes
from security.slots import MAX_SLOTS_BYTES, Kek, Slot, unlock

MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
SLOTS_NAME = "keyslots.json"
_OWN_NAMES = {MANIFEST_NAME, SIGNATURE_NAME, SLOTS_NAME}

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class PackTrust:
    """What a pack must satisfy to be opened here."""

    keks: Sequence[Kek]
    """Asked in this order."""
    publishers: Sequence[Ed25519PublicKey]
    """One of them must have signed the manifest."""
    accepted_versions: Mapping[str, int]
    """By model: the highest version ever opened; an older one is refused."""
    model_id: str | None = None
    """The only model that will do; a genuine pack of another must not take its place."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wipe the KEKs."""
        for kek in self.keks:
            kek.wipe()


@dataclass(frozen=True, slots=True)
class Described:
    """A pack whose manifest is proven and whose files are all there, still sealed."""

    folder: int
    """Descriptor of the folder, open while the context lasts."""
    manifest: Manifest
    publisher: Ed25519PublicKey
    slots: bytes
    """The slots file, unproven until it is unlocked."""


@dataclass(frozen=True, slots=True)
class SealedFile:
    """One file of an unlocked pack."""

    name: str
    descriptor: int
    opener: StreamOpener

    def read_segment(self, index: int, staging: memoryview) -> memoryview:
        """Segment `index`, sealed, in the first part of `staging`. Raises PackError."""
        start, end = self.opener.layout.sealed_range(index)
        return _read_at(self.descriptor, start, staging[: end - start])


@dataclass(frozen=True, slots=True)
class Unlocked:
    """A pack whose key is at hand, its content still sealed."""

    described: Described
    pack_key: SecretBytes
    slot: Slot
    """The slot that gave the key."""
    files: Sequence[SealedFile]


@contextmanager
def described_pack(pack_dir: Path, trust: PackTrust) -> Iterator[Described]:
    """Check all that can be checked without a key. Raises PackError."""
    with ExitStack() as stack:
        with _told_as_pack_error():
            described = _describe(stack.enter_context(opened(pack_dir, _FOLDER_FLAGS)), trust)
        yield described


@contextmanager
def unlocked_pack(pack_dir: Path, trust: PackTrust) -> Iterator[Unlocked]:
    """The same, and the key and the files. Raises PackError, and KekError as `unlock` does."""
    with described_pack(pack_dir, trust) as described, ExitStack() as stack:
        core = described.manifest.core
        key, slot = unlock(described.slots, trust.keks, core.sha256)
        stack.enter_context(key)
        names = open_names(described.manifest, key)
        files: list[SealedFile] = []
        for ordinal, (name, stream) in enumerate(zip(names, core.streams, strict=True)):
            descriptor = stack.enter_context(open_sealed_file(described, ordinal))
            header = _read_at(descriptor, 0, memoryview(bytearray(HEADER_BYTES)))
            files.append(SealedFile(name, descriptor, StreamOpener(stream, key, bytes(header))))
        yield Unlocked(described, key, slot, files)


@contextmanager
def changing_pack(pack_dir: Path, trust: PackTrust) -> Iterator[Unlocked]:
    """The same, for one at a time. Raises SealError too, if the pack is being changed."""
    busy = f"{pack_dir} is being changed: try again"
    with ExitStack() as stack:
        with _told_as_pack_error():
            folder = stack.enter_context(opened(pack_dir, _FOLDER_FLAGS))
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SealError(busy) from None
        pack = stack.enter_context(unlocked_pack(pack_dir, trust))
        with _told_as_pack_error():
            # another folder may have taken the name before the lock was there
            if not os.path.samestat(pack_dir.lstat(), os.fstat(folder)):
                raise SealError(busy)
        yield pack


@contextmanager
def open_sealed_file(described: Described, ordinal: int) -> Iterator[int]:
    """Descriptor of a sealed file of the right kind and length. Raises PackError."""
    with ExitStack() as stack:
        with _told_as_pack_error():
            sealed = opened(sealed_name(ordinal), _FILE_FLAGS, described.folder)
            descriptor = stack.enter_context(sealed)
            expected_bytes = described.manifest.core.streams[ordinal].layout.sealed_bytes
            if _size_of_regular(descriptor) != expected_bytes:
                raise PackError(PackReason.WRONG_SIZE)
        yield descriptor


@contextmanager
def opened(path: Path | str, flags: int, folder: int | None = None) -> Iterator[int]:
    """A descriptor, closed again."""
    descriptor = os.open(path, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _told_as_pack_error() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise PackError(PackReason.MISSING_FILE) from None
    except OSError:
        raise PackError(PackReason.UNREADABLE) from None


def _describe(folder: int, trust: PackTrust) -> Described:
    encoded = _read_small(folder, MANIFEST_NAME, MAX_MANIFEST_BYTES)
    signature = _read_small(folder, SIGNATURE_NAME, SIGNATURE_BYTES)
    manifest, publisher = decode_manifest(encoded, signature, trust.publishers)
    core = manifest.core
    if trust.model_id not in {None, core.model_id}:
        raise PackError(PackReason.OTHER_MODEL)
    if core.version < trust.accepted_versions.get(core.model_id, 0):
        raise PackError(PackReason.OLDER_VERSION)
    _check_listing(folder, len(core.plain_sizes))
    slots = _read_small(folder, SLOTS_NAME, MAX_SLOTS_BYTES)
    return Described(folder, manifest, publisher, slots)


def _read_small(folder: int, name: str, most_bytes: int) -> bytes:
    with opened(name, _FILE_FLAGS, folder) as descriptor:
        if not 0 < _size_of_regular(descriptor) <= most_bytes:
            raise PackError(PackReason.WRONG_SIZE)
        return os.read(descriptor, most_bytes + 1)


def _check_listing(folder: int, n_files: int) -> None:
    there = set(os.listdir(folder))
    expected = _OWN_NAMES | {sealed_name(ordinal) for ordinal in range(n_files)}
    if expected - there:
        raise PackError(PackReason.MISSING_FILE)
    if there - expected:
        raise PackError(PackReason.EXTRA_FILE)


def _size_of_regular(descriptor: int) -> int:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise PackError(PackReason.UNREADABLE)
    return status.st_size


def _read_at(descriptor: int, start: int, into: memoryview) -> memoryview:
    """Fill `into` from position `start`; a copy, as a mapped file could change under the cipher."""
    done = 0
    while done < len(into):
        with _told_as_pack_error():
            n_bytes = os.preadv(descriptor, [into[done:]], start + done)
        if n_bytes == 0:
            raise PackError(PackReason.WRONG_SIZE)
        done += n_bytes
    return into
