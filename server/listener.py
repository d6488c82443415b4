"""An application and a bound socket in, answered connections out, until the server is told to end.

Around uvicorn, which is given connections instead of accepting them: each is counted and, where it
finds no place, closed before TLS or HTTP costs anything; it is secured within a limit, with the
certificate of the moment; and it is spoken to by the two protocols here that bound what a peer may
cost. On the way out sessions are ended with their last finals before sockets are let go.
"""

import asyncio
import logging
import resource
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial

import structlog
import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from server.crowd import Crowd, Place
from server.doorstep import Arrival, Doorstep
from server.figures import Figures
from server.forwarded import Networks
from server.http_protocol import BoundedHttp
from server.listen_settings import ListenSettings
from server.middleware import surround
from server.start_error import EXIT_PORT, StartError
from server.tls import Certificate

_log = structlog.get_logger()
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PORTS = {"http": 80, "https": 443}
_OTHER_FILES = 256
"""For the trail, the model and the runtime's own."""
_ACCEPTED_AT_ONCE = 16
"""Before those that are here get their turn."""
_ACCEPT_PAUSE_S = 0.2
_LOOKS_AT_FILES_EVERY = 10
"""Of uvicorn's ticks, which are a tenth of a second apart."""


class _NotAPeersDoing(logging.Filter):
    """Drops what uvicorn says whenever a peer is denied or sends what is no HTTP or no text.

    A denial and a session that was cut short are in the trail; nobody must be able to fill the log.
    What is left keeps the type of a fault and loses its text, which might hold a caller's.
    """

    _TEXTS = (
        "ASGI callable returned without completing handshake.",
        "ASGI callable returned without completing response.",
        "Invalid HTTP request received.",
        "Invalid UTF-8 sequence received from client.",
        "Unsupported upgrade request.",
    )

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        text = record.msg
        if record.exc_info and record.exc_info[0]:
            record.msg, record.args = f"{text.strip()} ({record.exc_info[0].__name__})", ()
            record.exc_info = None
        return text not in self._TEXTS


class Listener(uvicorn.Server):
    """Serves what is bound, and leaves the process alive."""

    def __init__(
        self,
        app: ASGIApp,
        settings: ListenSettings,
        drain: Callable[[], Awaitable[bool]],
        certificate: Certificate | None = None,
        figures: Figures | None = None,
    ) -> None:
        """`drain` ends what runs and says whether it ended in time."""
        trusted = Networks(settings.trusted_proxies)
        clock = asyncio.get_running_loop().time
        figures = figures or Figures()
        app = surround(app, trusted, clock, figures, has_access_log=settings.access_log)
        super().__init__(_config(app, settings))
        logging.getLogger("uvicorn.error").addFilter(_NotAPeersDoing())
        self._settings = settings
        self._drain = drain
        self._certificate = certificate
        uncounted = Networks((*settings.uncounted, *settings.trusted_proxies))
        most = _room_for(settings.most_connections)
        self.crowd = Crowd(most, settings.connections_per_address, uncounted)
        self._tasks = asyncio.TaskGroup()
        self._accepting: list[asyncio.Task[None]] = []

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Until `should_exit`; see uvicorn."""
        async with self._tasks:
            await super().serve(sockets)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        self.servers = []
        for listener in sockets or []:
            listener.setblocking(False)
            self._accepting.append(self._tasks.create_task(self._accept(listener)))
        self.started = True

    @override
    async def on_tick(self, counter: int) -> bool:
        """See uvicorn."""
        if self._certificate is not None and counter % _LOOKS_AT_FILES_EVERY == 0:
            self._certificate.reload_if_changed()
        return await super().on_tick(counter)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        if not await self._drain():
            _log.warning("some sessions did not end in time")
        for task in self._accepting:
            task.cancel()
        if self._accepting:
            await asyncio.wait(self._accepting)
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        n_accepted = 0
        while True:
            try:
                connection, peer = await loop.sock_accept(listener)
            except OSError:  # a peer that has gone again, or no descriptor is left
                await asyncio.sleep(_ACCEPT_PAUSE_S)
                continue
            self._arrive(connection, peer[0])
            n_accepted += 1
            if n_accepted % _ACCEPTED_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _arrive(self, connection: socket.socket, peer: str) -> None:
        place = self.crowd.enter(peer)
        if place is not None:
            self._tasks.create_task(self._welcome(connection, place))
            return
        connection.close()
        if self.crowd.is_worth_telling(peer, asyncio.get_running_loop().time()):
            _log.warning("connections refused", client=peer, n_refused=self.crowd.n_refused)

    async def _welcome(self, connection: socket.socket, place: Place) -> None:
        """Until the connection speaks for itself."""
        loop = asyncio.get_running_loop()
        arrival = Arrival(place, loop.time(), self._settings)
        new_http = partial(BoundedHttp, self.config, self.server_state, arrival)
        secured = self._certificate is not None
        try:
            await loop.connect_accepted_socket(
                lambda: Doorstep(arrival, self.server_state, new_http),
                connection,
                ssl=self._certificate.context if self._certificate else None,
                ssl_handshake_timeout=self._settings.tls_handshake_limit_s if secured else None,
                ssl_shutdown_timeout=self._settings.unread_limit_s if secured else None,
            )
        except OSError:  # not TLS, or not in time
            place.leave()

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


def _room_for(most_connections: int) -> int:
    """As many, or as few as the system allows: a file descriptor is needed for each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most_connections + _OTHER_FILES
    room = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < room:
        resource.setrlimit(resource.RLIMIT_NOFILE, (room, hard))
    if room < wanted:
        _log.warning("fewer connections than set: raise the limit of open files", room=room)
    return max(room - _OTHER_FILES, 1)


def _config(app: ASGIApp, settings: ListenSettings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=BoundedHttp,
        ws="none",  # `BoundedHttp` knows its own
        ws_max_size=settings.most_frame_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # answers are not read while a socket is not: `idle_limit_s` serves
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # see `ClientAddress`
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def bind(settings: ListenSettings) -> socket.socket:
    """The port, before anything is promised. Raises StartError."""
    return bind_port(settings.host, settings.port, "--port", settings.backlog)


def bind_port(host: str, port: int, setting: str, backlog: int = 128) -> socket.socket:
    """One, which the setting names. Raises StartError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        text = f"Cannot listen on {host} port {port}: {error.strerror}. Choose another {setting}."
        raise StartError(text, EXIT_PORT) from None
    except UnicodeError:
        raise StartError("The --host is not the name of any machine.", EXIT_PORT) from None


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """As browsers spell it, which is also how they name the origin of its pages."""
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name.lower()}" + (f":{port}" if port != _PORTS[scheme] else "")
