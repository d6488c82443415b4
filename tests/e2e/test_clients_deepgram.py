"""Deepgram's own SDKs, and others that speak its API, unmodified, against the real server and the
real model: their words are those of the native protocol.
"""

import base64
import io
import wave

import numpy as np
import pytest

from security.limits import Limits
from server.listen_settings import ListenSettings
from tests.clients import heard_by, needs_clients
from tests.e2e.test_stream import converse, pcm_of, text_of, words_of
from tests.fakes import silence

pytestmark = [pytest.mark.clients, needs_clients]

FRAME_S = 0.005
PYTHON, NODE = "deepgram_python.py", "deepgram_node.js"
LIVEKIT, PIPECAT = "livekit_deepgram.py", "pipecat_deepgram.py"
SDKS = [(PYTHON, "live"), (PYTHON, "async"), (NODE, "live")]
LIVE = {
    "model": "nova-3",
    "encoding": "linear16",
    "sample_rate": 16000,
    "interim_results": True,
    "vad_events": True,
    "smart_format": True,
}
FILE = {"model": "nova-3", "smart_format": True, "utterances": True}
LIVEKIT_STREAM = {"model": "nova-3", "language": "en-US", "sample_rate": 16000}
NOT_A_KEY = "not.a.key"
ONE_SECOND_A_DAY = Limits(audio_s_per_day=1)
ONE_SECOND, NO_PLACE = Limits(session_audio_s=1), Limits(concurrent_sessions=0)


@pytest.fixture
def pcm(fox):
    return pcm_of(fox) + silence(800)


@pytest.fixture
async def native_words(live_server, pcm, fox):
    _, events = await converse(live_server, pcm)
    words = words_of(text_of(events))
    assert words == words_of(fox.text)
    return words


@pytest.fixture
def told_to(live_server):
    """What a client prints."""

    async def tell(script, audio, options, *, key=None, way="live", **more):
        given = {
            "url": live_server.page_url,
            "key": key or live_server.token(),
            "audio": base64.b64encode(audio).decode(),
            "way": way,
            "frame_s": FRAME_S,
            "options": options,
        }
        return await heard_by(script, given | more)

    return tell


def results_of(lines):
    return [line for line in lines if line["type"] == "Results"]


def finals_of(lines, channel=0):
    said = [
        line["channel"]["alternatives"][0]["transcript"]
        for line in results_of(lines)
        if line["is_final"] and line["channel_index"][0] == channel
    ]
    return words_of(" ".join(said))


def types_of(lines):
    return [line["type"] for line in lines]


@pytest.mark.parametrize(("script", "way"), SDKS)
async def test_the_sdk_hears_what_the_native_protocol_hears(
    told_to, pcm, native_words, script, way
):
    lines = await told_to(script, pcm, LIVE, way=way)
    assert finals_of(lines) == native_words
    results, types = results_of(lines), types_of(lines)
    assert types.index("SpeechStarted") < types.index("Results")
    assert not results[0]["is_final"]
    assert results[-1]["speech_final"]
    assert types[-2:] == ["Metadata", "closed"]
    assert lines[-2]["duration"] == pytest.approx(len(pcm) / 32_000, abs=0.001)
    assert lines[-2]["request_id"] == results[0]["metadata"]["request_id"]


def wav_of(pcm):
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(pcm)
    return made.getvalue()


async def test_a_wav_file_needs_no_encoding(told_to, pcm, native_words):
    lines = await told_to(PYTHON, wav_of(pcm), {"model": "nova-3"})
    assert finals_of(lines) == native_words


@pytest.mark.parametrize("script", [PYTHON, NODE])
async def test_a_whole_recording_may_be_sent_at_once(told_to, pcm, native_words, script):
    """As the SDK's own reference does it."""
    wav = wav_of(pcm * 4)
    assert len(wav) > ListenSettings().most_frame_bytes
    lines = await told_to(script, wav, {"model": "nova-3"}, frame_bytes=len(wav))
    assert finals_of(lines) == native_words * 4
    assert types_of(lines)[-2:] == ["Metadata", "closed"]


