"""A listener on loopback around an application of the test's, and raw peers for it."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from server.listen_settings import ListenSettings
from server.listener import Listener, bind
from server.long_messages import allow_messages

LONG_BYTES = 1_000_000
"""That `/long` takes."""
LIMIT_S = 10.0
"""For whatever a test waits for; what is waited for comes long before."""
UPGRADE = (
    b"GET /echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@dataclass
class Site:
    """An application whose every step a test can hold up."""

    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    bodies: list[bytes | None] = field(default_factory=list)
    """None for one whose sender went away."""
    messages: list[object] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/hello", self.hello),
                Route("/body", self.body, methods=["POST"]),
                Route("/held", self.held, methods=["GET", "POST"]),
                Route("/large", self.large),
                Route("/fault", self.fault),
                WebSocketRoute("/echo", self.echo),
                WebSocketRoute("/deaf", self.deaf),
                WebSocketRoute("/late", self.late),
                WebSocketRoute("/long", self.long),
                WebSocketRoute("/bye", self.bye),
                WebSocketRoute("/fault", self.fault_in_session),
            ]
        )

    async def hello(self, request: Request) -> Response:
        self.clients.append(request.client.host)
        return PlainTextResponse("hello")

    async def body(self, request: Request) -> Response:
        self.bodies.append(None)
        self.bodies[-1] = await request.body()
        return PlainTextResponse(str(len(self.bodies[-1])))

    async def held(self, request: Request) -> Response:
        await self.may_go_on.wait()
        return PlainTextResponse("at last")

    async def large(self, request: Request) -> Response:
        return PlainTextResponse("x" * 10_000_000)

    async def fault(self, request: Request) -> Response:
        raise LookupError("words of a caller")

    async def fault_in_session(self, websocket: WebSocket) -> None:
        raise LookupError("words of a caller")

    async def echo(self, websocket: WebSocket) -> None:
        await websocket.accept()
        while (message := await websocket.receive())["type"] == "websocket.receive":
            self.messages.append(message.get("text") or message.get("bytes"))
            await websocket.send({**message, "type": "websocket.send"})
        self.messages.append(message["code"])

    async def deaf(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await self.may_go_on.wait()
        while (message := await websocket.receive())["type"] == "websocket.receive":
            self.messages.append(message.get("text") or message.get("bytes"))

    async def long(self, websocket: WebSocket) -> None:
        """Takes long messages, and ends with a word, once it may, when one is too long."""
        allow_messages(websocket.scope["state"], LONG_BYTES)
        await websocket.accept()
        while (message := await websocket.receive())["type"] == "websocket.receive":
            self.messages.append(message.get("refusal") or message.get("bytes"))
            if "refusal" in message:
                await self.may_go_on.wait()
                await websocket.send_text("too long")
                await websocket.close(4000)
        self.messages.append(message["code"])

    async def late(self, websocket: WebSocket) -> None:
        await self.may_go_on.wait()
        await self.echo(websocket)

    async def bye(self, websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close(4000)


@dataclass
class Peer:
    """A raw connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def say(self, data: bytes) -> "Peer":
        self.writer.write(data)
        await self.writer.drain()
        return self

    async def hear(self, until: bytes) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            return await self.reader.readuntil(until)

    async def rest(self) -> bytes:
        """Until the server has closed."""
        async with asyncio.timeout(LIMIT_S):
            heard = b""
            try:
                while piece := await self.reader.read(65_536):
                    heard += piece
            except ConnectionError:
                pass
            return heard

    async def answer(self) -> tuple[int, bytes, bytes]:
        """Status, head and body of one answer with a length."""
        head = await self.hear(b"\r\n\r\n")
        lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        async with asyncio.timeout(LIMIT_S):
            body = await self.reader.readexactly(int(lines[b"content-length"]))
        return int(head.split(b" ", 2)[1]), head, body


@dataclass
class Listening:
    """A running listener."""

    listener: Listener
    port: int
    site: Site
    peers: list[Peer] = field(default_factory=list)

    async def peer(
        self, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1", read_bytes: int = 0
    ) -> Peer:
        connection = socket.socket()
        if read_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_bytes)
        connection.bind((source, 0))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", self.port))
        name = "localhost" if tls else None
        streams = await asyncio.open_connection(sock=connection, ssl=tls, server_hostname=name)
        self.peers.append(Peer(*streams))
        return self.peers[-1]

    async def ask(self, request: bytes, **given) -> bytes:
        """All that is answered until the server closes."""
        peer = await self.peer(**given)
        return await (await peer.say(request)).rest()

    async def until(self, condition) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():  # noqa: ASYNC110 (what is inside tells nobody)
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(certificate=None, site=None, app=None, **settings):
    """Quick ends on the way out: what is held up is let go."""
    site = site or Site()
    settings = ListenSettings(**{"port": 0, "access_log": False, **settings})

    async def drain() -> bool:
        site.may_go_on.set()
        return True

    with bind(settings) as bound:
        listener = Listener(app or site.app(), settings, drain, certificate)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(listener.serve([bound]))
            here = Listening(listener, bound.getsockname()[1], site)
            try:
                yield here
            finally:
                for peer in here.peers:
                    peer.writer.transport.abort()
                listener.should_exit = True
                async with asyncio.timeout(LIMIT_S):
                    await serving


async def trickle(peer, data):
    try:
        for byte in data:
            await peer.say(bytes([byte]))
            await asyncio.sleep(0.02)
    except ConnectionError:
        pass
