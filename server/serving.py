"""Settings in, a running server out: opens the trail, the model and the port, and joins them to
the application.

Order matters: the trail first, so that a model that does not open is on record; the port before
anything is promised; on the way out sessions are ended with their last finals before the port is
let go, and the trail gets its last row: a signal ends the server, not the process. Start-up faults
are `StartError`, one line that says what to do, with the exit code that the README lists.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from security.audit import EngineRestarted, ServerStarted, ServerStopped
from security.audit_store import AuditStore
from security.errors import AuditError, KeyFileError
from security.keys import open_verifying_key
from security.tokens import TokenVerifier
from server.app import Parts, build_app
from server.config import Settings
from server.door import Door
from server.engines import processor
from server.listen_settings import ListenSettings
from server.listener import Listener, bind, url_of
from server.live import LiveSessions
from server.opening import Opening, open_engine
from server.recognition import ModelCard, Recognizer
from server.scheduler import Scheduler
from server.start_error import EXIT_DATA, EXIT_KEYS, StartError
from server.tls import Certificate
from server.vad import SileroDetector, SileroNetwork, SpeechDetector, WebRtcDetector

WEB_FOLDER = Path(__file__).parent.parent / "web"
_DRAIN_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    url: str
    """The page's address; the stream lies under it at `/v1/stream`."""
    store: AuditStore
    until_stopped: Callable[[], Awaitable[None]]
    """Waits for a signal to stop."""


@dataclass(frozen=True, slots=True)
class _Entrance:
    """A bound port, and what connections to it are secured with."""

    bound: socket.socket
    certificate: Certificate | None
    url: str


@asynccontextmanager
async def running_server(
    settings: Settings, opening: Opening | None = None
) -> AsyncIterator[Running]:
    """Listen from entry to exit. Raises StartError on entry."""
    verifier = _open_verifier(settings)
    certificate = _open_certificate(settings.listen)
    with bind(settings.listen) as bound:
        scheme = "https" if certificate else "http"
        url = url_of(settings.listen.host, bound.getsockname()[1], scheme)
        entrance = _Entrance(bound, certificate, url)
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
                settings, verifier, entrance, store, scheduler, engine.card
            ) as running:
                yield running


@asynccontextmanager
async def _serving(
    settings: Settings,
    verifier: TokenVerifier,
    entrance: _Entrance,
    store: AuditStore,
    scheduler: Scheduler,
    model: ModelCard,
) -> AsyncIterator[Running]:
    live = LiveSessions(settings.listen.most_sessions)
    parts = Parts(
        door=Door(verifier, _origins(settings, entrance.url)),
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
    app, drain = build_app(parts), partial(live.drain, _DRAIN_LIMIT_S)
    server = Listener(app, settings.listen, drain, entrance.certificate)
    with server.stopped_by_signals():
        await store.record(ServerStarted(version("earwitness")))
        lost: list[StartError] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                engine_task = tasks.create_task(scheduler.run())
                serving = tasks.create_task(server.serve(sockets=[entrance.bound]))

                async def until_stopped() -> None:
                    await asyncio.wait([serving])

                try:
                    yield Running(entrance.url, store, until_stopped)
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


def _open_verifier(settings: Settings) -> TokenVerifier:
    public = settings.signing_key_file.with_name(settings.signing_key_file.name + ".pub")
    try:
        return TokenVerifier(settings.token_policy, open_verifying_key(public))
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None


def _open_certificate(settings: ListenSettings) -> Certificate | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_cert, settings.tls_key)
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None


async def _open_store(settings: Settings) -> AuditStore:
    try:
        return await AuditStore.open(settings.audit_file, time.time_ns)
    except AuditError as error:
        raise StartError(str(error), EXIT_DATA) from None


def _origins(settings: Settings, url: str) -> frozenset[str]:
    """Those that the settings name, and our own, under the other name of the same address too."""
    localhost = {url.replace(address, "localhost") for address in ("127.0.0.1", "[::1]")}
    return frozenset({url, *localhost, *settings.listen.origins})


def _detector(name: str) -> Callable[[], SpeechDetector]:
    if name == "webrtc":
        return WebRtcDetector
    network = SileroNetwork()
    return lambda: SileroDetector(network)
