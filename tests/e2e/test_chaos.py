"""Sessions of the real client, through a proxy that breaks their connections, at a real server with
a real model: the transcript is that of an undisturbed run.
"""

import asyncio
from itertools import count

import pytest

from client.errors import RefusedError, SessionGoneError
from client.stream import connect
from client.transcript import Transcript
from server import wire
from server.config import load_settings
from tests.e2e.chaos_proxy import Break, Fate, chaos_proxy, random_fates
from tests.e2e.conftest import copy_data, serving
from tests.e2e.test_stream import pcm_of, words_of
from tests.fakes import silence

N_BREAKS, N_BREAKS_OF_ONE, N_AT_ONCE = 200, 12, 2
PAUSE = silence(900)
KEPT = (wire.SpeechStarted, wire.SpeechEnded, wire.Final, wire.Ended)


@pytest.fixture(scope="module")
def speech_pcm(english_recordings):
    return PAUSE.join(pcm_of(each) for each in english_recordings) + PAUSE


async def heard(url, token, pcm, block_bytes=3200):
    """All events by kind, without captions, which depend on how fast the model was; of finals the
    text and the place: confidences vary with what else was in the engine's batch.
    """
    async with asyncio.timeout(120):
        while True:
            try:
                events = await conversation(url, token, pcm, block_bytes)
            except RefusedError as refused:  # the machine is slow, and the engine full
                if refused.code != "overloaded":
                    raise
                await asyncio.sleep(1)
            else:
                return {k: [told(each) for each in events if isinstance(each, k)] for k in KEPT}


async def conversation(url, token, pcm, block_bytes):
    async with (
        connect(url, token=token, sample_rate_hz=16_000) as stream,
        asyncio.TaskGroup() as tasks,
    ):

        async def send():
            for at in range(0, len(pcm), block_bytes):
                await stream.send(pcm[at : at + block_bytes])
                await asyncio.sleep(0)
            await stream.stop()

        tasks.create_task(send())
        return [event async for event in stream]


def told(event):
    match event:
        case wire.Final():
            return event.segment, event.start_ms, event.end_ms, event.text
        case _:
            return event


@pytest.fixture(scope="module")
def undisturbed(live_server, speech_pcm):
    return asyncio.run(heard(live_server.stream_url, live_server.token(), speech_pcm))


def port_of(server) -> int:
    return int(server.page_url.rsplit(":", 1)[1])


async def n_broken_in(server, pcm, undisturbed, seed) -> int:
    """How often the connection of a session breaks that is like an undisturbed one in the end."""
    draw, n_drawn = random_fates(seed, up_bytes=40_000, down_bytes=2000), count()

    def next_fate():
        return draw() if next(n_drawn) < N_BREAKS_OF_ONE else None

    async with chaos_proxy(port_of(server), next_fate) as proxy:
        assert await heard(proxy.url(server.stream_url), server.token(), pcm) == undisturbed, seed
    return proxy.n_broken


async def test_the_transcript_is_the_same_however_often_the_connection_breaks(
    live_server, speech_pcm, undisturbed
):
    assert len(undisturbed[wire.Final]) >= 3
    seeds, n_broken = count(), 0
    while n_broken < N_BREAKS:
        async with asyncio.TaskGroup() as tasks:
            runs = [
                tasks.create_task(n_broken_in(live_server, speech_pcm, undisturbed, next(seeds)))
                for _ in range(N_AT_ONCE)
            ]
        n_broken += sum(run.result() for run in runs)


@pytest.mark.parametrize("how", list(Break))
@pytest.mark.parametrize("said", [b'"ready"', b'"final"', b'"ended"', b'"audio_received"'])
@pytest.mark.parametrize("after_bytes", [-12, 4])
async def test_a_break_right_before_or_within_what_matters_costs_nothing(
    live_server, speech_pcm, undisturbed, how, said, after_bytes
):
    fates = iter([Fate(how, after_bytes, is_upwards=False, mark=said)])
    url, token = live_server.stream_url, live_server.token()
    async with chaos_proxy(port_of(live_server), lambda: next(fates, None)) as proxy:
        assert await heard(proxy.url(url), token, speech_pcm) == undisturbed
    assert proxy.n_broken == 1


async def test_over_the_grace_time_there_is_a_clear_error_and_the_transcript_so_far(
    embedded_model_pack, tmp_path, english_recordings
):
    copy_data(embedded_model_pack, tmp_path / "data")
    patience = {"resume_grace_s": 1}
    settings = load_settings(data_folder=tmp_path / "data", listen={"port": 0}, connection=patience)
    pcm = pcm_of(english_recordings[0]) + PAUSE
    transcript = Transcript()
    is_heard = asyncio.Event()

    def next_fate():
        return Fate(Break.RESET, 0, is_upwards=True) if is_heard.is_set() else None

    async def listen(stream, proxy):
        async for event in stream:
            transcript.receive_event(event)
            if isinstance(event, wire.Final):
                is_heard.set()
                proxy.break_all()

    with serving(settings) as server:
        url, token = server.stream_url, server.token()
        async with (
            asyncio.timeout(60),
            chaos_proxy(port_of(server), next_fate) as proxy,
            connect(proxy.url(url), token=token, sample_rate_hz=16_000) as stream,
        ):
            await stream.send(pcm)
            with pytest.raises(SessionGoneError, match="away"):
                await listen(stream, proxy)
        while not (ended := server.trail(event="session.ended")):  # noqa: ASYNC110 (of a file)
            await asyncio.sleep(0.1)
    assert words_of(transcript.text) == words_of(english_recordings[0].text)
    assert [row.reason for row in ended] == ["client_gone"]
