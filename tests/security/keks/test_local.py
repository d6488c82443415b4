"""Keys from files, variables and descriptors in; pack keys wrapped and had back, out."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.errors import KekError, KeyFileError
from security.keks.local import (
    LocalKek,
    open_descriptor_kek,
    open_file_kek,
    open_variable_kek,
)
from security.keys import create_key_file
from security.secret import SecretBytes

KEY_HEX = "5a" * 32
CONTEXT = b"earwitness-pack/1|slot|" + bytes(32)


def local_kek(byte=0x5A):
    return LocalKek(SecretBytes(bytearray([byte]) * 32))


def pack_key():
    return SecretBytes(bytearray(range(32)))


def test_a_wrapped_key_comes_back():
    wrapped = local_kek().wrap(pack_key(), CONTEXT)
    assert local_kek().unwrap(wrapped, CONTEXT) == pack_key()


def test_a_key_wrapped_for_another_pack_does_not_come_back():
    wrapped = local_kek().wrap(pack_key(), CONTEXT)
    assert local_kek().unwrap(wrapped, CONTEXT + b"!") is None


def test_another_key_does_not_unwrap():
    wrapped = local_kek().wrap(pack_key(), CONTEXT)
    assert local_kek(0x5B).unwrap(wrapped, CONTEXT) is None


@given(data=st.data())
def test_a_wrapped_key_with_any_bit_turned_does_not_come_back(data):
    wrapped = bytearray(local_kek().wrap(pack_key(), CONTEXT))
    bit = data.draw(st.integers(0, len(wrapped) * 8 - 1))
    wrapped[bit // 8] ^= 1 << bit % 8
    assert local_kek().unwrap(bytes(wrapped), CONTEXT) is None


@given(wrapped=st.binary(max_size=200))
def test_random_bytes_do_not_unwrap(wrapped):
    assert local_kek().unwrap(wrapped, CONTEXT) is None


def test_the_name_of_a_key_stays_the_same_and_tells_keys_apart():
    assert local_kek().kek_id == "local:bdd0be49a58ceca2"
    assert local_kek().kek_id != local_kek(0x5B).kek_id


def test_a_local_key_does_not_show_itself():
    assert repr(local_kek()) == f"LocalKek({local_kek().kek_id!r})"
    assert KEY_HEX not in repr(local_kek())


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_of_another_length_is_refused(length):
    with pytest.raises(KekError, match="32 bytes"):
        LocalKek(SecretBytes(bytearray(length)))


def test_a_key_file_gives_its_key(tmp_path):
    create_key_file(tmp_path / "kek.key")
    assert open_file_kek(f"{tmp_path}/kek.key").kek_id.startswith("local:")


def test_a_key_file_open_to_others_is_refused(tmp_path):
    create_key_file(tmp_path / "kek.key")
    (tmp_path / "kek.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        open_file_kek(f"{tmp_path}/kek.key")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_key_file_needs_a_path(path):
    with pytest.raises(KekError, match="path"):
        open_file_kek(path)


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_variable_gives_its_key(monkeypatch, end):
    monkeypatch.setenv("EARWITNESS_KEK", KEY_HEX + end)
    assert open_variable_kek("EARWITNESS_KEK").kek_id == local_kek().kek_id


@pytest.mark.parametrize("value", ["5A" * 32, "5a" * 31, KEY_HEX + "\n\n", KEY_HEX + " ", "é" * 32])
def test_a_variable_that_holds_no_key_is_refused_by_its_name(monkeypatch, value):
    monkeypatch.setenv("EARWITNESS_KEK", value)
    with pytest.raises(KekError, match="EARWITNESS_KEK does not hold a key") as caught:
        open_variable_kek("EARWITNESS_KEK")
    assert value.strip() not in str(caught.value)


def test_a_descriptor_gives_its_key():
    reader, writer = os.pipe()
    os.write(writer, KEY_HEX.encode() + b"\n")
    os.close(writer)
    assert open_descriptor_kek(str(reader)).kek_id == local_kek().kek_id


def test_a_wiped_key_wraps_no_more():
    kek = local_kek()
    kek.wipe()
    with pytest.raises(ValueError, match="wiped"):
        kek.wrap(pack_key(), CONTEXT)