@pytest.mark.parametrize("script", [PYTHON, NODE])
async def test_a_message_that_is_too_long_is_an_error_and_nobody_comes_again(
    told_to, script, live_server
):
    subject = f"too-long-{script}"
    key = live_server.token(subject=subject)
    wav = wav_of(bytes(5_000_000))
    given = {"key": key, "frame_bytes": len(wav), "linger_s": 6.0}
    lines = await told_to(script, wav, {"model": "nova-3"}, **given)
    [error] = [line for line in lines if line["type"] == "Error"]
    assert error["variant"] == "PAYLOAD_TOO_LARGE"
    assert types_of(lines).count("closed") == 1
    rows = live_server.trail(event="session.ended")
    assert [row.reason for row in rows if row.subject == subject] == ["message_too_big"]


async def test_two_channels_are_heard_apart(told_to, pcm, native_words):
    left = np.frombuffer(pcm, "<i2")
    stereo = np.stack([np.zeros_like(left), left], axis=1).tobytes()
    options = LIVE | {"channels": 2, "multichannel": True}
    lines = await told_to(PYTHON, stereo, options)
    assert finals_of(lines, 1) == native_words
    assert finals_of(lines, 0) == []
    assert lines[-2]["channels"] == 2


async def test_finalize_is_answered_with_the_words_before_it(told_to, fox):
    lines = await told_to(PYTHON, pcm_of(fox), LIVE, finalizes=3.0)
    answers = [line for line in results_of(lines) if line["from_finalize"]]
    assert len(answers) == 1
    assert finals_of(answers) == words_of(fox.text)


async def test_a_page_gets_a_token_that_is_good_once(told_to, pcm, native_words):
    lines = await told_to(PYTHON, pcm, LIVE, way="granted")
    assert lines[0]["expires_in"] > 0
    assert finals_of(lines) == native_words


@pytest.mark.parametrize("script", [PYTHON, NODE])
async def test_a_file_comes_back_as_its_words(told_to, fox, script):
    [heard] = await told_to(script, fox.wav_bytes, FILE, way="file")
    [channel] = heard["results"]["channels"]
    [said] = channel["alternatives"]
    assert words_of(said["transcript"]) == words_of(fox.text)
    assert [word["punctuated_word"] for word in said["words"]] == said["transcript"].split()
    assert heard["results"]["utterances"][0]["transcript"] == said["transcript"]


async def test_two_channels_of_a_file_are_heard_apart(told_to, pcm, native_words):
    right = np.frombuffer(pcm, "<i2")
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((2, 2, 16_000, 0, "NONE", ""))
        file.writeframes(np.stack([np.zeros_like(right), right], axis=1).tobytes())
    options = FILE | {"multichannel": True}
    [heard] = await told_to(PYTHON, made.getvalue(), options, way="file")
    said = [each["alternatives"][0]["transcript"] for each in heard["results"]["channels"]]
    assert said[0] == ""
    assert words_of(said[1]) == native_words


async def test_livekit_hears_what_the_native_protocol_hears(told_to, pcm, native_words):
    lines = await told_to(LIVEKIT, pcm, LIVEKIT_STREAM)
    said = {line["type"]: line["said"] for line in lines}
    assert words_of(said["final_transcript"][0]["text"]) == native_words
    types = types_of(lines)
    assert types.index("start_of_speech") < types.index("interim_transcript")
    assert types.index("interim_transcript") < types.index("final_transcript")
    assert types.index("final_transcript") < types.index("end_of_speech")


async def test_livekit_hears_a_recording(told_to, pcm, native_words):
    [heard] = await told_to(LIVEKIT, pcm, LIVEKIT_STREAM, way="file")
    assert words_of(heard["text"]) == native_words


async def test_pipecat_hears_what_the_native_protocol_hears(told_to, fox):
    lines = await told_to(PIPECAT, pcm_of(fox), {}, patience_s=20.0)
    assert types_of(lines)[0] == "interim"
    finals = [line for line in lines if line["type"] == "final"]
    assert words_of(" ".join(final["text"] for final in finals)) == words_of(fox.text)
    assert finals[-1]["finalized"]
    assert lines[-1] == {"type": "ended"}


