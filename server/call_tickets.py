"""Requests for a telephone system's tickets in, a UUID each out: for wires, such as AudioSocket,
that carry nothing else to say who calls.

    POST /v1/calls/tickets    {"call_id": "…", "role": "customer", "language": "en"}

The answer is that of `POST /v1/tickets`. What the ticket is for stays here and comes back when it
is used: which call, whose voice, which language, and limits that may be less than the token's. It
is bound to no origin, for a telephone system has none. Tokens that transcribe get them, tickets do
not.
"""

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import errors
from server.app import Narrower, answer_ticket
from server.bodies import read_message
from server.call_values import CallPlace, Role
from server.dialects.values import MOST_ID_CHARS, is_id
from server.errors import RefusedError
from server.grant import Grant
from server.reception import Reception
from server.recognition import ModelCard
from server.tickets import TicketWish
from server.wire import Language


class _Asked(Narrower, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the ticket is for, and what it shall allow less than its token does."""

    call_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MOST_ID_CHARS)]
    role: Role = Role.UNKNOWN
    language: Language | None = None


def call_ticket_routes(reception: Reception) -> list[Route]:
    """The route; before those of calls, whose ids may be anything."""

    async def ticket(request: Request) -> Response:
        async def read_wish(grant: Grant) -> TicketWish:
            asked = await read_message(request, _Asked)
            if not is_id(asked.call_id):
                raise RefusedError(errors.BAD_REQUEST)
            if asked.language is not None:
                _check_language(asked.language, reception.model, grant)
            place = CallPlace(asked.call_id, asked.role, asked.language)
            return TicketWish(asked.limits(), place)

        return await answer_ticket(reception, request, read_wish)

    return [Route("/v1/calls/tickets", ticket, methods=["POST"])]


def _check_language(language: str, model: ModelCard, grant: Grant) -> None:
    """Raises RefusedError."""
    if language not in model.languages:
        raise RefusedError(errors.LANGUAGE_UNKNOWN)
    if grant.languages is not None and language not in grant.languages:
        raise RefusedError(errors.FORBIDDEN, "language_not_granted")
