"""Requests of those who watch in, what the trail holds and how it is out: the page at /admin and
what it asks for. Scope `audit`; to lift a block, `admin`.

    GET    /admin                     the page
    GET    /admin/overview?hours=24   totals, trends, findings, quotas, latencies, state
    GET    /admin/report?hours=168    totals, trends and findings of a longer time
    GET    /admin/former?hours=24     totals of as many hours before
    GET    /admin/state               how the trail, the model and the keys are
    GET    /admin/events?…            newest first; filters, `before` a number, `limit`
    GET    /admin/events/{seq}        one
    GET    /admin/feed?after=7&…      as they happen, see `feed`
    GET    /admin/export?format=csv&… all that are wanted, as a file
    GET    /admin/blocks              addresses that are turned away
    DELETE /admin/blocks/{address}    let one try again

Who looks is on record, once for each token and kind of question in five minutes; a trail that
cannot be written can still be looked at, for that is when it has to be, but not exported. Pages
have a limit, feeds and exports a number; what takes a while to add up is added up once for all who
ask within seconds.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from security.audit_events import TrailExported, TrailRead
from security.audit_export import FORMATS
from security.door_events import AddressUnblocked
from security.errors import AuditError
from server import errors
from server.app import SECURITY_HEADERS, answer
from server.asked import (
    AskedEvents,
    AskedExport,
    AskedFeed,
    AskedPeriod,
    WrongParameterError,
    read_query,
)
from server.errors import RefusedError
from server.familiar import Familiar
from server.feed import Feed
from server.grant import ADMIN_SCOPE, AUDIT_SCOPE, Grant
from server.lines import Lines, Places
from server.overview import Overview
from server.shown import Json, event_shown
from server.visitor import caller_of

READ_AGAIN_S = 5 * 60.0
MOST_EXPORTS = 2
MOST_QUESTIONS = 24
"""That are being answered; who gives one up does not end it."""
_ROWS_A_TURN = 50
_PAGE = "admin.html"
_KEPT_FOR_NOBODY = {"cache-control": "no-store"}
_POLICY = "content-security-policy"
_PAGE_HEADERS = {
    _POLICY: SECURITY_HEADERS[_POLICY].replace("connect-src 'self' ws: wss:", "connect-src 'self'"),
    "permissions-policy": SECURITY_HEADERS["permissions-policy"].replace("(self)", "()"),
}
_NO_SUCH: Json = {"code": "not_found", "message": "The trail has no such event."}
_FILE_OF = {
    kind: f"attachment; filename=earwitness-trail.{suffix}"
    for kind, suffix in (("ndjson", "ndjson"), ("csv", "csv"), ("ocsf", "ocsf.ndjson"))
}
_SEQ = re.compile("[0-9]{1,18}")
_Endpoint = Callable[[Request, Grant], Awaitable[Response]]


class _Dashboard:
    """Answers one server's questions."""

    def __init__(self, stages: Overview) -> None:
        self._stages = stages
        self._readers = Familiar(known_s=READ_AGAIN_S)
        self._feeds = Places(stages.feed.most_feeds, stages.feed.most_of_subject)
        self._exports = Places(MOST_EXPORTS)
        self._questions = Places(MOST_QUESTIONS)

    async def overview(self, request: Request, who: Grant) -> Response:
        hours = read_query(request, AskedPeriod).hours
        report = await self._stages.report(hours)
        body: Json = {"report": report, "quotas": await self._stages.quotas()}
        body["latencies"] = self._stages.latencies()
        return _json({"me": _me(who), **await self._stages.state(), **body})

    async def report(self, request: Request, who: Grant) -> Response:
        report = await self._stages.report(read_query(request, AskedPeriod).hours)
        return _json({"me": _me(who), **report})

    async def former(self, request: Request, _who: Grant) -> Response:
        return _json(await self._stages.former(read_query(request, AskedPeriod).hours))

    async def state(self, _request: Request, who: Grant) -> Response:
        return _json({"me": _me(who), **await self._stages.state()})

    async def events(self, request: Request, who: Grant) -> Response:
        asked = read_query(request, AskedEvents)
        records = await self._stages.rows.records(
            asked.wanted(), limit=asked.limit + 1, before_seq=asked.before
        )
        has_more = len(records) > asked.limit
        newest, shown = records[::-1][: asked.limit], list[Json]()
        for at in range(0, len(newest), _ROWS_A_TURN):
            shown += map(event_shown, newest[at : at + _ROWS_A_TURN])
            await asyncio.sleep(0)
        body = {"events": shown, "has_more": has_more, "newest_seq": self._stages.trail.newest_seq}
        return _json({"me": _me(who), **body})

    async def event(self, request: Request, _who: Grant) -> Response:
        seq = request.path_params["seq"]
        record = await self._stages.rows.record(int(seq)) if _SEQ.fullmatch(seq) else None
        return _json(_NO_SUCH, 404) if record is None else _json(event_shown(record))

    async def feed(self, request: Request, who: Grant) -> Response:
        asked, stages = read_query(request, AskedFeed), self._stages
        feed = Feed(stages.rows, stages.trail, asked.wanted(), self._end_for(who), stages.feed)
        lines, place = feed.lines(asked.after), self._feeds.take(who.who)
        return Lines(lines, place, "application/x-ndjson", _KEPT_FOR_NOBODY)

    async def export(self, request: Request, who: Grant) -> Response:
        asked = read_query(request, AskedExport)
        wanted, why_ended = asked.wanted(), self._end_for(who)
        by, n_events, address = who.subject, 0, caller_of(request).address

        async def lines() -> AsyncIterator[bytes]:
            nonlocal n_events
            yield kind.head.encode()
            async for batch in stages.rows.batches(wanted):
                for at in range(0, len(batch), _ROWS_A_TURN):
                    if ended := why_ended():
                        raise RefusedError(ended)  # broken off: no reader takes it for whole
                    part = batch[at : at + _ROWS_A_TURN]
                    yield "".join(map(kind.line, part)).encode()
                    n_events += len(part)
                    await asyncio.sleep(0)

        async def end() -> None:
            await stages.log.note(TrailExported(by, asked.format, n_events, address))

        stages, kind, place = self._stages, FORMATS[asked.format], self._exports.take(who.who)
        is_recorded = False
        try:
            await stages.log.record(TrailRead(by, "export", address))
            is_recorded = True
        finally:
            if not is_recorded:
                place.give_back()
        headers = {**_KEPT_FOR_NOBODY, "content-disposition": _FILE_OF[asked.format]}
        return Lines(lines(), place, kind.media_type, headers, on_end=end)

    def _end_for(self, who: Grant) -> Callable[[], errors.Refusal | None]:
        """Whether, and for what, it has come by the time of the call: of a right, or the server."""
        ends_s = time.monotonic() + who.expires_in_s

        def why_ended() -> errors.Refusal | None:
            if self._stages.live.is_stopping:
                return errors.SHUTTING_DOWN
            if self._stages.is_revoked(who):
                return errors.REVOKED
            return errors.TOKEN_EXPIRED if time.monotonic() >= ends_s else None

        return why_ended

    async def blocks(self, _request: Request, who: Grant) -> Response:
        return _json({"me": _me(who), "blocks": self._stages.blocked()})

    async def unblock(self, request: Request, who: Grant) -> Response:
        address = request.path_params["address"]
        if not self._stages.blocks.unblock(address):
            return _json({"unblocked": False}, 404)
        await self._stages.log.note(AddressUnblocked(who.subject, address))
        return _json({"unblocked": True})

    def at_once(self, endpoint: _Endpoint) -> _Endpoint:
        """One of so many: whoever asks without waiting cannot queue up hours of adding up."""

        async def answered(request: Request, who: Grant) -> Response:
            place = self._questions.take(who.who)
            try:
                return await endpoint(request, who)
            finally:
                place.give_back()

        return answered

    def guarded(
        self, endpoint: _Endpoint, what: str | None, scope: str = AUDIT_SCOPE
    ) -> Callable[[Request], Awaitable[Response]]:
        """For those who may; `what` names it in the trail."""

        async def answered(request: Request) -> Response:
            try:
                who = await self._stages.reception.admit(request, scope)
                if what is not None:
                    await self._note_reading(request, who, what)
                return await endpoint(request, who)
            except WrongParameterError as wrong:
                return _wrong(wrong)
            except RefusedError as refused:
                return answer(refused.refusal)
            except AuditError:
                return answer(errors.TRAIL_UNAVAILABLE)

        return answered

    async def _note_reading(self, request: Request, who: Grant, what: str) -> None:
        if self._readers.is_new((who.issuer, who.token_id, what), time.monotonic()):
            event = TrailRead(who.subject, what, caller_of(request).address)
            await self._stages.log.note(event)


