"""Requests of those who follow a call in, its events as they come out: over a WebSocket, or as
server-sent events for who can only read.

    GET /v1/calls/{id}/events?after=7&owner=pbx    scope `calls`; see `call_wire`

Transcripts never go back over a telephone system's own connection unless its protocol has a place
for them: here is where they are read. Whose calls, and which, is for the token to say. Who reads is
on record before the first word is told, and once when that is over. Nothing is kept for a reader
beyond what the call keeps for all; one that does not read is closed and may come back. A right that
ends, ends the reading, also of who reads nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from server import call_wire, errors, wire
from server.app import answer
from server.call import Kept
from server.call_visit import DONE, FOUND, GONE, End, Visit, asked_of, ended_by
from server.calls import CallReader, Calls
from server.errors import Refusal, RefusedError
from server.grant import CALLS_SCOPE, Grant
from server.lines import Lines, Place, Places
from server.reception import Reception
from server.recorder import Recorder, record_or_refuse

_PATH = "/v1/calls/{call_id:path}/events"
_CLOSE_LIMIT_S = 1.0
_NOTE_LIMIT_S = 1.5
_NORMAL_CLOSE = 1000
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
_BEGINNING, _KEEP_ALIVE = b"retry: 2000\n\n", b":\n\n"


@dataclass(frozen=True, slots=True)
class CallStages:
    """What the routes of calls stand on."""

    reception: Reception
    calls: Calls
    trail: Recorder
    is_revoked: Callable[[Grant], bool]


class _Watching:
    """Of one server."""

    def __init__(self, stages: CallStages) -> None:
        self._stages = stages
        self._settings = settings = stages.calls.settings
        self._places = Places(settings.most_readers, settings.most_readers_of_subject)
        self._of_calls = Places(settings.most_readers, settings.most_readers_of_call)

    async def socket(self, websocket: WebSocket) -> None:
        """As long as both want, or may."""
        try:
            visit = await self._enter(websocket)
        except RefusedError as refused:
            await websocket.send_denial_response(answer(refused.refusal))
            return
        try:
            is_known = call_wire.PROTOCOL in websocket.scope["subprotocols"]
            await websocket.accept(subprotocol=call_wire.PROTOCOL if is_known else None)
            visit.end = await _first_of(self._tell(websocket, visit), _until_heard(websocket))
            await _close(websocket, visit.end)
        finally:
            await self._leave(visit)

    async def stream(self, request: Request) -> Response:
        """Server-sent events: comments while there are none, and an end that is told."""
        try:
            visit = await self._enter(request)
        except RefusedError as refused:
            return answer(refused.refusal)
        is_begun = False
        try:
            found = await _first_of(self._find(visit), _until_gone(request))
            if found.refusal is not None:
                return answer(found.refusal)
            reader = visit.reader
            if reader is None or found is GONE or reader.is_done:
                visit.end = GONE if found is GONE else DONE
                # an EventSource that is told so does not come again
                return Response(status_code=204, headers=_HEADERS)
            is_begun = True
            on_end = partial(self._leave, visit)
            lines = self._lines(visit, reader)
            return Lines(lines, visit.place, "text/event-stream", _HEADERS, on_end)
        finally:
            if not is_begun:
                await self._leave(visit)

    async def _enter(self, peer: HTTPConnection) -> Visit:
        """Who it is and what it wants; raises RefusedError, which is on record."""
        reception = self._stages.reception
        grant = await reception.admit(peer, CALLS_SCOPE)
        ends_s = time.monotonic() + grant.expires_in_s

        async def enter() -> Visit:
            call_id, owner, after_seq = asked_of(peer)
            is_granted = grant.calls is None or call_id in grant.calls
            if owner is not None:
                is_granted = grant.reads_call(call_id, f"{grant.issuer} {owner}")
            if not is_granted:
                raise RefusedError(errors.FORBIDDEN, "call_not_granted")
            place = self._places.take(grant.who)
            return Visit(peer, grant, call_id, owner, after_seq, place, ends_s)

        visit = await reception.attend(peer, enter, grant)
        self._stages.calls.arrive()
        return visit

    async def _find(self, visit: Visit) -> End:
        """Wait for the call, to be read by one more, on record by then; or why it is not."""
        stages = self._stages

        async def find() -> None:
            why_waiting = partial(self._why_ended, visit, is_waiting=True)
            live = await stages.calls.until_begun(visit.call_id, visit.may_see, why_waiting)
            visit.place = _both(visit.place, self._of_calls.take(f"{live.owner}\n{live.call_id}"))
            why_reading = partial(self._why_ended, visit)
            most = self._settings.outbox_events
            visit.reader = CallReader(live, visit.after_seq, most, why_reading)
            await record_or_refuse(stages.trail, visit.watched(live))

        try:
            await stages.reception.attend(visit.peer, find, visit.grant)
        except RefusedError as refused:
            visit.end = ended_by(refused)
            return visit.end
        return FOUND

    def _why_ended(self, visit: Visit, *, is_waiting: bool = False) -> Refusal | None:
        """Of a server that stops the last words are read: its calls end by that."""
        if is_waiting and self._stages.calls.is_stopping:
            return errors.SHUTTING_DOWN
        if self._stages.is_revoked(visit.grant):
            return errors.REVOKED
        return errors.TOKEN_EXPIRED if time.monotonic() >= visit.ends_s else None

    async def _lines(self, visit: Visit, reader: CallReader) -> AsyncIterator[bytes]:
        yield _BEGINNING
        try:
            while not reader.is_done:
                kept = await reader.take(self._settings.keep_alive_s)
                yield _KEEP_ALIVE if kept is None else _event(kept)
            visit.end = DONE
        except RefusedError as refused:
            visit.end = ended_by(refused)
            yield f"data: {_error(refused.refusal)}\n\n".encode()

    async def _tell(self, websocket: WebSocket, visit: Visit) -> End:
        found, reader = await self._find(visit), visit.reader
        if reader is None or found.refusal is not None:
            return found
        return await _first_of(self._write(websocket, reader), _until_ended(reader))

    async def _write(self, websocket: WebSocket, reader: CallReader) -> End:
        try:
            while not reader.is_done:
                if kept := await reader.take(self._settings.keep_alive_s):
                    async with asyncio.timeout(self._settings.write_limit_s):
                        await websocket.send_text(kept.text)
        except RefusedError as refused:
            return ended_by(refused)
        except TimeoutError:
            return End(errors.SLOW_READER.code, errors.SLOW_READER)
        except (WebSocketDisconnect, RuntimeError):
            return GONE
        return DONE

    async def _leave(self, visit: Visit) -> None:
        """On record, if it may be on record that it reads."""
        visit.place.give_back()
        try:
            event = visit.unwatched()
            if event is None:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(_NOTE_LIMIT_S):
                    await self._stages.trail.note(event)
        finally:
            self._stages.calls.depart()


def call_routes(stages: CallStages) -> list[BaseRoute]:
    """The routes."""
    watching = _Watching(stages)
    return [
        WebSocketRoute(_PATH, watching.socket),
        Route(_PATH, watching.stream, methods=["GET"]),
    ]


def _both(one: Place, other: Place) -> Place:
    def free() -> None:
        one.give_back()
        other.give_back()

    return Place(free)


async def _first_of(*works: Coroutine[None, None, End]) -> End:
    """What ends first, and of two at once the former; the others are ended."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(work) for work in works]
        ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
    return next(task.result() for task in running if task in ended)


async def _until_ended(reader: CallReader) -> End:
    refusal = await reader.until_ended()
    return End(refusal.code, refusal)


async def _until_gone(request: Request) -> End:
    """Who waits for a call to begin and goes away keeps no place."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return GONE


async def _until_heard(websocket: WebSocket) -> End:
    """Until the peer goes, or says something: it has nothing to say."""
    message = await websocket.receive()
    if message["type"] == "websocket.receive":
        return End(errors.BAD_MESSAGE.code, errors.BAD_MESSAGE)
    return GONE


async def _close(websocket: WebSocket, end: End) -> None:
    if end is GONE:
        return
    with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(_CLOSE_LIMIT_S):
            if end.refusal is not None:
                await websocket.send_text(_error(end.refusal))
    code = _NORMAL_CLOSE if end.refusal is None else end.refusal.close_code
    with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        async with asyncio.timeout(_CLOSE_LIMIT_S):
            await websocket.close(code)


def _event(kept: Kept) -> bytes:
    return f"id: {kept.seq}\ndata: {kept.text}\n\n".encode()


def _error(refusal: Refusal) -> str:
    return call_wire.encode(wire.ErrorEvent(refusal.code, refusal.text, refusal.is_retryable))
