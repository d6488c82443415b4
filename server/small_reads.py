"""A socket's bytes in, small pieces of them out.

By itself asyncio reads a quarter of a megabyte at a time, and a thousand peers that send it at once
would be held with all of it. The buffer is new for each read and let go of after it, so that an
idle connection holds none.
"""

import asyncio

from typing_extensions import override

READ_BYTES = 16_384


class SmallReads(asyncio.BufferedProtocol):
    """For protocols that are written as if they were given `data_received`."""

    _buffer = bytearray()

    def data_received(self, data: bytes) -> None:
        """At most `READ_BYTES`."""
        raise NotImplementedError

    @override
    def get_buffer(self, sizehint: int) -> memoryview:
        """See asyncio. TLS fills it record by record, through slices: a bytearray's are copies."""
        self._buffer = bytearray(READ_BYTES)
        return memoryview(self._buffer)

    @override
    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        data = bytes(memoryview(self._buffer)[:nbytes])
        del self._buffer
        self.data_received(data)