def dashboard_routes(stages: Overview, web_folder: Path) -> list[Route]:
    """The routes."""
    dashboard = _Dashboard(stages)

    async def page(_request: Request) -> Response:
        return FileResponse(web_folder / _PAGE, headers=_PAGE_HEADERS)

    def get(path: str, endpoint: _Endpoint, what: str | None = None) -> Route:
        asked = endpoint if endpoint in goes_on else dashboard.at_once(endpoint)
        return Route(f"/admin/{path}", dashboard.guarded(asked, what), methods=["GET"])

    goes_on = (dashboard.feed, dashboard.export)  # which have places of their own
    lift = dashboard.guarded(dashboard.unblock, None, ADMIN_SCOPE)
    return [
        Route("/admin", page, methods=["GET"]),
        get("overview", dashboard.overview, "overview"),
        get("report", dashboard.report, "report"),
        get("former", dashboard.former, "report"),
        get("state", dashboard.state),
        get("events", dashboard.events, "events"),
        get("events/{seq}", dashboard.event, "event"),
        get("feed", dashboard.feed, "feed"),
        get("export", dashboard.export),
        get("blocks", dashboard.blocks),
        Route("/admin/blocks/{address:path}", lift, methods=["DELETE"]),
    ]


def _me(who: Grant) -> Json:
    return {
        "subject": who.subject,
        "scopes": sorted(who.scopes),
        "expires_in_s": max(0, int(who.expires_in_s)),
    }


def _wrong(wrong: WrongParameterError) -> Response:
    said: Json = {"code": wrong.refusal.code, "message": wrong.refusal.text}
    return _json({**said, "parameter": wrong.parameter}, wrong.refusal.http_status)


def _json(body: Json, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type="application/json",
        headers=_KEPT_FOR_NOBODY,
    )
