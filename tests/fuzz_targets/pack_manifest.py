"""What a publisher signed, however careless: a manifest with one spelling, and names, or refused.

Each input is signed first: what nobody signed is not parsed at all.
"""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from security.errors import PackError
from security.manifest import (
    _NAMES_NONCE,
    Core,
    _names_key,
    decode_manifest,
    new_core,
    new_manifest,
    open_names,
    sign_manifest,
)
from security.secret import SecretBytes

MAX_BYTES = 4_096
_PUBLISHER = Ed25519PrivateKey.from_private_bytes(b"p" * 32)
_PACK_KEY = SecretBytes(bytearray(b"k" * 32))
_CORE = new_core(
    model_id="openai/whisper-tiny.en",
    engine="whisper-ct2",
    version=3,
    sizes={"config.json": 16, "model.bin": 4_194_304},
    pack_key=_PACK_KEY,
)
_MANIFEST = new_manifest(_CORE, ["ab" * 32, "cd" * 32], _PACK_KEY)
SEEDS = [
    _MANIFEST.encoded,
    _CORE.encoded,
    b'["config.json","model.bin"]',
    b'["a..b","A"]',
    b"[" * 2000,
    b"{}",
]


def fuzz_pack_manifest(data: bytes) -> None:
    _decode(data)
    _open_names(data)


def _decode(data: bytes) -> None:
    try:
        manifest, _ = decode_manifest(
            data, sign_manifest(data, _PUBLISHER), [_PUBLISHER.public_key()]
        )
    except PackError:
        return
    assert manifest.encoded == data
    assert len(manifest.core.streams) == len(manifest.sealed_sha256)
    try:
        open_names(manifest, _PACK_KEY)
    except PackError:
        return
    assert manifest.core.sealed_names == _CORE.sealed_names, "names that we did not seal"


def _open_names(data: bytes) -> None:
    """The same names may come from a publisher who has the key and sealed something else."""
    with _names_key(_PACK_KEY) as key:
        sealed = AESGCM(key.expose()).encrypt(_NAMES_NONCE, data, None)
    core = Core(
        model_id="m", engine="e", version=1, plain_sizes=_CORE.plain_sizes, sealed_names=sealed
    )
    try:
        names = open_names(new_manifest(core, ["ab" * 32] * 2, _PACK_KEY), _PACK_KEY)
    except PackError:
        return
    assert len(set(names)) == len(core.plain_sizes)
    assert not any("/" in name or ".." in name or name.startswith(".") for name in names)
