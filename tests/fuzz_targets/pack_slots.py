"""A slots file that anybody may have written: the pack key if it is ours to the last byte."""

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.errors import PackError, SealError
from security.keks.box import NONCE_BYTES
from security.keks.local import LocalKek
from security.secret import SecretBytes
from security.slots import Slot, encode_slots, read_slots, slot_context, unlock

MAX_BYTES = 4_096
_CORE_HASH = b"c" * 32
_PACK_KEY = SecretBytes(bytearray(b"k" * 32))
_KEK = LocalKek(SecretBytes(bytearray(b"e" * 32)))
_OTHER_KEK = LocalKek(SecretBytes(bytearray(b"o" * 32)))


def _slot(kek: LocalKek, key: bytes) -> Slot:
    """As the key wraps it, but the same in every run: a corpus is kept from one to the next."""
    nonce = bytes(NONCE_BYTES)
    bound = slot_context(_CORE_HASH)
    return Slot(kek.kek_id, nonce + AESGCM(key).encrypt(nonce, _PACK_KEY.expose(), bound))


_SLOTS = [_slot(_KEK, b"e" * 32), _slot(_OTHER_KEK, b"o" * 32)]
_OURS = encode_slots(_SLOTS, _PACK_KEY, _CORE_HASH)
SEEDS = [
    _OURS,
    encode_slots(_SLOTS[1:], _PACK_KEY, _CORE_HASH),
    b'{"core":{"format":"earwitness-keyslots/1","slots":[]},"slots_mac":"' + b"0" * 64 + b'"}\n',
]


def fuzz_pack_slots(data: bytes) -> None:
    try:
        slots = read_slots(data)
    except PackError:
        return
    _write_again(slots)
    try:
        key, slot = unlock(data, [_KEK], _CORE_HASH)
    except PackError:
        return
    assert key == _PACK_KEY
    assert slot in slots
    # who holds the pack key can make a list; a fuzzer cannot
    assert data in {_OURS, encode_slots([slot], _PACK_KEY, _CORE_HASH)}


def _write_again(slots) -> None:
    try:
        encoded = encode_slots(slots, _PACK_KEY, _CORE_HASH)
    except SealError:
        raise AssertionError("slots that can be read cannot be written") from None
    assert read_slots(encoded) == slots
