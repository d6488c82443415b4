"""A proxy before a server that does to WebSockets what networks do: cut, hang, refuse, come back.

Other requests pass. A cut comes after so many bytes in one direction, wherever in a frame that is,
and what was on its way is lost.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol


class Addressed(Protocol):
    """A server on the loopback."""

    address: str


UPGRADE = b"upgrade: websocket"
CHUNK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Cut:
    """When a connection ends, or stops saying anything."""

    to_server_bytes: float = float("inf")
    to_page_bytes: float = float("inf")
    hangs: bool = False
    """The connection stays and carries nothing more."""


@dataclass
class CuttingProxy:
    """What becomes of the WebSockets to come."""

    next_cut: Callable[[int], Cut] = lambda _: Cut()
    """Of the connection with this number, from 0."""
    is_down: bool = False
    """New WebSockets are not let through."""
    n_sockets: int = 0
    address: str = ""
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)

    def cut_all(self) -> None:
        """Every WebSocket, now."""
        self._loop.call_soon_threadsafe(self._abort_all)

    def _abort_all(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def serve(
        self, port: int, reader: asyncio.StreamReader, page: asyncio.StreamWriter
    ) -> None:
        """One connection of the page."""
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                head = await reader.readuntil(b"\r\n\r\n")  # browsers open some for nothing
                await self._carry(head, port, reader, page)
        finally:
            self._open.discard(page)
            await _let_go(page)

    async def _carry(
        self, head: bytes, port: int, reader: asyncio.StreamReader, page: asyncio.StreamWriter
    ) -> None:
        cut = Cut()
        if UPGRADE in head.lower():
            if self.is_down:
                return
            cut = self.next_cut(self.n_sockets)
            self.n_sockets += 1
            self._open.add(page)
        away_reader, away = await asyncio.open_connection("127.0.0.1", port)
        ends = (page, away)
        try:
            away.write(head)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_pass(reader, away, cut.to_server_bytes, cut, ends))
                tasks.create_task(_pass(away_reader, page, cut.to_page_bytes, cut, ends))
        finally:
            await _let_go(away)


async def _let_go(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _pass(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    left_bytes: float,
    cut: Cut,
    ends: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK_BYTES):
            if len(data) >= left_bytes and cut.hangs:
                await asyncio.Event().wait()
            writer.write(data[: int(min(left_bytes, len(data)))])
            await writer.drain()
            left_bytes -= len(data)
            if left_bytes <= 0:
                break
    for end in ends:
        if left_bytes <= 0:
            end.transport.abort()
        else:
            end.close()


@contextlib.contextmanager
def proxied(server: Addressed, own_port: int = 0) -> Iterator[CuttingProxy]:
    """Stands before the server, whose address it takes over."""
    proxy = CuttingProxy()
    port = int(server.address.rsplit(":", 1)[1].rstrip("/"))
    started = threading.Event()
    stop = asyncio.Event()

    async def run() -> None:
        tasks: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = proxy._loop.create_task(proxy.serve(port, reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        listener = await asyncio.start_server(accept, "127.0.0.1", own_port)
        proxy.address = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}/"
        started.set()
        await stop.wait()
        listener.close()
        for task in list(tasks):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    thread = threading.Thread(target=lambda: proxy._loop.run_until_complete(run()))
    thread.start()
    started.wait()
    own, server.address = server.address, proxy.address
    try:
        yield proxy
    finally:
        server.address = own
        proxy._loop.call_soon_threadsafe(stop.set)
        thread.join()
        proxy._loop.close()
