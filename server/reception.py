"""Requests and handshakes in; grants, tickets and running sessions, or one refusal on record, out.

Everything a stranger asks for passes here: the door, the room there is, a place among the subject's
sessions. What is refused is refused before anything is accepted or read, and recorded. A session
runs in its place, over whatever socket it is given, and gives its place back on every path.
"""

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import structlog
from starlette.datastructures import Address, Headers
from starlette.requests import HTTPConnection

from security.door_events import HandshakeRefused, TicketIssued
from security.errors import AuditError
from security.limits import Limits
from server import errors
from server.connection import (
    Connection,
    ConnectionSettings,
    Desk,
    Recorder,
    Socket,
    Transcriber,
)
from server.door import Door, Knock, Ticket, read_credential
from server.errors import RefusedError
from server.grant import TRANSCRIBE_SCOPE, Grant, least
from server.live import LiveSession, LiveSessions, limits_of
from server.recognition import ModelCard
from server.session import Session
from server.session_values import Caller, SessionSettings
from server.subjects import SubjectStore
from server.vad import SpeechDetector

_log = structlog.get_logger()
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
    record: Recorder
    model: ModelCard
    session_settings: SessionSettings
    connection_settings: ConnectionSettings
    wall_clock: Callable[[], float]


@dataclass(slots=True)
class _Visit:
    """What is known of somebody by the time of a refusal."""

    peer: HTTPConnection
    grant: Grant | None = None


@dataclass(frozen=True, slots=True)
class _Guest:
    """Somebody who has a place."""

    grant: Grant
    caller: Caller
    session_id: str
    admitted_s: float
    """Monotonic: as of when the grant says how long it lasts."""


