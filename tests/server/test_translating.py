"""A dialect between a socket and a session, both held in the hand."""

import asyncio
import itertools

import pytest
from starlette.websockets import WebSocketDisconnect

from security.door_events import SessionEnded
from security.limits import Limits
from server import errors, wire
from server.dialects.translation import Broken, Hear, Say
from server.dialects.values import Reply
from server.line import ConnectionSettings
from server.pace import PaceSettings
from server.session_values import SessionSettings
from server.translating import Translator
from tests.fakes import silence
from tests.joined import Joined, bearer
from tests.server.test_reception import peer_with

LIMIT_S = 10.0
START = wire.Start(16_000)
FLUSHED = wire.encode(wire.Flushed(20))


class FakePeer:
    """What a client sends is put in; what it is sent is kept."""

    def __init__(self, *frames):
        self.inbox = asyncio.Queue()
        self.sent, self.close_code, self.n_refused = [], None, 0
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.fault = None
        """What sending raises."""
        self.put(*frames)

    def put(self, *frames):
        for frame in frames:
            kind = "text" if isinstance(frame, str) else "bytes"
            self.inbox.put_nowait({"type": "websocket.receive", kind: frame})

    def vanish(self, fault=None, code=1006):
        self.fault = fault or WebSocketDisconnect(1006)
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def receive(self):
        return await self.inbox.get()

    async def send_text(self, text):
        assert isinstance(text, str)
        await self._send(text)

    async def send_bytes(self, data):
        assert isinstance(data, bytes)
        await self._send(data)

    async def close(self, code):
        self.close_code = code

    async def _send(self, frame):
        await self.may_send.wait()
        if self.fault is not None:
            self.n_refused += 1
            raise self.fault
        self.sent.append(frame)


class FakeDialect:
    """A frame means what the next entry of the script says; an event is told by its type, twice."""

    def __init__(self, *script, opening=()):
        self.script, self.opening = [list(each) for each in script], list(opening)
        self.frames, self.told = [], []

    def open(self):
        return self.opening

    def receive(self, frame):
        self.frames.append(frame)
        return self.script.pop(0) if self.script else []

    def tell(self, event):
        self.told.append(event)
        name = type(event).__name__
        return [f"{name} 1", f"{name} 2"]

    def close_code(self, code):
        return code + 1


def translated(dialect, *frames):
    peer = FakePeer(*frames)
    return peer, Translator(peer, dialect)


async def received(translator, n_messages):
    async with asyncio.timeout(LIMIT_S):
        return [await translator.receive() for _ in range(n_messages)]


def text_of(message):
    return wire.encode(message)


async def test_the_opening_is_said_before_anything_is_heard_and_once():
    dialect = FakeDialect([Hear(b"1")], [Hear(b"2")], opening=[Reply("hello"), Say(START)])
    peer, translator = translated(dialect, "a", "b")
    [first, *_] = messages = await received(translator, 3)
    assert first["text"] == text_of(START)
    assert [message.get("bytes") for message in messages[1:]] == [b"1", b"2"]
    assert peer.sent == ["hello"]


async def test_what_one_frame_says_comes_message_by_message_in_its_order():
    dialect = FakeDialect([Say(START), Hear(b"1"), Say(wire.Stop())])
    _, translator = translated(dialect, b"x")
    messages = await received(translator, 3)
    assert [message["type"] for message in messages] == ["websocket.receive"] * 3
    assert messages[0]["text"] == text_of(START)
    assert messages[1]["bytes"] == b"1"
    assert messages[2]["text"] == text_of(wire.Stop())
    assert dialect.frames == [b"x"]


async def test_a_frame_that_says_nothing_is_no_message():
    dialect = FakeDialect([], [Hear(b"1")])
    _, translator = translated(dialect, "nothing", b"")
    assert (await received(translator, 1))[0]["bytes"] == b"1"
    assert dialect.frames == ["nothing", b""]


async def test_an_answer_goes_out_before_the_session_hears_the_frame():
    dialect = FakeDialect([Hear(b"1"), Reply("text"), Reply(b"bytes")])
    peer, translator = translated(dialect, b"x")
    await received(translator, 1)
    assert peer.sent == ["text", b"bytes"]


