"""A server without ears: serves the page under the real one's policy, keeps what the page sends and
says what its script says.
"""

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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
from starlette.websockets import WebSocket

from server import wire
from server.app import SECURITY_HEADERS
from server.errors import Refusal

WEB_FOLDER = Path(__file__).parents[2] / "web"
TOKEN = "aaaa.bbbb.cccc"  # noqa: S105 (the form of one, not one)
READY_LIMIT_S = 30
USAGE = wire.Usage(bytes=0, audio_ms=0, speech_ms=0, segments=0)


@dataclass
class Heard:
    """What one session of the page sent."""

    subprotocols: list[str]
    socket: WebSocket
    start: wire.Start | None = None
    blocks: list[bytes] = field(default_factory=list)
    has_stopped: bool = False

    async def say(self, *events: wire.ServerEvent) -> None:
        for event in events:
            await self.socket.send_text(wire.encode(event))

    async def receive(self) -> bool:
        """Keep what comes next; False when it was the last."""
        message = await self.socket.receive()
        if message.get("bytes") is not None:
            self.blocks.append(message["bytes"])
        elif message.get("text") is not None:
            self.has_stopped = isinstance(wire.decode_client_message(message["text"]), wire.Stop)
        return message["type"] != "websocket.disconnect" and not self.has_stopped

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
        await self.socket.close(refusal.close_code if refusal else 1000)


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
        heard = Heard(websocket.scope["subprotocols"], websocket)
        await websocket.accept(subprotocol=wire.PROTOCOL)
        start = wire.decode_client_message(await websocket.receive_text())
        assert isinstance(start, wire.Start)
        heard.start = start
        self.sessions.append(heard)
        await asyncio.to_thread(self.may_be_ready.wait, READY_LIMIT_S)
        await heard.say(wire.Ready("s1", "fake", "en", 400, self.limits))
        await self.script(heard)

    async def _whoami(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if self.denial and not self.is_token_good:
            return _answer(self.denial)
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
