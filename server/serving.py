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
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path

from starlette.routing import BaseRoute

from security.audit_events import (
    EngineRestarted,
    ServerConfigured,
    ServerStarted,
    ServerStopped,
)
from security.audit_reader import TrailReader
from security.audit_store import AuditStore
from security.errors import AuditError, KeyFileError, RevocationError
from security.issuers import Issuers, open_issuers, open_local_issuer
from security.oidc import Provider
from server import errors
from server.admin import Office, admin_routes
from server.aftermath import tell_of_killed
from server.app import build_app
from server.blocks import Blocks
from server.client_apis import client_apis
from server.client_grants import grant_routes
from server.client_routes import client_routes
from server.client_secrets import client_secret_routes
from server.config import Settings
from server.configured import configured
from server.crowd import Crowd
from server.door import Door
from server.engines import processor
from server.figures import Figures
from server.forwarded import Networks
from server.health import Readiness, health_routes
from server.insight import Stages, insight_routes
from server.listen_settings import ListenSettings
from server.listener import Listener, bind, url_of
from server.live import LiveSessions
from server.metrics import CountedTrail, Metrics, Watched, watch_loop_lag
from server.opening import Opening, open_engine
from server.prerecorded import prerecorded
from server.reception import Parts, Reception
from server.recognition import ModelCard, Recognizer
from server.rest import rest_routes
from server.revoking import Revoking
from server.scheduler import Scheduler
from server.sign_in import SignIn, SignInParts
from server.sqlite_fault import warn_of_sqlite
from server.start_error import EXIT_DATA, EXIT_KEYS, StartError
from server.subject_store import SubjectPlace, open_subjects
from server.telephony import Telephony, join_telephony
from server.tickets import Tickets
from server.tls import Certificate
from server.vad import SileroDetector, SileroNetwork, SpeechDetector, WebRtcDetector
from server.watching import Watching

WEB_FOLDER = Path(__file__).parent.parent / "web"
_DRAIN_LIMIT_S = 20.0
_READERS_LIMIT_S = 2.0
"""For those who follow a call, after its last words."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    url: str
    """The page's address; the stream lies under it at `/v1/stream`."""
    sign_in_address: str | None = field(repr=False)
    """The same with a code that signs one person in; for the terminal, and nowhere else."""
    store: AuditStore
    until_stopped: Callable[[], Awaitable[None]]
    """Waits for a signal to stop."""


@dataclass(frozen=True, slots=True)
class _Entrance:
    """A bound port, and what connections to it are secured with."""

    bound: socket.socket
    certificate: Certificate | None
    url: str


@dataclass(frozen=True, slots=True)
class _Model:
    """What recognises, and what it is."""

    scheduler: Scheduler
    card: ModelCard


@dataclass(frozen=True, slots=True)
class _Joined:
    """What serves, and what has to run beside it."""

    server: Listener
    revoking: Revoking
    reception: Reception
    sign_in: SignIn
    telephony: Telephony


@asynccontextmanager
async def running_server(
    settings: Settings, opening: Opening | None = None
) -> AsyncIterator[Running]:
    """Listen from entry to exit. Raises StartError on entry."""
    issuers = _open_issuers(settings)
    certificate = _open_certificate(settings.listen)
    with bind(settings.listen) as bound:
        scheme = "https" if certificate else "http"
        url = url_of(settings.listen.host, bound.getsockname()[1], scheme)
        entrance = _Entrance(bound, certificate, url)
        async with (
            await _open_store(settings) as store,
        ):
            trail = CountedTrail(store, Figures(), time.monotonic)
            how = opening or Opening()
            processor.take_shorter_turns()
            processor.use_widest_vectors()
            engine = await open_engine(settings, store, how)
            processor.keep_freed_memory()
            processor.use_one_thread_for_matrices()

            async def reopen(reason: str) -> Recognizer:
                await trail.note(EngineRestarted(engine.card.model_id, reason))
                return await open_engine(settings, store, how)

            scheduler = Scheduler(engine, settings.scheduler, reopen, time.monotonic, trail.figures)
            model = _Model(scheduler, engine.card)
            async with (
                TrailReader(settings.trail) as reader,
                open_subjects(settings.subjects, reader, _wall_clock) as subjects,
                _serving(settings, issuers, entrance, trail, reader, model, subjects) as running,
            ):
                yield running


