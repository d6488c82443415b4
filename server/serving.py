"""Settings in, a running server out: opens the trail, the model and the port, and joins them to
the application.

Order matters: the trail first, so that a model that does not open is on record; the port before
anything is promised; on the way out sessions are ended with their last finals before the port is
let go, and the trail gets its last row: a signal ends the server, not the process. Start-up faults
are `StartError`, one line that says what to do, with the exit code that the README lists.
"""

import asyncio
import logging
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import structlog
import uvicorn
from typing_extensions import override
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from security.audit import EngineRestarted, ServerStarted, ServerStopped
from security.audit_store import AuditStore
from security.errors import AuditError, KeyFileError
from security.issuers import open_issuers, open_local_issuer
from security.tokens import TokenVerifier
from server.app import Parts, build_app
from server.config import Settings
from server.door import Door
from server.engines import processor
from server.live import LiveSessions
from server.opening import Opening, open_engine
from server.recognition import ModelCard, Recognizer
from server.scheduler import Scheduler
from server.start_error import EXIT_DATA, EXIT_KEYS, EXIT_PORT, StartError
from server.vad import SileroDetector, SileroNetwork, SpeechDetector, WebRtcDetector

_log = structlog.get_logger()
WEB_FOLDER = Path(__file__).parent.parent / "web"
_DRAIN_LIMIT_S = 20.0
_LINGER_LIMIT_S = 20.0
"""For a peer to read what was written before its session ended."""
_MOST_UNREAD_BYTES = 1 << 20
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_HTTP_PORT = 80


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    url: str
    """The page's address; the stream lies under it at `/v1/stream`."""
    store: AuditStore
    until_stopped: Callable[[], Awaitable[None]]
    """Waits for a signal to stop."""


class _NotAPeersDoing(logging.Filter):
    """Drops what uvicorn says whenever a peer is denied or sends what is no HTTP or no text.

    A denial and a session that was cut short are in the trail; nobody must be able to fill the log.
    """

    _TEXTS = (
        "ASGI callable returned without completing handshake.",
        "Invalid HTTP request received.",
        "Invalid UTF-8 sequence received from client.",
        "Unsupported upgrade request.",
    )

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        return record.msg not in self._TEXTS


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Uvicorn's, without what a peer could make it hold by not reading, or by not being WebSocket.

    Pongs are written however many wait unread, a connection is kept until its peer has read the
    last byte, and a handshake with a character that no header may hold is never answered.
    """

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_initiated:
            self.transport.write(_BAD_REQUEST)
            self.transport.close()

    @override
    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > _MOST_UNREAD_BYTES:
            self.transport.abort()

    @override
    async def run_asgi(self) -> None:
        await super().run_asgi()
        self.loop.call_later(_LINGER_LIMIT_S, self.transport.abort)


class _Server(uvicorn.Server):
    """Ends sessions politely before uvicorn ends their sockets, and leaves the process alive."""

    def __init__(self, config: uvicorn.Config, live: LiveSessions) -> None:
        super().__init__(config)
        self._live = live

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        if not await self._live.drain(_DRAIN_LIMIT_S):
            _log.warning("some sessions did not end in time")
        await super().shutdown(sockets)

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Nothing: uvicorn would raise them again and end the process before the trail's last row;
        see `stopped_by_signals`.
        """
        yield

    @contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """From before the start is recorded until after the stop is."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@asynccontextmanager
async def running_server(
    settings: Settings, opening: Opening | None = None
) -> AsyncIterator[Running]:
    """Listen from entry to exit. Raises StartError on entry."""
    verifier = _open_verifier(settings)
    with _bind(settings.listen.host, settings.listen.port) as listener:
        async with (
            await _open_store(settings) as store,
        ):
            how = opening or Opening()
            processor.use_widest_vectors()
            engine = await open_engine(settings, store, how)
            processor.keep_freed_memory()
            processor.use_one_thread_for_matrices()

            async def reopen(reason: str) -> Recognizer:
                await store.record(EngineRestarted(engine.card.model_id, reason))
                return await open_engine(settings, store, how)

            scheduler = Scheduler(engine, settings.scheduler, reopen, time.monotonic)
            async with _serving(
                settings, verifier, listener, store, scheduler, engine.card
            ) as running:
                yield running


@asynccontextmanager
async def _serving(
    settings: Settings,
    verifier: TokenVerifier,
    listener: socket.socket,
    store: AuditStore,
    scheduler: Scheduler,
    model: ModelCard,
) -> AsyncIterator[Running]:
    live = LiveSessions(settings.listen.most_sessions)
    url = url_of(settings.listen.host, listener.getsockname()[1])
    parts = Parts(
        door=Door(verifier, frozenset({url, *settings.listen.origins, *_localhost(url)})),
        live=live,
        transcriber=scheduler,
        is_engine_full=lambda: scheduler.is_full,
        new_detector=_detector(settings.vad),
        record=store.record,
        model=model,
        session_settings=settings.session,
        connection_settings=settings.connection,
        web_folder=WEB_FOLDER,
        wall_clock=time.time,  # noqa: TID251 - the shell that owns the wall clock
    )
    logging.getLogger("uvicorn.error").addFilter(_NotAPeersDoing())
    server = _Server(_uvicorn_config(parts, settings), live)
    with server.stopped_by_signals():
        await store.record(ServerStarted(version("earwitness")))
        lost: list[StartError] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                engine_task = tasks.create_task(scheduler.run())
                serving = tasks.create_task(server.serve(sockets=[listener]))

                async def until_stopped() -> None:
                    await asyncio.wait([serving])

                try:
                    yield Running(url, store, until_stopped)
                finally:
                    server.should_exit = True
                    await asyncio.wait([serving])
                    reason = "engine_lost" if engine_task.done() else "stopped"
                    engine_task.cancel()
                    await store.record(ServerStopped(reason))
        except* StartError as group:  # the engine was to be opened again and could not
            lost += [error for error in group.exceptions if isinstance(error, StartError)]
        if lost:
            raise lost[0]


def _uvicorn_config(parts: Parts, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        build_app(parts),
        http="h11",
        h11_max_incomplete_event_size=16_384,
        ws=BoundedWebSocket,
        ws_max_size=settings.listen.most_frame_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # answers are not read while a socket is not: `idle_limit_s` serves
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _open_verifier(settings: Settings) -> TokenVerifier:
    try:
        local = open_local_issuer(
            settings.token_policy, settings.signing_key_file, settings.retired_keys_file
        )
        return open_issuers(local, settings.issuers, time.monotonic).verifier
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None


async def _open_store(settings: Settings) -> AuditStore:
    try:
        return await AuditStore.open(settings.audit_file, time.time_ns)
    except AuditError as error:
        raise StartError(str(error), EXIT_DATA) from None


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        text = f"Cannot listen on {host} port {port}: {error.strerror}. Choose another --port."
        raise StartError(text, EXIT_PORT) from None
    except UnicodeError:
        raise StartError("The --host is not the name of any machine.", EXIT_PORT) from None


def url_of(host: str, port: int) -> str:
    """As browsers spell it, which is also how they name the origin of its pages."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name.lower()}" + (f":{port}" if port != _HTTP_PORT else "")


def _localhost(url: str) -> set[str]:
    """A page opened under the other name of the same address."""
    return {url.replace(address, "localhost") for address in ("127.0.0.1", "[::1]")}


def _detector(name: str) -> Callable[[], SpeechDetector]:
    if name == "webrtc":
        return WebRtcDetector
    network = SileroNetwork()
    return lambda: SileroDetector(network)
