"""Places in, what this server alone knows of its trail out: the key of the running epoch, and the
number and MAC of the last row.

A key file is replaced by a new one of the next epoch, and the former overwritten before its name
goes, also after a crash in between: as far as the file system overwrites in place, whoever reads
the disk later finds no key of a former epoch. The head is 86 bytes written in place and not synced:
it may be behind the trail after a power cut, never ahead of it.
"""

import os
import re
from pathlib import Path

from security.audit_chain import HASH_BYTES, ChainState
from security.durable import create_file, sync_folder
from security.errors import AuditError, KeyFileError
from security.keys import decode_hex, read_checked
from security.secret import SecretBytes, wipe_buffer
from security.trail_state import ChainKey

_KEY_LINE = re.compile(
    rb'\{"trail":"([0-9a-f]{16})","epoch":(0|[1-9][0-9]{0,17}),'
    rb'"after_seq":(0|[1-9][0-9]{0,17}),"key":"([0-9a-f]{64})"\}\n'
)
_HEAD_LINE = re.compile(rb"([0-9]{20}) ([0-9a-f]{64})\n")
_HEAD_BYTES = 86
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_STAMP_BYTES = 54
"""Trail and epoch, however many digits that has; the key begins later."""
Stamp = bytes | None
PUT_BACK = "put it back from a backup, or run.py audit set-aside begins a new trail"


def stamp_of(path: Path) -> Stamp:
    """Which trail and epoch the key is of; None if there is none. It is read, because a file system
    gives a new file the number and, within some milliseconds, the time of the one before.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.pread(descriptor, _STAMP_BYTES, 0)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def create_chain_key(path: Path, chain_key: ChainKey) -> None:
    """Write it to `path`, which must not exist. Raises OSError."""
    head = (
        f'{{"trail":"{chain_key.trail_id}","epoch":{chain_key.epoch},'
        f'"after_seq":{chain_key.after_seq},"key":"'
    )
    line = bytearray(head.encode() + bytes(2 * HASH_BYTES) + b'"}\n')
    for index, byte in enumerate(chain_key.key.expose()):
        at = len(head) + 2 * index
        line[at : at + 2] = b"%02x" % byte
    try:
        create_file(path, [memoryview(line)], 0o600)
        sync_folder(path.parent)
    finally:
        with memoryview(line) as view:
            wipe_buffer(view)


def read_chain_key(path: Path) -> ChainKey | None:
    """None if there is no file. Raises AuditError."""
    try:
        content = read_checked(path, is_secret=True)
    except KeyFileError as error:
        if not path.exists():
            return None
        raise AuditError(str(error)) from None
    with memoryview(content) as view:
        found = _KEY_LINE.fullmatch(view)
        key = decode_hex(view[found.start(4) : found.end(4)]) if found else None
        fields = [bytes(view[slice(*found.span(group))]) for group in (1, 2, 3)] if found else []
        del found
        wipe_buffer(view)
    if key is None:
        raise AuditError(f"{path} does not hold the key of a trail: put the right one back")
    trail_id, epoch, after_seq = fields
    return ChainKey(trail_id.decode(), int(epoch), int(after_seq), SecretBytes(key))


def replace_chain_key(path: Path, chain_key: ChainKey) -> None:
    """Put it in the place of the former, and destroy that. Raises OSError."""
    temporary, former = _beside(path)
    temporary.unlink(missing_ok=True)
    create_chain_key(temporary, chain_key)
    former.unlink(missing_ok=True)
    os.link(path, former)
    temporary.rename(path)
    sync_folder(path.parent)
    _destroy(former)


def destroy_former_key(path: Path) -> None:
    """What a replacement that was cut short has left. Raises OSError."""
    temporary, former = _beside(path)
    for left in (temporary, former):
        if not left.exists():
            continue
        if path.exists() and left.samefile(path):  # not replaced yet: it is the key in use
            left.unlink()
        else:
            _destroy(left)


def _beside(path: Path) -> tuple[Path, Path]:
    return path.with_name(path.name + ".new"), path.with_name(path.name + ".former")


def _destroy(path: Path) -> None:
    descriptor = os.open(path, _FLAGS)
    try:
        os.pwrite(descriptor, bytes(os.fstat(descriptor).st_size), 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()


class HeadFile:
    """The number and MAC of the last row."""

    def __init__(self, path: Path) -> None:
        """Raises AuditError."""
        self._path = path
        try:
            self._descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            raise AuditError(f"{path} is missing: {PUT_BACK}") from None
        except OSError as error:
            raise AuditError(f"{path} cannot be opened: {error.strerror}") from None

    @staticmethod
    def create(path: Path) -> None:
        """Of a trail without rows. Raises OSError."""
        create_file(path, [_head_line(ChainState())], 0o600)
        sync_folder(path.parent)

    def read(self) -> tuple[int, bytes]:
        """The number of the last row, and its MAC. Raises AuditError."""
        found = _HEAD_LINE.fullmatch(os.pread(self._descriptor, _HEAD_BYTES + 1, 0))
        if found is None:
            raise AuditError(f"{self._path} is damaged: the trail cannot be trusted to be whole")
        return int(found[1]), bytes.fromhex(found[2].decode())

    def write(self, chain: ChainState) -> None:
        """After each commit, before it is acknowledged. Raises OSError."""
        os.pwrite(self._descriptor, _head_line(chain), 0)

    def sync(self) -> None:
        """What was written survives a power cut. Raises OSError."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """May be called again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _head_line(chain: ChainState) -> bytes:
    return f"{chain.size:020d} {chain.mac.hex()}\n".encode()
