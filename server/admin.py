"""Requests of administrators in, what lives now and what was ended out: scope `admin`; to see who
is there, `audit` will do.

    GET    /admin/sessions         who is connected, from where, since when
    DELETE /admin/sessions/{id}    end one, with its last finals
    POST   /admin/revocations      a token, a subject or a key counts no more; its sessions end

What is done is on record with who did it, before the administrator is told; a trail that cannot be
written keeps nobody from taking something away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from security.audit import clean, token_hash_of
from security.door_events import SessionEndedByAdministrator
from security.errors import RevocationError
from security.tokens import TokenPolicy
from server import errors
from server.app import answer
from server.bodies import read_message
from server.errors import RefusedError
from server.grant import ADMIN_SCOPE, AUDIT_SCOPE, Grant
from server.live import LiveSession, LiveSessions
from server.reception import Reception
from server.recorder import Recorder
from server.revoking import Revoking, event_of, policy_of, revocation_of
from server.visitor import caller_of

_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
_Endpoint = Callable[[Request], Awaitable[Response]]


class _Revocation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What shall count no more: one of three."""

    token_id: _Name | None = None
    subject: _Name | None = None
    key_id: _Name | None = None
    issuer: _Name | None = None
    """By default our own."""


@dataclass(frozen=True, slots=True)
class Office:
    """What administrators can do something with."""

    reception: Reception
    live: LiveSessions
    revoking: Revoking
    policies: Sequence[TokenPolicy]
    trail: Recorder
    wall_clock: Callable[[], float]


def admin_routes(office: Office) -> list[Route]:
    """The routes."""

    async def list_sessions(request: Request, _admin: Grant) -> Response:
        del request
        body = {"sessions": await _all_shown(office.live)}
        return JSONResponse(body, headers={"cache-control": "no-store"})  # who is here, by name

    async def end_session(request: Request, admin: Grant) -> Response:
        session = office.live.find(request.path_params["session_id"])
        if session is None:
            return JSONResponse({"ended": 0}, status_code=404)
        has_ended = await _end(office, session, admin.subject, caller_of(request).address)
        return JSONResponse({"ended": int(has_ended)})

    async def revoke(request: Request, admin: Grant) -> Response:
        asked = await read_message(request, _Revocation)
        policy = policy_of(office.policies, asked.issuer)
        named = (asked.token_id, asked.subject, asked.key_id)
        if policy is None or sum(name is not None for name in named) != 1:
            raise RefusedError(errors.BAD_REQUEST)
        revocation = revocation_of(
            policy,
            office.wall_clock(),
            token_id=asked.token_id,
            subject=asked.subject,
            key_id=asked.key_id,
        )
        peer_address = caller_of(request).address
        await office.trail.note(event_of(revocation, by=admin.subject, peer_address=peer_address))
        try:
            ended = await office.revoking.revoke(revocation)
        except RevocationError:
            raise RefusedError(errors.INTERNAL, "revocation_not_written") from None
        return JSONResponse({"ended": ended})

    def for_administrators(
        endpoint: Callable[[Request, Grant], Awaitable[Response]], scope: str = ADMIN_SCOPE
    ) -> _Endpoint:
        async def guarded(request: Request) -> Response:
            try:
                admin = await office.reception.admit(request, scope)
                return await endpoint(request, admin)
            except RefusedError as refused:
                return answer(refused.refusal)

        return guarded

    return [
        Route("/admin/sessions", for_administrators(list_sessions, AUDIT_SCOPE), methods=["GET"]),
        Route("/admin/sessions/{session_id}", for_administrators(end_session), methods=["DELETE"]),
        Route("/admin/revocations", for_administrators(revoke), methods=["POST"]),
    ]


async def _end(office: Office, session: LiveSession, by: str, peer_address: str) -> bool:
    """On record, once; whether it was not ending before."""
    if not office.live.claim_end(session):
        return False
    subject = session.connection.grant.subject
    event = SessionEndedByAdministrator(session.session_id, subject, by, peer_address)
    try:
        await office.trail.note(event)
    finally:
        session.connection.refuse(errors.ENDED_BY_ADMINISTRATOR)
    return True


async def _all_shown(live: LiveSessions) -> list[dict[str, object]]:
    shown = []
    for session in live.sessions:
        shown.append(_shown(session))
        await asyncio.sleep(0)  # a stranger's string may take a fraction of a millisecond
    return shown


def _shown(session: LiveSession) -> dict[str, object]:
    """What an administrator sees; strangers' strings are cleaned as in the trail."""
    grant, caller = session.connection.grant, session.caller
    return {
        "session_id": session.session_id,
        "subject": clean(grant.subject),
        "issuer": clean(grant.issuer),
        "token_id": clean(grant.token_id),
        "token_hash": token_hash_of(grant.token_id),
        "key_id": grant.key_id,
        "address": caller.address,
        "port": caller.port,
        "origin": clean(caller.origin or "") or None,
        "user_agent": clean(caller.user_agent or "") or None,
        "is_ending": session.connection.is_ending,
        "started_at": datetime.fromtimestamp(session.started_at_s, UTC).isoformat(),
    }
