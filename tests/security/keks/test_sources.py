"""Files, variables and descriptors in; the secret in them, or a refusal that names them, out."""

import os

import pytest

from security.errors import KekError, KeyFileError
from security.keks.sources import (
    MAX_SECRET_BYTES,
    read_descriptor,
    read_file,
    read_variable,
)


def pipe_with(content):
    reader, writer = os.pipe()
    os.write(writer, content)
    os.close(writer)
    return reader


def test_a_closed_file_gives_its_content(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"words\n")
    path.chmod(0o600)
    assert bytes(read_file(str(path)).expose()) == b"words\n"


def test_a_file_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(b"words\n")
    path.chmod(0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_file(str(path))


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_a_file_needs_a_path(path):
    with pytest.raises(KekError, match="path"):
        read_file(path)


def test_a_variable_gives_its_bytes_even_if_they_are_no_text(monkeypatch):
    monkeypatch.setitem(os.environb, b"EARWITNESS_SECRET", b"\xff\xfe")
    assert bytes(read_variable("EARWITNESS_SECRET").expose()) == b"\xff\xfe"


@pytest.mark.parametrize("value", [None, ""])
def test_a_variable_without_a_value_is_named(monkeypatch, value):
    monkeypatch.delenv("EARWITNESS_SECRET", raising=False)
    if value is not None:
        monkeypatch.setenv("EARWITNESS_SECRET", value)
    with pytest.raises(KekError, match="EARWITNESS_SECRET is not set"):
        read_variable("EARWITNESS_SECRET")


def test_a_variable_longer_than_a_key_file_is_refused(monkeypatch):
    monkeypatch.setenv("EARWITNESS_SECRET", "x" * (MAX_SECRET_BYTES + 1))
    with pytest.raises(KekError, match="too long"):
        read_variable("EARWITNESS_SECRET")


@pytest.mark.parametrize("name", ["", "5a" * 32, "ab" * 32, "A=B", "A\0", "Ä"])
def test_what_is_no_name_of_a_variable_is_not_repeated(name):
    with pytest.raises(KekError) as caught:
        read_variable(name)
    assert str(caught.value).startswith("the name of a variable is upper-case letters")


def test_a_descriptor_is_read_to_its_end_and_closed():
    reader = pipe_with(b"words\n")
    assert bytes(read_descriptor(str(reader)).expose()) == b"words\n"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


def test_a_descriptor_that_is_not_open_is_refused():
    reader = pipe_with(b"")
    os.close(reader)
    with pytest.raises(KekError, match=f"descriptor {reader} cannot be read"):
        read_descriptor(str(reader))


@pytest.mark.parametrize("content", [b"", b"x" * (MAX_SECRET_BYTES + 1)])
def test_a_descriptor_with_nothing_or_too_much_is_refused(content):
    with pytest.raises(KekError, match="holds nothing, or too much"):
        read_descriptor(str(pipe_with(content)))


@pytest.mark.parametrize(
    "number", ["", "0", "1", "2", "-1", "+3", "03", "3 ", "three", "٣", "9" * 9]
)
def test_only_a_number_from_three_up_is_a_descriptor(number):
    with pytest.raises(KekError, match="from 3 up"):
        read_descriptor(number)
