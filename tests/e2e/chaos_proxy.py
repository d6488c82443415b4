"""A TCP proxy on the loopback that cuts its connections at random, for tests of clients.

Each connection is cut after a random number of bytes, in either direction, so in mid-frame as
well. How it is cut is random, too: RESET tells both ends roughly, FINISH politely, and HIDE tells
the client alone: the server's end stays open and silent until the proxy ends. The same seed and
bytes give the same cuts.
"""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum

PIECE_BYTES = 4096


class Way(Enum):
    """How a connection is cut."""

    RESET = "reset"
    FINISH = "finish"
    HIDE = "hide"


@dataclass(frozen=True, slots=True)
class Cut:
    """What is going to happen to one connection."""

    way: Way
    up_bytes: int
    """From the client to the server; it is cut by what comes first."""
    down_bytes: int


@dataclass
class ChaosProxy:
    """Made by `chaos_proxy`."""

    target_port: int
    most_cuts: int
    most_up_bytes: int
    most_down_bytes: int
    random: random.Random
    port: int = 0
    n_connections: int = 0
    cuts: list[Cut] = field(default_factory=list)
    """Those that were made."""
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self.n_connections += 1
        cut = self._plan()
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            await _finish(writer)
            return
        is_cut = False
        async with asyncio.TaskGroup() as group:
            ways = {
                group.create_task(_copy(reader, up_writer, cut.up_bytes if cut else None)),
                group.create_task(_copy(up_reader, writer, cut.down_bytes if cut else None)),
            }
            over = group.create_task(self.is_over.wait())
            left = set(ways)
            while left and not is_cut and not over.done():
                done, _ = await asyncio.wait({*left, over}, return_when=asyncio.FIRST_COMPLETED)
                left -= done
                is_cut = any(way.result() for way in done & ways)
            for task in (*ways, over):
                task.cancel()
        if cut is not None and is_cut:
            self.cuts.append(cut)
            await self._end(cut.way, writer, up_writer)
        await _finish(writer, up_writer)

    def _plan(self) -> Cut | None:
        if len(self.cuts) >= self.most_cuts:
            return None
        return Cut(
            self.random.choice(list(Way)),
            self.random.randrange(self.most_up_bytes),
            self.random.randrange(self.most_down_bytes),
        )

    async def _end(
        self, way: Way, client: asyncio.StreamWriter, server: asyncio.StreamWriter
    ) -> None:
        match way:
            case Way.RESET:
                _reset(client, server)
            case Way.HIDE:
                _reset(client)
                await self.is_over.wait()
            case Way.FINISH:
                pass


@asynccontextmanager
async def chaos_proxy(
    target_port: int,
    *,
    seed: int,
    most_cuts: int,
    most_up_bytes: int = 60_000,
    most_down_bytes: int = 6_000,
) -> AsyncIterator[ChaosProxy]:
    """A proxy that makes so many cuts and is a faithful one afterwards; its `port` is new."""
    dice = random.Random(seed)  # noqa: S311 - to be had again by its seed
    proxy = ChaosProxy(target_port, most_cuts, most_up_bytes, most_down_bytes, dice)
    async with asyncio.TaskGroup() as group:

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            group.create_task(proxy.serve(reader, writer))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            await server.wait_closed()
            proxy.is_over.set()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_bytes: int | None
) -> bool:
    """Until the reader has no more; True if it was to be cut before."""
    n_bytes = 0
    with suppress(ConnectionError):
        while piece := await reader.read(PIECE_BYTES):
            left = len(piece) if most_bytes is None else most_bytes - n_bytes
            writer.write(piece[:left])
            await writer.drain()
            n_bytes += len(piece)
            if most_bytes is not None and n_bytes >= most_bytes:
                return True
        writer.write_eof()
    return False


async def _finish(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def _reset(*writers: asyncio.StreamWriter) -> None:
    """RFC 9293's RST: what is on its way is thrown away."""
    for writer in writers:
        peer = writer.get_extra_info("socket")
        with suppress(OSError):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
