"""Plain bytes in, sealed segments out, and back: the cipher of a model pack, without a file in
sight.

The layout is Google Tink's AES256-GCM-HKDF streaming AEAD with segments of 1 MiB, chosen because
it is published, read by independent implementations, and lets every segment be opened straight
into its place. A stream is a header (length byte, salt, nonce prefix), then segments that each end
in a tag; the nonce counts them and marks the last, so that swapping, dropping and cutting show.
Each file has its own key, bound with its place, its size and the whole manifest core: a segment
opens nowhere else. A segment that fails leaves zeros behind, never plain bytes.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from security.errors import PackError, PackReason, SealError
from security.secret import SecretBytes, wipe_buffer

FORMAT: Final = "earwitness-pack/2"
SEGMENT_BYTES = 1 << 20
SALT_BYTES = 32
PREFIX_BYTES = 7
HEADER_BYTES = 1 + SALT_BYTES + PREFIX_BYTES
TAG_BYTES = 16
KEY_BYTES = 32

ReadInto = Callable[[memoryview], int]
"""Fills the buffer from its start and says how far, as `readinto` does; 0 is the end."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the segments of one stream lie."""

    plain_bytes: int
    segment_bytes: int = SEGMENT_BYTES
    """Of a sealed segment with its tag. The pack format fixes it; other values are for tests."""

    @property
    def segments(self) -> int:
        """How many there are; an empty stream still has one, which proves that it is empty."""
        beyond_first = max(0, self.plain_bytes - self._first_bytes)
        return 1 + -(-beyond_first // self._other_bytes)

    @property
    def sealed_bytes(self) -> int:
        """Length of the whole stream, header and tags included."""
        return HEADER_BYTES + self.plain_bytes + self.segments * TAG_BYTES

    def plain_range(self, index: int) -> tuple[int, int]:
        """Start and end of what segment `index` holds."""
        start = 0 if index == 0 else self._first_bytes + (index - 1) * self._other_bytes
        return start, min(self._first_bytes + index * self._other_bytes, self.plain_bytes)

    def sealed_range(self, index: int) -> tuple[int, int]:
        """Start and end of segment `index` in the sealed stream."""
        start = HEADER_BYTES if index == 0 else index * self.segment_bytes
        return start, min((index + 1) * self.segment_bytes, self.sealed_bytes)

    @property
    def _first_bytes(self) -> int:
        return self.segment_bytes - HEADER_BYTES - TAG_BYTES

    @property
    def _other_bytes(self) -> int:
        return self.segment_bytes - TAG_BYTES


@dataclass(frozen=True, slots=True)
class Stream:
    """One file of one pack: what its segments are bound to."""

    core_hash: bytes
    """SHA-256 of the manifest's core."""
    ordinal: int
    layout: Layout

    @property
    def associated_data(self) -> bytes:
        """What must be the same at opening as it was at sealing."""
        return self.core_hash + struct.pack(">IQ", self.ordinal, self.layout.plain_bytes)


def derive_key(source: SecretBytes, info: bytes, salt: bytes | None = None) -> SecretBytes:
    """HKDF-SHA256, straight into a buffer that can be wiped."""
    key = bytearray(KEY_BYTES)
    HKDF(SHA256(), KEY_BYTES, salt, info).derive_into(source.expose(), key)
    return SecretBytes(key)


def derive_file_key(pack_key: SecretBytes, stream: Stream) -> SecretBytes:
    """The key of one file of one pack; it is the input key of the Tink stream."""
    place = struct.pack(">I", stream.ordinal)
    return derive_key(pack_key, FORMAT.encode() + b"|file|" + place + stream.core_hash)


def seal_stream(
    stream: Stream, pack_key: SecretBytes, read_into: ReadInto, salt: bytes, prefix: bytes
) -> Iterator[memoryview]:
    """The sealed stream in pieces, each good until the next is asked for.

    `salt` and `prefix` are fresh random bytes. Raises SealError if the source is not as long as
    the layout says.
    """
    header = bytes([HEADER_BYTES]) + salt + prefix
    cipher = _cipher(stream, pack_key, salt)
    layout = stream.layout
    plain = memoryview(bytearray(layout.segment_bytes))
    sealed = memoryview(bytearray(layout.segment_bytes))
    try:
        yield memoryview(header)
        for index in range(layout.segments):
            start, end = layout.plain_range(index)
            part = plain[: end - start]
            if not _fill(read_into, part):
                raise SealError("a source is shorter than it was when sealing began")
            out = sealed[: end - start + TAG_BYTES]
            cipher.encrypt_into(_nonce(prefix, index, layout.segments), part, None, out)
            yield out
        if read_into(plain[:1]):
            raise SealError("a source is longer than it was when sealing began")
    finally:
        wipe_buffer(plain)


class StreamOpener:
    """Opens the segments of one stream, in any order and from several threads."""

    def __init__(self, stream: Stream, pack_key: SecretBytes, header: bytes) -> None:
        """`header` is the first `HEADER_BYTES` of the sealed stream. Raises PackError."""
        if len(header) != HEADER_BYTES or header[0] != HEADER_BYTES:
            raise PackError(PackReason.BAD_SEGMENT)
        self.layout = stream.layout
        self._cipher = _cipher(stream, pack_key, header[1 : 1 + SALT_BYTES])
        self._prefix = header[1 + SALT_BYTES :]

    def open_segment(self, index: int, sealed: memoryview, into: memoryview) -> None:
        """Open one segment into its place. On any failure `into` is all zeros.

        `sealed` must be memory that nobody else can write: the cipher reads it more than once.
        """
        is_whole = False
        nonce = _nonce(self._prefix, index, self.layout.segments)
        try:
            # decrypt_into writes before it has checked the tag
            self._cipher.decrypt_into(nonce, sealed, None, into)
            is_whole = True
        except InvalidTag:
            raise PackError(PackReason.BAD_SEGMENT) from None
        finally:
            if not is_whole:
                wipe_buffer(into)


def _cipher(stream: Stream, pack_key: SecretBytes, salt: bytes) -> AESGCM:
    with (
        derive_file_key(pack_key, stream) as file_key,
        derive_key(file_key, stream.associated_data, salt) as segment_key,
    ):
        return AESGCM(segment_key.expose())


def _nonce(prefix: bytes, index: int, segments: int) -> bytes:
    return prefix + struct.pack(">I?", index, index == segments - 1)


def _fill(read_into: ReadInto, buffer: memoryview) -> bool:
    """Read until `buffer` is full; False if the end came first."""
    while buffer:
        n_bytes = read_into(buffer)
        if n_bytes == 0:
            return False
        buffer = buffer[n_bytes:]
    return True
