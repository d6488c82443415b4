"""A session whose sockets break, with its whole connection around it."""

import asyncio
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from security.door_events import SessionAway, SessionEnded
from server import errors, wire
from tests.fakes import silence, speech
from tests.server.test_connection import STOP, FakeWebSocket, scene

START = '{"type":"start","sample_rate_hz":16000,"resumable":true}'
OFFER = wire.Resumption("key", 30)
PCM = b"".join(speech(400, level=0.3 + at / 20) + silence(900) for at in range(6))
UNNUMBERED = {"ready", "resumed", "audio_received"}


def resumable(**given):
    return scene(resumption=OFFER, **given)


def resume(n_events: int) -> str:
    return json.dumps({"type": "resume", "events": n_events})


def received(n_events: int) -> str:
    return json.dumps({"type": "events_received", "events": n_events})


def numbered(socket: FakeWebSocket) -> list[dict]:
    return [event for event in socket.sent if event["type"] not in UNNUMBERED]


def back(it, tasks: asyncio.TaskGroup, n_events: int) -> FakeWebSocket:
    """Another socket, whose peer has so many events."""
    socket = FakeWebSocket()
    socket.put(resume(n_events))
    tasks.create_task(it.connection.rejoin(socket))
    return socket


def settle(it, socket: FakeWebSocket, n_before: int = 0) -> None:
    socket.put(received(n_before + len(numbered(socket))))


async def finals_undisturbed() -> list[str]:
    async with resumable() as it:
        it.websocket.put(START, PCM, STOP)
        await it.until(lambda: "ended" in it.websocket.kinds())
        settle(it, it.websocket)
    return [e["text"] for e in it.websocket.sent if e["type"] == "final"]


async def test_a_session_goes_on_over_another_socket_from_what_the_peer_has():
    async with resumable() as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START, PCM[:20_000])
        await it.until(lambda: "speech_started" in it.websocket.kinds())
        it.websocket.vanish()
        await it.until(lambda: it.connection.may_come_back and it.records)
        second = back(it, tasks, n_events=0)
        await it.until(lambda: len(numbered(second)) >= 1)
        assert second.sent[0] == {"type": "resumed", "bytes": 20_000}
        assert numbered(second)[0]["type"] == "speech_started"
        second.put(PCM[20_000:], STOP)
        await it.until(lambda: "ended" in second.kinds())
        settle(it, second)
    assert [e["text"] for e in second.sent if e["type"] == "final"] == await finals_undisturbed()
    assert second.close_code == 1000
    assert [type(record) for record in it.records] == [SessionAway, SessionEnded]
    assert it.records[-1].reason == "stopped"


async def test_a_session_that_was_not_started_so_ends_with_its_socket():
    async with resumable() as it:
        it.websocket.put('{"type":"start","sample_rate_hz":16000}', speech(500))
        await it.until(lambda: "ready" in it.websocket.kinds())
        assert it.websocket.sent[0]["resume"] is None
        it.websocket.vanish()
    assert it.records[-1].reason == "client_gone"


async def test_a_peer_that_closes_to_come_back_is_waited_for():
    async with resumable() as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START)
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish(wire.RETURN_CLOSE_CODE)
        await it.until(lambda: it.records)
        second = back(it, tasks, n_events=0)
        await it.until(lambda: second.sent)
        second.put(STOP)
        await it.until(lambda: "ended" in second.kinds())
        settle(it, second)
    assert [type(record) for record in it.records] == [SessionAway, SessionEnded]


@pytest.mark.parametrize("code", [1000, 1001, 1009])
async def test_a_peer_that_closes_has_left(code):
    async with resumable() as it:
        it.websocket.put(START, speech(500))
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish(code)
    assert [type(record) for record in it.records] == [SessionEnded]


async def test_after_the_grace_time_the_session_is_over():
    async with resumable(patience={"resume_grace_s": 0.05}) as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START, speech(500))
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish()
        await it.running
        late = back(it, tasks, n_events=0)
    assert it.records[-1].reason == "client_gone"
    assert late.close_code == errors.SESSION_GONE.close_code
    assert late.sent[0]["code"] == "session_gone"


async def test_silence_while_away_is_not_idleness():
    async with resumable(idle_limit_s=30.0) as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START, speech(500))
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish()
        await it.until(lambda: it.records)
        it.clock.move(29)
        await asyncio.sleep(0.05)
        it.clock.move(29)
        await asyncio.sleep(0.05)
        second = back(it, tasks, n_events=1)
        await it.until(lambda: second.sent)
        second.put(STOP)
        await it.until(lambda: "ended" in second.kinds())
        settle(it, second, n_before=1)
    assert it.records[-1].reason == "stopped"


async def test_another_socket_takes_the_place_of_one_that_hangs():
    async with resumable() as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START, PCM[:9_000])
        await it.until(lambda: "ready" in it.websocket.kinds())
        await it.until(lambda: it.websocket.inbox.empty())
        second = back(it, tasks, n_events=len(numbered(it.websocket)))
        await it.until(lambda: second.sent)
        it.websocket.put(PCM[9_000:])  # late, over the former one
        second.put(PCM[9_000:], STOP)
        await it.until(lambda: "ended" in second.kinds())
        settle(it, second, n_before=len(numbered(it.websocket)))
    assert it.websocket.close_code == errors.SESSION_GONE.close_code
    assert it.records[-1].bytes_received == len(PCM)
    assert [type(record) for record in it.records] == [SessionEnded], "nobody was away"


