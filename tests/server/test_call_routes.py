"""Who follows a call: what is told over a WebSocket and as events, and how following ends."""

import asyncio
import time

import pytest
import websockets

from security.call_events import CallUnwatched, CallWatched
from security.door_events import HandshakeRefused
from server import call_wire
from tests.joined import NOW_S, bearer
from tests.server.calling import READER, Switchboard, events_of, frames
from tests.server.test_call import AGENT, CUSTOMER, final, kinds, partial


@pytest.fixture
def board(tmp_path):
    return Switchboard(tmp_path)


def seqs(told):
    return [event["seq"] for event in told]


# --- what is told ---


async def test_a_call_is_told_over_a_websocket_to_its_end(board):
    seat = board.join(tracks=[CUSTOMER, AGENT])
    async with board.open() as telephone, telephone.follow() as websocket:
        assert websocket.subprotocol == call_wire.PROTOCOL
        await asyncio.sleep(0.15)  # longer than a sign of life would take
        seat.say(1, final(0, text="hello"), time.monotonic())
        board.end(seat)
        told = await frames(websocket)
    assert kinds(told) == [
        *("call_started", "track_started", "track_started", "final"),
        *("track_ended", "track_ended", "call_ended"),
    ]
    assert (told[3]["role"], told[3]["text"]) == ("agent", "hello")
    assert websocket.close_code == 1000


async def test_a_call_is_told_as_events_to_its_end(board):
    seat = board.join()
    async with board.open() as telephone, telephone.streaming() as answered:
        seat.say(0, final(0, text="hello\r\n\u2028data: x"), time.monotonic())
        board.end(seat)
        body = (await answered.aread()).decode()
    told = events_of(body)
    assert answered.headers["content-type"].startswith("text/event-stream")
    assert answered.headers["cache-control"] == "no-store"
    assert kinds([each.event for each in told])[2:] == ["final", "track_ended", "call_ended"]
    assert [each.seq for each in told] == ["1", "2", "3", "4", "5"]
    assert told[2].event["text"] == "hello\r\n\u2028data: x"


async def test_while_nothing_is_said_a_stream_of_events_shows_signs_of_life(board):
    board.join()
    async with board.open() as telephone, telephone.streaming() as answered:
        heard = ""
        async for text in answered.aiter_text():
            heard += text
            if heard.endswith("\n:\n\n"):
                break
    assert heard.startswith("retry: 2000\n\nid: 1\n")


async def test_who_asks_before_a_call_begins_waits_for_it(tmp_path):
    board = Switchboard(tmp_path, wait_s=5)
    async with board.open() as telephone, telephone.follow() as websocket:
        board.end(board.join())
        assert kinds(await frames(websocket))[0] == "call_started"


@pytest.mark.parametrize(
    ("call_id", "path"),
    [
        ("a/b.c", "a/b.c/events"),
        ("a/b", "a%2Fb/events"),
        ("x/events", "x/events/events"),
        ("sip:1@h.example;tag=a b", "sip:1@h.example;tag=a%20b/events"),
        ("tickets", "tickets/events"),
        ("a%2Fb", "a%252Fb/events"),
        ("...", ".../events"),
    ],
)
async def test_an_id_may_be_what_a_telephone_system_makes_of_it(board, call_id, path):
    seat = board.join(call_id)
    seat.say(0, final(0), time.monotonic())
    async with board.open() as telephone, telephone.follow(path) as websocket:
        board.end(seat)
        assert (await frames(websocket))[0]["call"] == call_id
    assert board.records_of(CallWatched)[0].call_id == call_id


# --- coming back ---


async def test_who_comes_back_says_what_it_has(board):
    seat = board.join()
    seat.say(0, final(0), time.monotonic())
    async with board.open() as telephone, telephone.follow("c-1/events?after=2") as websocket:
        board.end(seat)
        assert seqs(await frames(websocket)) == [3, 4, 5]


async def test_what_a_browser_says_it_has_counts_more_than_its_address(board):
    seat = board.join()
    board.end(seat)
    async with board.open() as telephone:
        again = {"last-event-id": "3"}
        status, told = await telephone.asked("c-1/events?after=1", headers=again)
    assert (status, [each.seq for each in told]) == (200, ["4"])


