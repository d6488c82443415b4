"""Requests for Deepgram's temporary tokens in, tickets out: for a page, which must not have a key.

    POST /v1/auth/grant    {"ttl_seconds": 30}

What comes back is a ticket like that of `POST /v1/tickets`: good for one connection, and for as
long as tickets are here, which the answer says, whatever was wished. Refused, in Deepgram's JSON:
who may not come in, a ticket that asks for another, and a time that Deepgram would refuse.
"""

from typing import Annotated

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.bodies import read_message
from server.client_apis import new_id
from server.client_routes import read_key, response_of
from server.client_settings import ClientSettings
from server.dialects.deepgram_errors import refused
from server.door import Knock, Ticket, Token
from server.errors import RefusedError
from server.grant import Grant
from server.reception import Reception
from server.tickets import TicketWish
from server.visitor import upgrade_of


class _Asked(msgspec.Struct, frozen=True):
    """Other fields are passed over."""

    ttl_seconds: Annotated[float, msgspec.Meta(ge=1, le=3600)] | None = None


class _Granted(msgspec.Struct, frozen=True):
    access_token: str
    expires_in: float


def grant_routes(settings: ClientSettings, reception: Reception) -> list[Route]:
    """The route, if it is wished."""

    async def grant(request: Request) -> Response:
        def read(_knock: Knock) -> Token | Ticket:
            return read_key(upgrade_of(request), (), token_in_address=settings.token_in_address)

        async def read_wish(_grant: Grant) -> TicketWish:
            await read_message(request, _Asked)
            return TicketWish()

        request_id = new_id()
        try:
            ticket, lifetime_s = await reception.issue_ticket(request, read_wish, read)
        except RefusedError as error:
            return response_of(refused(error.refusal, request_id))
        headers = {"cache-control": "no-store", "dg-request-id": request_id}
        body = msgspec.json.encode(_Granted(ticket, float(lifetime_s)))
        return Response(body, headers=headers, media_type="application/json")

    return [Route("/v1/auth/grant", grant, methods=["POST"])] if settings.deepgram else []
