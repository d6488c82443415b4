"""The client behind a proxy that cuts its connections at random bytes, in every way."""

import asyncio

import pytest

from client import line
from client.stream import connect
from tests.client.fake_server import TOKEN, fake_server
from tests.client.keeping_server import KeptSession, keeps
from tests.e2e.chaos_proxy import chaos_proxy

PCM = bytes(at * 7919 >> 5 & 255 for at in range(400_000))


async def say_all(stream):
    for at in range(0, len(PCM), 640):
        await stream.send(PCM[at : at + 640])
        await asyncio.sleep(0)
    await stream.stop()


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_is_cut_every_byte_and_every_event_arrives_once(seed, monkeypatch):
    monkeypatch.setattr(line, "FIRST_WAIT_S", 0.001)
    kept = KeptSession()
    async with (
        fake_server(keeps(kept)) as fake,
        chaos_proxy(
            int(fake.url.split(":")[2].split("/")[0]), seed=seed, most_cuts=50, most_down_bytes=9000
        ) as proxy,
        connect(
            fake.url.replace(fake.url.split("/")[2], f"127.0.0.1:{proxy.port}"),
            token=TOKEN,
            sample_rate_hz=16_000,
        ) as stream,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(say_all(stream))
        events = [event async for event in stream]
        n_cuts = len(proxy.cuts)
    assert n_cuts > 20
    assert kept.audio == PCM
    assert events == kept.events
