"""How long a session stays whose peer is away, and who may end it."""

import asyncio

from security.door_events import SessionEnded
from server import errors
from tests.server.test_connection import STOP, FakeWebSocket
from tests.server.test_line import PCM, START, numbered, resumable, resume, settle


async def test_what_is_ended_from_outside_ends_though_more_is_to_be_said_than_may_wait():
    async with resumable() as it:
        it.websocket.may_send.clear()
        it.websocket.put(START, PCM)
        it.websocket.vanish()
        await it.until(lambda: it.websocket.inbox.empty())
        await asyncio.sleep(0.05)
        it.connection.refuse(errors.SHUTTING_DOWN)
    assert [record.reason for record in it.records if isinstance(record, SessionEnded)] == [
        "shutting_down"
    ]


async def test_nobody_is_waited_for_beyond_the_end_of_the_token():
    async with resumable() as it:
        it.websocket.may_send.clear()
        it.websocket.put(START, PCM)
        await it.until(lambda: it.websocket.inbox.empty())
        await asyncio.sleep(0.05)
        it.clock.move(1e6)
        async with asyncio.timeout(5):
            await it.running
    assert it.records[-1].reason == "client_gone"


async def test_who_is_back_is_not_given_up():
    class Hasty(FakeWebSocket):
        """Whose place another wants just when its peer is back."""

        async def receive(self):
            message = await super().receive()
            asyncio.get_running_loop().call_soon(give_up)
            return message

    def give_up():
        if it.connection.is_given_up:
            it.connection.give_up()

    async with resumable(patience={"contested_after_s": 0.0}) as it, asyncio.TaskGroup() as tasks:
        it.websocket.put(START)
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish()
        await it.until(lambda: it.connection.is_given_up)
        second = Hasty()
        second.put(resume(0))
        tasks.create_task(it.connection.rejoin(second))
        await it.until(lambda: second.sent)
        second.put(STOP)
        await it.until(lambda: "ended" in second.kinds())
        settle(it, second)
    assert numbered(second)[-1]["reason"] == "stopped"


async def test_who_is_given_up_is_so_once():
    async with resumable(mode="hangs", patience={"contested_after_s": 0.0}) as it:
        it.websocket.put(START)
        await it.until(lambda: "ready" in it.websocket.kinds())
        it.websocket.vanish()
        await it.until(lambda: it.connection.is_given_up)
        it.connection.give_up()
        assert not it.connection.is_given_up
    assert it.records[-1].reason == "client_gone"
