"""HTTP and WebSocket requests in, answers and sessions out: routes, the handshake, the page.

    /v1/stream                  a session over WebSocket, earwitness.v1
    /v1/tickets                 a ticket for who can set no header
    /v1/whoami                  whether a token is good: a browser is not shown a handshake's status
    /v1/audio/…, /api/…         one recording at a time, see `rest`
    /admin/…                    for administrators, see `admin`
    /healthz, /                 whether the server lives, see `health` for more; the page

Everything that is refused at the handshake is refused before accept, with a real status, a code
and a constant text, and recorded. The page and its modules are the files of a page's kinds in
`web/`, served under a policy that lets nothing in from elsewhere.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePath
from typing import Annotated

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from typing_extensions import override

from security.limits import Limits
from server import errors
from server.bodies import read_message
from server.door import chosen_subprotocol
from server.errors import RefusedError
from server.grant import Grant
from server.reception import Reception
from server.tickets import TicketWish

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self' ws: wss:; worker-src 'self'; font-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


_NOWHERE = {"code": "not_found", "message": "Nothing answers at this address."}
_Limit = Annotated[int, msgspec.Meta(ge=0)] | None
"""Never below zero: less than any other, and to `pace` no limit at all."""


class Narrower(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a ticket shall allow less than its token does."""

    session_audio_s: _Limit = None
    session_bytes: _Limit = None
    session_s: _Limit = None
    idle_s: _Limit = None
    pace_percent: _Limit = None

    def limits(self) -> Limits:
        """As the grant has them."""
        return Limits(**{name: getattr(self, name) for name in Narrower.__struct_fields__})


async def answer_ticket(
    reception: Reception, request: Request, read_wish: Callable[[Grant], Awaitable[TicketWish]]
) -> Response:
    """The ticket that was asked for, or why there is none."""
    try:
        ticket, lifetime_s = await reception.issue_ticket(request, read_wish)
    except RefusedError as refused:
        return answer(refused.refusal)
    body = {"ticket": ticket, "expires_in_s": lifetime_s}
    return JSONResponse(body, status_code=201, headers={"cache-control": "no-store"})


def build_app(
    reception: Reception,
    web_folder: Path,
    other_routes: Sequence[BaseRoute] = (),
) -> ASGIApp:
    """The ASGI application."""

    async def stream(websocket: WebSocket) -> None:
        try:
            async with reception.enter(websocket) as run:
                offered = websocket.scope["subprotocols"]
                await websocket.accept(subprotocol=chosen_subprotocol(offered))
                await run(websocket)
        except RefusedError as refused:
            await websocket.send_denial_response(answer(refused.refusal))

    async def tickets(request: Request) -> Response:
        async def read_wish(_grant: Grant) -> TicketWish:
            return TicketWish((await read_message(request, Narrower)).limits())

        return await answer_ticket(reception, request, read_wish)

    async def whoami(request: Request) -> Response:
        try:
            grant = await reception.look_in(request)
        except RefusedError as refused:
            return answer(refused.refusal)
        languages = reception.model.languages
        if grant.languages is not None:
            languages &= grant.languages
        return JSONResponse(
            {
                "subject": grant.subject,
                "expires_in_s": max(0, int(grant.expires_in_s)),
                "model": reception.model.model_id,
                "languages": sorted(languages),
            }
        )

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "server": "earwitness"})

    async def nowhere(websocket: WebSocket) -> None:
        await websocket.send_denial_response(JSONResponse(_NOWHERE, status_code=404))

    routes = [
        WebSocketRoute("/v1/stream", stream),
        Route("/v1/tickets", tickets, methods=["POST"]),
        Route("/v1/whoami", whoami, methods=["GET", "POST"]),
        Route("/healthz", health),
        *other_routes,
        WebSocketRoute("/{path:path}", nowhere),
        Mount("/", _Page(directory=web_folder, html=True)),
    ]
    return _WithHeaders(Starlette(routes=routes))


def answer(refusal: errors.Refusal) -> Response:
    """A refusal as an HTTP answer."""
    headers = {}
    if refusal.http_status == errors.UNAUTHENTICATED.http_status:
        headers["www-authenticate"] = "Bearer"
    if refusal.is_retryable:
        headers["retry-after"] = str(refusal.retry_after_s)
    body = {"code": refusal.code, "message": refusal.text}
    return JSONResponse(body, status_code=refusal.http_status, headers=headers)


class _Page(StaticFiles):
    """Serves what a page is made of, and nothing else that may come to lie in its folder."""

    _SUFFIXES = frozenset({".css", ".html", ".js", ".svg"})

    @override
    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """See starlette: no result is a 404."""
        asked = PurePath(path)
        is_part = asked.suffix in self._SUFFIXES and not asked.name.startswith(".")
        if path == "." or (is_part and asked == PurePath(asked.name)):
            return super().lookup_path(path)
        return "", None


class _WithHeaders:
    """Adds `SECURITY_HEADERS` to every HTTP answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._added = [(n.encode(), v.encode()) for n, v in SECURITY_HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] in {"http.response.start", "websocket.http.response.start"}:
                has = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in self._added if name not in has),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)