@asynccontextmanager
async def _serving(  # noqa: PLR0913, PLR0917 (what a server is joined from)
    settings: Settings,
    issuers: Issuers,
    entrance: _Entrance,
    trail: CountedTrail,
    reader: TrailReader,
    model: _Model,
    subjects: SubjectPlace,
) -> AsyncIterator[Running]:
    joined = _listener(settings, issuers, entrance, trail, reader, model, subjects)
    server, reception = joined.server, joined.reception
    works: tuple[Callable[[], Coroutine[None, None, None]], ...] = (
        *(model.scheduler.run, issuers.run, joined.revoking.run, subjects.run, reception.run),
        *joined.telephony.works,
        Watching(trail, reader, reception.blocks, settings.suspicion, _wall_clock).run,
        partial(watch_loop_lag, trail.figures),
    )
    with server.stopped_by_signals():
        warn_of_sqlite()
        await _tell_of_killed(reader, trail)
        await trail.record(ServerStarted(version("earwitness")))
        await trail.record(_configured(settings))
        lost: list[StartError] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(work()) for work in works]
                serving = tasks.create_task(server.serve(sockets=[entrance.bound]))

                async def until_stopped() -> None:
                    await asyncio.wait([serving])

                try:
                    address = joined.sign_in.start_address()
                    yield Running(entrance.url, address, trail.store, until_stopped)
                finally:
                    server.should_exit = True
                    await asyncio.wait([serving])
                    reason = "engine_lost" if beside[0].done() else "stopped"
                    for task in beside:
                        task.cancel()
                    await reception.flush()
                    await trail.note(ServerStopped(reason))
        except* StartError as group:  # the engine was to be opened again and could not
            lost += [error for error in group.exceptions if isinstance(error, StartError)]
        if lost:
            raise lost[0]


async def _tell_of_killed(reader: TrailReader, trail: CountedTrail) -> None:
    """Raises StartError."""
    try:
        await tell_of_killed(reader, trail)
    except AuditError as error:
        raise StartError(str(error), EXIT_DATA) from None


def _listener(  # noqa: PLR0913, PLR0917 (what a server is joined from)
    settings: Settings,
    issuers: Issuers,
    entrance: _Entrance,
    trail: CountedTrail,
    reader: TrailReader,
    model: _Model,
    subjects: SubjectPlace,
) -> _Joined:
    """The application, joined, and what serves it."""
    live = LiveSessions(settings.listen.most_sessions, subjects.store)
    subjects.on_lost = partial(_end_lost, live)
    revoking = _open_revoking(settings, live)
    door = _door(settings, issuers, entrance, revoking)
    parts = _parts(settings, door, live, trail, model, subjects)
    reception = Reception(parts)
    sign_in = SignIn(_sign_in_parts(settings, entrance, door, reception, trail))
    stages = Stages(settings, reception, live, parts.blocks, trail, reader, revoking, _wall_clock)
    office = Office(reception, live, revoking, settings.policies, trail, _wall_clock)
    routes = [
        *_monitor_routes(settings.listen, live, trail, model, lambda: server.crowd),
        *admin_routes(office),
        *insight_routes(stages, WEB_FOLDER),
        *sign_in.routes(),
        *rest_routes(
            reception,
            model.card,
            settings.rest,
            prerecorded(settings.clients, model.card, _wall_clock),
        ),
        *grant_routes(settings.clients, reception),
        *(client_secret_routes(reception, _wall_clock) if settings.clients.openai else ()),
        *client_routes(client_apis(settings.clients), reception, _wall_clock, settings.clients),
    ]
    telephony = join_telephony(settings, reception, door, live, trail, _wall_clock)
    app = build_app(reception, WEB_FOLDER, [*routes, *telephony.routes])

    async def drain() -> bool:
        has_ended = await live.drain(_DRAIN_LIMIT_S)
        await telephony.drain(_READERS_LIMIT_S)
        return has_ended

    server = Listener(app, settings.listen, drain, entrance.certificate, trail.figures)
    return _Joined(server, revoking, reception, sign_in, telephony)


