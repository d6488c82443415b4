"""Streams of every length and every damage in; the same bytes, or zeros and one refusal, out.

Sizes are checked at the edges of small segments.
"""

import hashlib
import hmac
import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from security.errors import PackError, PackReason, SealError
from security.sealed import (
    HEADER_BYTES,
    TAG_BYTES,
    Layout,
    Stream,
    StreamOpener,
    derive_file_key,
    derive_key,
    seal_stream,
)
from tests.pack_fakes import pack_key, reason_of

SMALL = 128
FIRST, OTHER = SMALL - HEADER_BYTES - TAG_BYTES, SMALL - TAG_BYTES
EDGES = sorted(
    {0, 1}
    | {FIRST + delta for delta in (-1, 0, 1)}
    | {FIRST + n * OTHER + delta for n in (1, 2, 5) for delta in (-1, 0, 1)}
)
CORE_HASH = bytes(range(32))
SALT, PREFIX = b"s" * 32, b"p" * 7


def stream_of(n_bytes, segment_bytes=SMALL, ordinal=0, core_hash=CORE_HASH):
    return Stream(core_hash, ordinal, Layout(n_bytes, segment_bytes))


def plain_of(n_bytes):
    return bytes(index * 31 % 251 for index in range(n_bytes))


def seal(plain, stream=None, key=None):
    stream = stream or stream_of(len(plain))
    read_into = io.BytesIO(plain).readinto
    pieces = seal_stream(stream, key or pack_key(), read_into, SALT, PREFIX)
    return b"".join(bytes(piece) for piece in pieces)


def open_into(sealed, stream, into, key=None, order=None):
    opener = StreamOpener(stream, key or pack_key(), sealed[:HEADER_BYTES])
    for index in order or range(stream.layout.segments):
        open_one(opener, sealed, index, into)


def open_one(opener, sealed, index, into):
    part = memoryview(sealed)[slice(*opener.layout.sealed_range(index))]
    opener.open_segment(index, part, memoryview(into)[slice(*opener.layout.plain_range(index))])


def opened(sealed, stream, key=None, order=None):
    into = bytearray(stream.layout.plain_bytes)
    open_into(sealed, stream, into, key, order)
    return bytes(into)


def refused(sealed, stream, key=None):
    with pytest.raises(PackError) as caught:
        open_into(sealed, stream, bytearray(stream.layout.plain_bytes), key)
    return reason_of(caught.value)


def segments_of(sealed, layout):
    parts = [slice(*layout.sealed_range(index)) for index in range(layout.segments)]
    return sealed[:HEADER_BYTES], [sealed[part] for part in parts]


@pytest.mark.parametrize("n_bytes", EDGES)
def test_what_was_sealed_opens_at_every_edge(n_bytes):
    stream = stream_of(n_bytes)
    assert opened(seal(plain_of(n_bytes)), stream) == plain_of(n_bytes)


@pytest.mark.parametrize("n_bytes", EDGES)
def test_the_layout_says_how_long_the_sealed_stream_is(n_bytes):
    assert len(seal(plain_of(n_bytes))) == Layout(n_bytes, SMALL).sealed_bytes


@given(st.integers(0, 4000), st.integers(64, 300))
def test_the_segments_cover_plain_and_sealed_bytes_without_gap(n_bytes, segment_bytes):
    layout = Layout(n_bytes, segment_bytes)
    plain = [layout.plain_range(index) for index in range(layout.segments)]
    sealed = [layout.sealed_range(index) for index in range(layout.segments)]
    assert [end for _, end in plain] == [start for start, _ in plain[1:]] + [n_bytes]
    assert [end for _, end in sealed] == [start for start, _ in sealed[1:]] + [layout.sealed_bytes]
    assert all(
        sealed_end - sealed_start == end - start + TAG_BYTES
        for (start, end), (sealed_start, sealed_end) in zip(plain, sealed, strict=True)
    )


def test_the_format_does_not_drift():
    sealed = seal(plain_of(300))
    assert (
        hashlib.sha256(sealed).hexdigest()
        == "01cbf9100bab43e7635d074e3b701ebfc8f891faa8144de477988a6f78826139"
    )


def test_nothing_of_the_plain_bytes_shows():
    plain = b"the quick brown fox " * 20
    assert b"quick" not in seal(plain)


@given(st.sampled_from(EDGES), st.data())
def test_one_turned_bit_anywhere_is_refused(n_bytes, data):
    sealed = bytearray(seal(plain_of(n_bytes)))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(bytes(sealed), stream_of(n_bytes)) is PackReason.BAD_SEGMENT


@given(st.integers(0, OTHER + TAG_BYTES - 1))
def test_a_segment_that_fails_leaves_zeros_and_its_neighbours_as_they_were(position):
    stream, plain = stream_of(FIRST + 2 * OTHER), plain_of(FIRST + 2 * OTHER)
    sealed, into = bytearray(seal(plain)), bytearray(plain)
    sealed[SMALL + position] ^= 1
    opener = StreamOpener(stream, pack_key(), bytes(sealed[:HEADER_BYTES]))
    with pytest.raises(PackError):
        open_one(opener, sealed, 1, into)
    assert into == plain[:FIRST] + bytes(OTHER) + plain[FIRST + OTHER :]


