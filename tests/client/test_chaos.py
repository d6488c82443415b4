"""The client behind a proxy that cuts its connections at random bytes, in every way."""

import asyncio
from itertools import count

import pytest

from client import line
from client.stream import connect
from tests.client.fake_server import TOKEN, fake_server
from tests.client.keeping_server import KeptSession, keeps
from tests.e2e.chaos_proxy import chaos_proxy, random_fates

PCM = bytes(at * 7919 >> 5 & 255 for at in range(400_000))


async def say_all(stream):
    for at in range(0, len(PCM), 640):
        await stream.send(PCM[at : at + 640])
        await asyncio.sleep(0)
    await stream.stop()


@pytest.mark.parametrize("seed", range(16))
async def test_whatever_is_cut_every_byte_and_every_event_arrives_once(seed, monkeypatch):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)
    kept = KeptSession()
    draw, n_drawn = random_fates(seed, up_bytes=20_000, down_bytes=1500), count()
    async with (
        fake_server(keeps(kept)) as fake,
        chaos_proxy(
            int(fake.url.split(":")[2].split("/")[0]),
            lambda: draw() if next(n_drawn) < 50 else None,
        ) as proxy,
        connect(proxy.url(fake.url), token=TOKEN, sample_rate_hz=16_000) as stream,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(say_all(stream))
        events = [event async for event in stream]
    assert proxy.n_broken
    assert kept.audio == PCM
    assert events == kept.events