@pytest.mark.parametrize(("script", "way"), [*SDKS, (PYTHON, "file"), (NODE, "file")])
async def test_a_bad_key_is_the_sdks_own_refusal(told_to, pcm, script, way):
    options = FILE if way == "file" else LIVE
    lines = await told_to(script, pcm, options, key=NOT_A_KEY, way=way, linger_s=3.0)
    if script == NODE and way == "live":
        assert {"type": "failed", "error": "Unexpected server response: 401"} in lines
        assert types_of(lines).count("closed") == 1
    else:
        assert [line["status"] for line in lines] == [401]


async def test_a_bad_key_is_not_shown_again_by_livekit(told_to, pcm):
    lines = await told_to(LIVEKIT, pcm, LIVEKIT_STREAM, key=NOT_A_KEY, retries=3)
    assert lines == [{"type": "APIStatusError", "status": 401, "retryable": False}]


async def test_a_bad_key_is_not_shown_again_by_pipecat(told_to, pcm):
    lines = await told_to(PIPECAT, pcm, {}, key=NOT_A_KEY, patience_s=3.0)
    [error] = [line["error"] for line in lines if line["type"] == "error"]
    assert "status 401" in error


@pytest.mark.parametrize(("script", "way"), SDKS)
async def test_no_place_is_the_sdks_own_refusal(live_server, told_to, pcm, script, way):
    key = live_server.token(limits=NO_PLACE)
    lines = await told_to(script, pcm, LIVE, key=key, way=way, linger_s=3.0)
    if script == NODE:
        assert {"type": "failed", "error": "Unexpected server response: 429"} in lines
        assert types_of(lines).count("closed") == 1
    else:
        assert [line["status"] for line in lines] == [429]


@pytest.mark.parametrize("script", [PYTHON, NODE])
async def test_a_quota_that_is_used_up_is_an_error_and_nobody_comes_again(
    live_server, told_to, pcm, script
):
    key = live_server.token(limits=ONE_SECOND)
    lines = await told_to(script, pcm, LIVE, key=key, linger_s=4.0)
    [error] = [line for line in lines if line["type"] == "Error"]
    assert error["variant"] == "ASR_PAYMENT_REQUIRED"
    assert types_of(lines).count("closed") == 1
    assert finals_of(lines)


@pytest.mark.parametrize(
    ("script", "options", "more"),
    [
        (NODE, LIVE, {"linger_s": 4.0}),
        (LIVEKIT, LIVEKIT_STREAM, {"retries": 2}),
        (PIPECAT, {}, {"patience_s": 10.0, "frame_s": 0.02}),
    ],
)
async def test_a_quota_that_is_used_up_makes_no_storm(
    live_server, told_to, pcm, script, options, more
):
    subject = f"storm-{script}"
    key = live_server.token(limits=ONE_SECOND_A_DAY, subject=subject)
    await told_to(script, pcm * 4, options, key=key, **more)
    rows = live_server.trail(event="session.started")
    assert sum(row.subject == subject for row in rows) == 1


async def test_a_quota_that_a_file_is_too_long_for_is_the_sdks_own_refusal(
    live_server, told_to, fox
):
    key = live_server.token(limits=ONE_SECOND)
    [refused] = await told_to(PYTHON, fox.wav_bytes, FILE, key=key, way="file")
    assert (refused["type"], refused["status"]) == ("ApiError", 402)
    assert refused["body"]["err_code"] == "ASR_PAYMENT_REQUIRED"


async def test_livekit_gives_up_when_there_is_no_place(live_server, told_to, pcm):
    key = live_server.token(limits=NO_PLACE)
    [refused] = await told_to(LIVEKIT, pcm, LIVEKIT_STREAM, key=key, retries=2)
    assert refused["type"] == "APIConnectionError"


async def test_speakers_are_not_told_apart_and_that_is_said(told_to, pcm, fox):
    lines = await told_to(PYTHON, pcm, LIVE | {"diarize": True}, way="async")
    assert [line["status"] for line in lines] == [400]
    [refused] = await told_to(PYTHON, fox.wav_bytes, FILE | {"diarize": True}, way="file")
    assert (refused["type"], refused["status"]) == ("BadRequestError", 400)
    assert refused["body"]["err_code"] == "INVALID_QUERY_PARAMETER"