async def test_the_end_waits_for_a_peer_that_has_not_heard_it():
    async with resumable() as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START, PCM, STOP)
        await it.until(lambda: "ended" in it.websocket.kinds())
        n_events = len(numbered(it.websocket))
        it.websocket.vanish()  # before it could say that it has the last two
        await asyncio.sleep(0.05)
        second = back(it, tasks, n_events - 2)
        await it.until(lambda: "ended" in second.kinds())
        settle(it, second, n_before=n_events - 2)
    assert [event["type"] for event in numbered(second)] == ["final", "ended"]
    assert second.close_code == 1000


async def test_a_peer_that_never_says_what_it_has_is_not_waited_for_in_the_end():
    async with resumable() as it:
        it.websocket.put(START, STOP)
    assert it.websocket.kinds() == ["ready", "ended"]
    assert it.websocket.close_code == 1000


async def test_a_count_of_what_was_never_said_ends_the_session():
    async with resumable() as it:
        it.websocket.put(START, received(7))
        await it.until(lambda: "ended" in it.websocket.kinds())
        settle(it, it.websocket)
    assert it.records[-1].reason == "bad_message"
    assert it.websocket.close_code == errors.BAD_MESSAGE.close_code


@pytest.mark.parametrize("first", [START, "{}", received(0), b"\0\0"])
async def test_who_comes_back_says_so_first(first):
    async with resumable() as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START)
        await it.until(lambda: "ready" in it.websocket.kinds())
        second = FakeWebSocket()
        second.put(first)
        tasks.create_task(it.connection.rejoin(second))
        await it.until(lambda: second.close_code is not None)
        it.websocket.put(STOP)
        await it.until(lambda: "ended" in it.websocket.kinds())
        settle(it, it.websocket)
    assert second.close_code == errors.BAD_MESSAGE.close_code


async def test_who_has_events_that_were_never_said_is_turned_away_and_the_session_waits_on():
    async with resumable() as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START)
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish()
        await it.until(lambda: it.records)
        liar = back(it, tasks, n_events=9)
        await it.until(lambda: liar.close_code is not None)
        second = back(it, tasks, n_events=0)
        await it.until(lambda: second.sent)
        second.put(STOP)
        await it.until(lambda: "ended" in second.kinds())
        settle(it, second)
    assert liar.sent[0]["code"] == "bad_message"
    assert [type(record) for record in it.records] == [SessionAway, SessionEnded]


async def test_a_session_that_is_ended_from_outside_does_not_wait_for_who_is_away():
    async with resumable() as it:
        it.websocket.put(START, speech(800))
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish()
        await it.until(lambda: it.records)
        it.connection.refuse(errors.SHUTTING_DOWN)
    assert it.records[-1].reason == "shutting_down"


async def test_a_place_that_is_given_to_another_is_not_waited_in():
    async with resumable(patience={"contested_after_s": 0.0}) as it:
        it.websocket.put(START)
        await it.until(lambda: "ready" in it.websocket.kinds())
        assert not it.connection.is_given_up
        it.websocket.vanish()
        await it.until(lambda: it.connection.is_given_up)
        it.connection.give_up()
    assert it.records[-1].reason == "client_gone"


async def test_audio_is_confirmed_by_amount_and_by_time():
    async with resumable() as it:
        it.websocket.put(START)
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.put(silence(1100))
        await it.until(lambda: {"type": "audio_received", "bytes": 35_200} in it.websocket.sent)
        it.websocket.put(silence(100))
        it.clock.move(1)
        await it.until(lambda: {"type": "audio_received", "bytes": 38_400} in it.websocket.sent)
        it.websocket.vanish(1000)


class _Peer:
    """A client whose socket loses what is on the way, both ways, again and again."""

    def __init__(self, it, tasks, seed):
        self.it, self.tasks, self.random = it, tasks, random.Random(seed)  # noqa: S311 (not for secrets)
        self.socket = it.websocket
        self.had = []
        self.n_before = 0

    def take(self, at_most=None):
        events = numbered(self.socket)[len(self.had) - self.n_before :]
        self.had += events if at_most is None else events[:at_most]

    def has_all(self):
        self.take()
        return bool(self.had) and self.had[-1]["type"] == "ended"

    async def cut(self):
        self.take(self.random.choice([None, 0, 1, 2]))
        self.n_before = len(self.had)
        former, self.socket = self.socket, FakeWebSocket()
        if self.random.random() < 0.6:
            former.vanish()
        self.socket.put(resume(self.n_before))
        self.tasks.create_task(self.it.connection.rejoin(self.socket))
        await self.it.until(lambda: self.socket.sent)
        return self.socket.sent[0]["bytes"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 30), st.lists(st.integers(0, len(PCM)), max_size=8))
def test_whatever_breaks_when_nothing_is_lost_and_nothing_comes_twice(seed, cuts):
    async def run():
        async with resumable(write_limit_s=2.0) as it, asyncio.TaskGroup() as tasks:
            peer = _Peer(it, tasks, seed)
            it.websocket.put(START)
            await it.until(lambda: "ready" in it.websocket.kinds())
            at = 0
            for goal in sorted(cuts):
                while at < goal:
                    step = min(goal - at, peer.random.choice([1, 641, 4001, 16_384]))
                    peer.socket.put(PCM[at : at + step])
                    at += step
                for _ in range(peer.random.randrange(4)):
                    await asyncio.sleep(0)
                if peer.random.random() < 0.5:
                    peer.take()
                    peer.socket.put(received(len(peer.had)))
                    await asyncio.sleep(0)
                at = await peer.cut()
            peer.socket.put(PCM[at:], STOP)
            for _ in range(peer.random.randrange(3)):
                await peer.cut()
                peer.socket.put(STOP)
            await it.until(peer.has_all)
            peer.socket.put(received(len(peer.had)))
        assert it.records[-1].bytes_received == len(PCM)
        assert [e["text"] for e in peer.had if e["type"] == "final"] == await finals_undisturbed()
        assert peer.had[-1]["type"] == "ended"

    asyncio.run(run())