class Reception:
    """Of one server."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def admit(self, peer: HTTPConnection, scope: str = TRANSCRIBE_SCOPE) -> Grant:
        """Who it is. Raises RefusedError, which is on record by then."""
        return await self._on_record(peer, lambda visit: self._admit(visit, scope))

    async def look_in(self, peer: HTTPConnection) -> Grant:
        """As `enter`, without staying: pages are not shown why a handshake was refused."""

        async def look(visit: _Visit) -> Grant:
            grant = await self._admit(visit)
            self._check_room(grant)
            unhurried = replace(grant, limits=replace(grant.limits, starts_per_minute=None))
            async with self._parts.live.place(unhurried, secrets.token_hex(12)):
                return grant

        return await self._on_record(peer, look)

    async def issue_ticket(
        self, peer: HTTPConnection, read_limits: Callable[[], Awaitable[Limits]]
    ) -> tuple[str, int]:
        """A ticket for sessions within the limits that are read and the token's, and its seconds:
        for nothing else that the token opens, and not for a ticket, which would live on in the next
        one. Raises RefusedError.
        """

        async def issue(visit: _Visit) -> tuple[str, int]:
            grant = await self._admit(visit)
            if isinstance(read_credential(knock_of(peer)), Ticket):
                raise RefusedError(errors.FORBIDDEN, "ticket_for_ticket")
            limits = await read_limits()
            narrowed = replace(
                grant, limits=least(grant.limits, limits), scopes=frozenset({TRANSCRIBE_SCOPE})
            )
            caller = caller_of(peer)
            issued = self._parts.door.tickets.issue(narrowed, caller.origin, time.monotonic())
            event = TicketIssued(
                grant.subject, grant.issuer, grant.token_id, caller.address, caller.origin
            )
            await self._parts.record(event)
            return issued

        return await self._on_record(peer, issue)

    @asynccontextmanager
    async def enter(self, peer: HTTPConnection) -> AsyncIterator[Run]:
        """A place, and what runs a session in it. Raises RefusedError, which is on record."""
        async with AsyncExitStack() as stay:

            async def enter(visit: _Visit) -> _Guest:
                grant = await self._admit(visit)
                admitted_s = time.monotonic()  # a place may take a while
                self._check_room(grant)
                session_id = secrets.token_hex(12)
                await stay.enter_async_context(self._parts.live.place(grant, session_id))
                return _Guest(grant, caller_of(peer), session_id, admitted_s)

            guest = await self._on_record(peer, enter)
            peer.scope.setdefault("state", {})["session_id"] = guest.session_id
            if peer.scope["type"] == "http":  # what is uploaded whole has no pace
                limits = replace(guest.grant.limits, pace_percent=None)
                guest = replace(guest, grant=replace(guest.grant, limits=limits))
            try:
                yield partial(self._run, guest)
            except RefusedError as refused:  # what was sent is no more welcome than who sent it
                await self._record_refusal(refused, guest.caller, guest.grant)
                raise

    async def _on_record(
        self, peer: HTTPConnection, work: Callable[[_Visit], Awaitable[_Result]]
    ) -> _Result:
        visit = _Visit(peer)
        try:
            return await work(visit)
        except RefusedError as refused:
            await self._record_refusal(refused, caller_of(peer), visit.grant)
            raise

    async def _admit(self, visit: _Visit, scope: str = TRANSCRIBE_SCOPE) -> Grant:
        wall_s = self._parts.wall_clock()
        knock, now_s = knock_of(visit.peer), time.monotonic()
        grant = await self._parts.door.admit(knock, wall_s=wall_s, now_s=now_s, scope=scope)
        visit.grant = self._as_of_now(grant, wall_s)
        return visit.grant

    def _as_of_now(self, grant: Grant, wall_s: float) -> Grant:
        """Of what was granted at `wall_s`: the door may have waited for an issuer's keys."""
        waited_s = self._parts.wall_clock() - wall_s
        return replace(grant, expires_in_s=grant.expires_in_s - waited_s)

    def _check_room(self, grant: Grant) -> None:
        if not grant.covers(self._parts.model.model_id):
            raise RefusedError(errors.FORBIDDEN, "model_not_granted")
        if self._parts.is_engine_full():
            raise RefusedError(errors.OVERLOADED, "engine_full")

    async def _run(self, guest: _Guest, socket: Socket) -> None:
        parts, now_s = self._parts, time.monotonic()
        left_s = guest.grant.expires_in_s - (now_s - guest.admitted_s)  # an upload takes its time
        grant = replace(guest.grant, expires_in_s=left_s)
        session = Session(
            session_id=guest.session_id,
            model=parts.model,
            grant=grant,
            caller=guest.caller,
            settings=parts.session_settings,
            now_s=now_s,
        )
        connection = Connection(
            socket,
            session,
            detector=parts.new_detector(),
            transcriber=parts.transcriber,
            desk=Desk(parts.record, self._renew, partial(self._reserve, grant)),
            settings=parts.connection_settings,
            clock=time.monotonic,
        )
        living = LiveSession(guest.session_id, guest.caller, parts.wall_clock(), connection)
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

    async def _record_refusal(
        self, refused: RefusedError, caller: Caller, grant: Grant | None
    ) -> None:
        event = HandshakeRefused(
            peer_address=caller.address,
            origin=caller.origin,
            user_agent=caller.user_agent,
            http_status=refused.refusal.http_status,
            reason=refused.reason,
            subject=grant.subject if grant else None,
            token_id=grant.token_id if grant else None,
        )
        try:
            await self._parts.record(event)
        except AuditError:
            _log.error("the trail cannot be written: a refusal was not recorded")


def caller_of(peer: HTTPConnection) -> Caller:
    """What was shown, for the trail."""
    client = peer.client
    return Caller(
        address=_shown_address(client) if client else "",
        origin=peer.headers.get("origin"),
        user_agent=peer.headers.get("user-agent"),
    )


def _shown_address(client: Address) -> str:
    """One that a proxy told has no port; one of IPv6 is told from its port by brackets."""
    if not client.port:
        return client.host
    host = f"[{client.host}]" if ":" in client.host else client.host
    return f"{host}:{client.port}"


def knock_of(peer: HTTPConnection) -> Knock:
    """What was shown, for the door."""
    return Knock(
        headers=_headers(peer.headers),
        subprotocols=peer.scope.get("subprotocols", ()),
        tickets=peer.query_params.getlist("ticket"),
    )


def _headers(headers: Headers) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.items()]
