"""Secret bytes in; no way out but `expose`, and none after `wipe`."""

import copy
import pickle  # noqa: TID251 (to see it refused)

import pytest

from security.secret import SecretBytes, wipe_buffer


def secret(text=b"0123456789abcdef"):
    return SecretBytes(bytearray(text))


def test_the_bytes_are_shown_on_request():
    assert bytes(secret(b"abc").expose()) == b"abc"


def test_the_view_cannot_be_written():
    with pytest.raises(TypeError):
        secret().expose()[0] = 0


def test_wiping_zeroes_the_buffer_that_was_taken_over():
    buffer = bytearray(b"abc")
    SecretBytes(buffer).wipe()
    assert buffer == bytes(3)


def test_leaving_the_block_wipes():
    buffer = bytearray(b"abc")
    with SecretBytes(buffer):
        pass
    assert buffer == bytes(3)


def test_an_error_in_the_block_wipes():
    buffer = bytearray(b"abc")
    with pytest.raises(KeyError), SecretBytes(buffer):
        raise KeyError
    assert buffer == bytes(3)


def test_a_wiped_secret_shows_nothing():
    box = secret()
    box.wipe()
    box.wipe()
    with pytest.raises(ValueError, match="wiped"):
        box.expose()


def test_repr_shows_the_type_only():
    assert repr(secret()) == "SecretBytes(…)"
    assert str(secret()) == "SecretBytes(…)"


def test_equal_bytes_are_equal():
    assert secret(b"ab") == secret(b"ab")
    assert secret(b"ab") != secret(b"ac")
    assert secret(b"ab") != secret(b"abc")


def test_a_secret_is_never_equal_to_plain_bytes():
    assert secret(b"ab") != b"ab"


@pytest.mark.parametrize("attempt", [pickle.dumps, copy.copy, copy.deepcopy, hash])
def test_a_secret_is_neither_copied_nor_pickled_nor_hashed(attempt):
    with pytest.raises(TypeError):
        attempt(secret())


def test_length_is_no_secret():
    assert len(secret(b"abc")) == 3


def test_a_buffer_longer_than_a_step_is_zeroed_to_its_end():
    buffer = bytearray(b"x" * ((1 << 20) + 5))
    wipe_buffer(memoryview(buffer))
    assert not any(buffer)


def test_an_empty_buffer_is_wiped_without_fuss():
    wipe_buffer(memoryview(bytearray()))
