"""A text in, its SHA-256 out: what is kept of a secret, or a key of one length for any name.

Finding something by it takes no time that tells anything of the secret. A stranger's text may hold
half a surrogate, which UTF-8 has no bytes for; it has a hash of its own all the same.
"""

from hashlib import sha256


def hash_of(text: str) -> bytes:
    """(32,) bytes."""
    return sha256(text.encode("utf-8", "surrogatepass")).digest()
