"""A server without ears: serves the page under the real one's policy, keeps what the page sends and
says what its script says.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from server import wire
from server.app import SECURITY_HEADERS
from server.errors import SESSION_GONE, Refusal

WEB_FOLDER = Path(__file__).parents[2] / "web"
TOKEN = "aaaa.bbbb.cccc"  # noqa: S105 (the form of one, not one)
READY_LIMIT_S = 30
TOLD_BYTES = 32_000
RESUME = wire.RESUME_PREFIX
USAGE = wire.Usage(bytes=0, audio_ms=0, speech_ms=0, segments=0)


@dataclass
class Heard:
    """What one session of the page sent, over however many connections."""

    subprotocols: list[str]
    socket: WebSocket
    key: str | None = None
    """None: the session ends with its connection."""
    grace_s: float = 30
    start: wire.Start | None = None
    blocks: list[bytes] = field(default_factory=list)
    n_bytes: int = 0
    """Of all of them."""
    has_stopped: bool = False
    refreshed: list[str] = field(default_factory=list)
    said: list[wire.ServerEvent] = field(default_factory=list)
    """After `ready`: those that are counted."""
    resumed_from: list[tuple[int, int]] = field(default_factory=list)
    """Events that the page had and bytes that were here, each time it came back."""
    events_received: int = 0
    is_gone: bool = False
    _told_bytes: int = 0
    _is_deaf: bool = False
    _inbox: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)

    async def say(self, *events: wire.ServerEvent) -> None:
        for event in events:
            self.said.append(event)
            await self._send(event)

    async def receive(self) -> bool:
        """Keep what comes next; False when it was the last."""
        message = await self._inbox.get()
        if message["type"] == "websocket.disconnect":
            if self.key is None:
                return False
            try:
                async with asyncio.timeout(self.grace_s):
                    message = await self._inbox.get()
            except TimeoutError:
                self.is_gone = True
                return False
        if message.get("bytes") is not None:
            await self._receive_sound(message["bytes"])
        elif message.get("text") is not None:
            self._receive_text(wire.decode_client_message(message["text"]))
        return not self.has_stopped

    async def read(self, socket: WebSocket) -> None:
        """Take what comes over this connection, as long as it is the newest."""
        while self.socket is socket:
            message = await socket.receive()
            if self.socket is socket and not self._is_deaf:
                self._inbox.put_nowait(message)
            if message["type"] == "websocket.disconnect":
                break

    async def vanish(self) -> None:
        """As if the server had been killed and started again."""
        self.is_gone = True
        with suppress(RuntimeError, WebSocketDisconnect):
            await self.socket.close(1012)

    def lose(self, n_bytes: int) -> None:
        """So much of the last block has not come, and nothing after it over this connection."""
        self._is_deaf = True
        while not self._inbox.empty():
            self._inbox.get_nowait()
        self.blocks[-1] = self.blocks[-1][:-n_bytes]
        self.n_bytes -= n_bytes

    async def receive_blocks(self, count: int) -> None:
        goal = len(self.blocks) + count
        while len(self.blocks) < goal and await self.receive():
            pass

    async def receive_until_stop(self) -> None:
        while await self.receive():
            pass

    async def end(self, refusal: Refusal | None = None) -> None:
        if refusal:
            retryable = refusal.is_retryable
            await self.say(wire.ErrorEvent(refusal.code, refusal.text, retryable))
        await self.say(wire.Ended(refusal.code if refusal else "stopped", USAGE))
        while self.key and not self.is_gone and self.events_received < len(self.said):
            await self.receive()
        self.is_gone = True
        with suppress(RuntimeError, WebSocketDisconnect):
            await self.socket.close(refusal.close_code if refusal else 1000)

    async def resume(self, socket: WebSocket) -> None:
        """Go on over this connection until it is left; what the one before still holds is lost."""
        message = wire.decode_client_message(await socket.receive_text())
        assert isinstance(message, wire.Resume)
        self.socket = socket
        self._is_deaf = False
        while not self._inbox.empty():
            self._inbox.get_nowait()
        self.resumed_from.append((message.events, self.n_bytes))
        self.events_received = message.events
        for event in [wire.Resumed(self.n_bytes), *self.said[message.events :]]:
            await self._send(event)
        await self.read(socket)

    async def _receive_sound(self, block: bytes) -> None:
        self.blocks.append(block)
        self.n_bytes += len(block)
        if self.key and self.n_bytes - self._told_bytes >= TOLD_BYTES:
            self._told_bytes = self.n_bytes
            await self._send(wire.AudioReceived(self.n_bytes))

    def _receive_text(self, message: wire.ClientMessage) -> None:
        match message:
            case wire.Stop():
                self.has_stopped = True
            case wire.EventsReceived(events):
                assert self.events_received <= events <= len(self.said)
                self.events_received = events
            case wire.Refresh(token):
                self.refreshed.append(token)

    async def _send(self, event: wire.ServerEvent) -> None:
        with suppress(RuntimeError, WebSocketDisconnect):  # it will be said again
            await self.socket.send_text(wire.encode(event))


async def hear_all(heard: Heard) -> None:
    await heard.receive_until_stop()
    await heard.end()


@dataclass
class FakeServer:
    """Serves the page as the real one does, and follows its script where that one would listen."""

    script: Callable[[Heard], Awaitable[None]] = hear_all
    denial: Refusal | None = None
    is_token_good: bool = False
    """Whether `/v1/whoami` answers 200 although the handshake is denied."""
    may_be_ready: threading.Event = field(default_factory=threading.Event)
    """Set from the start; a test that clears it sets it again."""
    languages: list[str] = field(default_factory=lambda: ["en", "zh", "de"])
    limits: wire.Limits = field(default_factory=lambda: wire.Limits(None, None, expires_in_s=600))
    grace_s: int | None = None
    """How long a session is kept that has lost its connection; None: not at all."""
    sessions: list[Heard] = field(default_factory=list)
    address: str = ""

    def __post_init__(self) -> None:
        self.may_be_ready.set()

    def app(self) -> Starlette:
        routes = [
            WebSocketRoute("/v1/stream", self._stream),
            Route("/v1/whoami", self._whoami, methods=["GET", "POST"]),
            Mount("/", StaticFiles(directory=WEB_FOLDER, html=True)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(_WithHeaders)])

    async def _stream(self, websocket: WebSocket) -> None:
        if self.denial:
            await websocket.send_denial_response(_answer(self.denial))
            return
        subprotocols = websocket.scope["subprotocols"]
        keys = [name.removeprefix(RESUME) for name in subprotocols if name.startswith(RESUME)]
        if keys:
            await self._resume(websocket, keys[0])
            return
        heard = Heard(subprotocols, websocket)
        await websocket.accept(subprotocol=wire.PROTOCOL)
        try:
            start = wire.decode_client_message(await websocket.receive_text())
        except WebSocketDisconnect:
            return
        assert isinstance(start, wire.Start)
        heard.start = start
        resume = None
        if self.grace_s is not None and start.resumable:
            heard.key, heard.grace_s = f"key-{len(self.sessions)}", self.grace_s
            resume = wire.Resumption(heard.key, self.grace_s)
        self.sessions.append(heard)
        await asyncio.to_thread(self.may_be_ready.wait, READY_LIMIT_S)
        with suppress(RuntimeError, WebSocketDisconnect):
            await websocket.send_text(
                wire.encode(wire.Ready("s1", "fake", "en", 400, self.limits, resume))
            )
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(heard.read(websocket))
            await self.script(heard)
            reader.cancel()

    async def _resume(self, websocket: WebSocket, key: str) -> None:
        kept = self._kept(key)
        if kept is None:
            await websocket.send_denial_response(_answer(SESSION_GONE))
            return
        await websocket.accept(subprotocol=wire.PROTOCOL)
        with suppress(WebSocketDisconnect):
            await kept.resume(websocket)

    def _kept(self, key: str) -> Heard | None:
        kept = (heard for heard in self.sessions if heard.key == key and not heard.is_gone)
        return next(kept, None)

    async def _whoami(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if self.denial and not self.is_token_good:
            return _answer(self.denial)
        key = request.headers.get(wire.RESUME_HEADER)
        if key is not None and self._kept(key) is None:
            return _answer(SESSION_GONE)
        facts = {"model": "fake", "languages": self.languages}
        return JSONResponse({"subject": "tests", "expires_in_s": 600, **facts})


class _WithHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), text.encode()) for name, text in SECURITY_HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _answer(refusal: Refusal) -> Response:
    body = {"code": refusal.code, "message": refusal.text}
    return JSONResponse(body, status_code=refusal.http_status)


@contextmanager
def serving(fake: FakeServer) -> Iterator[None]:
    listener = socket.create_server(("127.0.0.1", 0))
    fake.address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    config = uvicorn.Config(
        fake.app(), ws="websockets-sansio", lifespan="off", log_config=None, ws_ping_interval=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join()
        listener.close()


def partial(revision: int, stable: str, unstable: str, segment: int = 0) -> wire.Partial:
    return wire.Partial(segment, revision, 0, 100, stable, unstable)


def final(text: str, segment: int = 0) -> wire.Final:
    return wire.Final(segment, 0, 100, text, "en", 0.9, [])
