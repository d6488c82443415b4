"""The dashboard's server with a trail that is a list: answers what the page asks, keeps what it
did, and can be told to refuse.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from server import errors
from server.asked import AskedEvents, WrongParameterError, read_query
from server.errors import Refusal
from tests.web import admin_data
from tests.web.scripted_server import WEB_FOLDER, _answer, _WithHeaders

FIELDS = ("outcome", "subject", "session_id", "address", "token_hash", "reason")


def token(scopes: str = "audit", audience: str = "earwitness/admin", expires_s: int = 4102444800):
    """The form of a JWT; the server of these tests knows it by heart."""
    claims = {"sub": "auditor", "aud": audience, "scope": scopes, "exp": expires_s}
    parts = [{"alg": "EdDSA"}, claims]
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts]
    return ".".join([*(part.rstrip("=") for part in encoded), "c2ln"])


@dataclass
class AdminServer:
    """What the page sees of a server."""

    scopes: tuple[str, ...] = ("audit",)
    events: list[dict] = field(default_factory=admin_data.events)
    findings: list[dict] = field(default_factory=admin_data.findings)
    sessions: list[dict] = field(default_factory=admin_data.sessions)
    blocks: list[dict] = field(default_factory=admin_data.blocks)
    quotas: list[dict] = field(default_factory=admin_data.quotas)
    latencies: list[dict] | None = field(default_factory=admin_data.latencies)
    state: dict = field(default_factory=admin_data.state)
    denial: Refusal | None = None
    feed_denial: Refusal | None = None
    asked: list[str] = field(default_factory=list)
    """Method, path and query of each request."""
    tokens: set[str] = field(default_factory=set)
    done: list[tuple[str, object]] = field(default_factory=list)
    feeds_break: bool = False
    ends_slowly: bool = False
    address: str = ""

    def app(self) -> Starlette:
        def route(path, answer, methods=("GET",)):
            async def checked(request: Request) -> Response:
                query = f"?{request.url.query}" if request.url.query else ""
                self.asked.append(f"{request.method} {request.url.path}{query}")
                self.tokens.add(request.headers["authorization"].removeprefix("Bearer "))
                if self.denial:
                    return _answer(self.denial)
                try:
                    return await answer(request)
                except WrongParameterError as wrong:
                    said = {"code": wrong.refusal.code, "parameter": wrong.parameter}
                    return JSONResponse(said, status_code=wrong.refusal.http_status)

            return Route(path, checked, methods=list(methods))

        routes = [
            Route("/admin", lambda request: FileResponse(WEB_FOLDER / "admin.html")),
            route("/admin/overview", self._overview),
            route("/admin/report", self._report),
            route("/admin/former", self._former),
            route("/admin/state", self._state),
            route("/admin/events", self._events),
            route("/admin/events/{seq:int}", self._event),
            route("/admin/feed", self._feed),
            route("/admin/export", self._export),
            route("/admin/sessions", self._sessions),
            route("/admin/sessions/{session_id}", self._end, ["DELETE"]),
            route("/admin/revocations", self._revoke, ["POST"]),
            route("/admin/blocks", self._blocks),
            route("/admin/blocks/{address:path}", self._unblock, ["DELETE"]),
            Mount("/", StaticFiles(directory=WEB_FOLDER, html=True)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(_WithHeaders)])

    @property
    def me(self) -> dict:
        return {"subject": "auditor", "scopes": list(self.scopes), "expires_in_s": 3120}

    def add(self, name: str, **fields) -> dict:
        """One more event, which living feeds tell."""
        made = admin_data.event(len(self.events) + 1, name, at_ms=admin_data.NOW_MS, **fields)
        self.events.append(made)
        return made

    def chosen(self, request: Request) -> list[dict]:
        params = request.query_params
        kept = [
            each
            for each in self.events
            if all(params.get(name) in {None, each[name]} for name in FIELDS)
        ]
        if name := params.get("event"):
            family = name.removesuffix("*")
            kept = [e for e in kept if e["event"] == name or e["event"].startswith(family)]
        since, until = int(params.get("since", 0)), int(params.get("until", 1 << 60))
        return [each for each in kept if since <= each["at_ms"] < until]

    async def _overview(self, request: Request) -> Response:
        report = admin_data.report(int(request.query_params["hours"]), self.findings)
        body = {"me": self.me, **self.state, "report": report, "living": len(self.sessions)}
        return JSONResponse({**body, "quotas": self.quotas, "latencies": self.latencies})

    async def _report(self, request: Request) -> Response:
        hours = int(request.query_params["hours"])
        return JSONResponse({"me": self.me, **admin_data.report(hours, self.findings)})

    async def _former(self, request: Request) -> Response:
        totals = admin_data.report(int(request.query_params["hours"]), [])["totals"]
        return JSONResponse({name: int(value * 0.88) for name, value in totals.items()})

    async def _state(self, _request: Request) -> Response:
        return JSONResponse({"me": self.me, **self.state})

    async def _events(self, request: Request) -> Response:
        read_query(request, AskedEvents).wanted()
        before, limit = request.query_params.get("before"), int(request.query_params["limit"])
        kept = [e for e in self.chosen(request) if before is None or e["seq"] < int(before)]
        newest = self.events[-1]["seq"] if self.events else 0
        page = list(reversed(kept))[:limit]
        more = {"has_more": len(kept) > limit, "newest_seq": newest}
        return JSONResponse({"me": self.me, "events": page, **more})

    async def _event(self, request: Request) -> Response:
        seq = request.path_params["seq"]
        found = next((each for each in self.events if each["seq"] == seq), None)
        if found is None:
            return JSONResponse({"code": "not_found", "message": ""}, status_code=404)
        return JSONResponse(found)

    async def _feed(self, request: Request) -> Response:
        if self.feed_denial:
            return _answer(self.feed_denial)
        after = int(request.query_params["after"])

        async def lines() -> AsyncIterator[str]:
            told = after
            yield json.dumps({"type": "heartbeat", "seq": after}) + "\n"
            while not await request.is_disconnected():
                for each in self.chosen(request):
                    if each["seq"] > told:
                        told = each["seq"]
                        yield json.dumps({"type": "event", "event": each}) + "\n"
                if self.feeds_break:
                    self.feeds_break = False
                    return
                await asyncio.sleep(0.05)

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    async def _export(self, request: Request) -> Response:
        lines = "".join(json.dumps(each) + "\n" for each in self.chosen(request))
        return Response(lines, media_type="application/x-ndjson")

    async def _sessions(self, _request: Request) -> Response:
        return JSONResponse({"sessions": self.sessions})

    async def _end(self, request: Request) -> Response:
        session_id = request.path_params["session_id"]
        self.done.append(("end", session_id))
        if "admin" not in self.scopes:
            return _answer(errors.FORBIDDEN)
        if not self.ends_slowly:
            self.sessions = [s for s in self.sessions if s["session_id"] != session_id]
        return JSONResponse({"ended": 1})

    async def _revoke(self, request: Request) -> Response:
        self.done.append(("revoke", await request.json()))
        return JSONResponse({"ended": 1})

    async def _blocks(self, _request: Request) -> Response:
        return JSONResponse({"me": self.me, "blocks": self.blocks})

    async def _unblock(self, request: Request) -> Response:
        self.done.append(("unblock", request.path_params["address"]))
        self.blocks = []
        return JSONResponse({"unblocked": True})
