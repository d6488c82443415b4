"""What administrators see and end, with many sessions; see also `test_app`."""

import asyncio
from contextlib import ExitStack, suppress

import httpx2
from starlette.applications import Starlette

from security.door_events import SessionEndedByAdministrator
from server import errors
from server.admin import admin_routes
from server.live import LiveSession
from server.session_values import Caller
from tests.fakes import CALLER, GRANT
from tests.joined import Joined, bearer


class Peer:
    """A connection that only lives."""

    grant = GRANT
    is_ending = False

    def __init__(self):
        self.refusals = []

    def refuse(self, refusal):
        self.refusals.append(refusal)


def client_of(joined):
    transport = httpx2.ASGITransport(Starlette(routes=admin_routes(joined.office)))
    return httpx2.AsyncClient(transport=transport, base_url="http://testserver")


async def test_a_long_list_is_made_while_others_have_their_turn(tmp_path):
    joined, n_turns = Joined(tmp_path), 0
    caller = Caller("127.0.0.1", None, "\xa0" * 8000, 5)

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


async def test_a_session_that_is_ended_twice_is_ended_once_and_on_record_once(tmp_path):
    joined, peer = Joined(tmp_path), Peer()
    headers = bearer(subject="root", scopes={"admin"})
    with joined.live.running(LiveSession("s-1", CALLER, 0.0, peer)):
        async with client_of(joined) as client, asyncio.TaskGroup() as tasks:
            asked = [
                tasks.create_task(client.delete("/admin/sessions/s-1", headers=headers))
                for _ in range(3)
            ]
    assert sorted(task.result().json()["ended"] for task in asked) == [0, 0, 1]
    assert {task.result().status_code for task in asked} == {200}
    assert peer.refusals == [errors.ENDED_BY_ADMINISTRATOR]
    [ended] = joined.records_of(SessionEndedByAdministrator)
    assert (ended.by, ended.peer_address) == ("root", "127.0.0.1")


async def test_an_administrator_who_leaves_while_it_is_recorded_has_still_ended_it(
    tmp_path, monkeypatch
):
    joined, peer = Joined(tmp_path), Peer()

    async def note(event):
        if isinstance(event, SessionEndedByAdministrator):
            raise asyncio.CancelledError

    monkeypatch.setattr(joined, "note", note)
    headers = bearer(subject="root", scopes={"admin"})
    with joined.live.running(LiveSession("s-1", CALLER, 0.0, peer)):
        async with client_of(joined) as client:
            with suppress(asyncio.CancelledError):
                await client.delete("/admin/sessions/s-1", headers=headers)
    assert peer.refusals == [errors.ENDED_BY_ADMINISTRATOR]
