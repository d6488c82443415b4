"""A safetensors file out of a pack: tensors inside it, side by side, or one plain refusal."""

import struct

from server.engines.tensors import open_checkpoint, open_safetensors
from server.recognition import ModelError

MAX_BYTES = 4_096
_HEADER = (
    b'{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},'
    b'"b":{"dtype":"BF16","shape":[3],"data_offsets":[16,22]},'
    b'"c":{"dtype":"U8","shape":[],"data_offsets":[22,23]},'
    b'"d":{"dtype":"I64","shape":[0,7],"data_offsets":[23,23]}}'
)
_INDEX = b'{"weight_map":{"a":"model.safetensors"}}'
SEEDS = [
    struct.pack("<Q", len(_HEADER)) + _HEADER + bytes(23),
    _HEADER,
    _INDEX,
    struct.pack("<Q", 2) + b"{}",
    b'{"a":{"dtype":"U8","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
    b"{" * 2000,
    b"",
]


def fuzz_safetensors_header(data: bytes) -> None:
    _open(data)
    # most inputs would end at the length: the rest of the work with a length that fits
    for n_tail_bytes in (0, 23):
        _open(struct.pack("<Q", len(data)) + data + bytes(n_tail_bytes))
    _open_index(data)


def _open(content: bytes) -> None:
    try:
        tensors = open_safetensors(memoryview(content))
    except ModelError:
        return
    assert sum(tensor.nbytes for tensor in tensors.values()) <= len(content)


def _open_index(data: bytes) -> None:
    shard = struct.pack("<Q", len(_HEADER)) + _HEADER + bytes(23)
    files = {"model.safetensors.index.json": data, "model.safetensors": shard}
    try:
        open_checkpoint({name: memoryview(content) for name, content in files.items()})
    except ModelError:
        return
