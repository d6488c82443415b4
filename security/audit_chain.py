"""Rows in, the same rows bound to all that came before out: the chain, and the tree whose root a
checkpoint signs.

Each row's MAC covers its own text, its place and the MAC before it, under the key of its epoch. An
epoch ends with a checkpoint; its key is then turned into the next one and destroyed, so that
whoever takes the key of today cannot rewrite yesterday. The tree is that of RFC 6962 over all rows
from the first: only the roots of its complete parts are kept (`frontier`), so that a row costs one
hash more and old rows may go while what was signed about them stays provable.

What is hashed is `canonical`: a JSON array of the row's columns in their order, which any language
can make. docs/audit-format.md is the whole of it; `verify_trail` reads it without this file.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import msgspec

HASH_BYTES = 32
NO_MAC = bytes(HASH_BYTES)
"""Stands before the first row."""
_FIRST_EPOCH = b"earwitness audit: first epoch"
_NEXT_EPOCH = b"earwitness audit: next epoch"
_encode = msgspec.json.Encoder().encode
_BLOCK_BYTES = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))  # RFC 2104
_LEAF, _NODE = b"\x00", b"\x01"  # RFC 6962, section 2.1: told apart

Column: TypeAlias = str | int | None


@dataclass(frozen=True, slots=True)
class ChainState:
    """Where the chain has got to; the next row is bound to it."""

    size: int = 0
    """Rows so far, and the number of the last."""
    mac: bytes = NO_MAC
    """Of the last row."""
    frontier: tuple[bytes, ...] = ()
    """Roots of the tree's complete parts, the largest first: one for each 1 in `size`."""


def canonical(columns: Sequence[Column]) -> bytes:
    """What is hashed of a row: all its columns but the MAC, in their order."""
    return _encode(columns)


def leaf_hash(text: bytes) -> bytes:
    """Of a row's canonical text."""
    return hashlib.sha256(_LEAF + text).digest()


def extend(
    state: ChainState, texts: Sequence[bytes], key: bytes | memoryview
) -> tuple[ChainState, list[bytes]]:
    """The chain with these rows (canonical texts) behind it, and a MAC for each."""
    mac, macs = state.mac, []
    leaves = [leaf_hash(text) for text in texts]
    padded = bytes(key).ljust(_BLOCK_BYTES, b"\0")  # as `mac_of`, with the key's part done once
    inner = hashlib.sha256(padded.translate(_INNER))
    outer = hashlib.sha256(padded.translate(_OUTER))
    for leaf in leaves:
        within, around = inner.copy(), outer.copy()
        within.update(mac + leaf)
        around.update(within.digest())
        mac = around.digest()
        macs.append(mac)
    return replace(grow(state, leaves), mac=mac), macs


def mac_of(key: bytes | memoryview, former_mac: bytes, leaf: bytes) -> bytes:
    """Of a row, which follows the one with `former_mac`."""
    return hmac.digest(key, former_mac + leaf, "sha256")


def grow(state: ChainState, leaves: Sequence[bytes]) -> ChainState:
    """The tree with these leaves behind it; the MAC stays what it was."""
    frontier, size = list(state.frontier), state.size
    for leaf in leaves:
        node, rest = leaf, size
        while rest & 1:
            node = _node(frontier.pop(), node)
            rest >>= 1
        frontier.append(node)
        size += 1
    return replace(state, size=size, frontier=tuple(frontier))


def root_of(frontier: Sequence[bytes]) -> bytes:
    """Of the tree as far as it has grown (RFC 6962, section 2.1)."""
    if not frontier:
        return hashlib.sha256().digest()
    root = frontier[-1]
    for part in reversed(frontier[:-1]):
        root = _node(part, root)
    return root


def first_key(auditor_key: bytes | memoryview) -> bytes:
    """Of epoch 0, from the key that the auditor keeps."""
    return hmac.digest(auditor_key, _FIRST_EPOCH, "sha256")


def next_key(key: bytes | memoryview) -> bytes:
    """Of the next epoch; there is no way back."""
    return hmac.digest(key, _NEXT_EPOCH, "sha256")


def encode_frontier(frontier: Sequence[bytes]) -> bytes:
    """As it is stored."""
    return b"".join(frontier)


def decode_frontier(stored: bytes, size: int) -> tuple[bytes, ...] | None:
    """None if it is not the frontier of a tree of that size."""
    if len(stored) != HASH_BYTES * size.bit_count():
        return None
    return tuple(stored[at : at + HASH_BYTES] for at in range(0, len(stored), HASH_BYTES))


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(_NODE + left + right).digest()
