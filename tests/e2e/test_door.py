"""The door of the real server: tickets, newer tokens, revocation, administrators, many starts."""

import asyncio
import json
import subprocess
import sys
import urllib.request
from contextlib import suppress

import pytest
import websockets

from client.errors import RefusedError, SessionError
from client.stream import connect
from security.limits import Limits
from server.wire import Final, Quota, TokenRefreshed
from tests.e2e.test_stream import pcm_of
from tests.e2e.tracing import ROOT

START = '{"type":"start","sample_rate_hz":16000}'


def asked(server, method, path, token, body=None):
    """Status and answer."""
    request = urllib.request.Request(  # noqa: S310 (our own server)
        server.page_url + path,
        None if body is None else json.dumps(body).encode(),
        {"authorization": f"Bearer {token}"},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return answer.status, json.load(answer)


async def test_of_a_thousand_uses_of_one_ticket_one_is_let_in(live_server):
    status, answer = asked(live_server, "POST", "/v1/tickets", live_server.token(), {})
    assert status == 201
    url = f"{live_server.stream_url}?ticket={answer['ticket']}"
    opened, refused = [], []

    async def use(turns):
        async with turns:
            try:
                opened.append(await websockets.connect(url, proxy=None))
            except websockets.InvalidStatus as invalid:
                refused.append(invalid.response.status_code)

    turns = asyncio.Semaphore(200)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(1000):
            tasks.create_task(use(turns))
    assert (len(opened), set(refused)) == (1, {401})
    await opened[0].close()
    reasons = {row.reason for row in live_server.trail(event="handshake.refused")[-999:]}
    assert reasons == {"ticket_replayed"}


async def finals_of(server, recording, token=None, newer=None):
    pcm, rate_hz = pcm_of(recording), 16_000
    events = []
    async with connect(
        server.stream_url, token=token or server.token(), sample_rate_hz=rate_hz
    ) as stream:
        await stream.send(pcm[: len(pcm) // 4 * 2])
        if newer:
            await stream.refresh(newer)
        await stream.send(pcm[len(pcm) // 4 * 2 :])
        await stream.stop()
        events += [event async for event in stream]
    return events, [event.text for event in events if isinstance(event, Final)]


async def test_a_newer_token_in_the_middle_of_a_sentence_loses_no_word(
    live_server, english_recordings
):
    recording = english_recordings[0]
    _, plain = await finals_of(live_server, recording)
    old, newer = live_server.token(lifetime_s=60), live_server.token(lifetime_s=900)
    events, refreshed = await finals_of(live_server, recording, old, newer)
    assert refreshed == plain != []
    assert sum(isinstance(event, TokenRefreshed) for event in events) == 1
    assert live_server.last_row("session.refreshed").subject == "alice"


@pytest.mark.parametrize("way", ["administrator", "command"])
async def test_what_is_revoked_ends_the_session_and_opens_nothing_more(live_server, way):
    token = live_server.token(subject=f"revoked-by-{way}")
    async with connect(live_server.stream_url, token=token, sample_rate_hz=16_000) as stream:
        if way == "administrator":
            admin = live_server.token(scopes={"admin"}, subject="root")
            body = {"subject": f"revoked-by-{way}"}
            assert asked(live_server, "POST", "/admin/revocations", admin, body)[1] == {"ended": 1}
        else:
            command = ["token", "revoke", "--subject", f"revoked-by-{way}"]
            subprocess.run(  # noqa: ASYNC221, S603 (our own program)
                [sys.executable, "run.py", *command],
                check=True,
                cwd=ROOT,
                env={"EARWITNESS_DATA_FOLDER": str(live_server.settings.data_folder)},
            )
        with pytest.raises(SessionError) as ended:
            async for _ in stream:
                pass
    assert ended.value.code == "revoked"
    with pytest.raises(RefusedError):
        async with connect(live_server.stream_url, token=token, sample_rate_hz=16_000):
            pass


async def test_an_administrator_lists_and_ends_sessions(live_server):
    token = live_server.token(subject="to-be-ended")
    admin = live_server.token(scopes={"admin"}, subject="root")
    async with connect(live_server.stream_url, token=token, sample_rate_hz=16_000) as stream:
        sessions = asked(live_server, "GET", "/admin/sessions", admin)[1]["sessions"]
        [mine] = [each for each in sessions if each["subject"] == "to-be-ended"]
        assert (
            asked(live_server, "DELETE", f"/admin/sessions/{mine['session_id']}", admin)[0] == 200
        )
        with pytest.raises(SessionError) as ended:
            async for _ in stream:
                pass
    assert ended.value.code == "ended_by_administrator"


async def collect(stream, events):
    async for event in stream:
        events.append(event)


async def test_little_left_is_told_and_the_end_of_the_day_ends(live_server, english_recordings):
    limits = Limits(session_audio_s=4, audio_s_per_day=3)
    token = live_server.token(subject="day", limits=limits)
    pcm, rate_hz = pcm_of(english_recordings[0]), 16_000
    events = []
    async with connect(live_server.stream_url, token=token, sample_rate_hz=rate_hz) as stream:
        with suppress(SessionError):
            for start in range(0, rate_hz * 2 * 5, 1280):
                await stream.send(bytes(pcm[start : start + 1280]).ljust(1280, b"\0"))
        with pytest.raises(SessionError) as ended:
            await collect(stream, events)
    assert ended.value.code == "quota_daily"
    assert live_server.last_row("session.ended").audio_ms == 3000
    with pytest.raises(RefusedError):
        async with connect(live_server.stream_url, token=token, sample_rate_hz=rate_hz):
            pass
    assert not any(isinstance(event, Quota) for event in events)


async def send_for_ever(stream):
    """Two hundred milliseconds every twenty."""
    while True:
        await stream.send(bytes(6400))
        await asyncio.sleep(0.02)


async def test_a_sender_at_ten_times_its_pace_is_sent_away(live_server):
    token = live_server.token(subject="fast", limits=Limits(pace_percent=125))
    async with (
        asyncio.timeout(20),
        connect(live_server.stream_url, token=token, sample_rate_hz=16_000) as stream,
    ):
        with pytest.raises(SessionError) as ended:
            await send_for_ever(stream)
    assert ended.value.code == "too_fast"
