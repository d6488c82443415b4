"""Requests and handshakes in; grants, tickets and running sessions, or one refusal on record, out.

Everything a stranger asks for passes here: the blocks, the door, the room there is, a place among
the subject's sessions. What is refused is refused before anything is accepted or read, and recorded
or counted. A session is on record before its peer is let in; it runs in its place, over whatever
socket it is given, and gives its place back on every path.
"""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from starlette.requests import HTTPConnection

from security.door_events import AuthenticationSucceeded, SessionResumed, TicketIssued
from security.tokens import ADMIN_SCOPES
from server import errors, wire
from server.blocks import Blocks
from server.connection import Connection, Desk, Transcriber
from server.crowd import customer_of
from server.door import Door, Read, Ticket, Token, read_credential, read_resume_key
from server.errors import RefusedError
from server.familiar import Familiar
from server.figures import Figures, SessionWatch
from server.grant import TRANSCRIBE_SCOPE, Grant
from server.line import ConnectionSettings, Socket
from server.live import LiveSession, LiveSessions, limits_of
from server.recognition import ModelCard
from server.recorder import Recorder, record_or_refuse
from server.refusal_record import RefusalRecord
from server.refusals import RefusalSettings
from server.session import Session
from server.session_values import Caller, SessionSettings, start_of, with_quiet
from server.stay import Stay
from server.subjects import SubjectStore
from server.tickets import TicketForm, TicketWish
from server.vad import SpeechDetector
from server.visitor import caller_of, knock_of

_KEY_BYTES = 16
_Result = TypeVar("_Result")
Run = Callable[[Socket], Awaitable[None]]
"""Runs the session over a socket, to its end."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session is made of, and what stands around it."""

    door: Door
    live: LiveSessions
    subjects: SubjectStore
    transcriber: Transcriber
    is_engine_full: Callable[[], bool]
    new_detector: Callable[[], SpeechDetector]
    trail: Recorder
    model: ModelCard
    session_settings: SessionSettings
    connection_settings: ConnectionSettings
    refusal_settings: RefusalSettings
    blocks: Blocks
    wall_clock: Callable[[], float]
    figures: Figures = field(default_factory=Figures)


