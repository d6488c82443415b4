"""Hundreds of peers that waste time in; all gone by the deadline, and an honest one served, out."""

import asyncio
import contextlib

from tests.server.listening import UPGRADE, listening

N_EACH = 200
LIMIT_S = 1.0
SLACK_S = 9.0


async def waste(here, *, is_trickling):
    peer = await here.peer()
    with contextlib.suppress(ConnectionError):
        while is_trickling and not peer.reader.at_eof():
            await peer.say(b"X")
            await asyncio.sleep(0.1)
    await peer.rest()


async def test_wasters_of_time_are_gone_by_the_deadline_and_others_are_served_meanwhile():
    async with listening(head_limit_s=LIMIT_S) as here:
        async with asyncio.timeout(LIMIT_S + SLACK_S), asyncio.TaskGroup() as tasks:
            for index in range(2 * N_EACH):
                tasks.create_task(waste(here, is_trickling=index % 2 == 1))
            for _ in range(10):
                peer = await (await here.peer()).say(UPGRADE)
                assert (await peer.hear(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
                peer.writer.transport.abort()
        await here.until(lambda: here.listener.crowd.total == 0)
