"""HTTP and WebSocket requests in, answers and sessions out: routes, the handshake, the page.

Everything that is refused at the handshake is refused before accept, with a real status, a code
and a constant text, and recorded. The page and its modules are the files of a page's kinds in
`web/`, served under a policy that lets nothing in from elsewhere. `/v1/whoami` tells a browser,
which cannot see a handshake's status, whether its token is good.
"""

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath

import structlog
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket
from typing_extensions import override

from security.audit import HandshakeRefused
from security.errors import AuditError
from server import errors
from server.connection import Connection, ConnectionSettings, Recorder, Transcriber
from server.door import Door, chosen_subprotocol
from server.errors import RefusedError
from server.grant import Grant
from server.live import LiveSessions
from server.recognition import ModelCard
from server.session import Session
from server.session_values import Caller, SessionSettings
from server.vad import SpeechDetector

_log = structlog.get_logger()

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


@dataclass(frozen=True, slots=True)
class Parts:
    """What the application is made of; `run.py` joins it."""

    door: Door
    live: LiveSessions
    transcriber: Transcriber
    is_engine_full: Callable[[], bool]
    new_detector: Callable[[], SpeechDetector]
    record: Recorder
    model: ModelCard
    session_settings: SessionSettings
    connection_settings: ConnectionSettings
    web_folder: Path
    wall_clock: Callable[[], float]


def build_app(parts: Parts) -> ASGIApp:
    """The ASGI application."""

    async def stream(websocket: WebSocket) -> None:
        caller = _caller(websocket)
        grant: Grant | None = None
        try:
            grant = parts.door.admit(
                _headers(websocket.headers), _offered(websocket), parts.wall_clock()
            )
            _check_room(parts)
            with parts.live.place(grant):
                await _run_session(parts, websocket, grant, caller)
        except RefusedError as refused:
            await _record_refusal(parts, refused, caller, grant)
            await websocket.send_denial_response(_answer(refused.refusal))

    async def whoami(request: Request) -> Response:
        grant: Grant | None = None
        try:
            grant = parts.door.admit(_headers(request.headers), (), parts.wall_clock())
            _check_room(parts)
            with parts.live.place(grant):
                pass
        except RefusedError as refused:
            await _record_refusal(parts, refused, _caller(request), grant)
            return _answer(refused.refusal)
        return JSONResponse({"subject": grant.subject, "expires_in_s": int(grant.expires_in_s)})

    async def health(_request: Request) -> Response:
        return JSONResponse({"status": "ok", "sessions": parts.live.total})

    routes = [
        WebSocketRoute("/v1/stream", stream),
        Route("/v1/whoami", whoami, methods=["GET", "POST"]),
        Route("/healthz", health),
        Mount("/", _Page(directory=parts.web_folder, html=True)),
    ]
    return _WithHeaders(Starlette(routes=routes))


def _check_room(parts: Parts) -> None:
    if parts.is_engine_full():
        raise RefusedError(errors.OVERLOADED, "engine_full")


async def _run_session(parts: Parts, websocket: WebSocket, grant: Grant, caller: Caller) -> None:
    session = Session(
        session_id=secrets.token_hex(12),
        model=parts.model,
        grant=grant,
        caller=caller,
        settings=parts.session_settings,
        now_s=time.monotonic(),
    )
    connection = Connection(
        websocket,
        session,
        detector=parts.new_detector(),
        transcriber=parts.transcriber,
        record=parts.record,
        settings=parts.connection_settings,
        clock=time.monotonic,
    )
    await websocket.accept(subprotocol=chosen_subprotocol(_offered(websocket)))
    with parts.live.running(connection):
        await connection.run()


async def _record_refusal(
    parts: Parts, refused: RefusedError, caller: Caller, grant: Grant | None
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
        await parts.record(event)
    except AuditError:
        _log.error("the trail cannot be written: a refusal was not recorded")


def _answer(refusal: errors.Refusal) -> Response:
    headers = {}
    if refusal.http_status == errors.UNAUTHENTICATED.http_status:
        headers["www-authenticate"] = "Bearer"
    if refusal.is_retryable:
        headers["retry-after"] = "5"
    body = {"code": refusal.code, "message": refusal.text}
    return JSONResponse(body, status_code=refusal.http_status, headers=headers)


def _caller(connection: HTTPConnection) -> Caller:
    client = connection.client
    return Caller(
        address=f"{client.host}:{client.port}" if client else "",
        origin=connection.headers.get("origin"),
        user_agent=connection.headers.get("user-agent"),
    )


def _headers(headers: Headers) -> list[tuple[str, str]]:
    return [(name.lower(), value) for name, value in headers.items()]


def _offered(websocket: WebSocket) -> list[str]:
    subprotocols: list[str] = websocket.scope["subprotocols"]
    return subprotocols


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
        self._added = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._added]
            await send(message)

        await self._app(scope, receive, send_with_headers)
