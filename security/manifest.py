"""What a model pack contains, in; canonical JSON that a publisher signs out, and back only if
nothing in it was changed.

The file is `{"core":…,"key_commitment":"…","sealed_sha256":[…]}`. The signature covers its bytes as
they stand and is checked before any of them is parsed. The core says what the pack is; its hash
goes into every file key and every key slot, so that no file and no slot of another pack or version
fits. The commitment ties the manifest to one pack key. The hashes are those of the sealed files,
so that a mirror can check a pack without being able to open it. The names of the model's files are
sealed under the pack key; their sizes show in the lengths of the sealed files anyway. One manifest
has one spelling. Refused: another format, more or larger files than the limits below, and names
that could mean a place outside the folder or hide in a listing.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.errors import PackError, PackReason, SealError
from security.sealed import FORMAT, Layout, Stream, derive_key
from security.secret import SecretBytes

MAX_MANIFEST_BYTES = 256 * 1024
"""More than `MAX_FILES` of the longest names take."""
MAX_FILES = 256
MAX_FILE_BYTES = 1 << 38
"""256 GiB in 1 MiB segments stays far below the 2**32 segments a stream can count."""
SIGNATURE_BYTES = 64
_SIGNED_AS = FORMAT.encode() + b"|manifest\n"
_NAMES_NONCE = bytes(12)
"""The key is derived from the pack key, which is made for one pack: it seals once."""

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")]
ModelId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z")]
Engine = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,31}\Z")]
Version = Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]
Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_FILE_BYTES)]
Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Names = Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)]
Sizes = Annotated[tuple[Size, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)]


class Core(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a pack is: everything that its segments and its key slots are bound to."""

    format: Literal["earwitness-pack/2"] = FORMAT
    model_id: ModelId
    engine: Engine
    """Which engine reads the files, `whisper-ct2` for one."""
    version: Version
    """Counts up with each release of the model, so that an old one can be told from a new one."""
    plain_sizes: Sizes
    """Bytes of each file before sealing; its place here is its ordinal."""
    sealed_names: bytes
    """The names of the files in the same order, a JSON list under AES-256-GCM."""

    @property
    def encoded(self) -> bytes:
        """The one spelling of this core: sorted keys, no spaces."""
        return msgspec.json.encode(self, order="sorted")

    @property
    def sha256(self) -> bytes:
        """Hash of that spelling."""
        return hashlib.sha256(self.encoded).digest()

    @property
    def streams(self) -> list[Stream]:
        """What the segments of each file are bound to."""
        core_hash = self.sha256
        return [
            Stream(core_hash, ordinal, Layout(plain_bytes))
            for ordinal, plain_bytes in enumerate(self.plain_sizes)
        ]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest file."""

    core: Core
    key_commitment: Sha256
    sealed_sha256: Annotated[tuple[Sha256, ...], msgspec.Meta(max_length=MAX_FILES)]
    """Of each sealed file."""

    @property
    def encoded(self) -> bytes:
        """The one spelling of this manifest."""
        return msgspec.json.encode(self, order="sorted") + b"\n"


def fingerprint(publisher: Ed25519PublicKey) -> str:
    """16 hex digits that tell one publisher from another."""
    return hashlib.sha256(publisher.public_bytes_raw()).hexdigest()[:16]


def sealed_name(ordinal: int) -> str:
    """Name of a sealed file in the pack's folder."""
    return f"f{ordinal:03d}.seg"


def new_core(
    model_id: str, engine: str, version: int, sizes: Mapping[str, int], pack_key: SecretBytes
) -> Core:
    """The core of a new pack; `sizes` in bytes, by file name. Raises SealError."""
    try:
        msgspec.json.decode(msgspec.json.encode(tuple(sizes)), type=Names)
        core = Core(
            model_id=model_id,
            engine=engine,
            version=version,
            plain_sizes=tuple(sizes.values()),
            sealed_names=_seal_names(tuple(sizes), pack_key),
        )
        msgspec.json.decode(core.encoded, type=Core)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise SealError(f"the pack cannot be described: {error}") from None
    if any(".." in name for name in sizes):
        raise SealError("the pack cannot be described: a name must not hold '..'")
    return core


def new_manifest(core: Core, sealed_sha256: Sequence[str], pack_key: SecretBytes) -> Manifest:
    """The manifest of a pack whose files are sealed."""
    commitment = _commitment(core, pack_key)
    return Manifest(core=core, key_commitment=commitment, sealed_sha256=tuple(sealed_sha256))


def sign_manifest(encoded: bytes, publisher: Ed25519PrivateKey) -> bytes:
    """(64,) bytes: the signature file."""
    return publisher.sign(_SIGNED_AS + encoded)


def decode_manifest(
    encoded: bytes, signature: bytes, publishers: Sequence[Ed25519PublicKey]
) -> tuple[Manifest, Ed25519PublicKey]:
    """The manifest and whose it is, if one of `publishers` signed it. Raises PackError."""
    publisher = _signer(encoded, signature, publishers)
    try:
        manifest = msgspec.json.decode(encoded, type=Manifest)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise PackError(PackReason.BAD_MANIFEST) from None
    is_consistent = len(manifest.sealed_sha256) == len(manifest.core.plain_sizes)
    if manifest.encoded != encoded or not is_consistent:
        raise PackError(PackReason.BAD_MANIFEST)
    return manifest, publisher


def open_names(manifest: Manifest, pack_key: SecretBytes) -> tuple[str, ...]:
    """The names of the files by ordinal, if this is the key of the pack. Raises PackError."""
    core = manifest.core
    if not hmac.compare_digest(_commitment(core, pack_key), manifest.key_commitment):
        raise PackError(PackReason.BAD_MANIFEST)
    try:
        with _names_key(pack_key) as key:
            encoded = AESGCM(key.expose()).decrypt(_NAMES_NONCE, core.sealed_names, None)
        names = msgspec.json.decode(encoded, type=Names)
    except (InvalidTag, ValueError, msgspec.DecodeError):  # a careless publisher's
        raise PackError(PackReason.BAD_MANIFEST) from None
    is_one_each = len(set(names)) == len(names) == len(core.plain_sizes)
    is_spelt_so = msgspec.json.encode(names) == encoded
    if not (is_one_each and is_spelt_so) or any(".." in name for name in names):
        raise PackError(PackReason.BAD_MANIFEST)
    return names


def _signer(
    encoded: bytes, signature: bytes, publishers: Sequence[Ed25519PublicKey]
) -> Ed25519PublicKey:
    if len(encoded) > MAX_MANIFEST_BYTES:
        raise PackError(PackReason.BAD_MANIFEST)
    for publisher in publishers:
        try:
            publisher.verify(signature, _SIGNED_AS + encoded)
        except InvalidSignature:
            continue
        return publisher
    raise PackError(PackReason.BAD_SIGNATURE)


def _seal_names(names: tuple[str, ...], pack_key: SecretBytes) -> bytes:
    with _names_key(pack_key) as key:
        return AESGCM(key.expose()).encrypt(_NAMES_NONCE, msgspec.json.encode(names), None)


def _names_key(pack_key: SecretBytes) -> SecretBytes:
    return derive_key(pack_key, FORMAT.encode() + b"|names")


def _commitment(core: Core, pack_key: SecretBytes) -> str:
    with derive_key(pack_key, FORMAT.encode() + b"|commit|" + core.sha256) as key:
        return bytes(key.expose()).hex()