async def test_an_event_source_that_has_all_of_a_call_that_is_over_is_told_not_to_come_again(board):
    board.end(board.join())
    async with board.open() as telephone:
        assert await telephone.asked(headers={"last-event-id": "4"}) == (204, None)
    [left] = board.records_of(CallUnwatched)
    assert (left.n_events, left.reason) == (0, "call_ended")


async def test_who_was_away_for_too_long_is_told_what_is_missing(tmp_path):
    board = Switchboard(tmp_path, most_kept_events=16)
    seat = board.join()
    for segment in range(20):
        seat.say(0, final(segment), time.monotonic())
    board.end(seat)
    async with board.open() as telephone:
        _, told = await telephone.asked()
    assert told[0].event == {"type": "skipped", "seq": 8}
    assert [told[0].seq, told[1].seq] == ["8", "9"]
    assert len(told) == 17


@pytest.mark.parametrize(
    "path",
    [
        "/events",
        "c-1/events?after=x",
        "c-1/events?after=-1",
        "c-1/events?after=1234567890123456",
        "c-1/events?after=%D9%A1",
        "c-1/events?owner=",
        f"c-1/events?owner={'x' * 256}",
        f"{'x' * 129}/events",
        "caf%C3%A9/events",
        "a%00b/events",
    ],
)
async def test_what_cannot_be_meant_is_refused(board, path):
    async with board.open() as telephone:
        assert await telephone.asked(path) == (400, "bad_request")
        with pytest.raises(websockets.InvalidStatus) as refused:
            await telephone.follow(path)
    assert refused.value.response.status_code == 400
    assert {event.reason for event in board.records_of(HandshakeRefused)} == {"bad_request"}


async def test_a_last_event_id_that_is_none_is_refused(board):
    board.join()
    async with board.open() as telephone:
        asked = await telephone.asked(headers={"last-event-id": "1; x"})
    assert asked == (400, "bad_request")


# --- the end ---


async def test_a_call_that_does_not_begin_is_not_known(board):
    async with board.open() as telephone:
        assert await telephone.asked() == (404, "call_unknown")
        async with telephone.follow() as websocket:
            [told] = await frames(websocket)
    assert (told["type"], told["code"], told["is_retryable"]) == ("error", "call_unknown", True)
    assert websocket.close_code == 4404
    assert not board.records_of(CallWatched, CallUnwatched)


async def test_who_is_revoked_reads_no_more(board):
    board.join()
    async with (
        board.open() as telephone,
        telephone.follow() as websocket,
        telephone.streaming() as answered,
    ):
        await websocket.recv()
        await board.revoke()
        told, body = await frames(websocket), (await answered.aread()).decode()
    assert (told[-1]["code"], websocket.close_code) == ("revoked", 4401)
    assert (events_of(body)[-1].seq, events_of(body)[-1].event["code"]) == (None, "revoked")
    assert {left.reason for left in await board.until_left(2)} == {"revoked"}


async def test_who_is_revoked_does_not_wait_for_a_call_either(tmp_path):
    board = Switchboard(tmp_path, wait_s=30)
    async with board.open() as telephone, telephone.follow() as websocket:
        await board.revoke()
        [told] = await frames(websocket)
    assert told["code"] == "revoked"


async def test_reading_ends_with_its_token(board):
    board.join()
    claims = {**READER, "lifetime_s": 60}
    async with board.open() as telephone:
        board.wall_s = NOW_S + 59.8
        async with telephone.follow(claims=claims) as websocket:
            told = await frames(websocket)
    assert (told[-1]["code"], websocket.close_code) == ("token_expired", 4401)


