"""Streams of 200 sizes in; the same bytes out of Google's `tink` and out of ours, both ways."""

import io
import random

import pytest
import tink
from tink import cleartext_keyset_handle, streaming_aead
from tink.proto import aes_gcm_hkdf_streaming_pb2, common_pb2, tink_pb2

from security.sealed import (
    HEADER_BYTES,
    SEGMENT_BYTES,
    TAG_BYTES,
    Layout,
    Stream,
    StreamOpener,
    derive_file_key,
    seal_stream,
)
from security.secret import SecretBytes

CORE_HASH = bytes(range(32))
SMALL = 128
streaming_aead.register()


def edges(segment_bytes, n_segments):
    """Where the last of so many segments is full, and a byte less and more."""
    first, other = segment_bytes - HEADER_BYTES - TAG_BYTES, segment_bytes - TAG_BYTES
    return [first + n * other + d for n in range(n_segments) for d in (-1, 0, 1)]


def streams():
    """200 of them, 80 in the segments of a pack."""
    chance = random.Random(7)  # noqa: S311 (the same sizes each time)
    sizes = {0, 1, *edges(SEGMENT_BYTES, 6)}
    while len(sizes) < 80:
        sizes.add(chance.randrange(6 * SEGMENT_BYTES))
    small = {0, 1, *edges(SMALL, 20)}
    while len(small) < 120:
        small.add(chance.randrange(40 * SMALL))
    return [
        Stream(CORE_HASH, ordinal, Layout(n_bytes, segment_bytes))
        for segment_bytes, chosen in ((SEGMENT_BYTES, sizes), (SMALL, small))
        for ordinal, n_bytes in enumerate(sorted(chosen))
    ]


def named(layout):
    return f"{layout.plain_bytes} in segments of {layout.segment_bytes}"


STREAMS = streams()
EACH = pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: named(stream.layout))


def pack_key():
    return SecretBytes(bytearray([7] * 32))


def plain_of(stream):
    return random.Random(stream.layout.plain_bytes).randbytes(stream.layout.plain_bytes)  # noqa: S311


def sealed_by_us(stream, plain):
    read_into = io.BytesIO(plain).readinto
    pieces = seal_stream(stream, pack_key(), read_into, b"s" * 32, b"p" * 7)
    return b"".join(bytes(piece) for piece in pieces)


def opened_by_us(stream, sealed):
    assert len(sealed) == stream.layout.sealed_bytes
    opener = StreamOpener(stream, pack_key(), sealed[:HEADER_BYTES])
    into = memoryview(bytearray(stream.layout.plain_bytes))
    for index in range(stream.layout.segments):
        start, end = stream.layout.plain_range(index)
        part = slice(*stream.layout.sealed_range(index))
        opener.open_segment(index, memoryview(sealed)[part], into[start:end])
    return into


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


def test_there_are_200_sizes_and_enough_of_them_in_whole_segments():
    assert len(STREAMS) == 200
    assert sum(stream.layout.segment_bytes == SEGMENT_BYTES for stream in STREAMS) == 80


@EACH
def test_tink_opens_what_we_seal(stream):
    plain = plain_of(stream)
    theirs = tink_primitive(stream, pack_key())
    source = io.BytesIO(sealed_by_us(stream, plain))
    with theirs.new_decrypting_stream(source, stream.associated_data) as reader:
        assert reader.read() == plain


@EACH
def test_we_open_what_tink_seals(stream):
    plain = plain_of(stream)
    sink = KeptBytes()
    theirs = tink_primitive(stream, pack_key())
    with theirs.new_encrypting_stream(sink, stream.associated_data) as writer:
        writer.write(plain)
    assert opened_by_us(stream, sink.kept) == plain
