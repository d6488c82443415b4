"""Which calls whose token reads, how many at a time, and what is on record of it."""

import time

import httpx2
import pytest
import websockets

from security.call_events import CallUnwatched, CallWatched
from security.door_events import HandshakeRefused
from tests.joined import NOW_S, bearer
from tests.server.calling import PBX, READER, Switchboard, frames
from tests.server.test_call import final

OTHER = "earwitness other"


@pytest.fixture
def board(tmp_path):
    board = Switchboard(tmp_path)
    for owner, text in ((PBX, "of pbx"), (OTHER, "of other"), ("foreign pbx", "of a stranger")):
        seat = board.join(owner=owner)
        seat.say(0, final(0, text=text), time.monotonic())
        board.end(seat)
    return board


async def read(board, path="c-1/events", **claims):
    """The words that such a token reads, or why it reads none."""
    async with board.open() as telephone:
        status, told = await telephone.asked(path, {**READER, **claims})
    if status != 200:
        return status, told
    return [each.event["text"] for each in told if each.event["type"] == "final"]


async def test_a_token_reads_the_calls_of_its_owners(board):
    assert await read(board) == ["of pbx"]
    assert await read(board, call_owners={"other"}) == ["of other"]


async def test_without_owners_a_token_reads_its_own(board):
    assert await read(board, subject="pbx", call_owners=None) == ["of pbx"]
    assert await read(board, subject="olga", call_owners=None) == (404, "call_unknown")


async def test_a_token_for_nobodys_calls_reads_none(board):
    assert await read(board, subject="pbx", call_owners=set()) == (404, "call_unknown")


async def test_a_subject_whose_name_is_everybodys_sign_reads_its_own_alone(board):
    assert await read(board, subject="*", call_owners=None) == (404, "call_unknown")


async def test_everybodys_calls_are_those_of_its_issuer(board):
    everybody = {"call_owners": {"*"}}
    assert await read(board, **everybody) == ["of other"]
    assert await read(board, "c-1/events?owner=pbx", **everybody) == ["of pbx"]
    assert await read(board, "c-1/events?owner=foreign%20pbx", **everybody) == (404, "call_unknown")


async def test_an_owner_that_is_not_granted_is_refused_before_anything_is_looked_up(board):
    assert await read(board, "c-1/events?owner=other") == (403, "forbidden")
    assert await read(board, "c-9/events?owner=other") == (403, "forbidden")
    assert board.records_of(HandshakeRefused)[0].reason == "call_not_granted"


async def test_a_token_for_some_calls_reads_no_others(board):
    assert await read(board, calls={"c-1", "c-3"}) == ["of pbx"]
    assert await read(board, calls={"c-2"}) == (403, "forbidden")
    assert await read(board, calls=set()) == (403, "forbidden")


@pytest.mark.parametrize("scopes", [{"transcribe"}, {"admin"}, {"audit"}])
async def test_what_is_not_for_calls_reads_none(board, scopes):
    assert await read(board, scopes=scopes) == (403, "forbidden")


async def test_without_a_token_nothing_is_read(board):
    async with board.open() as telephone:
        assert await telephone.asked(claims=None) == (401, "unauthenticated")
        with pytest.raises(websockets.InvalidStatus) as refused:
            await telephone.follow(claims=None)
    assert refused.value.response.status_code == 401


async def test_a_page_that_may_not_connect_reads_nothing(board):
    async with board.open() as telephone:
        asked = await telephone.asked(headers={"origin": "https://evil.example"})
    assert asked == (403, "origin_refused")


async def test_from_a_blocked_address_nothing_is_read(board):
    transport = httpx2.ASGITransport(board.app, client=("198.51.100.9", 5))
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/v1/calls/c-1/events", headers=bearer(**READER))).is_success
        board.blocks.block("198.51.100.9", NOW_S + 60)
        answered = await client.get("/v1/calls/c-1/events", headers=bearer(**READER))
    assert answered.json()["code"] == "address_blocked"


# --- on record ---


async def test_who_reads_is_on_record_before_the_first_word_and_once_at_the_end(board):
    await read(board)
    watched, left = board.records_of(CallWatched, CallUnwatched)
    assert (watched.subject, watched.call_id, watched.owner) == ("olga", "c-1", "pbx")
    assert (watched.peer_address, watched.peer_port is None) == ("127.0.0.1", False)
    assert (left.subject, left.call_id, left.n_events) == ("olga", "c-1", 5)
    assert left.reason == "call_ended"


async def test_what_cannot_be_put_on_record_is_not_read(board):
    board.trail_fails = True
    async with board.open() as telephone:
        assert await telephone.asked() == (503, "trail_unavailable")
        async with telephone.follow() as websocket:
            told = await frames(websocket)
    assert [event["code"] for event in told] == ["trail_unavailable"]
    assert websocket.close_code == 1013


# --- so many ---


@pytest.mark.parametrize(
    ("bound", "second"),
    [
        ("most_readers", {"subject": "bob"}),
        ("most_readers_of_subject", {}),
        ("most_readers_of_call", {"subject": "bob"}),
    ],
)
async def test_there_are_so_many_readers(tmp_path, bound, second):
    board = Switchboard(tmp_path, **{bound: 1})
    board.join()
    board.join("c-2")
    path = "c-1/events" if bound == "most_readers_of_call" else "c-2/events"
    async with board.open() as telephone, telephone.follow() as websocket:
        await websocket.recv()
        assert await telephone.asked(path, {**READER, **second}) == (503, "overloaded")


async def test_readers_of_one_call_leave_room_for_those_of_another(tmp_path):
    board = Switchboard(tmp_path, most_readers_of_call=1)
    board.join()
    board.end(board.join("c-2"))
    async with board.open() as telephone, telephone.follow() as websocket:
        await websocket.recv()
        assert (await telephone.asked("c-2/events"))[0] == 200
