"""Streams of every length and every damage in; the same bytes, or zeros and one refusal, out.

Sizes are checked at the edges of small segments, and both ways against Google's `tink`.
"""

import hashlib
import io

import pytest
import tink
from hypothesis import given
from hypothesis import strategies as st
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from security.errors import PackError, PackReason, SealError
from security.sealed import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Layout,
    Stream,
    derive_file_key,
    open_stream,
    seal_stream,
)
from security.secret import SecretBytes

SMALL = 128
FIRST, OTHER = SMALL - HEADER_BYTES - TAG_BYTES, SMALL - TAG_BYTES
EDGES = sorted(
    {0, 1}
    | {FIRST + delta for delta in (-1, 0, 1)}
    | {FIRST + n * OTHER + delta for n in (1, 2, 5) for delta in (-1, 0, 1)}
)
CORE_HASH = bytes(range(32))
SALT, PREFIX = b"s" * 32, b"p" * 7

streaming_aead.register()


def pack_key(seed=7):
    return SecretBytes(bytearray([seed] * 32))


def stream_of(n_bytes, segment_bytes=SMALL, ordinal=0, core_hash=CORE_HASH):
    return Stream(core_hash, ordinal, Layout(n_bytes, segment_bytes))


def plain_of(n_bytes):
    return bytes(index * 31 % 251 for index in range(n_bytes))


def seal(plain, stream=None, key=None):
    stream = stream or stream_of(len(plain))
    read_into = io.BytesIO(plain).readinto
    pieces = seal_stream(stream, key or pack_key(), read_into, SALT, PREFIX)
    return b"".join(bytes(piece) for piece in pieces)


def open_into(sealed, stream, into, key=None):
    open_stream(stream, key or pack_key(), io.BytesIO(sealed).readinto, memoryview(into))


def opened(sealed, stream, key=None):
    into = bytearray(stream.layout.plain_bytes)
    open_into(sealed, stream, into, key)
    return bytes(into)


def refused(sealed, stream, key=None):
    """The refusal's reason, once it is sure that nothing was left behind."""
    into = bytearray(b"x" * stream.layout.plain_bytes)
    with pytest.raises(PackError) as caught:
        open_into(sealed, stream, into, key)
    assert not any(into)
    return caught.value.reason


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
        == "5eebe77bcb6823aace494ff0353fe7eb84fa99fd6820d6eebf0d7f0c5253b74f"
    )


def test_nothing_of_the_plain_bytes_shows():
    plain = b"the quick brown fox " * 20
    assert b"quick" not in seal(plain)


@given(st.sampled_from(EDGES), st.data())
def test_one_turned_bit_anywhere_is_refused_and_leaves_zeros(n_bytes, data):
    sealed = bytearray(seal(plain_of(n_bytes)))
    position = data.draw(st.integers(0, len(sealed) - 1))
    sealed[position] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(bytes(sealed), stream_of(n_bytes)) is PackReason.BAD_SEGMENT


@given(st.sampled_from(EDGES), st.data())
def test_a_stream_cut_anywhere_is_refused(n_bytes, data):
    sealed = seal(plain_of(n_bytes))
    refused(sealed[: data.draw(st.integers(0, len(sealed) - 1))], stream_of(n_bytes))


@given(st.sampled_from(EDGES), st.binary(min_size=1, max_size=200))
def test_a_stream_with_a_tail_is_refused(n_bytes, tail):
    assert refused(seal(plain_of(n_bytes)) + tail, stream_of(n_bytes)) is PackReason.WRONG_SIZE


@given(st.data())
def test_segments_in_another_order_are_refused(data):
    plain = plain_of(FIRST + 4 * OTHER + 5)
    stream = stream_of(len(plain))
    header, parts = segments_of(seal(plain), stream.layout)
    order = data.draw(st.permutations(range(len(parts))).filter(lambda p: p != sorted(p)))
    refused(header + b"".join(parts[index] for index in order), stream)


@given(st.integers(0, 4), st.integers(0, 4))
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


def test_a_reader_that_gives_one_byte_at_a_time_opens_the_same():
    sealed, into = io.BytesIO(seal(plain_of(300))), bytearray(300)
    open_stream(
        stream_of(300), pack_key(), lambda view: sealed.readinto(view[:1]), memoryview(into)
    )
    assert into == plain_of(300)


def test_a_disk_that_fails_half_way_leaves_zeros():
    sealed = io.BytesIO(seal(plain_of(300)))
    into = bytearray(300)

    def read_into(view):
        if sealed.tell() > 2 * SMALL:
            raise OSError(5, "Input/output error")
        return sealed.readinto(view)

    with pytest.raises(OSError, match="Input/output"):
        open_stream(stream_of(300), pack_key(), read_into, memoryview(into))
    assert not any(into)


@pytest.mark.parametrize(("said", "word"), [(501, "shorter"), (499, "longer")])
def test_a_source_that_changed_its_length_is_not_sealed(said, word):
    with pytest.raises(SealError, match=word):
        seal(plain_of(500), stream_of(said))


def tink_primitive(stream, key):
    """Google's implementation under the same key."""
    with derive_file_key(key, stream) as file_key:
        proto = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(
            version=0,
            key_value=bytes(file_key.expose()),
            params=aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingParams(
                ciphertext_segment_size=stream.layout.segment_bytes,
                derived_key_size=32,
                hkdf_hash_type=common_pb2.SHA256,
            ),
        )
    keyset = tink_pb2.Keyset(primary_key_id=1)
    added = keyset.key.add()
    added.key_data.type_url = "type.googleapis.com/google.crypto.tink.AesGcmHkdfStreamingKey"
    added.key_data.value = proto.SerializeToString()
    added.key_data.key_material_type = tink_pb2.KeyData.SYMMETRIC
    added.status = tink_pb2.ENABLED
    added.key_id = 1
    added.output_prefix_type = tink_pb2.RAW
    handle = cleartext_keyset_handle.read(tink.BinaryKeysetReader(keyset.SerializeToString()))
    return handle.primitive(streaming_aead.StreamingAead)


class KeptBytes(io.BytesIO):
    """A sink that can still be read when the writer has closed it."""

    def close(self):
        self.kept = self.getvalue()
        super().close()


INTEROPERABLE = [stream_of(n_bytes) for n_bytes in EDGES] + [
    stream_of(n_bytes, SEGMENT_BYTES)
    for n_bytes in (SEGMENT_BYTES - 57, SEGMENT_BYTES - 56, SEGMENT_BYTES - 55, 2 * SEGMENT_BYTES)
]


@pytest.mark.parametrize("stream", INTEROPERABLE, ids=lambda s: s.layout.plain_bytes)
def test_tink_opens_what_we_seal(stream):
    plain = plain_of(stream.layout.plain_bytes)
    theirs = tink_primitive(stream, pack_key())
    source = io.BytesIO(seal(plain, stream))
    with theirs.new_decrypting_stream(source, stream.associated_data) as reader:
        assert reader.read() == plain


@pytest.mark.parametrize("stream", INTEROPERABLE, ids=lambda s: s.layout.plain_bytes)
def test_we_open_what_tink_seals(stream):
    plain = plain_of(stream.layout.plain_bytes)
    sink = KeptBytes()
    theirs = tink_primitive(stream, pack_key())
    with theirs.new_encrypting_stream(sink, stream.associated_data) as writer:
        writer.write(plain)
    assert opened(sink.kept, stream) == plain
