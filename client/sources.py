"""A file, or raw PCM from a pipe, in; blocks of 20 ms of 16-bit mono PCM out, at a known rate.

A file keeps its own rate where the protocol has it, because the server resamples better than a
decoder does; any other rate becomes 16 kHz. Every source is a plain iterator, read in a thread, so
that a slow disk or a silent pipe holds up nothing; `close`, from anywhere, ends the iteration. In
real time, block i goes out at start + i * 20 ms whatever happened before, so that pauses are
caught up with and nothing drifts. Files are decoded by `client.sound_file`, which is imported when
the first is opened: a program that has its own audio does not pay for the decoder.
"""

import asyncio
import os
import select
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Protocol, Self, get_args

from server.wire import SampleRateHz

BLOCKS_PER_S = 50
RATES_HZ: tuple[SampleRateHz, ...] = get_args(SampleRateHz)
POLL_S = 0.1
"""How soon a source that waits for a pipe notices that it was closed."""


class Source(Protocol):
    """Blocks of 20 ms of 16-bit little-endian mono PCM; the last one may be shorter."""

    @property
    def sample_rate_hz(self) -> SampleRateHz:
        """Samples a second."""

    def __iter__(self) -> Iterator[bytes]:
        """The blocks, once."""

    def close(self) -> None:
        """End the iteration at the next block. Safe from a signal handler or a thread."""


class FileSource:
    """A WAV, FLAC, MP3 or Ogg Vorbis file, decoded while it is read; its channels are mixed."""

    def __init__(self, path: Path, channel: int | None = None) -> None:
        """Open the file; `channel` from 0 hears one alone. Raises SourceError."""
        from client.sound_file import SoundFile

        file = SoundFile(path)
        self.sample_rate_hz = file.sample_rate_hz
        self._pieces = file.open_pieces(channel)
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        """The blocks, once."""
        return blocks_of(self._read_pieces(), self.sample_rate_hz)

    def close(self) -> None:
        """End the iteration at the next block."""
        self._is_closed = True

    def _read_pieces(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if self._is_closed:
                return
            yield piece


class PipeSource:
    """Raw 16-bit little-endian mono PCM from an open file descriptor, which stays the caller's."""

    def __init__(self, descriptor: int, sample_rate_hz: SampleRateHz) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._descriptor = descriptor
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        """The blocks, once."""
        return blocks_of(self._read_pieces(), self.sample_rate_hz)

    def close(self) -> None:
        """End the iteration within POLL_S."""
        self._is_closed = True

    def _read_pieces(self) -> Iterator[bytes]:
        while not self._is_closed:
            ready, _, _ = select.select([self._descriptor], [], [], POLL_S)
            if not ready:
                continue
            piece = os.read(self._descriptor, block_bytes(self.sample_rate_hz))
            if not piece:
                return
            yield piece


class PacedBlocks:
    """The blocks of a source for an event loop: in real time, or as soon as asked for."""

    def __init__(
        self,
        source: Source,
        *,
        is_real_time: bool,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._blocks = iter(source)
        self._is_real_time = is_real_time
        self._clock = clock
        """Monotonic, in seconds."""
        self._sleep = sleep
        self._started_s: float | None = None
        self._n_blocks = 0

    def __aiter__(self) -> Self:
        """The blocks, once."""
        return self

    async def __anext__(self) -> bytes:
        """The next block, when it is due. Raises SourceError when it cannot be read."""
        block = await asyncio.to_thread(next, self._blocks, b"")
        if not block:
            raise StopAsyncIteration
        if self._is_real_time:
            await self._wait_until_due()
        self._n_blocks += 1
        return block

    async def _wait_until_due(self) -> None:
        now_s = self._clock()
        if self._started_s is None:
            self._started_s = now_s
        wait_s = due_s(self._started_s, self._n_blocks) - now_s
        if wait_s > 0:
            await self._sleep(wait_s)


def due_s(started_s: float, block_index: int) -> float:
    """When a block is due; counted from the start, so that errors do not add up."""
    return started_s + block_index / BLOCKS_PER_S


def block_bytes(sample_rate_hz: int) -> int:
    """The size of 20 ms of 16-bit mono PCM."""
    return sample_rate_hz // BLOCKS_PER_S * 2


def blocks_of(pieces: Iterator[bytes], sample_rate_hz: int) -> Iterator[bytes]:
    """The same bytes in blocks of 20 ms."""
    size = block_bytes(sample_rate_hz)
    rest = b""
    for piece in pieces:
        rest += piece
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest:
        yield rest
