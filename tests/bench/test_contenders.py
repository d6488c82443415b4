"""Weights of the right shape and size, and a safetensors file that the library agrees with."""

import json
from math import prod

import pytest

from bench.contenders import (
    CONTENDERS,
    SAVERS,
    digest_of,
    model_shapes,
    random_weights,
    safetensors_header,
    views_of,
)

SMALL = {"wide": (3, 4), "narrow": (8,)}


def small_file():
    weights = b"".join(random_weights(SMALL, seed=7))
    return memoryview(safetensors_header(SMALL) + weights)


@pytest.mark.parametrize("gb", [0.3, 3.4])
def test_the_weights_are_as_many_bytes_as_asked(gb):
    n_bytes = sum(2 * prod(shape) for shape in model_shapes(gb).values())
    assert n_bytes == pytest.approx(gb * 1e9, rel=0.01)


def test_a_smaller_model_has_as_many_tensors():
    assert len(model_shapes(0.3)) == len(model_shapes(3.4)) == 397


def test_the_header_is_padded_so_that_tensors_are_aligned():
    assert len(safetensors_header(SMALL)) % 8 == 0


def test_the_header_says_where_every_tensor_lies():
    entries = json.loads(safetensors_header(SMALL)[8:])
    assert [entry["data_offsets"] for entry in entries.values()] == [[0, 24], [24, 40]]


def test_the_library_reads_what_we_write():
    library = pytest.importorskip("safetensors.torch")
    ours, theirs = views_of(small_file()), library.load(bytes(small_file()))
    assert digest_of(ours) == digest_of(theirs)


def test_the_same_seed_gives_the_same_weights():
    pytest.importorskip("torch")
    assert bytes(small_file()) == bytes(small_file())


def test_one_other_bit_is_another_digest():
    pytest.importorskip("torch")
    changed = bytearray(small_file())
    changed[-1] ^= 1
    assert digest_of(views_of(small_file())) != digest_of(views_of(memoryview(changed)))


@pytest.mark.parametrize("name", ["plain_copy", "bare_read", "bare_map", "pack"])
def test_what_was_kept_is_opened_again(name, tmp_path):
    library = pytest.importorskip("safetensors.torch")
    SAVERS["plain"](tmp_path, 0.002)
    SAVERS["pack"](tmp_path, 0.002)
    plain = library.load_file(tmp_path / CONTENDERS["plain_clone"].kept)
    assert digest_of(CONTENDERS[name].open(tmp_path)) == digest_of(plain)
