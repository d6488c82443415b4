"""Text in every spelling in; bytes and objects, or a refusal, out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.spelling import decode_base64url, decode_object, encode_base64url


@given(st.binary(max_size=70))
def test_what_was_encoded_is_decoded(content):
    assert decode_base64url(encode_base64url(content)) == content


@pytest.mark.parametrize(
    "text", ["A", "AA==", "AB", "AAB", "AA\n", " AA", "A+/A", "é", "A.AA", "=="]
)
def test_any_other_spelling_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 (whichever it is)
        decode_base64url(text)


def test_an_object_is_decoded():
    assert decode_object(b'{"a":{"b":[1]}}') == {"a": {"b": [1]}}


FAULTS = [b"", b"[]", b"1", b"\xff", b"{", b'{"a":1,"a":1}', b'{"a":NaN}', b'{"a":-Infinity}']


@pytest.mark.parametrize("encoded", [*FAULTS, b'{"a":' * 100_000, b'{"a":' + b"1" * 5000 + b"}"])
def test_what_is_not_one_object_is_refused(encoded):
    with pytest.raises(ValueError):  # noqa: PT011
        decode_object(encoded)
