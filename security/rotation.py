"""A pack and a new key-encrypting key in, the same pack with other key slots out.

The weights are not touched: only the slots file is written anew, beside the pack, and renamed over
the old one. A rotation first adds the new slot, then proves that the new key opens the pack as it
lies on the disk, and only then drops the old slot, so that a process killed at any moment leaves a
pack that the old key or the new one opens. One change of a pack runs at a time.
"""

from collections.abc import Iterable
from pathlib import Path

from security.durable import replace_file
from security.errors import KekError, SealError
from security.pack_folder import SLOTS_NAME, PackTrust, Unlocked, changing_pack, described_pack
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
    with changing_pack(pack_dir, trust) as pack:
        _add(pack_dir, trust, pack, kek, instead_of=None)
        return pack.slot.kek


def rotate_slot(pack_dir: Path, trust: PackTrust, kek: Kek) -> str:
    """Let `kek` open the pack instead of the key that opens it now; gives the id of the latter.

    Raises PackError, KekError and SealError.
    """
    with changing_pack(pack_dir, trust) as pack:
        _add(pack_dir, trust, pack, kek, instead_of=pack.slot)
        return pack.slot.kek


def drop_slot(pack_dir: Path, trust: PackTrust, kek_id: str) -> None:
    """Let the key of this id open the pack no more. Raises PackError, KekError and SealError."""
    with changing_pack(pack_dir, trust) as pack:
        slots = read_slots(pack.described.slots)
        kept = [slot for slot in slots if slot.kek != kek_id]
        if len(kept) == len(slots):
            raise SealError(f"{pack_dir} has no slot for {kek_id}")
        if not kept:
            raise SealError(f"{kek_id} is the last key that opens {pack_dir}: add another first")
        _write(pack_dir, pack, kept)


def _add(
    pack_dir: Path, trust: PackTrust, pack: Unlocked, kek: Kek, *, instead_of: Slot | None
) -> None:
    """Write the slots with a new one, prove it from the disk, and drop what it replaces."""
    core_hash = pack.described.manifest.core.sha256
    slots = read_slots(pack.described.slots)
    new = wrap_slot(kek, pack.pack_key, core_hash)
    is_proven = False
    try:
        _write(pack_dir, pack, [*slots, new])
        with described_pack(pack_dir, trust) as written:
            proof = kek.unwrap(read_slots(written.slots)[-1].wrapped, slot_context(core_hash))
        with proof or SecretBytes(bytearray()) as key:
            is_proven = key == pack.pack_key
    finally:
        if not is_proven:
            _write(pack_dir, pack, slots)
    if not is_proven:
        raise SealError(f"{new.kek} does not give back what it wrapped: all is as it was")
    kept = [slot for slot in slots if slot != instead_of and not _opens(kek, slot, core_hash)]
    if len(kept) < len(slots):
        _write(pack_dir, pack, [*kept, new])


def _opens(kek: Kek, slot: Slot, core_hash: bytes) -> bool:
    """Whether the slot is this key's own; ids tell, but all passphrases have the same."""
    if slot.kek != kek.kek_id:
        return False
    try:
        key = kek.unwrap(slot.wrapped, slot_context(core_hash))
    except KekError:
        return False
    if key is not None:
        key.wipe()
    return key is not None


def _write(pack_dir: Path, pack: Unlocked, slots: Iterable[Slot]) -> None:
    encoded = encode_slots(slots, pack.pack_key, pack.described.manifest.core.sha256)
    # not inside the pack: what a killed rotation leaves would make it a pack with a file too many
    temporary = pack_dir.with_name(f".{pack_dir.name}.{SLOTS_NAME}")
    try:
        replace_file(pack_dir / SLOTS_NAME, temporary, encoded, 0o644)
    except OSError as error:
        text = f"the key slots of {pack_dir} cannot be written: {error.strerror}"
        raise SealError(text) from None