async def test_a_server_that_stops_tells_the_last_words_and_waits_for_no_call(tmp_path):
    board = Switchboard(tmp_path, wait_s=30)
    seat = board.join()
    async with (
        board.open() as telephone,
        telephone.follow() as reading,
        telephone.follow("c-2/events") as waiting,
    ):
        await reading.recv()
        board.is_stopping = True
        seat.say(0, final(0, text="goodbye"), time.monotonic())
        board.end(seat)
        told, refused = await frames(reading), await frames(waiting)
    assert kinds(told)[1:] == ["final", "track_ended", "call_ended"]
    assert (refused[0]["code"], waiting.close_code) == ("shutting_down", 1012)


async def test_who_follows_has_nothing_to_say(board):
    board.join()
    async with board.open() as telephone, telephone.follow() as websocket:
        await websocket.send("hello")
        told = await frames(websocket)
    assert (told[-1]["code"], websocket.close_code) == ("bad_message", 4400)


@pytest.mark.parametrize("changes", [{}, {"outbox_events": 8192, "write_limit_s": 0.1}])
async def test_who_reads_nothing_is_closed_and_may_come_back_for_the_rest(tmp_path, changes):
    board = Switchboard(tmp_path, **changes)
    seat = board.join()
    handshake = (
        "GET /v1/calls/c-1/events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        f"Authorization: {bearer(**READER)['authorization']}\r\n\r\n"
    )
    async with board.open() as telephone:
        peer = await telephone.here.peer(read_bytes=4096)
        await peer.say(handshake.encode())
        await peer.hear(b"\r\n\r\n")
        for segment in range(2000):
            if board.records_of(CallUnwatched):
                break
            seat.say(0, final(segment, text="x" * 20_000), time.monotonic())
            await asyncio.sleep(0.005 if segment % 10 == 0 else 0)
        [left] = await board.until_left()
        board.end(seat)
        status, rest = await telephone.asked()
    assert left.reason == "slow_reader"
    assert (status, rest[-1].event["type"]) == (200, "call_ended")


async def test_who_leaves_is_noticed_and_gives_its_place_back(tmp_path):
    board = Switchboard(tmp_path, most_readers=1)
    seat = board.join()
    async with board.open() as telephone:
        async with telephone.follow() as websocket:
            await websocket.recv()
        async with telephone.streaming() as answered:
            assert answered.status_code == 200
        assert [left.reason for left in await board.until_left(2)] == ["client_gone"] * 2
        board.end(seat)
        assert (await telephone.asked())[0] == 200


async def test_a_wire_that_breaks_while_it_is_written_to_is_a_reader_that_left(board):
    board.join()
    heard = iter([{"type": "websocket.connect"}])

    async def receive():
        return next(heard, None) or await asyncio.Event().wait()

    async def send(message):
        if message["type"] == "websocket.send":
            raise OSError

    headers = [(name.encode(), value.encode()) for name, value in bearer(**READER).items()]
    scope = {"type": "websocket", "path": "/v1/calls/c-1/events", "query_string": b""}
    await board.app({**scope, "headers": headers, "subprotocols": []}, receive, send)
    [left] = board.records_of(CallUnwatched)
    assert (left.reason, left.peer_address) == ("client_gone", "")


async def test_who_leaves_while_it_waits_keeps_no_place(tmp_path):
    board = Switchboard(tmp_path, most_readers=1, wait_s=30)
    head = "GET /v1/calls/c-2/events HTTP/1.1\r\nHost: x\r\nAuthorization: "
    request = f"{head}{bearer(**READER)['authorization']}\r\n\r\n".encode()
    board.end(board.join())
    async with board.open() as telephone:
        peer = await telephone.here.peer()
        await peer.say(request)
        await telephone.here.until(lambda: len(board.records) > 0)
        peer.writer.transport.abort()
        while (await telephone.asked())[0] != 200:  # noqa: ASYNC110 (nobody tells)
            await asyncio.sleep(0.01)
    assert {watched.call_id for watched in board.records_of(CallWatched)} == {"c-1"}


async def test_what_was_said_before_costs_a_reader_only_the_newest_caption(board):
    seat = board.join()
    for revision in range(50):
        seat.say(0, partial(0, revision), time.monotonic())
    board.end(seat)
    async with board.open() as telephone:
        _, told = await telephone.asked()
    assert [each.event["type"] for each in told].count("partial") == 1