@dataclass(slots=True)
class _Visit:
    """What is known of somebody by the time of a refusal."""

    peer: HTTPConnection
    grant: Grant | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A place, and who has it."""

    grant: Grant
    caller: Caller
    session_id: str
    run: Run


@dataclass(frozen=True, slots=True)
class _Guest:
    """Somebody who has a place."""

    grant: Grant
    caller: Caller
    stay: Stay
    admitted_s: float
    """Monotonic: as of when the grant says how long it lasts."""
    is_live: bool
    """Speaks as it streams; what is uploaded whole does not."""
    quiet_limit_s: float
    """See `enter`."""


_Admit = Callable[[_Visit], Awaitable[Grant]]


class Reception:
    """Of one server."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._refusals = RefusalRecord(
            parts.refusal_settings, parts.trail, parts.figures, parts.wall_clock
        )
        self._familiar = Familiar()

    @property
    def blocks(self) -> Blocks:
        """Whom it does not look at."""
        return self._parts.blocks

    @property
    def model(self) -> ModelCard:
        """What recognises here."""
        return self._parts.model

    async def run(self) -> None:
        """Write what was counted when its minute is over, until it is cancelled; then what is left
        is for `flush`.
        """
        await self._refusals.run()

    async def flush(self) -> None:
        """Write what was counted and has no row yet: the server ends."""
        await self._refusals.flush()

    async def admit(
        self, peer: HTTPConnection, scope: str = TRANSCRIBE_SCOPE, read: Read | None = None
    ) -> Grant:
        """Who it is; see `Door.identify`. Raises RefusedError, which is on record by then."""
        grant = await self._on_record(peer, lambda visit: self._admit(visit, scope, read))
        await self._greet(peer, grant)
        return grant

    async def attend(
        self,
        peer: HTTPConnection,
        work: Callable[[], Awaitable[_Result]],
        grant: Grant | None = None,
        *,
        checks_origin: bool = True,
    ) -> _Result:
        """Work for somebody from an address and an origin that may come, who shows no token, or has
        shown one for `grant`. Raises RefusedError, which is on record by then.
        """

        async def attend(visit: _Visit) -> _Result:
            visit.grant = grant
            self._check_address(peer)
            if checks_origin:
                self._parts.door.check_origin(knock_of(peer))
            return await work()

        return await self._on_record(peer, attend)

    async def look_in(self, peer: HTTPConnection) -> Grant:
        """As `enter`, without staying: pages are not shown why a handshake was refused."""

        async def look(visit: _Visit) -> Grant:
            grant = await self._admit(visit)
            key = peer.headers.get(wire.RESUME_HEADER)
            if key is not None:
                self._find_resumable(key, grant)
                return grant
            self._check_room(grant)
            unhurried = replace(grant, limits=replace(grant.limits, starts_per_minute=None))
            async with self._parts.live.place(unhurried, secrets.token_hex(12)):
                return grant

        grant = await self._on_record(peer, look)
        await self._greet(peer, grant)
        return grant

    async def issue_ticket(
        self,
        peer: HTTPConnection,
        read_wish: Callable[[Grant], Awaitable[TicketWish]],
        read: Read | None = None,
    ) -> tuple[str, int]:
        """A ticket for what is read, as far as the token allows it, and its seconds: for nothing
        else that the token opens, and not for a ticket, which would live on in the next one. See
        `Door.identify` for `read`. Raises RefusedError.
        """

        async def issue(visit: _Visit) -> tuple[str, int]:
            grant = await self._admit(visit, read=read)
            if isinstance((read or read_credential)(knock_of(peer)), Ticket):
                raise RefusedError(errors.FORBIDDEN, "ticket_for_ticket")
            wish, caller = await read_wish(grant), caller_of(peer)
            is_page = wish.call is None
            issued = self._parts.door.tickets.issue(
                wish.within(grant),
                caller.origin if is_page else None,
                time.monotonic(),
                TicketForm.TEXT if is_page else TicketForm.UUID,
                wish,
            )
            await record_or_refuse(self._parts.trail, TicketIssued(**grant.holder, **caller.shown))
            return issued

        return await self._on_record(peer, issue)

    def carried_by(self, shown: Token | Ticket) -> object:
        """See `Door.carried_by`."""
        return self._parts.door.carried_by(shown)

    @asynccontextmanager
    async def enter(
        self, peer: HTTPConnection, read: Read | None = None, *, quiet_limit_s: float = 0.0
    ) -> AsyncIterator[Run]:
        """A place, and what runs a session in it; or what goes on with the session whose key is
        shown. See `Door.identify` for `read`. Who comes by a protocol in which one may be quiet for
        longer than the settings allow has the longer limit; what the token says of it counts all
        the same. Raises RefusedError, which is on record.
        """
        key = read_resume_key(peer.scope.get("subprotocols", ()))
        if key is not None:
            yield await self._on_record(peer, partial(self._let_back, key))
            return
        admit = partial(self._admit, read=read)
        async with self._entered(peer, admit, quiet_limit_s) as entry:
            yield entry.run

    @asynccontextmanager
    async def enter_call(
        self, peer: HTTPConnection, shown: Token | Ticket | Grant, lasts_s: float
    ) -> AsyncIterator[Entry]:
        """As `enter`, with a credential that was found elsewhere than in the headers, or that who
        runs this has given; such a peer is no page, whatever its `Origin`. A call that has begun
        may last so long whenever its token ends. Raises RefusedError.
        """

        async def admit(visit: _Visit) -> Grant:
            self._check_address(peer)
            grant = await self._accept(visit, shown)
            return replace(grant, expires_in_s=max(grant.expires_in_s, lasts_s))

        async with self._entered(peer, admit) as entry:
            yield entry

    @asynccontextmanager
    async def _entered(
        self, peer: HTTPConnection, admit: _Admit, quiet_limit_s: float = 0.0
    ) -> AsyncIterator[Entry]:
        async with AsyncExitStack() as leaving:

            async def enter(visit: _Visit) -> _Guest:
                grant = await admit(visit)
                admitted_s = time.monotonic()  # a place may take a while
                self._check_room(grant)
                session_id, caller = secrets.token_hex(12), caller_of(peer)
                await leaving.enter_async_context(
                    self._parts.live.place(grant, session_id, insists=True)
                )
                started = start_of(session_id, self._parts.model, grant, caller)
                stay = Stay(self._parts.trail, started)
                await leaving.enter_async_context(stay.on_record())
                is_live = peer.scope["type"] == "websocket"
                return _Guest(grant, caller, stay, admitted_s, is_live, quiet_limit_s)

            guest = await self._on_record(peer, enter)
            session_id = guest.stay.started.session_id
            peer.scope.setdefault("state", {})["session_id"] = session_id
            if peer.scope["type"] == "http":  # what is uploaded whole has no pace
                limits = replace(guest.grant.limits, pace_percent=None)
                guest = replace(guest, grant=replace(guest.grant, limits=limits))
            yield Entry(guest.grant, guest.caller, session_id, partial(self._run, guest))

    async def _let_back(self, key: str, visit: _Visit) -> Run:
        grant = await self._admit(visit)
        living = self._find_resumable(key, grant)
        if not living.connection.let_back(grant):
            raise RefusedError(errors.SESSION_GONE, "resumed_too_often")
        caller = caller_of(visit.peer)
        event = SessionResumed(session_id=living.session_id, **grant.holder, **caller.shown)
        await record_or_refuse(self._parts.trail, event)
        return living.connection.rejoin

    def _find_resumable(self, key: str, grant: Grant) -> LiveSession:
        living = self._parts.live.find_resumable(key, grant.who)
        if living is None:
            raise RefusedError(errors.SESSION_GONE)
        return living

    async def _on_record(
        self, peer: HTTPConnection, work: Callable[[_Visit], Awaitable[_Result]]
    ) -> _Result:
        visit = _Visit(peer)
        try:
            return await work(visit)
        except RefusedError as refused:
            await self._refusals.record(refused, caller_of(peer), visit.grant)
            raise

    async def _admit(
        self, visit: _Visit, scope: str = TRANSCRIBE_SCOPE, read: Read | None = None
    ) -> Grant:
        wall_s = self._parts.wall_clock()
        is_blocked = self._parts.blocks.is_blocked(caller_of(visit.peer).address, wall_s)
        if not is_blocked:
            return await self._identify(visit, scope, wall_s, read)
        if scope in ADMIN_SCOPES:  # nobody keeps those out who would put an end to it
            with suppress(RefusedError):
                return await self._identify(visit, scope, wall_s, read)
        raise RefusedError(errors.ADDRESS_BLOCKED)

    async def _identify(self, visit: _Visit, scope: str, wall_s: float, read: Read | None) -> Grant:
        knock, now_s = knock_of(visit.peer), time.monotonic()
        grant = await self._parts.door.identify(knock, read, wall_s=wall_s, now_s=now_s)
        visit.grant = self._as_of_now(grant, wall_s)
        self._parts.door.check(visit.grant, scope)
        return visit.grant

    async def _accept(self, visit: _Visit, shown: Token | Ticket | Grant) -> Grant:
        wall_s, door = self._parts.wall_clock(), self._parts.door
        if isinstance(shown, Grant):
            visit.grant = shown
        else:
            granted = await door.accept(shown, None, wall_s=wall_s, now_s=time.monotonic())
            visit.grant = self._as_of_now(granted, wall_s)
        door.check(visit.grant, TRANSCRIBE_SCOPE)
        return visit.grant

    async def _greet(self, peer: HTTPConnection, grant: Grant) -> None:
        caller = caller_of(peer)
        key = (grant.issuer, grant.token_id, customer_of(caller.address))
        if not self._familiar.is_new(key, time.monotonic()):
            return
        event = AuthenticationSucceeded(
            **grant.holder,
            **caller.shown,
            scopes=" ".join(sorted(grant.scopes)),
        )
        await self._parts.trail.note(event)  # who takes something back is not kept from it

    def _as_of_now(self, grant: Grant, wall_s: float) -> Grant:
        """Of what was granted at `wall_s`: the door may have waited for an issuer's keys."""
        waited_s = self._parts.wall_clock() - wall_s
        return replace(grant, expires_in_s=grant.expires_in_s - waited_s)

    def _check_address(self, peer: HTTPConnection) -> None:
        if self._parts.blocks.is_blocked(caller_of(peer).address, self._parts.wall_clock()):
            raise RefusedError(errors.ADDRESS_BLOCKED)

    def _check_room(self, grant: Grant) -> None:
        if not grant.covers(self._parts.model.model_id):
            raise RefusedError(errors.FORBIDDEN, "model_not_granted")
        if self._parts.is_engine_full():
            raise RefusedError(errors.OVERLOADED, "engine_full")

    async def _run(self, guest: _Guest, socket: Socket) -> None:
        parts, now_s = self._parts, time.monotonic()
        left_s = guest.grant.expires_in_s - (now_s - guest.admitted_s)  # an upload takes its time
        grant = replace(guest.grant, expires_in_s=left_s)
        started = guest.stay.started
        settings = with_quiet(parts.session_settings, guest.quiet_limit_s)
        key = secrets.token_urlsafe(_KEY_BYTES)
        grace_s = parts.connection_settings.resume_grace_s
        resumption = wire.Resumption(key, grace_s) if grace_s else None
        session = Session(started, parts.model, grant, settings, now_s, resumption)
        guest.stay.session = session
        connection = Connection(
            socket,
            session,
            new_detector=parts.new_detector,
            transcriber=parts.transcriber,
            desk=Desk(
                guest.stay,
                self._renew,
                partial(self._reserve, grant),
                SessionWatch(parts.figures, is_live=guest.is_live),
            ),
            settings=parts.connection_settings,
            clock=time.monotonic,
        )
        living = LiveSession(session.session_id, guest.caller, parts.wall_clock(), connection, key)
        with parts.live.running(living):
            if parts.door.is_revoked(grant):  # since it was let in
                connection.refuse(errors.REVOKED)
            await connection.run()

    async def _renew(self, token: str) -> Grant:
        wall_s = self._parts.wall_clock()
        return self._as_of_now(await self._parts.door.grant(token, wall_s), wall_s)

    async def _reserve(self, grant: Grant, audio_ms: int) -> int:
        most_ms = limits_of(grant).audio_ms_per_day or 0
        return await self._parts.subjects.reserve_audio(grant.who, audio_ms, most_ms)
