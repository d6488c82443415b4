"""Safetensors files, whole, in shards and hostile, in; views of that memory, or a refusal, out."""

import json
import mmap
import struct

import pytest

torch = pytest.importorskip("torch")
from hypothesis import example, given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from safetensors.torch import save  # noqa: E402

from server.engines.tensors import open_checkpoint, open_safetensors  # noqa: E402
from server.recognition import ModelError  # noqa: E402

KINDS = [
    torch.bool,
    torch.uint8,
    torch.int16,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float32,
    torch.int64,
]
TENSORS = {
    "b": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "a": torch.arange(4, dtype=torch.float32),
    "empty": torch.empty(0, 3),
    "scalar": torch.tensor(5, dtype=torch.int64),
}


def file_of(header, data=b""):
    encoded = header if isinstance(header, bytes) else json.dumps(header).encode()
    return memoryview(struct.pack("<Q", len(encoded)) + encoded + data)


def entry(start, end, shape, dtype="U8"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def same(left, right):
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype
        and left[name].shape == right[name].shape
        and torch.equal(left[name].view(torch.uint8), right[name].view(torch.uint8))
        for name in left
        if left[name].dim()
    )


def test_what_the_library_wrote_is_read_the_same():
    opened = open_safetensors(memoryview(save(TENSORS, {"format": "pt"})))
    assert same(opened, TENSORS)
    assert opened["scalar"] == 5


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_number_is_read(kind):
    tensor = torch.tensor([[0, 1], [1, 0]]).to(kind)
    assert same(open_safetensors(memoryview(save({"t": tensor}))), {"t": tensor})


def test_tensors_are_views_of_the_memory_that_was_given():
    content = bytearray(save(TENSORS))
    opened = open_safetensors(memoryview(content))
    before = opened["a"].clone()
    content[:] = bytes(len(content))
    assert not torch.equal(opened["a"], before)
    assert not opened["a"].any()


def test_read_only_memory_gives_no_warning():
    open_safetensors(memoryview(save(TENSORS)).toreadonly())


def test_a_tensor_at_an_odd_place_is_read_too():
    data = b"\x01" + struct.pack("<2f", 1.5, -2.0)
    header = {"odd": entry(1, 9, [2], "F32"), "first": entry(0, 1, [1])}
    assert open_safetensors(file_of(header, data))["odd"].tolist() == [1.5, -2.0]


def test_a_file_in_a_tensor_is_read_where_it_lies():
    content = torch.frombuffer(bytearray(save(TENSORS)), dtype=torch.uint8)
    assert same(open_safetensors(content), TENSORS)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 200_000_000) + b"{}",
        struct.pack("<Q", 3) + b"{}",
        struct.pack("<Q", 0),
        file_of(b"[]"),
        file_of(b'{"a":1}'),
        file_of(b"\xff\xff\xff"),
        file_of(b"[" * 100_000),
        file_of({"a": entry(0, 1, [1], "F4")}, b"x"),
        file_of({"a": entry(0, 2, [1])}, b"xx"),
        file_of({"a": entry(0, 1, [2])}, b"xx"),
        file_of({"a": entry(0, 2, [2])}, b"x"),
        file_of({"a": entry(0, 1, [1])}, b"xx"),
        file_of({"a": entry(1, 2, [1])}, b"xx"),
        file_of({"a": entry(2, 1, [1])}, b"xx"),
        file_of({"a": entry(0, 1, [1]), "b": entry(0, 1, [1])}, b"x"),
        file_of({"a": entry(0, 1, [1]), "b": entry(2, 3, [1])}, b"xxx"),
        file_of({"a": entry(-1, 0, [1])}, b"x"),
        file_of({"a": entry(0, 1, [-1, -1])}, b"x"),
        file_of({"a": entry(0, 0, [1 << 63])}),
        file_of({"a": entry(0, 0, [1 << 62, 1 << 62, 0])}),
        file_of({"a": entry(0, 0, [0, 1 << 62, 4])}),
        file_of({"a": entry(0, 1, [1] * 65)}, b"x"),
        file_of({"__metadata__": 3}),
        file_of({"__metadata__": {"format": 1}}),
        file_of({"a": {"dtype": "U8"}}),
        file_of({"a": {**entry(0, 1, [1]), "more": 1}}, b"x"),
    ],
)
def test_a_header_that_lies_is_refused(content):
    with pytest.raises(ModelError, match="damaged"):
        open_safetensors(memoryview(content))


@given(st.data())
def test_damage_gives_the_same_kinds_of_tensors_or_a_refusal(data):
    whole = bytearray(save(TENSORS))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    try:
        opened = open_safetensors(memoryview(whole)[:cut])
    except ModelError:
        return
    assert sum(t.numel() * t.element_size() for t in opened.values()) <= cut


SIZES = st.sampled_from([0, 1, 2, 3, 8, 1 << 31, 1 << 61, 1 << 62, 1 << 63, -1])
ENTRIES = st.builds(
    entry,
    SIZES,
    SIZES,
    st.lists(SIZES, max_size=5) | st.just([1] * 100_000),
    st.sampled_from(["U8", "F32", "BF16", "BOOL", "F4", ""]),
)


@example({"a": entry(0, 0, [0, 0], "BF16")}, b"")
@given(st.dictionaries(st.sampled_from(["a", "b", "__metadata__"]), ENTRIES), st.binary(max_size=8))
def test_no_header_gives_more_than_the_file_holds(header, data):
    try:
        opened = open_safetensors(file_of(header, data))
    except ModelError:
        return
    assert sum(t.numel() * t.element_size() for t in opened.values()) == len(data)


def test_memory_stays_as_long_as_a_tensor_looks_at_it():
    region = mmap.mmap(-1, 1 << 20)
    saved = save(TENSORS)
    region[: len(saved)] = saved
    view = memoryview(region)
    tensor = open_safetensors(view[: len(saved)].toreadonly())["a"]
    view.release()
    with pytest.raises(BufferError):
        region.close()
    assert torch.equal(tensor, TENSORS["a"])


def shards(weight_map, **files):
    index = json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}).encode()
    saved = {f"{name}.safetensors": memoryview(save(part)) for name, part in files.items()}
    return {"model.safetensors.index.json": memoryview(index), **saved}


A, B = {"a": TENSORS["a"]}, {"b": TENSORS["b"]}
PLACES = {"a": "one.safetensors", "b": "two.safetensors"}


def test_shards_are_read_as_one_checkpoint():
    assert same(open_checkpoint(shards(PLACES, one=A, two=B)), A | B)


def test_a_single_file_is_a_checkpoint():
    assert same(open_checkpoint({"model.safetensors": memoryview(save(A))}), A)


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"model.safetensors.index.json": memoryview(b"{")},
        shards(PLACES, one=A),
        shards(PLACES, one=B, two=A),
        shards(PLACES, one=A | B, two=B),
        shards({"a": "one.safetensors"}, one=A | B),
        shards({**PLACES, "c": "two.safetensors"}, one=A, two=B),
    ],
)
def test_shards_that_are_not_what_their_index_says_are_refused(files):
    with pytest.raises(ModelError):
        open_checkpoint(files)
