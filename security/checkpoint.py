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

_ED25519 = b"\x01"  # C2SP signed-note, signature types
_KEY_HASH_BYTES = 4
_SIGNATURE = "— "
_NUMBER = "(0|[1-9][0-9]{0,18})"
_HASH = "([A-Za-z0-9+/]{43}=)"
_TEXT = re.compile(
    rf"([!-*,-~]+)\n{_NUMBER}\n{_HASH}\nepoch {_NUMBER}\nmac {_HASH}\nat {_NUMBER}\n"
    rf"(?:dropped {_NUMBER} {_NUMBER} ([a-z0-9_-]+)\n)?"
)
"""A key's name has neither spaces nor a plus (C2SP signed-note)."""


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
    notes: list[str] = []
    lines: list[str] = []
    for line in _lines(text):
        is_behind_signatures = lines and lines[-1].startswith(_SIGNATURE)
        if is_behind_signatures and not line.startswith(_SIGNATURE):
            notes.append("".join(lines))
            lines = []
        lines.append(line)
    return [*notes, "".join(lines)] if lines else notes


def open_checkpoint(note: str, key: Ed25519PublicKey) -> Checkpoint | None:
    """What a note says, if this key has signed it and it is a checkpoint.

    Signatures of others may stand beside ours; one by our name and key that fails spoils the note.
    """
    text, found, signatures = note.partition(f"\n\n{_SIGNATURE}")
    checkpoint = _decode(text + "\n") if found else None
    if checkpoint is None or not signatures.endswith("\n"):
        return None
    key_hash, is_signed = _key_hash(checkpoint.origin, key), False
    for line in _lines(_SIGNATURE + signatures):
        if not line.startswith(_SIGNATURE):
            return None
        name, _, encoded = line.removeprefix(_SIGNATURE).removesuffix("\n").partition(" ")
        signed = _unbase64(encoded)
        if name != checkpoint.origin or signed is None or signed[:_KEY_HASH_BYTES] != key_hash:
            continue
        try:
            key.verify(signed[_KEY_HASH_BYTES:], checkpoint.text().encode())
        except InvalidSignature:
            return None
        is_signed = True
    return checkpoint if is_signed else None


def _lines(text: str) -> list[str]:
    """With the newline that ends each; no other character ends one (`splitlines` knows ten)."""
    return [line for line in re.split(r"(?<=\n)", text) if line]


def _decode(text: str) -> Checkpoint | None:
    """None unless the text is the one that we would sign."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    origin, size, root, epoch, mac, at, first, last, profile = found.groups()
    dropped = Dropped(int(first), int(last), profile) if profile else None
    root_hash, last_mac = map(base64.b64decode, (root, mac))
    read = Checkpoint(origin, int(size), root_hash, int(epoch), last_mac, int(at), dropped)
    return read if read.text() == text else None


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
