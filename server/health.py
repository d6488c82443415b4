"""Questions of a monitor in; whether the process lives, may be sent sessions, and its metrics, out.

    /health/live     200 while the event loop runs
    /health/ready    200 while a session would be let in; else 503 and a code a line
    /metrics         for the networks that the settings name; for others there is no such page

None of them tells who or how many are here but the last, which is for the operator alone. A peer
of those networks that carries a proxy's header, when no proxy that the settings trust has said who
that is, speaks for somebody else and is told nothing.
"""

import json
from collections.abc import Callable, Sequence
from http import HTTPStatus

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from server.forwarded import Networks

ENGINE_NOT_OPEN = "engine_not_open"
TRAIL_FAILING = "trail_failing"
DRAINING = "draining"
_FORWARDED = ("forwarded", "via", "x-forwarded-", "x-real-ip", "true-client-ip", "cf-connecting-")
"""How such headers begin; there is none for a request that nobody passed on."""
_PLAIN = {"cache-control": "no-store"}


class Readiness:
    """Asks each part whether it can do its share."""

    def __init__(
        self,
        has_engine: Callable[[], bool],
        is_trail_failing: Callable[[], bool],
        is_draining: Callable[[], bool],
    ) -> None:
        self._has_engine = has_engine
        self._is_trail_failing = is_trail_failing
        self._is_draining = is_draining

    def faults(self) -> list[str]:
        """Codes of what is in the way."""
        answers = {
            ENGINE_NOT_OPEN: not self._has_engine(),
            TRAIL_FAILING: self._is_trail_failing(),
            DRAINING: self._is_draining(),
        }
        return [code for code, is_so in answers.items() if is_so]


def health_routes(
    readiness: Readiness, metrics: Callable[[], bytes], metrics_from: Sequence[str]
) -> list[BaseRoute]:
    """For the application."""
    networks = Networks(metrics_from)

    async def live(_request: Request) -> Response:
        return _lines([{"status": "live"}])

    async def ready(_request: Request) -> Response:
        faults = readiness.faults()
        if faults:
            codes = [{"code": code} for code in faults]
            return _lines(codes, HTTPStatus.SERVICE_UNAVAILABLE)
        return _lines([{"status": "ready"}])

    async def tell(request: Request) -> Response:
        if not _is_meant(request, networks):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return Response(metrics(), media_type=CONTENT_TYPE_LATEST, headers=_PLAIN)

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", tell)]


def _is_meant(request: Request, networks: Networks) -> bool:
    host, port = request.client or (None, None)
    is_vouched_for = port == 0  # an address that a trusted proxy told has no port
    speaks_for_another = any(name.lower().startswith(_FORWARDED) for name in request.headers)
    return host in networks and (is_vouched_for or not speaks_for_another)


def _lines(objects: list[dict[str, str]], status: int = HTTPStatus.OK) -> Response:
    text = "".join(json.dumps(each) + "\n" for each in objects)
    return Response(text, status, headers=_PLAIN, media_type="application/x-ndjson")
