"""The bytes of a WAV file as they come, cut anywhere, in; what its samples are, and the samples,
out.

A file that is still being recorded cannot know its length: one that says zero, or as much as a
header can say, goes on to the end of the stream; one that says another ends there, and what follows
its samples is passed over. Refused: what is not WAV, codecs other than 16-bit samples and G.711,
more than two channels, and a header that goes on and on.
"""

import struct
from dataclasses import dataclass

from server.audio import ACCEPTED_RATES_HZ, AudioFormat, Encoding

MOST_HEADER_BYTES = 65_536
_MAGIC = b"RIFF....WAVE"
_CHUNK_BYTES = 8
_FORMAT = struct.Struct("<HHIIHH")
_EXTENSIBLE, _SUBFORMAT_AT_BYTE = 0xFFFE, 24
_UNKNOWN_FROM_BYTES = 0x7FFF_0000
_ENCODINGS = {
    (1, 16): Encoding.PCM_S16LE,
    (6, 8): Encoding.ALAW,
    (7, 8): Encoding.MULAW,
}
_MOST_CHANNELS = 2


class WavError(Exception):
    """Not WAV, or none that is heard here."""


@dataclass(frozen=True, slots=True)
class WavHeader:
    """What the samples are."""

    audio_format: AudioFormat
    channels: int
    sample_bytes: int | None
    """Of all of them; None: as long as there are any."""


class WavStream:
    """One file."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left_bytes: int | None = None
        self.header: WavHeader | None = None
        """Once it was read."""

    def receive(self, data: bytes) -> bytes:
        """The samples among these bytes. Raises WavError."""
        if self.header is None:
            self._head += data
            read = _read_header(self._head)
            if read is None:
                return b""
            self.header, at_byte = read
            self._left_bytes = self.header.sample_bytes
            data, self._head = bytes(self._head[at_byte:]), bytearray()
        if self._left_bytes is None:
            return data
        samples = data[: self._left_bytes]
        self._left_bytes -= len(samples)
        return samples


def _read_header(head: bytearray) -> tuple[WavHeader, int] | None:
    """The header, and where it ends; None: it has not. Raises WavError."""
    if any(mark not in (byte, ord(".")) for mark, byte in zip(_MAGIC, head, strict=False)):
        raise WavError
    at_byte = len(_MAGIC)
    described: tuple[AudioFormat, int] | None = None
    while len(head) >= at_byte + _CHUNK_BYTES:
        name = bytes(head[at_byte : at_byte + 4])
        n_bytes = int.from_bytes(head[at_byte + 4 : at_byte + _CHUNK_BYTES], "little")
        at_byte += _CHUNK_BYTES
        if name == b"data":
            if described is None:
                raise WavError
            sample_bytes = n_bytes if 0 < n_bytes < _UNKNOWN_FROM_BYTES else None
            return WavHeader(*described, sample_bytes), at_byte
        if at_byte + n_bytes > MOST_HEADER_BYTES:
            raise WavError
        if name == b"fmt " and len(head) >= at_byte + n_bytes:
            described = _read_format(bytes(head[at_byte : at_byte + n_bytes]))
        at_byte += n_bytes + n_bytes % 2
    return None


def _read_format(chunk: bytes) -> tuple[AudioFormat, int]:
    """Raises WavError."""
    if len(chunk) < _FORMAT.size:
        raise WavError
    tag, channels, rate_hz, _, _, n_bits = _FORMAT.unpack_from(chunk)
    if tag == _EXTENSIBLE:
        tag = int.from_bytes(chunk[_SUBFORMAT_AT_BYTE : _SUBFORMAT_AT_BYTE + 2], "little")
    encoding = _ENCODINGS.get((tag, n_bits))
    if encoding is None or rate_hz not in ACCEPTED_RATES_HZ or not 1 <= channels <= _MOST_CHANNELS:
        raise WavError
    return AudioFormat(encoding, rate_hz), channels
