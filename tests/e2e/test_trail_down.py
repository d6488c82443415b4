"""A trail that cannot be written: nobody new is let in, who is there goes on, the gap is told."""

import asyncio
import sqlite3
import time
from contextlib import contextmanager

import pytest

from client.errors import RefusedError
from client.stream import connect
from server.wire import Ended, Final
from tests.e2e.test_door import asked
from tests.e2e.test_stream import pcm_of


@contextmanager
def locked(settings):
    """Somebody else holds the trail."""
    *_, newest = settings.trail.segment_files()
    holder = sqlite3.connect(newest, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.execute("ROLLBACK")
        holder.close()


async def refusal_of(server):
    began_s = time.monotonic()
    with pytest.raises(RefusedError) as refused:
        async with connect(server.stream_url, token=server.token(), sample_rate_hz=16_000):
            raise AssertionError("was let in")
    return refused.value.code, time.monotonic() - began_s


async def test_nobody_new_is_let_in_and_who_is_there_goes_on(live_server, english_recordings):
    pcm, events = pcm_of(english_recordings[0]), []
    admin = live_server.token(scopes={"admin"}, subject="root")
    token, other = live_server.token(subject="stays"), live_server.token(subject="ends")
    async with (
        asyncio.timeout(60),
        connect(live_server.stream_url, token=token, sample_rate_hz=16_000) as stream,
        connect(live_server.stream_url, token=other, sample_rate_hz=16_000),
    ):
        await stream.send(pcm[: len(pcm) // 4 * 2])
        with locked(live_server.settings):
            for code, duration_s in [await refusal_of(live_server) for _ in range(3)]:
                assert code == "trail_unavailable"
                assert duration_s < 1.0
            body = {"subject": "ends"}
            status = await asyncio.to_thread(
                asked, live_server, "POST", "/admin/revocations", admin, body
            )
            assert status == (200, {"ended": 1})
            await stream.send(pcm[len(pcm) // 4 * 2 :])
            await stream.stop()
            events += [event async for event in stream]
    assert any(isinstance(event, Final) and event.text for event in events)
    assert [event.reason for event in events if isinstance(event, Ended)] == ["stopped"]
    async with connect(live_server.stream_url, token=token, sample_rate_hz=16_000):
        pass
    gap = live_server.last_row("trail.gap")
    assert (gap.outcome, gap.reason) == ("failure", "locked")