def test_a_call_that_the_cipher_refuses_leaves_zeros_too():
    opener = StreamOpener(stream_of(FIRST), pack_key(), seal(plain_of(FIRST))[:HEADER_BYTES])
    into = bytearray(b"x" * FIRST)
    with pytest.raises(ValueError, match="buffer"):
        opener.open_segment(0, memoryview(bytes(SMALL)), memoryview(into))
    assert not any(into)


@given(st.permutations(range(5)))
def test_segments_open_in_any_order(order):
    plain = plain_of(FIRST + 4 * OTHER)
    assert opened(seal(plain), stream_of(len(plain)), order=order) == plain


def test_segments_open_from_several_threads_at_once():
    plain = plain_of(FIRST + 200 * OTHER)
    stream, sealed, into = stream_of(len(plain)), seal(plain), bytearray(len(plain))
    opener = StreamOpener(stream, pack_key(), sealed[:HEADER_BYTES])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda index: open_one(opener, sealed, index, into), range(201)))
    assert into == plain


@given(st.sampled_from(EDGES), st.data())
def test_a_segment_cut_anywhere_is_refused_and_leaves_zeros(n_bytes, data):
    layout, sealed = Layout(n_bytes, SMALL), seal(plain_of(n_bytes))
    index = data.draw(st.integers(0, layout.segments - 1))
    start, end = layout.sealed_range(index)
    cut = data.draw(st.integers(TAG_BYTES, end - start - 1) if end - start > 17 else st.just(16))
    into = bytearray(b"x" * (cut - TAG_BYTES))
    opener = StreamOpener(stream_of(n_bytes), pack_key(), sealed[:HEADER_BYTES])
    part = memoryview(sealed)[start : start + cut] if end - start > cut else memoryview(bytes(cut))
    with pytest.raises(PackError):
        opener.open_segment(index, part, memoryview(into))
    assert not any(into)


@pytest.mark.parametrize("header", [b"", bytes(40), b"\x28" * 39, b"\x28" * 41, b"\x27" * 40])
def test_a_header_of_another_length_is_refused(header):
    with pytest.raises(PackError) as caught:
        StreamOpener(stream_of(10), pack_key(), header)
    assert reason_of(caught.value) is PackReason.BAD_SEGMENT


@given(st.data())
def test_segments_in_another_order_are_refused(data):
    plain = plain_of(FIRST + 4 * OTHER + 5)
    stream = stream_of(len(plain))
    header, parts = segments_of(seal(plain), stream.layout)
    order = data.draw(st.permutations(range(len(parts))).filter(lambda p: p != sorted(p)))
    refused(header + b"".join(parts[index] for index in order), stream)


@given(st.integers(1, 4), st.integers(1, 4))
def test_a_segment_put_in_place_of_another_is_refused(source, target):
    plain = plain_of(FIRST + 4 * OTHER)
    stream = stream_of(len(plain))
    header, parts = segments_of(seal(plain), stream.layout)
    parts[target] = parts[source] if source != target else bytes(len(parts[source]))
    refused(header + b"".join(parts), stream)


@pytest.mark.parametrize("n_segments", [1, 2, 3])
def test_whole_segments_cut_from_the_end_are_refused_even_under_a_smaller_size(n_segments):
    plain = plain_of(FIRST + 3 * OTHER)
    end = Layout(len(plain), SMALL).sealed_range(n_segments - 1)[1]
    refused(seal(plain)[:end], stream_of(FIRST + (n_segments - 1) * OTHER))


@pytest.mark.parametrize(
    "elsewhere",
    [
        stream_of(500, ordinal=1),
        stream_of(500, core_hash=bytes(32)),
        stream_of(499),
        stream_of(500, segment_bytes=SMALL + 1),
    ],
)
def test_a_stream_opens_in_its_own_place_only(elsewhere):
    refused(seal(plain_of(500)), elsewhere)


def test_a_stream_opens_under_its_own_key_only():
    assert refused(seal(plain_of(500)), stream_of(500), pack_key(8)) is PackReason.BAD_SEGMENT


def test_a_source_that_gives_one_byte_at_a_time_is_sealed_the_same():
    source = io.BytesIO(plain_of(300))
    pieces = seal_stream(
        stream_of(300), pack_key(), lambda view: source.readinto(view[:1]), SALT, PREFIX
    )
    assert b"".join(bytes(piece) for piece in pieces) == seal(plain_of(300))


def rfc5869(source, info, salt):
    """HKDF-SHA256 of 32 bytes, as the standard writes it."""
    return hmac.digest(hmac.digest(salt, source, "sha256"), info + b"\x01", "sha256")


def test_the_key_of_a_file_is_the_one_that_the_format_describes():
    info = b"earwitness-pack/2|file|" + b"\0\0\0\x05" + CORE_HASH
    with derive_file_key(pack_key(), stream_of(9, ordinal=5)) as key:
        assert bytes(key.expose()) == rfc5869(bytes([7] * 32), info, bytes(32))


def test_a_salt_makes_another_key():
    with derive_key(pack_key(), b"info", b"salt") as key:
        assert bytes(key.expose()) == rfc5869(bytes([7] * 32), b"info", b"salt")


@pytest.mark.parametrize(("said", "word"), [(501, "shorter"), (499, "longer")])
def test_a_source_that_changed_its_length_is_not_sealed(said, word):
    with pytest.raises(SealError, match=word):
        seal(plain_of(500), stream_of(said))