async def test_an_event_is_not_told_while_an_answer_is_on_its_way():
    dialect = FakeDialect([Reply("answer"), Reply("second"), Hear(b"1")])
    peer, translator = translated(dialect, b"x")
    peer.may_send.clear()
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(translator.receive())
        await asyncio.sleep(0)
        tasks.create_task(translator.send_text(FLUSHED))
        await asyncio.sleep(0.01)
        assert dialect.told == []
        peer.may_send.set()
    assert peer.sent == ["answer", "second", "Flushed 1", "Flushed 2"]


async def test_a_frame_is_not_looked_at_while_an_event_is_on_its_way():
    dialect = FakeDialect([Reply("answer"), Hear(b"1")])
    peer, translator = translated(dialect, b"x")
    peer.may_send.clear()
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        tasks.create_task(translator.send_text(FLUSHED))
        await asyncio.sleep(0)
        tasks.create_task(translator.receive())
        await asyncio.sleep(0.01)
        assert dialect.frames == []
        peer.may_send.set()
    assert peer.sent == ["Flushed 1", "Flushed 2", "answer"]


async def test_an_event_is_told_while_nobody_says_anything():
    peer, translator = translated(FakeDialect())
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        receiving = tasks.create_task(translator.receive())
        await asyncio.sleep(0)
        await translator.send_text(FLUSHED)
        receiving.cancel()
    assert peer.sent == ["Flushed 1", "Flushed 2"]


