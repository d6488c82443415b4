"""Calls and the routes that lead to them, behind a real listener on loopback."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import httpx2
import websockets
from starlette.applications import Starlette

from security.call_events import CallUnwatched
from server import call_wire
from server.call import CallsSettings
from server.call_routes import CallStages, call_routes
from server.call_tickets import call_ticket_routes
from server.calls import Calls
from server.revoking import revocation_of
from tests.joined import NOW_S, POLICY, Joined, bearer
from tests.server.listening import LIMIT_S, Listening, listening
from tests.server.test_call import CUSTOMER

QUICK = CallsSettings(rejoin_s=0, wait_s=0.05, keep_alive_s=0.05, outbox_events=16)
PBX = "earwitness pbx"
READER = {"subject": "olga", "scopes": {"calls"}, "call_owners": {"pbx"}}


@dataclass
class Told:
    """One server-sent event."""

    seq: str | None
    event: dict


class Switchboard(Joined):
    """One server's calls."""

    def __init__(self, folder, **changes) -> None:
        super().__init__(folder)
        settings = replace(QUICK, **changes)
        self.is_stopping = False
        self.calls = Calls(settings, time.monotonic, lambda: self.is_stopping)
        self.watching = CallStages(self.reception, self.calls, self, self.revoking.is_revoked)
        routes = [*call_ticket_routes(self.reception), *call_routes(self.watching)]
        self.app = Starlette(routes=routes)

    def join(self, call_id="c-1", owner=PBX, tracks=(CUSTOMER,)):
        return self.calls.join(owner, call_id, "s-1", tracks, time.monotonic())

    def end(self, *seats) -> None:
        for seat in seats:
            seat.leave("stopped", time.monotonic())
        self.calls.tick(time.monotonic())

    async def revoke(self, subject="olga") -> None:
        await self.revoking.revoke(revocation_of(POLICY, NOW_S, subject=subject))

    async def until_left(self, n_readers=1) -> list[CallUnwatched]:
        async with asyncio.timeout(LIMIT_S):
            while len(self.records_of(CallUnwatched)) < n_readers:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return self.records_of(CallUnwatched)

    @asynccontextmanager
    async def open(self):
        async with asyncio.timeout(LIMIT_S), listening(app=self.app) as here:
            yield Telephone(here)


class Telephone:
    """Whoever asks."""

    def __init__(self, here: Listening) -> None:
        self.here = here

    def follow(self, path="c-1/events", claims=READER, **given):
        """Over a WebSocket."""
        url = f"ws://127.0.0.1:{self.here.port}/v1/calls/{path}"
        headers = bearer(**claims) if claims else {}
        return websockets.connect(
            url,
            additional_headers=headers,
            subprotocols=[call_wire.PROTOCOL],
            proxy=None,
            **given,
        )

    @asynccontextmanager
    async def streaming(self, path="c-1/events", claims=READER, headers=None):
        """As server-sent events: the answer."""
        given = {**(bearer(**claims) if claims else {}), **(headers or {})}
        url = f"http://127.0.0.1:{self.here.port}/v1/calls/{path}"
        async with (
            httpx2.AsyncClient(trust_env=False) as client,
            client.stream("GET", url, headers=given) as answered,
        ):
            yield answered

    async def asked(self, path="c-1/events", claims=READER, headers=None):
        """All that is answered: status, and events or the refusal's code."""
        async with self.streaming(path, claims, headers) as answered:
            body = (await answered.aread()).decode()
        if answered.status_code != 200:
            return answered.status_code, json.loads(body)["code"] if body else None
        return 200, events_of(body)


def events_of(text: str) -> list[Told]:
    told = []
    for block in text.split("\n\n"):
        lines = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "data" in lines:
            told.append(Told(lines.get("id"), json.loads(lines["data"])))
    return told


async def frames(websocket) -> list[dict]:
    """Until it is closed."""
    told = []
    try:
        async for frame in websocket:
            told.append(json.loads(frame))
    except websockets.ConnectionClosed:
        pass
    return told
