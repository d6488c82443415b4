"""Opened safetensors files in; torch tensors out, each a view of the memory it was opened into.

A checkpoint of three gigabytes is then in memory once. The header is parsed here, because the
library's own reader copies every tensor; it is held to the format: sizes that fit shapes, tensors
side by side from the first byte to the last. The one tensor in a thousand that lies at an odd place
is copied, as torch cannot look at it there. The memory, of this machine or of a GPU, belongs to
whoever opened it and must outlive the tensors, which are not to be written.
"""

import ctypes
import math
from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec
import numpy as np
import torch

from server.recognition import ModelError

SINGLE_NAME: Final = "model.safetensors"
INDEX_NAME: Final = "model.safetensors.index.json"
MAX_HEADER_BYTES: Final = 100_000_000
Content: TypeAlias = memoryview | torch.Tensor
"""(n_bytes,) uint8: a file as it was opened, here or on a GPU."""
_LENGTH_BYTES = 8
_METADATA = "__metadata__"
_DTYPES: Final[Mapping[str, torch.dtype]] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
_MOST_ELEMENTS = 1 << 62
_Amount = Annotated[int, msgspec.Meta(ge=0, le=_MOST_ELEMENTS)]
_Shape = Annotated[tuple[_Amount, ...], msgspec.Meta(max_length=64)]
"""As many dimensions as torch's operators take; a million of them would take hours to multiply."""


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: _Shape
    data_offsets: tuple[_Amount, _Amount]


class _Index(msgspec.Struct, frozen=True):
    weight_map: dict[str, str]


def open_checkpoint(files: Mapping[str, Content]) -> dict[str, torch.Tensor]:
    """All tensors of a model folder, whether in one file or in shards. Raises ModelError."""
    if INDEX_NAME not in files:
        if SINGLE_NAME not in files:
            raise ModelError("the pack holds no safetensors checkpoint")
        return open_safetensors(files[SINGLE_NAME])
    try:
        index = msgspec.json.decode(bytes_of(files[INDEX_NAME]), type=_Index)
        shards = {name: open_safetensors(files[name]) for name in set(index.weight_map.values())}
    except (msgspec.DecodeError, UnicodeError, RecursionError, KeyError):
        raise ModelError("the index of the checkpoint's shards is damaged") from None
    placed = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    if placed != index.weight_map or len(placed) != sum(map(len, shards.values())):
        raise ModelError("the checkpoint's shards are not what their index says")
    return {name: tensor for tensors in shards.values() for name, tensor in tensors.items()}


def open_safetensors(content: Content) -> dict[str, torch.Tensor]:
    """The tensors of one file by name, where the file lies. Raises ModelError."""
    whole = content if isinstance(content, torch.Tensor) else _as_tensor(content)
    entries, flat = _read_header(whole)
    end = 0
    tensors: dict[str, torch.Tensor] = {}
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        start, stop = entry.data_offsets
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None or start != end or stop - start != math.prod(entry.shape) * dtype.itemsize:
            raise _damaged()
        end = stop
        # torch multiplies the sizes of an empty tensor too, and fails where that overflows
        if end > len(flat) or math.prod(size or 1 for size in entry.shape) > _MOST_ELEMENTS:
            raise _damaged()
        part = flat[start:stop]
        # an empty tensor has no address, but its place counts
        is_aligned = not (part.data_ptr() | part.storage_offset()) % dtype.itemsize
        tensors[name] = (part if is_aligned else part.clone()).view(dtype).view(entry.shape)
    if end != len(flat):
        raise _damaged()
    return tensors


def bytes_of(content: Content) -> bytes:
    """A copy on this machine."""
    return bytes(content.cpu().numpy() if isinstance(content, torch.Tensor) else content)


def _read_header(whole: torch.Tensor) -> tuple[dict[str, _Entry], torch.Tensor]:
    """The entries, and the part of the file that their offsets count from."""
    header_bytes = int.from_bytes(bytes_of(whole[:_LENGTH_BYTES]), "little")
    end = _LENGTH_BYTES + header_bytes
    if not 2 <= header_bytes <= MAX_HEADER_BYTES or end > len(whole):
        raise _damaged()
    try:
        raw = msgspec.json.decode(bytes_of(whole[_LENGTH_BYTES:end]), type=dict[str, msgspec.Raw])
        msgspec.json.decode(raw.pop(_METADATA, b"{}"), type=dict[str, str])
        entries = {name: msgspec.json.decode(part, type=_Entry) for name, part in raw.items()}
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise _damaged() from None
    return entries, whole[end:]


def _as_tensor(data: memoryview) -> torch.Tensor:
    """(len(data),) uint8 on the same memory."""
    if not len(data):
        return torch.empty(0, dtype=torch.uint8)
    # torch has no read-only tensors and warns of read-only memory; it does not see that of ctypes.
    # Silencing the warning instead would change the filters of every thread.
    lent = np.frombuffer(data, np.uint8)
    place = (ctypes.c_uint8 * lent.size).from_address(lent.ctypes.data)
    place.lender = lent  # type: ignore[attr-defined] # the tensors hold `place`, and it the memory
    return torch.frombuffer(place, dtype=torch.uint8)


def _damaged() -> ModelError:
    return ModelError("a safetensors file of the pack is damaged")
