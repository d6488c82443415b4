"""One who talks to a fake server for as long as it takes."""

import asyncio

from client.stream import connect
from server import wire
from tests.client.fake_server import TOKEN
from tests.client.keeping_server import KeptSession

PCM = bytes(at * 7919 >> 5 & 255 for at in range(20_000))


def open_stream(fake, token=TOKEN, **wishes):
    return connect(fake.url, token=token, **{"sample_rate_hz": 16_000, **wishes})


async def say_all(stream, pcm=PCM):
    for at in range(0, len(pcm), 640):
        await stream.send(pcm[at : at + 640])
        await asyncio.sleep(0)
    await stream.stop()


async def converse(fake, **wishes):
    """All events of a session."""
    async with open_stream(fake, **wishes) as stream, asyncio.TaskGroup() as group:
        group.create_task(say_all(stream))
        return [event async for event in stream]


def undisturbed():
    kept = KeptSession()
    kept.receive(wire.encode(wire.Start(16_000, resumable=True)))
    for frame in (PCM, wire.encode(wire.Stop())):
        kept.receive(frame)
    return kept.events