@pytest.mark.parametrize("n_bytes", [0, 1, 32_767, 32_768, 32_769, 1_000_001])
async def test_audio_comes_in_short_pieces_however_long_a_frame_is(n_bytes):
    audio = bytes(range(251)) * (n_bytes // 251) + bytes(n_bytes % 251)
    dialect = FakeDialect([Say(START), Hear(audio), Say(wire.Stop())])
    _, translator = translated(dialect, audio)
    start, *pieces, stop = await received(translator, 2 + max(1, -(-n_bytes // 32_768)))
    assert (start["text"], stop["text"]) == (text_of(START), text_of(wire.Stop()))
    assert b"".join(piece["bytes"] for piece in pieces) == audio
    assert all(len(piece["bytes"]) <= 32_768 for piece in pieces)


async def test_between_two_pieces_others_have_their_turn():
    _, translator = translated(FakeDialect([Hear(bytes(10 * 32_768))]), b"x")
    turns = []

    async def others():
        for _ in range(20):
            turns.append("other")
            await asyncio.sleep(0)

    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as tasks:
        await translator.receive()
        tasks.create_task(others())
        for _ in range(9):
            await translator.receive()
            turns.append("piece")
    assert all(pair != ("piece", "piece") for pair in itertools.pairwise(turns[:18]))


async def test_nothing_is_lost_by_whoever_stops_waiting_for_a_piece():
    _, translator = translated(FakeDialect([Hear(bytes(2 * 32_768))]), b"x")
    await received(translator, 1)
    waiting = asyncio.create_task(translator.receive())  # noqa: TID251 (ended below)
    await asyncio.sleep(0)
    waiting.cancel()
    assert len((await received(translator, 1))[0]["bytes"]) == 32_768


async def test_a_message_that_was_too_long_is_none_of_the_dialects():
    dialect = FakeDialect()
    peer, translator = translated(dialect)
    too_long = {"type": "websocket.receive", "refusal": errors.MESSAGE_TOO_BIG}
    peer.inbox.put_nowait(too_long)
    assert await received(translator, 1) == [too_long]
    assert dialect.frames == []


async def test_what_breaks_the_protocol_ends_the_session_after_what_was_said():
    _, translator = translated(FakeDialect([Hear(b"1"), Broken()]), b"x")
    heard, broken = await received(translator, 2)
    assert heard["bytes"] == b"1"
    assert broken == {"type": "websocket.receive", "refusal": errors.BAD_MESSAGE}


async def test_the_end_of_the_connection_is_handed_on():
    peer, translator = translated(FakeDialect())
    peer.vanish(code=1001)
    assert await received(translator, 1) == [{"type": "websocket.disconnect", "code": 1001}]


async def test_the_dialect_says_with_which_code_it_is_closed():
    peer, translator = translated(FakeDialect())
    await translator.close(4413)
    assert peer.close_code == 4414


async def test_an_event_for_nobody_is_not_swallowed():
    peer, translator = translated(FakeDialect())
    peer.vanish()
    with pytest.raises(WebSocketDisconnect):
        await translator.send_text(FLUSHED)


@pytest.mark.parametrize("fault", [WebSocketDisconnect(1006), RuntimeError("closed")])
async def test_who_goes_before_an_answer_is_heard_to_the_end_and_asked_nothing_more(fault):
    dialect = FakeDialect([Reply("1"), Hear(b"1"), Reply("2")], [Reply("3"), Hear(b"2")])
    peer, translator = translated(dialect, b"x", b"y")
    peer.vanish(fault)
    first, second, last = await received(translator, 3)
    assert (first["bytes"], second["bytes"]) == (b"1", b"2")
    assert last == {"type": "websocket.disconnect", "code": 1006}
    assert peer.n_refused == 1


# --- in a session ---


async def run_session(folder, dialect, peer):
    joined = Joined(folder)
    async with (
        asyncio.timeout(LIMIT_S),
        joined.reception.enter(peer_with(bearer())) as run,
    ):
        await run(Translator(peer, dialect))
    [ended] = joined.records_of(SessionEnded)
    return ended


async def test_a_session_hears_the_client_to_its_end(tmp_path):
    dialect = FakeDialect([Say(START), Hear(silence(100))], [Say(wire.Stop())])
    peer = FakePeer(b"audio", "end")
    ended = await run_session(tmp_path, dialect, peer)
    assert (ended.reason, ended.audio_ms) == ("stopped", 100)
    assert (peer.sent[0], peer.sent[-1]) == ("Ready 1", "Ended 2")
    assert peer.close_code == 1001


async def test_a_session_ends_for_what_breaks_the_clients_protocol(tmp_path):
    dialect = FakeDialect([Say(START)], [Broken()])
    peer = FakePeer("start", "nonsense")
    ended = await run_session(tmp_path, dialect, peer)
    assert ended.reason == "bad_message"
    assert [type(event) for event in dialect.told[-2:]] == [wire.ErrorEvent, wire.Ended]
    assert dialect.told[-2].code == "bad_message"
    assert peer.close_code == 4401


async def test_a_session_ends_for_a_message_that_is_too_long(tmp_path):
    dialect = FakeDialect([Say(START)])
    peer = FakePeer("start")
    peer.inbox.put_nowait({"type": "websocket.receive", "refusal": errors.MESSAGE_TOO_BIG})
    ended = await run_session(tmp_path, dialect, peer)
    assert (ended.reason, ended.close_code) == ("message_too_big", 1009)
    assert [type(event) for event in dialect.told[-2:]] == [wire.ErrorEvent, wire.Ended]
    assert peer.close_code == 1010


async def test_one_long_frame_is_too_fast_as_many_short_ones_are(tmp_path):
    audio = silence(60_000)
    dialect = FakeDialect([Say(START), Hear(audio)], [Hear(audio)])
    peer = FakePeer(b"all", b"again")
    settings = SessionSettings(pace=PaceSettings(limit_ms=200))
    joined = Joined(tmp_path, session_settings=settings)
    limits = Limits(pace_percent=100)
    async with (
        asyncio.timeout(LIMIT_S),
        joined.reception.enter(peer_with(bearer(limits=limits))) as run,
    ):
        await run(Translator(peer, dialect))
    [ended] = joined.records_of(SessionEnded)
    assert ended.reason == "too_fast"
    assert ended.audio_ms < 20_000


async def test_a_client_that_goes_while_it_is_answered_has_gone_and_nothing_has_failed(tmp_path):
    dialect = FakeDialect([Say(START), Hear(silence(100))], [Reply("1"), Hear(silence(100))])
    peer = FakePeer(b"audio", b"more")
    peer.vanish()
    ended = await run_session(tmp_path, dialect, peer)
    assert ended.reason == "client_gone"


async def test_a_client_that_takes_no_answers_is_given_up(tmp_path):
    script = [[Say(START)], *([Reply(str(n)), Hear(silence(20))] for n in range(3))]
    peer = FakePeer("start", *[b"audio"] * 3)
    joined = Joined(tmp_path, connection_settings=ConnectionSettings(write_limit_s=0.05))
    async with asyncio.timeout(LIMIT_S), joined.reception.enter(peer_with(bearer())) as run:
        peer.may_send.clear()
        await run(Translator(peer, FakeDialect(*script)))
    [ended] = joined.records_of(SessionEnded)
    assert ended.reason == "client_gone"
