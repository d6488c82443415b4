"""Connections of Asterisk's AudioSocket in, each a call bridged to a session, out.

There is no upgrade and there are no headers: who calls is the ticket that the first message holds.
Silence is sent from the connection on, since Asterisk gives up a peer that says nothing. Little is
read at a time: tiny messages must not keep the others waiting. A fault of one ends no other.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from starlette.requests import HTTPConnection

from server import errors
from server.bridge import Bridge
from server.bridge_settings import AudioSocketSettings, BridgeSettings, DialectName
from server.bridge_values import BridgeLimits
from server.bridging import Bridging, CallOffice
from server.dialects.audiosocket import KEEP_ALIVE, KEEP_ALIVE_S, TRACK, AudioSocket
from server.dialects.values import Opening
from server.door import Ticket
from server.errors import RefusedError
from server.lines import Place, Places
from server.reception import Entry, Reception
from server.visitor import caller_of

_log = structlog.get_logger()
_READ_BYTES = 4096
_CLOSE_LIMIT_S = 1.0
_LIMITS = BridgeLimits(opening_limit_s=60.0)
"""Who says nothing sends nothing; a ticket lives no longer."""


class AudioSocketPort:
    """Of one server."""

    def __init__(
        self,
        bound: socket.socket,
        settings: AudioSocketSettings,
        reception: Reception,
        office: CallOffice,
    ) -> None:
        self._bound = bound
        self._bridge = BridgeSettings(
            DialectName.AUDIOSOCKET, DialectName.AUDIOSOCKET, roles={TRACK: settings.role}
        )
        self._reception = reception
        self._office = office
        self._unknown = Places(settings.most_unknown)

    async def run(self) -> None:
        """Until it is cancelled; whoever is connected then is let go."""
        async with asyncio.TaskGroup() as tasks:

            async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                tasks.create_task(self._serve_alone(reader, writer))

            server = await asyncio.start_server(accept, sock=self._bound, limit=_READ_BYTES)
            async with server:
                await asyncio.Event().wait()

    async def _serve_alone(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self._serve(reader, writer)
        except Exception as error:  # noqa: BLE001 - a fault of one call ends no other
            _log.error("a connection of AudioSocket failed", error=type(error).__name__)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire, peer = _StreamWire(reader, writer), _peer_of(writer)
        reception = self._reception

        async def take() -> Place:
            return self._unknown.take(caller_of(peer).address)

        try:
            place = await reception.attend(peer, take, checks_origin=False)
        except RefusedError:
            await wire.close(errors.OVERLOADED.close_code)
            return

        @asynccontextmanager
        async def enter(opening: Opening) -> AsyncIterator[Entry]:
            shown, lasts_s = Ticket(opening.ticket or ""), self._bridge.longest_call_s
            async with reception.enter_call(peer, shown, lasts_s) as entry:
                place.give_back()
                yield entry

        bridge = Bridge(AudioSocket(), _LIMITS, time.monotonic(), is_known=False)
        try:
            async with asyncio.TaskGroup() as tasks:
                alive = tasks.create_task(wire.keep_alive())
                bridging = Bridging(self._office, self._bridge, wire, bridge, enter)
                with suppress(RefusedError):  # on record by then
                    await reception.attend(peer, bridging.run, checks_origin=False)
                alive.cancel()
        finally:
            place.give_back()
            await wire.close(0)


class _StreamWire:
    """See `server.bridging.Wire`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> str | bytes | None:
        """See `Wire`."""
        await asyncio.sleep(0)  # what has come already would be read without a pause
        try:
            return await self._reader.read(_READ_BYTES) or None
        except OSError:
            raise ConnectionError from None

    async def send(self, frame: str | bytes) -> None:
        """See `Wire`."""
        self._writer.write(frame if isinstance(frame, bytes) else frame.encode())
        try:
            await self._writer.drain()
        except OSError:
            raise ConnectionError from None

    async def close(self, code: int) -> None:
        """See `Wire`; a code has no place here."""
        del code
        self._writer.close()
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CLOSE_LIMIT_S):
                await self._writer.wait_closed()

    async def keep_alive(self) -> None:
        """Say nothing, now and then, until it is cancelled or nobody is there."""
        while not self._writer.is_closing():
            with suppress(OSError):
                await self.send(KEEP_ALIVE)
            await asyncio.sleep(KEEP_ALIVE_S)


def _peer_of(writer: asyncio.StreamWriter) -> HTTPConnection:
    """What the reception knows of a peer: here its address."""
    host, port, *_ = writer.get_extra_info("peername") or ("", 0)
    return HTTPConnection(
        {
            "type": "websocket",
            "path": "/",
            "headers": [],
            "query_string": b"",
            "subprotocols": [],
            "client": (host, port),
        }
    )
