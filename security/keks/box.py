"""A pack key and the 32 bytes to wrap it under, in; nonce, ciphertext and tag in one piece, out.

AES-256-GCM with a random nonce: one key wraps a handful of pack keys in its life, far from the
number at which random nonces begin to meet. Anything that is not exactly one wrapped pack key does
not open, and does not say why.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.keys import KEY_BYTES
from security.secret import SecretBytes

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
BOX_BYTES: Final = NONCE_BYTES + KEY_BYTES + TAG_BYTES


def seal_box(key: memoryview, pack_key: SecretBytes, bound: bytes) -> bytes:
    """The pack key, to be had back with the same key and the same `bound` only."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, pack_key.expose(), bound)


def open_box(key: memoryview, box: bytes, bound: bytes) -> SecretBytes | None:
    """The pack key; None if this is not its box."""
    if len(box) != BOX_BYTES:
        return None
    buffer = bytearray(KEY_BYTES)
    pack_key = SecretBytes(buffer)
    try:
        AESGCM(key).decrypt_into(box[:NONCE_BYTES], box[NONCE_BYTES:], bound, buffer)
    except InvalidTag:
        pack_key.wipe()  # decrypt_into writes before it has checked the tag
        return None
    return pack_key


def own_pack_key(plain: bytes) -> SecretBytes | None:
    """What a key service gave back, if it is as long as a pack key.

    The library's own copy is immutable and lives until it is freed.
    """
    return SecretBytes(bytearray(plain)) if len(plain) == KEY_BYTES else None
