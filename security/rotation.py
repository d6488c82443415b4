"""A pack and a new key-encrypting key in, the same pack with other key slots out.

The weights are not touched: only the slots file is written anew, beside the pack, and renamed over
the old one. A rotation first adds the new slot, then proves that the new key opens the pack as it
lies on the disk, and only then drops the old slot, so that a process killed at any moment leaves a
pack that the old key or the new one opens. One change of a pack runs at a time.
"""

import fcntl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from security.durable import replace_file
from security.errors import SealError
from security.pack_folder import SLOTS_NAME, PackTrust, Unlocked, described_pack, unlocked_pack
from security.secret import SecretBytes
from security.slots import Kek, Slot, encode_slots, read_slots, slot_context, wrap_slot


def slots_of(pack_dir: Path, trust: PackTrust) -> tuple[str, ...]:
    """Ids of the keys that open the pack; needs none of them. Raises PackError."""
    with described_pack(pack_dir, trust) as pack:
        return tuple(slot.kek for slot in read_slots(pack.slots))


def add_slot(pack_dir: Path, trust: PackTrust, kek: Kek) -> str:
    """Let `kek` open the pack too; gives the id of the key that allowed it.

    Raises PackError, KekError and SealError.
    """
    with _changing(pack_dir, trust) as (pack, slots):
        _add(pack_dir, trust, pack, slots, kek)
        return pack.slot.kek


def rotate_slot(pack_dir: Path, trust: PackTrust, kek: Kek) -> str:
    """Let `kek` open the pack instead of the key that opens it now; gives the id of the latter.

    Raises PackError, KekError and SealError.
    """
    with _changing(pack_dir, trust) as (pack, slots):
        new = _add(pack_dir, trust, pack, slots, kek)
        kept = [slot for slot in slots if slot != pack.slot and slot.kek != new.kek]
        _write(pack_dir, pack, [*kept, new])
        return pack.slot.kek


def drop_slot(pack_dir: Path, trust: PackTrust, kek_id: str) -> None:
    """Let the key of this id open the pack no more. Raises PackError, KekError and SealError."""
    with _changing(pack_dir, trust) as (pack, slots):
        kept = [slot for slot in slots if slot.kek != kek_id]
        if len(kept) == len(slots):
            raise SealError(f"{pack_dir} has no slot for {kek_id}")
        if not kept:
            raise SealError(f"{kek_id} is the last key that opens {pack_dir}: add another first")
        _write(pack_dir, pack, kept)


def _add(
    pack_dir: Path, trust: PackTrust, pack: Unlocked, slots: tuple[Slot, ...], kek: Kek
) -> Slot:
    """Write the slots with a new one, and prove it from the disk."""
    core_hash = pack.described.manifest.core.sha256
    new = wrap_slot(kek, pack.pack_key, core_hash)
    others = [slot for slot in slots if slot == pack.slot or slot.kek != new.kek]
    _write(pack_dir, pack, [*others, new])
    with described_pack(pack_dir, trust) as written:
        proof = kek.unwrap(read_slots(written.slots)[-1].wrapped, slot_context(core_hash))
    with proof or SecretBytes(bytearray()) as key:
        if key != pack.pack_key:
            raise SealError(f"{new.kek} does not give back what it wrapped: the old slot is kept")
    return new


@contextmanager
def _changing(pack_dir: Path, trust: PackTrust) -> Iterator[tuple[Unlocked, tuple[Slot, ...]]]:
    with unlocked_pack(pack_dir, trust) as pack:
        try:
            fcntl.flock(pack.described.folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SealError(f"the key slots of {pack_dir} are being changed: try again") from None
        yield pack, read_slots(pack.described.slots)


def _write(pack_dir: Path, pack: Unlocked, slots: Iterable[Slot]) -> None:
    encoded = encode_slots(slots, pack.pack_key, pack.described.manifest.core.sha256)
    # not inside the pack: what a killed rotation leaves would make it a pack with a file too many
    temporary = pack_dir.with_name(f".{pack_dir.name}.{SLOTS_NAME}")
    try:
        replace_file(pack_dir / SLOTS_NAME, temporary, encoded, 0o644)
    except OSError as error:
        text = f"the key slots of {pack_dir} cannot be written: {error.strerror}"
        raise SealError(text) from None
