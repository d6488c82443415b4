"""What a model pack contains, in; canonical JSON under a MAC out, and back only if nothing in it
was changed.

The file is `{"core":…,"manifest_mac":"…"}`. The MAC covers the bytes of the core as they stand and
is checked before any of them is parsed, under a key derived from the pack key: a wrong key and an
edited manifest are refused here, before a segment is opened, and a manifest commits to one key.
The core's hash goes into every file key, so that no file of another pack or version fits. One
manifest has one spelling. Refused: another format, more or larger files than the limits below, and
names that could mean a place outside the folder or hide in a listing.

Names and sizes are readable by anyone who can read the pack. Signatures and key slots would lie
beside this file.
"""

import hashlib
import hmac
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from security.errors import PackError, PackReason, SealError
from security.sealed import FORMAT, Layout, Stream, derive_key
from security.secret import SecretBytes

MAX_MANIFEST_BYTES = 64 * 1024
"""More than `MAX_FILES` of the longest names take."""
MAX_FILES = 256
MAX_FILE_BYTES = 1 << 38
"""256 GiB in 1 MiB segments stays far below the 2**32 segments a stream can count."""

_HEAD, _MIDDLE, _TAIL = b'{"core":', b',"manifest_mac":"', b'"}\n'
_MAC_HEX_CHARS = 64

Name = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")]
ModelId = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._/-]{0,127}\Z")]
Engine = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,31}\Z")]
Version = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class PackedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the pack; `ordinal` is its place in the list and in its sealed name."""

    ordinal: Annotated[int, msgspec.Meta(ge=0, lt=MAX_FILES)]
    name: Name
    plain_size: Annotated[int, msgspec.Meta(ge=0, le=MAX_FILE_BYTES)]
    """Bytes before sealing."""

    @property
    def sealed_name(self) -> str:
        """Name of the sealed file in the pack's folder."""
        return f"f{self.ordinal:03d}.seg"


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The core: everything the segments are bound to."""

    format: Literal["earwitness-pack/1"] = FORMAT
    model_id: ModelId
    engine: Engine
    """Which engine reads the files, `whisper-ct2` for one."""
    version: Version
    """Counts up with each release of the model, so that an old one can be told from a new one."""
    files: Annotated[tuple[PackedFile, ...], msgspec.Meta(min_length=1, max_length=MAX_FILES)]

    @property
    def core(self) -> bytes:
        """The one spelling of this manifest: sorted keys, no spaces."""
        return msgspec.json.encode(self, order="sorted")

    def stream(self, file: PackedFile) -> Stream:
        """What the segments of `file` are bound to."""
        core_hash = hashlib.sha256(self.core).digest()
        return Stream(core_hash, file.ordinal, Layout(file.plain_size))


def encode_manifest(manifest: Manifest, pack_key: SecretBytes) -> bytes:
    """The manifest file. Raises SealError, saying what is wrong with the manifest."""
    core = manifest.core
    try:
        checked = msgspec.json.decode(core, type=Manifest)
    except msgspec.ValidationError as error:
        raise SealError(f"the pack cannot be described: {error}") from None
    if not _is_consistent(checked):
        raise SealError("the pack cannot be described: names must differ and not hold '..'")
    return _HEAD + core + _MIDDLE + _mac(core, pack_key).encode() + _TAIL


def decode_manifest(encoded: bytes, pack_key: SecretBytes) -> Manifest:
    """The manifest, if it is whole and made under this key. Raises PackError."""
    head, tail = len(_HEAD), len(_MIDDLE) + _MAC_HEX_CHARS + len(_TAIL)
    if not head + tail < len(encoded) <= MAX_MANIFEST_BYTES:
        raise PackError(PackReason.BAD_MANIFEST)
    core = encoded[head:-tail]
    expected = _HEAD + core + _MIDDLE + _mac(core, pack_key).encode() + _TAIL
    if not hmac.compare_digest(encoded, expected):
        raise PackError(PackReason.WRONG_KEY_OR_MANIFEST)
    try:
        manifest = msgspec.json.decode(core, type=Manifest)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise PackError(PackReason.BAD_MANIFEST) from None
    if manifest.core != core or not _is_consistent(manifest):
        raise PackError(PackReason.BAD_MANIFEST)
    return manifest


def _is_consistent(manifest: Manifest) -> bool:
    names = [file.name for file in manifest.files]
    return (
        [file.ordinal for file in manifest.files] == list(range(len(names)))
        and len(set(names)) == len(names)
        and not any(".." in name for name in names)
    )


def _mac(core: bytes, pack_key: SecretBytes) -> str:
    with derive_key(pack_key, FORMAT.encode() + b"|manifest") as key:
        mac = HMAC(key.expose(), SHA256())
        mac.update(core)
        return mac.finalize().hex()
