"""Who may open a pack, in: the pack key, wrapped once for each of them; the pack key out.

A pack key is never stored: each slot holds it wrapped under one key-encrypting key (KEK), which
lies elsewhere: in a file, in somebody's head, in a key management service. Changing a KEK rewrites
this file of a few hundred bytes and no weight. A slot names the KEK that made it and never says
where to ask: only sources that the operator configured are asked, so that whoever can write here
can send nobody anywhere. The wrapping is bound to the pack, and the list is under a MAC of the
pack key, so that a damaged slot shows on the day it is damaged and not in the emergency it was
kept for. An older list put back opens the pack to the KEKs of its day: against a lost KEK helps a
new pack key, not a new slot.
"""

import hmac
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Protocol

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from security.errors import KekError, PackError, PackReason, SealError
from security.sealed import FORMAT, derive_key
from security.secret import SecretBytes

MAX_SLOTS = 16
MAX_SLOTS_BYTES = 64 * 1024
MAX_WRAPPED_BYTES = 2048
_HEAD, _MIDDLE, _TAIL = b'{"core":', b',"slots_mac":"', b'"}\n'
_MAC_HEX_CHARS = 64

KekId = Annotated[str, msgspec.Meta(pattern=r"\A[\x21-\x7e]{1,256}\Z")]
Wrapped = Annotated[bytes, msgspec.Meta(min_length=1, max_length=MAX_WRAPPED_BYTES)]


class Kek(Protocol):
    """A key-encrypting key, wherever it lives."""

    @property
    def kek_id(self) -> str:
        """Names the key and no secret: its kind, then what tells it from others of its kind."""

    def wrap(self, pack_key: SecretBytes, context: bytes) -> bytes:
        """The pack key, to be had back with the same `context` only. Raises KekError."""

    def unwrap(self, wrapped: bytes, context: bytes) -> SecretBytes | None:
        """The pack key; None if this KEK did not wrap it so. Raises KekError if it cannot say."""

    def wipe(self) -> None:
        """Forget what is held of it; nothing is asked afterwards."""


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The pack key under one KEK."""

    kek: KekId
    """Equal to the `kek_id` of the KEK that opens it."""
    wrapped: Wrapped
    """In the KEK's own layout."""


class KeySlots(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All the ways to one pack key."""

    format: Literal["earwitness-keyslots/1"] = "earwitness-keyslots/1"
    slots: Annotated[tuple[Slot, ...], msgspec.Meta(min_length=1, max_length=MAX_SLOTS)]

    @property
    def core(self) -> bytes:
        """The one spelling of these slots: sorted keys, no spaces."""
        return msgspec.json.encode(self, order="sorted")


def slot_context(core_hash: bytes) -> bytes:
    """What every wrapping of this pack's key is bound to."""
    return FORMAT.encode() + b"|slot|" + core_hash


def wrap_slot(kek: Kek, pack_key: SecretBytes, core_hash: bytes) -> Slot:
    """A new slot for this KEK. Raises KekError."""
    return Slot(kek.kek_id, kek.wrap(pack_key, slot_context(core_hash)))


def encode_slots(slots: Iterable[Slot], pack_key: SecretBytes, core_hash: bytes) -> bytes:
    """The slots file. Raises SealError if there are none or too many."""
    core = KeySlots(slots=tuple(slots)).core
    try:
        msgspec.json.decode(core, type=KeySlots)
    except msgspec.ValidationError as error:
        raise SealError(f"the key slots cannot be kept: {error}") from None
    return _HEAD + core + _MIDDLE + _mac(core, pack_key, core_hash).encode() + _TAIL


def read_slots(encoded: bytes) -> tuple[Slot, ...]:
    """The slots as they stand, before anything proves them. Raises PackError."""
    head, tail = len(_HEAD), len(_MIDDLE) + _MAC_HEX_CHARS + len(_TAIL)
    if not head + tail < len(encoded) <= MAX_SLOTS_BYTES:
        raise PackError(PackReason.BAD_SLOTS)
    core = encoded[head:-tail]
    try:
        found = msgspec.json.decode(core, type=KeySlots)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise PackError(PackReason.BAD_SLOTS) from None
    if found.core != core:
        raise PackError(PackReason.BAD_SLOTS)
    return found.slots


def unlock(encoded: bytes, keks: Sequence[Kek], core_hash: bytes) -> tuple[SecretBytes, Slot]:
    """The pack key, and the slot that gave it; the caller owns the key.

    The KEKs are asked in their order. One that cannot be reached does not stop the next. Raises
    PackError if none fits, and KekError if one that might fit could not be asked.
    """
    unasked: KekError | None = None
    slots = read_slots(encoded)
    for kek in keks:
        for slot in slots:
            if slot.kek != kek.kek_id:
                continue
            try:
                key = kek.unwrap(slot.wrapped, slot_context(core_hash))
            except KekError as error:
                unasked = error
                break
            if key is not None:
                return _checked(encoded, key, core_hash), slot
    if unasked is not None:
        raise unasked
    raise PackError(PackReason.NO_SLOT)


def _checked(encoded: bytes, key: SecretBytes, core_hash: bytes) -> SecretBytes:
    """The key, once it has proved the whole list."""
    core = encoded[len(_HEAD) : -(len(_MIDDLE) + _MAC_HEX_CHARS + len(_TAIL))]
    expected = _HEAD + core + _MIDDLE + _mac(core, key, core_hash).encode() + _TAIL
    if not hmac.compare_digest(encoded, expected):
        key.wipe()
        raise PackError(PackReason.BAD_SLOTS)
    return key


def _mac(core: bytes, pack_key: SecretBytes, core_hash: bytes) -> str:
    with derive_key(pack_key, FORMAT.encode() + b"|slots|" + core_hash) as key:
        mac = HMAC(key.expose(), SHA256())
        mac.update(core)
        return mac.finalize().hex()
