"""Requests for OpenAI's ephemeral keys in, tickets under that name out: for pages, which may not
have the key of who serves them.

    POST /v1/realtime/client_secrets          {"session": {"type": "transcription", …}}
    POST /v1/realtime/transcription_sessions  the same in the form of the beta

The answers have OpenAI's shapes, and so have the refusals. What a session is to be is looked at
here, so that whoever asks is told what is wrong with it, and goes with the ticket: it holds for the
session that this opens, however often it was refused before. A key opens one, within a minute: it
is over sooner if that is asked for, never later, and the answer says when.
"""

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Annotated, Literal

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server import errors
from server.bodies import read_message
from server.client_routes import EPHEMERAL_PREFIX
from server.dialects.openai_errors import Fault, body_of, error_headers, fault_of
from server.dialects.openai_realtime_messages import MessageError, SessionUpdate
from server.dialects.openai_realtime_settings import (
    Wishes,
    flat_session,
    nested_session,
    wishes_after,
    wishes_shortened,
)
from server.errors import RefusedError
from server.grant import Grant
from server.reception import Reception
from server.tickets import TicketWish

_MOST_BODY_BYTES = 262_144
"""As a frame of a session that says the same, unless that is set otherwise: the longest prompt,
however it is escaped.
"""


class _Expiry(msgspec.Struct, frozen=True):
    anchor: Literal["created_at"] = "created_at"
    seconds_s: Annotated[int, msgspec.Meta(ge=10, le=7200)] = msgspec.field(
        default=600, name="seconds"
    )


class _Asked(msgspec.Struct, frozen=True):
    """Of today."""

    session: SessionUpdate = SessionUpdate()
    expires_after: _Expiry = _Expiry()


class _WrongError(RefusedError):
    """With a fault of OpenAI's."""

    def __init__(self, fault: MessageError) -> None:
        refusal = replace(errors.BAD_REQUEST, text=fault.text)
        super().__init__(refusal, "client_secret_unsupported")
        self.fault = Fault(fault.text, "invalid_request_error", fault.param, fault.code)


@dataclass(frozen=True, slots=True)
class _Issued:
    key: str = field(repr=False)
    ends_s: int
    wishes: Wishes


class _Secrets:
    def __init__(self, reception: Reception, wall_clock: Callable[[], float]) -> None:
        self._reception = reception
        self._wall_clock = wall_clock

    async def give(self, request: Request) -> Response:
        async def read() -> _Asked:
            return await read_message(request, _Asked, _MOST_BODY_BYTES)

        async def say() -> bytes:
            issued = await self._issue(request, read)
            session = msgspec.Raw(nested_session(issued.wishes, _session_id()))
            said = {"value": issued.key, "expires_at": issued.ends_s, "session": session}
            return msgspec.json.encode(said)

        return await _answered(say)

    async def give_flat(self, request: Request) -> Response:
        async def read() -> _Asked:
            return _Asked(await read_message(request, SessionUpdate, _MOST_BODY_BYTES))

        async def say() -> bytes:
            issued = await self._issue(request, read)
            session = flat_session(issued.wishes, _session_id())
            secret = msgspec.json.encode({"value": issued.key, "expires_at": issued.ends_s})
            return session[:-1] + b',"client_secret":' + secret + b"}"

        return await _answered(say)

    async def _issue(self, request: Request, read: Callable[[], Awaitable[_Asked]]) -> _Issued:
        """Raises RefusedError."""
        wished: list[Wishes] = []

        async def look(_grant: Grant) -> TicketWish:
            asked = await read()
            try:
                wishes = wishes_after(Wishes(), asked.session, self._reception.model)
            except MessageError as fault:
                raise _WrongError(fault) from None
            wished.append(wishes_shortened(wishes))
            return TicketWish(lifetime_s=asked.expires_after.seconds_s, carried=wished[0])

        ticket, lifetime_s = await self._reception.issue_ticket(request, look)
        ends_s = int(self._wall_clock() + lifetime_s)
        return _Issued(EPHEMERAL_PREFIX + ticket, ends_s, wished[0])


def client_secret_routes(reception: Reception, wall_clock: Callable[[], float]) -> list[Route]:
    """Both."""
    secrets = _Secrets(reception, wall_clock)
    post = partial(Route, methods=["POST"])
    return [
        post("/v1/realtime/client_secrets", secrets.give),
        post("/v1/realtime/transcription_sessions", secrets.give_flat),
    ]


async def _answered(say: Callable[[], Awaitable[bytes]]) -> Response:
    try:
        body, status, headers = await say(), 200, {"cache-control": "no-store"}
    except RefusedError as refused:
        refusal = refused.refusal
        fault = refused.fault if isinstance(refused, _WrongError) else fault_of(refusal)
        body, status, headers = body_of(fault), refusal.http_status, dict(error_headers(refusal))
    return Response(body, status, headers, media_type="application/json")


def _session_id() -> str:
    return f"sess_{uuid.uuid4().hex}"
