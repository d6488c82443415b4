"""Wrapped keys, whole, cut and damaged, in; the key or nothing, never a reason, out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.keks.box import BOX_BYTES, open_box, own_pack_key, seal_box
from security.secret import SecretBytes

KEY = memoryview(bytes(range(32)))
PACK_KEY = bytes(range(100, 132))


@pytest.fixture
def box():
    return seal_box(KEY, SecretBytes(bytearray(PACK_KEY)), b"context")


def test_a_box_opens_to_what_was_put_in(box):
    assert len(box) == BOX_BYTES
    assert open_box(KEY, box, b"context") == SecretBytes(bytearray(PACK_KEY))


def test_two_boxes_of_the_same_key_differ(box):
    assert seal_box(KEY, SecretBytes(bytearray(PACK_KEY)), b"context") != box


@pytest.mark.parametrize("length", [0, 1, 12, 27, 28, BOX_BYTES - 1])
def test_a_box_cut_short_does_not_open(box, length):
    assert open_box(KEY, box[:length], b"context") is None


def test_a_box_with_more_behind_it_does_not_open(box):
    assert open_box(KEY, box + b"\0", b"context") is None


def test_a_box_of_something_shorter_than_a_pack_key_does_not_open():
    box = seal_box(KEY, SecretBytes(bytearray(16)), b"context")
    assert open_box(KEY, box, b"context") is None


@given(bit=st.integers(0, BOX_BYTES * 8 - 1))
def test_a_box_with_any_bit_turned_does_not_open(bit):
    box = bytearray(seal_box(KEY, SecretBytes(bytearray(PACK_KEY)), b"context"))
    box[bit // 8] ^= 1 << bit % 8
    assert open_box(KEY, bytes(box), b"context") is None


def test_what_a_service_gives_back_is_kept_if_it_is_as_long_as_a_pack_key():
    assert own_pack_key(PACK_KEY) == SecretBytes(bytearray(PACK_KEY))
    assert own_pack_key(PACK_KEY[:31]) is None