def _monitor_routes(
    listen: ListenSettings,
    live: LiveSessions,
    trail: CountedTrail,
    model: _Model,
    crowd: Callable[[], Crowd],
) -> list[BaseRoute]:
    readiness = Readiness(
        lambda: model.scheduler.has_engine,
        lambda: trail.store.is_failing,
        lambda: live.is_stopping,
    )
    watched = Watched(trail.figures, live, model.scheduler, trail.store, crowd, time.time_ns)
    return health_routes(readiness, Metrics(watched).text, listen.metrics_from)


def _door(settings: Settings, issuers: Issuers, entrance: _Entrance, revoking: Revoking) -> Door:
    return Door(
        issuers.verify,
        _origins(settings, entrance.url),
        settings.grants,
        Tickets(settings.tickets),
        revoking.is_revoked,
    )


def _sign_in_parts(
    settings: Settings, entrance: _Entrance, door: Door, reception: Reception, trail: CountedTrail
) -> SignInParts:
    provider = settings.sign_in.provider
    return SignInParts(
        settings=settings.sign_in,
        address=settings.sign_in.address or entrance.url,
        policy=settings.token_policy,
        signing_key_file=settings.signing_key_file,
        door=door,
        reception=reception,
        trail=trail,
        provider=None if provider is None else Provider(provider, time.monotonic),
        wall_clock=_wall_clock,
        clock=time.monotonic,
    )


def _parts(
    settings: Settings,
    door: Door,
    live: LiveSessions,
    trail: CountedTrail,
    model: _Model,
    subjects: SubjectPlace,
) -> Parts:
    return Parts(
        door=door,
        live=live,
        subjects=subjects.store,
        transcriber=model.scheduler,
        is_engine_full=lambda: model.scheduler.is_full,
        new_detector=_detector(settings.vad),
        trail=trail,
        model=model.card,
        session_settings=settings.session,
        connection_settings=settings.connection,
        refusal_settings=settings.refusals,
        blocks=Blocks(Networks([*settings.listen.uncounted, *settings.listen.trusted_proxies])),
        wall_clock=_wall_clock,
        figures=trail.figures,
    )


def _configured(settings: Settings) -> ServerConfigured:
    defaults = Settings.model_construct()
    return configured(settings.model_dump(mode="json"), defaults.model_dump(mode="json"))


def _end_lost(live: LiveSessions, session_id: str) -> None:
    live.end(lambda each: each.session_id == session_id, errors.LEASE_LOST)


def _wall_clock() -> float:
    return time.time()  # noqa: TID251 - the shell that owns the wall clock


def _open_issuers(settings: Settings) -> Issuers:
    try:
        local = open_local_issuer(
            settings.token_policy, settings.signing_key_file, settings.retired_keys_file
        )
        return open_issuers(local, settings.issuers, time.monotonic)
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None


def _open_revoking(settings: Settings, live: LiveSessions) -> Revoking:
    try:
        return Revoking(settings.revocations_file, live, _wall_clock())
    except RevocationError as error:
        raise StartError(str(error), EXIT_DATA) from None


def _open_certificate(settings: ListenSettings) -> Certificate | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    try:
        return Certificate(settings.tls_cert, settings.tls_key)
    except KeyFileError as error:
        raise StartError(str(error), EXIT_KEYS) from None


async def _open_store(settings: Settings) -> AuditStore:
    try:
        return await AuditStore.open(settings.trail, time.time_ns, settings.audit)
    except AuditError as error:
        raise StartError(str(error), EXIT_DATA) from None


def _origins(settings: Settings, url: str) -> frozenset[str]:
    """Those that the settings name, and our own, under the other name of the same address too."""
    localhost = {url.replace(address, "localhost") for address in ("127.0.0.1", "[::1]")}
    page = {settings.sign_in.address} if settings.sign_in.address else set()
    return frozenset({url, *localhost, *page, *settings.listen.origins})


def _detector(name: str) -> Callable[[], SpeechDetector]:
    if name == "webrtc":
        return WebRtcDetector
    network = SileroNetwork()
    return lambda: SileroDetector(network)
