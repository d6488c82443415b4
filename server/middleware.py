"""What stands around the application: who the client is, one line for each request, TLS for good.

The client's address is put in the place of a trusted proxy's before anything is decided or
recorded. The access log names the route that matched and never what the peer wrote: no path, no
query, no header, no method of its own invention. A fault of ours that reaches this far is logged by
its type, since its text might hold a caller's; the peer has had a plain 500 by then.
"""

from collections.abc import Callable
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect
from uvicorn.protocols.utils import ClientDisconnected

from server.figures import Figures
from server.forwarded import Networks, read_forwarding

_log = structlog.get_logger()
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
_STRICT_TRANSPORT = "max-age=31536000"
_STARTS = {"http.response.start", "websocket.http.response.start"}
_SECURE = {"http": "https", "ws": "wss"}
_PEER_IS_GONE = (ClientDisconnect, ClientDisconnected, WebSocketDisconnect)


class ClientAddress:
    """Believes trusted proxies, and nobody else, about where a request comes from."""

    def __init__(self, app: ASGIApp, trusted: Networks) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = scope["client"][0] if scope["client"] else None
        headers = Headers(scope=scope)
        way = read_forwarding(
            peer,
            self._trusted,
            headers.getlist("x-forwarded-for"),
            headers.getlist("x-forwarded-proto"),
        )
        if way.client != peer:
            scope["client"] = (way.client, 0)  # the port is the proxy's, if anybody's
        if way.scheme == "https":
            scope["scheme"] = _SECURE.get(scope["scheme"], scope["scheme"])
        await self._app(scope, receive, send)


class StrictTransport:
    """Tells browsers that came by TLS to come by TLS only."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_header(message: Message) -> None:
            if message["type"] in _STARTS:
                MutableHeaders(scope=message)["strict-transport-security"] = _STRICT_TRANSPORT
            await send(message)

        is_secure = scope["scheme"] in _SECURE.values()
        await self._app(scope, receive, send_with_header if is_secure else send)


class AccessLog:
    """A line for each request when it has ended, a session's too; each is counted."""

    def __init__(
        self, app: ASGIApp, clock: Callable[[], float], figures: Figures, *, is_on: bool
    ) -> None:
        self._app = app
        self._clock = clock
        self._figures = figures
        self._is_on = is_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_s = self._clock()
        status: int | None = None

        async def send_and_see(message: Message) -> None:
            nonlocal status
            is_first = status is None
            match message["type"]:
                case "http.response.start" | "websocket.http.response.start":
                    status = message["status"]
                case "websocket.accept":
                    status = HTTPStatus.SWITCHING_PROTOCOLS
                case "websocket.close" if status is None:
                    status = HTTPStatus.FORBIDDEN  # so uvicorn answers
            if is_first and status is not None and scope["type"] == "websocket":
                is_let_in = status == HTTPStatus.SWITCHING_PROTOCOLS
                self._figures.handshake_s[is_let_in].observe(self._clock() - began_s)
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except _PEER_IS_GONE:
            if status == HTTPStatus.INTERNAL_SERVER_ERROR:  # starlette's, which nobody heard
                status = None
        except Exception as error:  # noqa: BLE001 - uvicorn would log its text
            status = status or HTTPStatus.INTERNAL_SERVER_ERROR
            _log.error("a request failed", error=type(error).__name__)
        finally:
            self._figures.receive_request(_template(scope), status and int(status))
            if self._is_on:
                self._tell(scope, status, self._clock() - began_s)

    def _tell(self, scope: Scope, status: int | None, duration_s: float) -> None:
        method = scope.get("method", "WEBSOCKET")
        _log.info(
            "request",
            method=method if method in _METHODS else "OTHER",
            route=_template(scope),
            status=status and int(status),
            duration_ms=round(duration_s * 1000, 1),
            client=scope["client"][0] if scope["client"] else None,
            session=scope.get("state", {}).get("session_id"),
        )


def _template(scope: Scope) -> str | None:
    """As it was written in our own list of routes; a mount at the root is written as nothing."""
    path = getattr(scope.get("route"), "path", None)
    return path if path is None else path or "/"


def surround(
    app: ASGIApp,
    trusted: Networks,
    clock: Callable[[], float],
    figures: Figures,
    *,
    has_access_log: bool,
) -> ASGIApp:
    """All of the above, in their order."""
    seen = AccessLog(StrictTransport(app), clock, figures, is_on=has_access_log)
    return ClientAddress(seen, trusted)
