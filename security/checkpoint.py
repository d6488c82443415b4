"""How far the trail is and the root of its tree in, a signed checkpoint out; and checkpoints read
back.

The text is that of C2SP's tlog-checkpoint, a signed note: origin, size, root, then lines of our
own, an empty line and the signature, so that the witnesses and verifiers of other logs can read it.
Our own lines name the epoch that ends here, the last row's MAC and the time; a checkpoint that
stands for rows that were let go (a tombstone) says which, and by which rule. A file of checkpoints
is one after the other.
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from security.audit_chain import HASH_BYTES

_ED25519 = b"\x01"  # C2SP signed-note, signature types
_KEY_HASH_BYTES = 4
_SIGNATURE = "— "
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Rows that were let go after their time."""

    first_seq: int
    last_seq: int
    profile: str
    """Of the rule, such as `pci`."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What is signed."""

    origin: str
    """Names the trail; `origin_of`."""
    size: int
    """Rows from the first on, and the number of the last."""
    root: bytes
    epoch: int
    """Whose key made the MAC of the last row."""
    mac: bytes
    """Of the last row."""
    at_utc_ns: int
    dropped: Dropped | None = None

    def text(self) -> str:
        """As it is signed."""
        lines = [self.origin, str(self.size), _base64(self.root)]
        lines += [f"epoch {self.epoch}", f"mac {_base64(self.mac)}", f"at {self.at_utc_ns}"]
        if self.dropped:
            rows = self.dropped
            lines.append(f"dropped {rows.first_seq} {rows.last_seq} {rows.profile}")
        return "\n".join(lines) + "\n"


def origin_of(trail_id: str) -> str:
    """What the trail is called in checkpoints, and the name of its key."""
    return f"earwitness/audit/{trail_id}"


def sign_checkpoint(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """The signed note, with a newline at its end."""
    text = checkpoint.text()
    signed = _key_hash(checkpoint.origin, key.public_key()) + key.sign(text.encode())
    return f"{text}\n{_SIGNATURE}{checkpoint.origin} {_base64(signed)}\n"


def verifier_key(origin: str, key: Ed25519PublicKey) -> str:
    """The public key as other tools for signed notes take it."""
    key_hash = _key_hash(origin, key).hex()
    return f"{origin}+{key_hash}+{_base64(_ED25519 + key.public_bytes_raw())}"


def split_notes(text: str) -> list[str]:
    """The notes of a file, in their order; whatever stands after the last whole one is one, too."""
    notes, lines = [], []
    for line in text.splitlines(keepends=True):
        is_behind_signatures = lines and lines[-1].startswith(_SIGNATURE)
        if is_behind_signatures and not line.startswith(_SIGNATURE):
            notes.append("".join(lines))
            lines = []
        lines.append(line)
    return [*notes, "".join(lines)] if lines else notes


def open_checkpoint(note: str, key: Ed25519PublicKey) -> Checkpoint | None:
    """What a note says, if this key has signed it and it is a checkpoint."""
    text, found, signatures = note.partition(f"\n\n{_SIGNATURE}")
    if not found:
        return None
    text += "\n"
    checkpoint = _decode(text)
    if checkpoint is None or checkpoint.text() != text:
        return None
    for line in (_SIGNATURE + signatures).splitlines():
        name, _, encoded = line.removeprefix(_SIGNATURE).partition(" ")
        signed = _unbase64(encoded)
        key_hash = _key_hash(checkpoint.origin, key)
        if name != checkpoint.origin or signed is None or signed[:_KEY_HASH_BYTES] != key_hash:
            continue
        try:
            key.verify(signed[_KEY_HASH_BYTES:], text.encode())
        except InvalidSignature:
            return None
        return checkpoint
    return None


def _decode(text: str) -> Checkpoint | None:
    origin, size, root, *others = text.splitlines() + [""] * 3
    named = dict(line.split(" ", 1) for line in others if " " in line)
    numbers = [size, named.get("epoch", ""), named.get("at", "")]
    hashes = [_unbase64(root), _unbase64(named.get("mac", ""))]
    dropped = _decode_dropped(named.get("dropped"))
    if not all(map(_NUMBER.fullmatch, numbers)) or dropped is False:
        return None
    (size, epoch, at), (root_hash, mac) = map(int, numbers), hashes
    if root_hash is None or mac is None or len(root_hash) != HASH_BYTES or len(mac) != HASH_BYTES:
        return None
    return Checkpoint(origin, size, root_hash, epoch, mac, at, dropped)


def _decode_dropped(text: str | None) -> Dropped | None | bool:
    if text is None:
        return None
    first, _, rest = text.partition(" ")
    last, _, profile = rest.partition(" ")
    if not _NUMBER.fullmatch(first) or not _NUMBER.fullmatch(last) or not profile:
        return False
    return Dropped(int(first), int(last), profile)


def _key_hash(name: str, key: Ed25519PublicKey) -> bytes:
    named = name.encode() + b"\n" + _ED25519 + key.public_bytes_raw()
    return hashlib.sha256(named).digest()[:_KEY_HASH_BYTES]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _unbase64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
