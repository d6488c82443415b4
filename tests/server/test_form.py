"""Multipart bodies, whole, in pieces, and wrong."""

import contextlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.errors import MESSAGE_TOO_BIG, RefusedError
from server.form import FormLimits, FormReader

KNOWN = frozenset({"model", "times[]"})
LIMITS = FormLimits(most_parts=5, most_field_bytes=20, most_header_bytes=200)
CONTENT_TYPE = "multipart/form-data; boundary=x"


class FakeSink:
    """Takes a thousand bytes."""

    def __init__(self):
        self.data = bytearray()

    def append(self, part):
        self.data += part
        if len(self.data) > 1000:
            raise RefusedError(MESSAGE_TOO_BIG, "file_too_big")


def part(name: str, value: bytes, *, more: str = "") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value


def body(*parts: bytes) -> bytes:
    return b"".join(each + b"\r\n" for each in parts) + b"--x--\r\n"


def read(data: bytes, content_type=CONTENT_TYPE, step=None, limits=LIMITS):
    file = FakeSink()
    reader = FormReader(content_type, KNOWN, file, limits)
    for start in range(0, len(data), step or len(data) or 1):
        reader.receive(data[start:][: step or len(data)])
    form = reader.finish()
    return form.fields, bytes(file.data) if form.has_file else None


def refusal(*args, **options) -> tuple[int, str]:
    with pytest.raises(RefusedError) as refused:
        read(*args, **options)
    return refused.value.refusal.http_status, refused.value.reason


WHOLE = body(
    part("model", b"tiny"),
    part("times[]", b"word"),
    part("times[]", "ü".encode()),
    part("file", b"\r\n--y \r\n--", more='; filename="a\\"b.wav"\r\nContent-Type: audio/wav'),
)


def test_a_form_has_its_fields_and_its_file():
    fields, file = read(WHOLE)
    assert fields == {"model": ["tiny"], "times[]": ["word", "ü"]}
    assert file == b"\r\n--y \r\n--"


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 64])
def test_where_a_body_is_cut_changes_nothing(step):
    assert read(WHOLE, step=step) == read(WHOLE)


@given(st.binary(max_size=200), st.integers(1, 50))
def test_a_file_of_any_bytes_comes_through(data, step):
    content_type = 'multipart/form-data; charset=utf-8; boundary="a boundary-in-quotes"'
    whole = body(part("file", data)).replace(b"--x", b"--a boundary-in-quotes")
    assert read(whole, content_type, step)[1] == data


@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_are_read_or_refused(data, begins_well):
    with contextlib.suppress(RefusedError):
        read((b"--x\r\n" if begins_well else b"") + data, step=9)


def test_what_stands_before_and_behind_the_form_is_nobodys():
    assert read(b"preamble\r\n" + WHOLE + b"epilogue" * 99, step=10) == read(WHOLE)


def test_fields_nobody_knows_are_let_by_and_not_kept():
    assert read(body(part("colour", bytes(5000)), part("model", b"m"))) == ({"model": ["m"]}, None)


def test_a_field_may_be_empty_and_a_name_without_quotes():
    assert read(body(part("model", b"")))[0] == {"model": [""]}
    plain = b"--x\r\ncontent-disposition: form-data; name=model\r\n\r\nm"
    assert read(body(plain))[0] == {"model": ["m"]}


def test_an_empty_form_is_one():
    assert read(b"--x--") == ({}, None)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "form_cut_short", id="empty"),
        pytest.param(WHOLE[:-6], "form_cut_short", id="cut short"),
        pytest.param(b"--x\r\nA: b\r\n\r\nv\r\n--x--", "form_part_without_name", id="no name"),
        pytest.param(b"--x\r\n\r\nv\r\n--x--", "form_part_without_name", id="no headers"),
        pytest.param(
            b"--x\r\nContent-Disposition: form-data\r\n\r\n",
            "form_part_without_name",
            id="no param",
        ),
        pytest.param(b"--x\r\nA: " + b"b" * 300, "form_headers", id="endless header"),
        pytest.param(b"--x\r\nA: " + b"b" * 300 + b"\r\n\r\n", "form_headers", id="long header"),
        pytest.param(b"--xy\r\n", "form_boundary", id="boundary that goes on"),
        pytest.param(body(*[part("a", b"")] * 6), "form_parts", id="many parts"),
        pytest.param(body(part("file", b"1"), part("file", b"2")), "form_two_files", id="2 files"),
        pytest.param(
            body(part("model", b"1"), part("model", b"2")), "form_field_twice", id="twice"
        ),
        pytest.param(body(part("model", b"\xff")), "form_not_utf8", id="not UTF-8"),
    ],
)
@pytest.mark.parametrize("step", [None, 3])
def test_what_is_no_form_is_refused(data, reason, step):
    assert refusal(data, step=step) == (400, reason)


@pytest.mark.parametrize(
    ("name", "reason"), [("file", "file_too_big"), ("model", "form_field_too_big")]
)
def test_what_is_over_its_limit_is_refused(name, reason):
    assert refusal(body(part(name, bytes(1001)))) == (413, reason)


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=" + "x" * 71,
        'multipart/form-data; boundary="ü"',
        "multipart/mixed; boundary=x",
    ],
)
def test_a_body_of_another_type_is_refused(content_type):
    assert refusal(WHOLE, content_type=content_type) == (400, "form_missing")


def test_nothing_but_the_file_grows_with_what_is_sent():
    reader = FormReader(CONTENT_TYPE, KNOWN, FakeSink(), LIMITS)
    reader.receive(part("colour", b""))
    chunk = b"\r\n--" * 16_000
    tracemalloc.start()
    try:
        for _ in range(100):
            reader.receive(chunk)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(chunk)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("n_over", [-4, -3, -2, -1, 0, 1])
@pytest.mark.parametrize("step", [1, 2, 3, 7, None])
def test_headers_may_be_as_long_as_they_may_wherever_they_are_cut(n_over, step):
    bare = part("model", b"v")
    filler = LIMITS.most_header_bytes + n_over - bare.index(b"\r\n\r\n", 5) + len(b"--x")
    long = part("model", b"v", more="\r\nA: " + "b" * (filler - len("\r\nA: ")))
    if n_over <= 0:
        assert read(body(long), step=step)[0] == {"model": ["v"]}
    else:
        with pytest.raises(RefusedError):
            read(body(long), step=step)
