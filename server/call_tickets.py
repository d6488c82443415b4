"""Requests for a telephone system's tickets in, a UUID each out: for wires, such as AudioSocket,
that carry nothing else to say who calls.

    POST /v1/calls/tickets    {"call_id": "…", "role": "customer", "language": "en"}

The answer is that of `POST /v1/tickets`. What the ticket is for stays here and comes back when it
is used: which call, whose voice, which language, and limits that may be less than the token's. It
is bound to no origin, for a telephone system has none. Tokens that transcribe get them, tickets do
not.
"""

import time
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from security.door_events import TicketIssued
from server import errors
from server.app import Narrower, answer
from server.bodies import read_message
from server.call_values import CallPlace, Role
from server.dialects.values import MOST_ID_CHARS, is_id
from server.door import Ticket, read_credential
from server.errors import RefusedError
from server.grant import TRANSCRIBE_SCOPE, least
from server.reception import Reception
from server.recorder import Recorder, record_or_refuse
from server.tickets import TicketForm, Tickets
from server.visitor import caller_of, knock_of
from server.wire import Language


class _Asked(Narrower, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the ticket is for, and what it shall allow less than its token does."""

    call_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID_CHARS)]
    role: Role = Role.UNKNOWN
    language: Language | None = None


@dataclass(frozen=True, slots=True)
class TicketStages:
    """What the route stands on."""

    reception: Reception
    tickets: Tickets
    trail: Recorder


def call_ticket_routes(stages: TicketStages) -> list[Route]:
    """The route; before those of calls, whose ids may be anything."""

    async def ticket(request: Request) -> Response:
        try:
            issued = await _issue(stages, request)
        except RefusedError as refused:
            return answer(refused.refusal)
        body = {"ticket": issued[0], "expires_in_s": issued[1]}
        return JSONResponse(body, status_code=201, headers={"cache-control": "no-store"})

    return [Route("/v1/calls/tickets", ticket, methods=["POST"])]


async def _issue(stages: TicketStages, request: Request) -> tuple[str, int]:
    grant = await stages.reception.admit(request, TRANSCRIBE_SCOPE)

    async def issue() -> tuple[str, int]:
        if isinstance(read_credential(knock_of(request)), Ticket):
            raise RefusedError(errors.FORBIDDEN, "ticket_for_ticket")
        asked = await read_message(request, _Asked)
        if not is_id(asked.call_id):
            raise RefusedError(errors.BAD_REQUEST)
        if asked.language not in {None, *stages.reception.model.languages}:
            raise RefusedError(errors.LANGUAGE_UNKNOWN)
        is_any = asked.language is None or grant.languages is None
        if not is_any and asked.language not in (grant.languages or ()):
            raise RefusedError(errors.FORBIDDEN, "language_not_granted")
        narrowed = replace(
            grant,
            limits=least(grant.limits, asked.limits()),
            scopes=frozenset({TRANSCRIBE_SCOPE}),
            call=CallPlace(asked.call_id, asked.role, asked.language),
        )
        issued = stages.tickets.issue(narrowed, None, time.monotonic(), TicketForm.UUID)
        event = TicketIssued(**grant.holder, **caller_of(request).shown)
        await record_or_refuse(stages.trail, event)
        return issued

    return await stages.reception.attend(request, issue, grant)
