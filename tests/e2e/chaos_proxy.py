"""A TCP proxy on loopback that breaks the connections which go through it, in every way one breaks.

Each connection has a fate, drawn from a seed: after so many bytes in one direction it is reset, or
ended without a word; or only the client's half is, and the server is left to think that its client
is still there; or what was said on the way is swallowed for a moment first.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

_CHUNK_BYTES = 1 << 14
_ABORT = struct.pack("ii", 1, 0)
"""SO_LINGER: close by a reset."""


class Break(Enum):
    RESET = auto()
    """Both halves, by RST: what was on the way is lost."""
    END = auto()
    """Both halves, by FIN, without a close frame."""
    HALF = auto()
    """The client's half; the server's stays open and silent."""
    HOLD = auto()
    """Nothing goes through any more, either way, and then both are reset."""


@dataclass(frozen=True)
class Fate:
    how: Break
    after_bytes: int
    is_upwards: bool
    """Counted are bytes to the server; otherwise those to the client."""
    mark: bytes = b""
    """Counted from where this is said."""


@dataclass
class ChaosProxy:
    port: int
    n_broken: int = 0
    fates: list[Fate] = field(default_factory=list)
    """Those that were met."""
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    def break_all(self) -> None:
        """Reset whatever is connected now."""
        for writer in self.writers:
            _break(writer, Break.RESET)

    def url(self, of: str) -> str:
        """The same address through here."""
        host, path = of.removeprefix("ws://").split("/", 1)
        assert host.startswith("127.0.0.1:")
        return f"ws://127.0.0.1:{self.port}/{path}"


class _Met(Exception):  # noqa: N818 (nothing is wrong: it is meant)
    def __init__(self, fate: Fate) -> None:
        super().__init__()
        self.fate = fate


HANDSHAKE_BYTES = 1500
"""More than a handshake and what follows it takes, either way."""


def random_fates(seed: int, up_bytes: int, down_bytes: int) -> Callable[[], Fate]:
    """After so many bytes at most a connection breaks; but for the first, a quarter of them in the
    handshake or right behind it.
    """
    draw = random.Random(seed)  # noqa: S311 (not for secrets)
    is_first = True

    def fate() -> Fate:
        nonlocal is_first
        is_upwards = draw.random() < 0.6
        after_bytes = draw.randrange(up_bytes if is_upwards else down_bytes)
        if is_first or draw.random() > 0.25:
            after_bytes += HANDSHAKE_BYTES if is_upwards else HANDSHAKE_BYTES // 2
        else:
            after_bytes = draw.randrange(1, HANDSHAKE_BYTES)
        is_first = False
        return Fate(draw.choice(list(Break)), after_bytes, is_upwards)

    return fate


@asynccontextmanager
async def chaos_proxy(
    server_port: int, next_fate: Callable[[], Fate | None]
) -> AsyncIterator[ChaosProxy]:
    """`next_fate`: of each connection, in order; None: nothing happens to it."""

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fate = next_fate()
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server_port)
        proxy.writers += (writer, up_writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(
                    _pump(reader, up_writer, fate if fate and fate.is_upwards else None)
                )
                tasks.create_task(
                    _pump(up_reader, writer, fate if fate and not fate.is_upwards else None)
                )
        except* _Met as met:
            [reached] = [each for each in met.exceptions if isinstance(each, _Met)]
            proxy.n_broken += 1
            proxy.fates.append(reached.fate)
            if reached.fate.how is Break.HOLD:
                await asyncio.sleep(0.05)
            if reached.fate.how is Break.HALF:
                _break(writer, Break.RESET)
            else:
                _break(writer, reached.fate.how)
                _break(up_writer, reached.fate.how)
        except* (ConnectionError, TimeoutError):
            _break(writer, Break.RESET)
            _break(up_writer, Break.RESET)

    server = await asyncio.start_server(attend, "127.0.0.1", 0)
    proxy = ChaosProxy(server.sockets[0].getsockname()[1])
    try:
        yield proxy
    finally:
        server.close()
        for writer in proxy.writers:
            _break(writer, Break.RESET)
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fate: Fate | None
) -> None:
    left_bytes = fate.after_bytes if fate and not fate.mark else None
    while data := await reader.read(_CHUNK_BYTES):
        if left_bytes is None and fate and fate.mark in data:
            left_bytes = data.index(fate.mark) + fate.after_bytes
        if fate and left_bytes is not None and len(data) >= left_bytes:
            writer.write(data[: max(0, left_bytes)])
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            raise _Met(fate)
        left_bytes = None if left_bytes is None else left_bytes - len(data)
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


def _break(writer: asyncio.StreamWriter, how: Break) -> None:
    sock = writer.get_extra_info("socket")
    if how is not Break.END and sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    if how is Break.END:
        writer.close()
    else:
        writer.transport.abort()
