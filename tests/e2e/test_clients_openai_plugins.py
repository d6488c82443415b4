"""LiveKit's and Pipecat's clients of OpenAI's APIs, unmodified, and a real model: their words are
those of the native protocol."""

import pytest

from security.limits import Limits
from tests.clients import heard_by, needs_clients
from tests.e2e.openai_calls import VAD, encoded, native_words_of, sessions_of, wide_pcm_of
from tests.e2e.test_stream import pcm_of, words_of
from tests.fakes import silence

pytestmark = [pytest.mark.clients, needs_clients]


@pytest.fixture
async def native_words(live_server, fox):
    return await native_words_of(live_server, fox)


@pytest.mark.parametrize("model", ["gpt-4o-mini-transcribe", "gpt-realtime-whisper"])
async def test_livekit_hears_the_words_of_the_native_protocol(
    live_server, fox, native_words, model
):
    given = livekit_of(live_server, fox, options={"model": model})
    lines = await heard_by("livekit_openai.py", given)
    told = [line["event"] for line in lines]
    assert words_of(lines[-1]["text"]) == native_words
    assert told[0] == "start_of_speech"
    assert "interim_transcript" in told
    assert told[-1] == "final_transcript"


def livekit_of(server, recording, key=None, options=None, *, is_live=True):
    return {
        "url": f"{server.page_url}/v1",
        "key": key or server.token(),
        "pcm": encoded(wide_pcm_of(recording, silence_ms=2000)),
        "options": options or {},
        "is_live": is_live,
        "until": "final_transcript",
    }


async def test_livekit_hears_a_file(live_server, fox, native_words):
    [line] = await heard_by("livekit_openai.py", livekit_of(live_server, fox, is_live=False))
    assert words_of(line["text"]) == native_words


async def test_livekit_takes_a_bad_key_for_one_and_a_spent_quota_for_the_end(live_server, fox):
    refused = await heard_by("livekit_openai.py", livekit_of(live_server, fox, key="a.b.c"))
    assert refused[-1] == {"error": "WSServerHandshakeError", "status": 401}
    key = live_server.token(limits=Limits(session_audio_s=1), subject="livekit-quota")
    given = livekit_of(live_server, fox, key=key) | {"until": "error"}
    lines = await heard_by("livekit_openai.py", given)
    assert lines[-1]["body"]["code"] == "insufficient_quota"
    assert lines[-1]["retries"] is False
    assert sessions_of(live_server, "livekit-quota") == 1


@pytest.mark.parametrize("turn_detection", [False, VAD])
async def test_pipecat_hears_the_words_of_the_native_protocol(
    live_server, fox, native_words, turn_detection
):
    lines = await heard_by("pipecat_openai.py", pipecat_of(live_server, fox, turn_detection))
    assert words_of(lines[-1]["text"]) == native_words
    assert [line["frame"] for line in lines][-1] == "TranscriptionFrame"
    assert {line["frame"] for line in lines[:-1]} == {"InterimTranscriptionFrame"}


def pipecat_of(server, recording, turn_detection=False, key=None, limit_s=20.0):
    return {
        "url": server.stream_url.replace("/v1/stream", "/v1/realtime"),
        "key": key or server.token(),
        "pcm": encoded(pcm_of(recording) + silence(1000)),
        "turn_detection": turn_detection,
        "limit_s": limit_s,
    }


async def test_pipecat_tells_of_a_bad_key_and_of_a_spent_quota_and_gives_up(live_server, fox):
    given = pipecat_of(live_server, fox, key="a.b.c", limit_s=3)
    refused = await heard_by("pipecat_openai.py", given)
    assert "HTTP 401" in refused[0]["text"]
    key = live_server.token(limits=Limits(audio_s_per_day=1), subject="pipecat-quota")
    lines = await heard_by("pipecat_openai.py", pipecat_of(live_server, fox, VAD, key, limit_s=3))
    assert any("insufficient_quota" in line["text"] for line in lines if "text" in line)
    assert sessions_of(live_server, "pipecat-quota") <= 4  # it tries three times more
