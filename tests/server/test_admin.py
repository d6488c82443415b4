"""What administrators see and end, with many sessions; see also `test_app`."""

import asyncio
from contextlib import ExitStack

import httpx2
from starlette.applications import Starlette

from server.admin import admin_routes
from server.live import LiveSession
from server.session_values import Caller
from tests.fakes import GRANT
from tests.joined import Joined, bearer


class Peer:
    """A connection that only lives."""

    grant = GRANT

    def refuse(self, refusal):
        """It does not matter here."""


def client_of(joined):
    transport = httpx2.ASGITransport(Starlette(routes=admin_routes(joined.office)))
    return httpx2.AsyncClient(transport=transport, base_url="http://testserver")


async def test_a_long_list_is_made_while_others_have_their_turn(tmp_path):
    joined, n_turns = Joined(tmp_path), 0
    caller = Caller("127.0.0.1:5", None, "\xa0" * 8000)

    async def count():
        nonlocal n_turns
        while True:
            n_turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())  # noqa: TID251 (ended below)
    headers = bearer(subject="root", scopes={"admin"})
    with ExitStack() as sessions:
        for index in range(200):
            session = LiveSession(f"s-{index}", caller, 0.0, Peer())
            sessions.enter_context(joined.live.running(session))
        async with client_of(joined) as client:
            answered = await client.get("/admin/sessions", headers=headers)
    counting.cancel()
    assert [each["session_id"] for each in answered.json()["sessions"]] == [
        f"s-{index}" for index in range(200)
    ]
    assert n_turns >= 200
