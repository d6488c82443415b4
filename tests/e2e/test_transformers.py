"""A small random Qwen3-ASR, sealed, behind the real server: from a client's bytes to its finals."""

import asyncio
from dataclasses import asdict, replace
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from client.errors import SessionError  # noqa: E402
from client.stream import connect  # noqa: E402
from server.config import load_settings  # noqa: E402
from server.guards import GuardSettings  # noqa: E402
from server.provision import make_keys, seal  # noqa: E402
from server.wire import Final, Partial, SpeechStarted  # noqa: E402
from tests.e2e.conftest import serving  # noqa: E402
from tests.e2e.test_stream import converse, pcm_of  # noqa: E402
from tests.fakes import silence  # noqa: E402
from tests.hf_models import write_aligner, write_qwen3_asr  # noqa: E402

UNGUARDED = replace(GuardSettings(), compression_ratio=1e9, least_mean_log_probability=-100.0)
"""Random weights say what no guard would let pass."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with a model and an aligner."""
    folder = tmp_path_factory.mktemp("transformers")
    for name, write in (("qwen", write_qwen3_asr), ("aligner", write_aligner)):
        settings = load_settings(data_folder=folder / "data", model=name)
        make_keys(settings)
        files = {path.name: path for path in write(folder / name).iterdir()}
        seal(settings, engine="transformers", version=1, files=files)
    return folder / "data"


@pytest.fixture(scope="module", params=[None, "aligner"])
def server(request, data):
    settings = load_settings(
        data_folder=data,
        model="qwen",
        listen={"port": 0},
        transformers={"aligner": request.param, "guards": asdict(UNGUARDED)},
    )
    with serving(settings) as live:
        yield live


async def test_speech_comes_back_as_captions_and_finals(server, english_recordings):
    fox = next(r for r in english_recordings if r.name == "quick_brown_fox")
    pcm = pcm_of(fox) + silence(800)
    _, events = await converse(server, pcm, language="en")
    started = [event for event in events if isinstance(event, SpeechStarted)]
    finals = [event for event in events if isinstance(event, Final)]
    assert [event.segment for event in finals] == [event.segment for event in started] != []
    assert any(final.text for final in finals)
    assert not any("asr_text" in final.text or "<|" in final.text for final in finals)
    expected = "measured" if server.settings.transformers.aligner else "estimated"
    assert {final.word_times for final in finals if final.words} == {expected}
    for final in finals:
        starts_ms = [word.start_ms for word in final.words]
        assert starts_ms == sorted(starts_ms)
        assert all(final.start_ms <= at <= final.end_ms for at in starts_ms)


async def test_a_language_that_it_does_not_know_is_refused(server):
    with pytest.raises(SessionError, match="language"):
        await converse(server, silence(500), language="xx")


async def test_captions_come_while_the_person_still_speaks(server, english_recordings):
    fox = next(r for r in english_recordings if r.name == "quick_brown_fox")
    pcm = pcm_of(fox)
    async with (
        asyncio.timeout(60),
        connect(server.stream_url, token=server.token(), sample_rate_hz=16_000) as stream,
    ):
        for start in range(0, len(pcm), 640):
            await stream.send(pcm[start : start + 640])
            await asyncio.sleep(0.02)
        await stream.stop()
        captions = [event async for event in stream if isinstance(event, Partial)]
    assert captions
    stable = [caption.stable for caption in captions]
    assert all(late.startswith(early) for early, late in pairwise(stable))
