"""A server of `earwitness.v1` without ears: it keeps the audio and says what its script says."""

import asyncio
import http
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from server import wire

TOKEN = ".".join(["eyJhbGciOiJFZERTQSJ9", "eyJzdWIiOiJhIn0", "c2lnbmF0dXJl"])
READY = wire.Ready(
    session_id="s1",
    model="fake",
    language="en",
    end_of_speech_ms=400,
    limits=wire.Limits(audio_ms=None, bytes=None, expires_in_s=600),
)
USAGE = wire.Usage(bytes=0, audio_ms=0, speech_ms=0, segments=0)


def partial(segment, revision, stable, unstable=""):
    return wire.Partial(segment, revision, 0, 100, stable, unstable)


def final(segment, text):
    return wire.Final(segment, 0, 100, text, "en", 0.9, [])


def ended(reason="stopped"):
    return wire.Ended(reason, USAGE)


@dataclass
class Session:
    """What one client did, and the socket to answer it."""

    socket: ServerConnection
    start: wire.ClientMessage | None = None
    audio_frames: list[bytes] = field(default_factory=list)
    messages: list[wire.ClientMessage] = field(default_factory=list)

    @property
    def audio(self) -> bytes:
        return b"".join(self.audio_frames)

    async def say(self, *events: wire.ServerEvent) -> None:
        for event in events:
            await self.socket.send(wire.encode(event))

    async def hear_start(self) -> None:
        frame = await self.socket.recv()
        assert isinstance(frame, str)
        self.start = wire.decode_client_message(frame)

    async def hear_until_stop(self) -> None:
        async for frame in self.socket:
            if isinstance(frame, bytes):
                self.audio_frames.append(frame)
                continue
            message = wire.decode_client_message(frame)
            self.messages.append(message)
            if isinstance(message, wire.Stop):
                return


Script = Callable[[Session], Awaitable[None]]


def says(*events: wire.ServerEvent) -> Script:
    """Answers `start`, hears everything, and then says these events and `ended`."""

    async def script(session: Session) -> None:
        await session.hear_start()
        await session.say(READY)
        await session.hear_until_stop()
        await session.say(*events, ended())

    return script


def says_by_turns(*scripts: Script) -> Script:
    """The first session gets the first script, and so on; the last is for all that follow."""
    left = list(scripts)

    async def script(session: Session) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(session)

    return script


def said(segment: int, start_ms: int, end_ms: int, text: str) -> wire.Final:
    """A final with a place in time."""
    return wire.Final(segment, start_ms, end_ms, text, "en", 0.9, [])


@dataclass
class FakeServer:
    """What the clients of one server did."""

    url: str = ""
    sessions: list[Session] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


@asynccontextmanager
async def fake_server(
    script: Script | None = None,
    *,
    denial: Response | None = None,
    denials: Iterable[Response | None] = (),
    **options: Any,
) -> AsyncIterator[FakeServer]:
    """`denials` are for the handshakes by turns, `denial` for those that follow."""
    fake = FakeServer()
    in_turn = iter(denials)

    async def talk(socket: ServerConnection) -> None:
        session = Session(socket)
        fake.sessions.append(session)
        with suppress(ConnectionClosed):
            await (script or says())(session)

    def judge(_: ServerConnection, request: Request) -> Response | None:
        fake.requests.append(request)
        return next(in_turn, denial)

    options = {"subprotocols": [wire.PROTOCOL], "close_timeout": 0.2, **options}
    async with serve(talk, "127.0.0.1", 0, process_request=judge, **options) as listener:
        port = next(iter(listener.sockets)).getsockname()[1]
        fake.url = f"ws://127.0.0.1:{port}/v1/stream"
        yield fake


@contextmanager
def fake_server_in_thread(
    script: Script | None = None,
    *,
    denial: Response | None = None,
    denials: Iterable[Response | None] = (),
) -> Iterator[FakeServer]:
    """For programs that run their own event loop."""
    is_up, fakes, ends = threading.Event(), [], []

    async def run() -> None:
        end = asyncio.Event()
        async with fake_server(script, denial=denial, denials=denials) as fake:
            fakes.append(fake)
            ends.append((asyncio.get_running_loop(), end))
            is_up.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    is_up.wait(10)
    try:
        yield fakes[0]
    finally:
        loop, end = ends[0]
        loop.call_soon_threadsafe(end.set)
        thread.join()


def deny(status: int, body: bytes, **headers: str) -> Response:
    fields = Headers(headers)
    fields["Content-Length"] = str(len(body))
    return Response(status, http.HTTPStatus(status).phrase, fields, body)
