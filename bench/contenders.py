"""A folder in; random weights in it, kept by each contender in its way, and opened again, out.

The plain file is shaped like the decoder and the audio tower of a model of 1.7 billion parameters.
The rivals are used as their documentation says. Plain files are opened in every way that we know
to be fast, because the fastest is what a cipher has to be compared with; `safetensors.torch.load`
of the file's bytes is left out, as ten times slower. All keys stay in the folder.
"""

import base64
import json
import mmap
import os
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.durable import create_file
from security.keks.local import open_file_kek
from security.keys import (
    create_key_file,
    create_signing_key,
    open_signing_key,
    open_verifying_key,
)
from security.memory import PrivateMemory
from security.pack_folder import PackTrust
from security.sealing import Seal, seal_pack
from security.weights import open_pack

if TYPE_CHECKING:
    import torch

Tensors: TypeAlias = "Mapping[str, torch.Tensor]"
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]

PIECE_BYTES = 8 << 20
PLAIN, PACK, KEK, NEW_KEK, PUBLISHER = "plain.safetensors", "pack", "kek", "kek.new", "publisher"
CRYPTOTENSORS, CRYPTOTENSORS_KEYS = "model.cryptotensors", "cryptotensors.jwks"
TENSORIZER, TENSORIZER_KEY = "model.tensors", "tensorizer.key"


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to get the tensors into memory."""

    module: str
    """Imported before the clock starts."""
    kept: str
    """The name of what it opens."""
    open: Callable[[Path], Tensors]
    has_huge_pages: bool = False
    """Whether the allocators are told by environment variables to ask for them."""


def model_shapes(gb: float) -> dict[str, tuple[int, ...]]:
    """About 400 bfloat16 tensors of `gb` times 10⁹ bytes in all; rows are scaled, columns kept."""
    full: dict[str, tuple[int, ...]] = {"embed_tokens": (151936, 2048), "norm": (2048,)}
    for layer in range(25):
        full |= {
            f"layers.{layer}.{name}": shape
            for name, shape in {
                "q_proj": (2048, 2048),
                "k_proj": (1024, 2048),
                "v_proj": (1024, 2048),
                "o_proj": (2048, 2048),
                "gate_proj": (6144, 2048),
                "up_proj": (6144, 2048),
                "down_proj": (2048, 6144),
                "q_norm": (128,),
                "k_norm": (128,),
                "input_norm": (2048,),
                "post_norm": (2048,),
            }.items()
        }
    for layer in range(10):
        full |= {
            f"audio.{layer}.{name}": shape
            for name, shape in {
                **{f"{name}_proj": (1024, 1024) for name in "qkvo"},
                **{f"{name}_bias": (1024,) for name in "qkvo"},
                "fc1": (4096, 1024),
                "fc2": (1024, 4096),
                "norm1": (1024,),
                "norm2": (1024,),
            }.items()
        }
    scale = gb * 1e9 / sum(2 * prod(shape) for shape in full.values())
    return {
        name: shape if len(shape) == 1 else (max(1, round(shape[0] * scale)), shape[1])
        for name, shape in full.items()
    }


def safetensors_header(shapes: Shapes) -> bytes:
    """What stands before the weights, its own length first."""
    entries: dict[str, object] = {}
    start = 0
    for name, shape in shapes.items():
        end = start + 2 * prod(shape)
        entries[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (start, end)}
        start = end
    text = json.dumps(entries).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def random_weights(shapes: Shapes, seed: int) -> Iterator[memoryview]:
    """The weights' bytes, in pieces: any bits, since neither a cipher nor a copy looks at them."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    left_bytes = sum(2 * prod(shape) for shape in shapes.values())
    piece = torch.empty(PIECE_BYTES // 8, dtype=torch.int64)
    while left_bytes:
        n_bytes = min(PIECE_BYTES, left_bytes)
        yield piece.random_(generator=generator).numpy().data.cast("B")[:n_bytes]
        left_bytes -= n_bytes


def views_of(file: memoryview) -> Tensors:
    """The tensors of a safetensors file, without a copy."""
    import torch

    start = 8 + int.from_bytes(file[:8], "little")
    tensors = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable")  # nothing here writes
        for name, entry in json.loads(bytes(file[8:start])).items():
            first, end = (start + offset for offset in entry["data_offsets"])
            flat = torch.frombuffer(file[first:end], dtype=torch.bfloat16)
            tensors[name] = flat.view(entry["shape"])
    return tensors


def digest_of(tensors: Tensors) -> str:
    """Tells different weights apart; every byte is read."""
    import torch

    total = sha256()
    for name in sorted(tensors):
        flat = tensors[name].detach().reshape(-1)
        total.update(f"{name} {tuple(tensors[name].shape)} {flat.dtype}".encode())
        total.update(str(flat.view(torch.int64).sum().item()).encode())
        total.update(flat[:4096].view(torch.int16).numpy().tobytes())
    return total.hexdigest()


# How each keeps the plain file: the folder in, its own copy in the same folder out.


def _save_plain(folder: Path, gb: float) -> None:
    shapes = model_shapes(gb)

    def chunks() -> Iterator[bytes | memoryview]:
        yield safetensors_header(shapes)
        yield from random_weights(shapes, seed=1)

    create_file(folder / PLAIN, chunks(), 0o600)


def _save_pack(folder: Path, _: float) -> None:
    for name in (KEK, NEW_KEK):
        create_key_file(folder / name)
    create_signing_key(folder / PUBLISHER)
    seal = Seal([open_file_kek(str(folder / KEK))], open_signing_key(folder / PUBLISHER))
    files = {PLAIN: folder / PLAIN}
    seal_pack(folder / PACK, model_id="bench", engine="bench", version=1, files=files, seal=seal)


def _save_cryptotensors(folder: Path, _: float) -> None:
    from cryptotensors.torch import save_file
    from safetensors.torch import load_file

    key, secret = Ed25519PrivateKey.generate(), secrets.token_bytes(32)
    d, x = _base64(key.private_bytes_raw()), _base64(key.public_key().public_bytes_raw())
    sign_key = {"alg": "ed25519", "kid": "signer", "kty": "okp", "d": d, "x": x}
    enc_key = {"alg": "aes256gcm", "kid": "sealer", "kty": "oct", "k": _base64(secret)}
    key_set = json.dumps({"keys": [enc_key, sign_key]}).encode()
    create_file(folder / CRYPTOTENSORS_KEYS, [key_set], 0o600)
    config = {"enc_key": enc_key, "sign_key": sign_key}
    save_file(load_file(folder / PLAIN), folder / CRYPTOTENSORS, config=config)


def _save_tensorizer(folder: Path, _: float) -> None:
    from safetensors.torch import load_file
    from tensorizer import EncryptionParams, TensorSerializer  # type: ignore[import-untyped]

    params = EncryptionParams.random()
    create_file(folder / TENSORIZER_KEY, [params.key], 0o600)
    serializer = TensorSerializer(str(folder / TENSORIZER), encryption=params)
    serializer.write_state_dict(load_file(folder / PLAIN))
    serializer.close()


# How each opens its copy: the folder in, tensors in memory of this process out.


def _open_by_clone(folder: Path) -> Tensors:
    from safetensors import safe_open

    with safe_open(folder / PLAIN, "pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.offset_keys()}


def _open_by_copy(folder: Path) -> Tensors:
    import torch
    from safetensors.torch import load_file

    mapped = load_file(folder / PLAIN)
    return {name: torch.empty_like(part).copy_(part) for name, part in mapped.items()}


def _open_by_reading(folder: Path) -> Tensors:
    memory = PrivateMemory((folder / PLAIN).stat().st_size)
    with (folder / PLAIN).open("rb") as file, ThreadPoolExecutor(os.cpu_count()) as pool:

        def read(start: int) -> None:
            os.preadv(file.fileno(), [memory.view[start : start + PIECE_BYTES]], start)

        list(pool.map(read, range(0, len(memory.view), PIECE_BYTES)))
    return views_of(memory.view)


def _open_by_mapping(folder: Path) -> Tensors:
    import torch

    with (folder / PLAIN).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    memory = PrivateMemory(len(mapped))
    source = torch.frombuffer(mapped, dtype=torch.uint8)
    torch.frombuffer(memory.view, dtype=torch.uint8).copy_(source)  # by all cores
    return views_of(memory.view)


def trust_in(folder: Path, kek: str = KEK) -> PackTrust:
    """What our pack is opened with, by the key of this name."""
    publisher = open_verifying_key(folder / f"{PUBLISHER}.pub")
    return PackTrust([open_file_kek(str(folder / kek))], [publisher], {})


def _open_pack(folder: Path) -> Tensors:
    return views_of(open_pack(folder / PACK, trust_in(folder)).files[PLAIN])


def _open_cryptotensors(folder: Path) -> Tensors:
    from cryptotensors import register_direct_key_provider  # type: ignore[attr-defined]
    from cryptotensors.torch import load_file

    register_direct_key_provider(files=[str(folder / CRYPTOTENSORS_KEYS)])
    tensors: Tensors = load_file(folder / CRYPTOTENSORS)
    return tensors


def _open_tensorizer(folder: Path) -> Tensors:
    from tensorizer import DecryptionParams, TensorDeserializer

    key = (folder / TENSORIZER_KEY).read_bytes()
    deserializer = TensorDeserializer(
        str(folder / TENSORIZER),
        device="cpu",
        lazy_load=False,
        num_readers=8,  # faster than 1 and 2, also on two cores
        verify_hash=False,
        encryption=DecryptionParams.from_key(key),
    )
    return dict(deserializer)


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode()


SAVERS: Mapping[str, Callable[[Path, float], None]] = {
    "plain": _save_plain,  # first: the others keep what it makes
    "pack": _save_pack,
    "cryptotensors": _save_cryptotensors,
    "tensorizer": _save_tensorizer,
}
CONTENDERS: Mapping[str, Contender] = {
    "plain_clone": Contender("safetensors.torch", PLAIN, _open_by_clone),
    "plain_copy": Contender("safetensors.torch", PLAIN, _open_by_copy),
    "bare_read": Contender("torch", PLAIN, _open_by_reading),
    "bare_map": Contender("torch", PLAIN, _open_by_mapping),
    "pack": Contender("torch", PACK, _open_pack),
    "cryptotensors": Contender("cryptotensors.torch", CRYPTOTENSORS, _open_cryptotensors),
    "cryptotensors_huge": Contender(
        "cryptotensors.torch", CRYPTOTENSORS, _open_cryptotensors, has_huge_pages=True
    ),
    "tensorizer": Contender("tensorizer", TENSORIZER, _open_tensorizer),
}
