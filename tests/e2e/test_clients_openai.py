"""OpenAI's own client, unmodified, and a real model: its words are those of the native protocol."""

import asyncio

import openai
import pytest
from openai import OpenAI
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from security.limits import Limits
from server.config import load_settings
from tests.clients import heard_by, needs_clients
from tests.e2e.conftest import copy_data, serving
from tests.e2e.openai_calls import (
    CHUNK_MS,
    COMPLETED,
    DELTA,
    TRANSCRIPTION,
    VAD,
    chunks_of,
    client_of,
    encoded,
    g711_of,
    native_words_of,
    session_of,
    sessions_of,
    wide_pcm_of,
)
from tests.e2e.test_stream import words_of
from tests.server.certificates import make_pair


@pytest.fixture
async def native_words(live_server, fox):
    return await native_words_of(live_server, fox)


async def heard(connection, last=COMPLETED):
    """Until an event of this type."""
    events = []
    async for event in connection:
        events.append(event)
        if event.type == last:
            return events
    raise AssertionError([event.type for event in events])


def of_type(events, kind):
    return [event for event in events if event.type == kind]


async def test_speech_comes_back_as_the_words_of_the_native_protocol(
    live_server, fox, native_words
):
    async with (
        asyncio.timeout(60),
        client_of(live_server).realtime.connect(extra_query=TRANSCRIPTION) as connection,
        asyncio.TaskGroup() as tasks,
    ):
        await connection.session.update(session=session_of(turn_detection=VAD))

        async def send():
            for audio in chunks_of(wide_pcm_of(fox)):
                await connection.input_audio_buffer.append(audio=audio)
                await asyncio.sleep(CHUNK_MS / 1000)

        tasks.create_task(send())
        events = await heard(connection)
    types = [event.type for event in events]
    assert words_of(events[-1].transcript) == native_words == words_of(fox.text)
    assert types[:2] == ["session.created", "session.updated"]
    deltas = of_type(events, DELTA)
    said = words_of("".join(delta.delta for delta in deltas))
    assert said == native_words[: len(said)]
    assert len(deltas) > 1
    told = ("speech_started", "speech_stopped", "committed")
    places = [types.index(f"input_audio_buffer.{each}") for each in told]
    assert places == sorted(places)
    assert types.index(DELTA) < types.index("input_audio_buffer.speech_stopped")
    assert {event.item_id for event in events if getattr(event, "item_id", None)} == {
        events[-1].item_id
    }


@pytest.mark.filterwarnings("ignore:connect.. must be used:DeprecationWarning")  # the client's own
def test_its_blocking_client_ends_turns_itself(live_server, fox):
    with (
        client_of(live_server, kind=OpenAI) as client,
        client.realtime.connect(extra_query=TRANSCRIPTION, model="whisper-1") as connection,
    ):
        include = ["item.input_audio_transcription.logprobs"]
        connection.session.update(session=session_of(include=include))
        for audio in chunks_of(wide_pcm_of(fox, silence_ms=0)):
            connection.input_audio_buffer.append(audio=audio)
        connection.input_audio_buffer.commit()
        events = []
        while not events or events[-1].type != COMPLETED:
            events.append(connection.recv())
        connection.input_audio_buffer.append(audio=next(chunks_of(wide_pcm_of(fox))))
        connection.input_audio_buffer.clear()
        cleared = connection.recv()
        connection.input_audio_buffer.commit()
        refused = connection.recv()
    types = {event.type for event in events}
    assert words_of(events[-1].transcript) == words_of(fox.text)
    assert types >= {"input_audio_buffer.committed", "conversation.item.done", DELTA}
    assert "input_audio_buffer.speech_started" not in types
    assert cleared.type == "input_audio_buffer.cleared"
    assert refused.error.code == "input_audio_buffer_commit_empty"


@pytest.mark.parametrize("law", ["audio/pcmu", "audio/pcma"])
async def test_telephone_audio_of_either_law_is_understood(live_server, fox, law):
    audio_bytes = g711_of(fox, law)
    include = ["item.input_audio_transcription.logprobs"]
    async with (
        asyncio.timeout(60),
        client_of(live_server).realtime.connect(extra_query=TRANSCRIPTION) as connection,
    ):
        await connection.session.update(session=session_of(law, VAD, include=include))
        for audio in chunks_of(audio_bytes, bytes_per_ms=8):
            await connection.input_audio_buffer.append(audio=audio)
        completed = (await heard(connection))[-1]
    assert words_of(completed.transcript) == words_of(fox.text)
    assert "".join(each.token for each in completed.logprobs) == completed.transcript
    assert all(each.logprob <= 0 for each in completed.logprobs)
    assert completed.usage.type == "duration"


async def test_an_ephemeral_key_opens_one_session_of_what_was_wished_for_it(live_server, fox):
    async with client_of(live_server) as client:
        wished = session_of(turn_detection=VAD)
        secret = await client.realtime.client_secrets.create(session=wished)
    assert secret.value.startswith("ek_")
    assert secret.session.audio.input.turn_detection.silence_duration_ms == 500
    async with (
        asyncio.timeout(60),
        client_of(live_server, secret.value).realtime.connect(
            extra_query=TRANSCRIPTION
        ) as connection,
    ):
        for audio in chunks_of(wide_pcm_of(fox)):
            await connection.input_audio_buffer.append(audio=audio)
        events = await heard(connection)
    assert words_of(events[-1].transcript) == words_of(fox.text)
    assert events[0].session.audio.input.transcription.language == "en"
    with pytest.raises(InvalidStatus) as refused:
        async with client_of(live_server, secret.value).realtime.connect():
            pass
    assert refused.value.response.status_code == 401


async def test_its_transcriptions_take_the_same_key_and_the_same_models(live_server, fox):
    key = live_server.token()
    async with client_of(live_server, key) as client:
        heard_of_file = await client.audio.transcriptions.create(
            model="gpt-4o-mini-transcribe", file=("speech.wav", fox.wav_bytes)
        )
        async with client.realtime.connect(
            extra_query=TRANSCRIPTION, model="gpt-4o-mini-transcribe"
        ) as connection:
            assert (await connection.recv()).type == "session.created"
        with pytest.raises(InvalidStatus) as unknown:
            async with client.realtime.connect(model="gpt-realtime"):
                pass
        with pytest.raises(openai.NotFoundError):
            await client.audio.transcriptions.create(
                model="gpt-4o-transcribe-diarize", file=("speech.wav", fox.wav_bytes)
            )
    assert words_of(heard_of_file.text) == words_of(fox.text)
    assert unknown.value.response.status_code == 404


async def test_a_bad_key_is_its_authentication_error(live_server):
    async with client_of(live_server, "sk-bad.key.here") as client:
        with pytest.raises(openai.AuthenticationError) as refused:
            await client.models.list()
        assert refused.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            await client.realtime.client_secrets.create(session=session_of())
        reconnections = []
        with pytest.raises(InvalidStatus) as refused:
            async with client.realtime.connect(
                extra_query=TRANSCRIPTION, on_reconnecting=reconnections.append
            ):
                pass
    assert refused.value.response.status_code == 401
    assert b'"code":"invalid_api_key"' in refused.value.response.body
    assert reconnections == []


async def test_a_spent_quota_is_its_limit_error_and_it_does_not_come_again(live_server, fox):
    key = live_server.token(limits=Limits(session_audio_s=1))
    reconnections = []
    async with (
        asyncio.timeout(60),
        client_of(live_server, key).realtime.connect(
            extra_query=TRANSCRIPTION, on_reconnecting=reconnections.append
        ) as connection,
    ):
        await connection.session.update(session=session_of(turn_detection=VAD))
        for audio in chunks_of(wide_pcm_of(fox)[: 48 * 2000]):
            await connection.input_audio_buffer.append(audio=audio)
        events = []
        with pytest.raises(ConnectionClosedError) as closed:
            await gather(connection, events)
    assert events[-1].error.type == events[-1].error.code == "insufficient_quota"
    assert closed.value.rcvd.code == 1008
    assert reconnections == []


@pytest.fixture(scope="session")
def secured_server(embedded_model_pack, tmp_path_factory, canaries):
    """OpenAI's client for Node speaks TLS or not at all."""
    folder = tmp_path_factory.mktemp("secured")
    cert_file, key_file = make_pair(folder)
    copy_data(embedded_model_pack, folder / "data")
    tls = {"tls_cert": cert_file, "tls_key": key_file}
    listen = {"port": 0, "access_log": False, **tls}
    with serving(load_settings(data_folder=folder / "data", listen=listen)) as server:
        server.mark = canaries.mark_token
        yield server, {"NODE_EXTRA_CA_CERTS": str(cert_file)}


def node_of(server, recording, key=None, **more):
    return {
        "url": f"{server.page_url}/v1",
        "key": key or server.token(),
        "pcm": encoded(wide_pcm_of(recording)),
        "session": session_of(turn_detection=VAD),
        **more,
    }


@pytest.mark.clients
@needs_clients
@pytest.mark.parametrize("is_page", [False, True])
async def test_its_client_for_node_hears_the_words_of_the_native_protocol(
    secured_server, fox, native_words, is_page
):
    server, trusting = secured_server
    lines = await heard_by("openai_realtime.js", node_of(server, fox, is_page=is_page), trusting)
    types = [line["type"] for line in lines if "type" in line]
    [completed] = [line for line in lines if line.get("type") == COMPLETED]
    assert words_of(completed["transcript"]) == native_words
    assert DELTA in types
    assert lines[-1] == {"closed": 1000, "subprotocol": "realtime" if is_page else ""}


@pytest.mark.clients
@needs_clients
async def test_its_client_for_node_has_its_own_errors_for_a_bad_key_and_a_spent_quota(
    secured_server, fox
):
    server, trusting = secured_server
    refused = await heard_by("openai_realtime.js", node_of(server, fox, key="a.b.c"), trusting)
    assert refused[0]["error"] == "OpenAIRealtimeError"
    assert "401" in refused[0]["message"]
    wav = encoded(fox.wav_bytes)
    [refused] = await heard_by(
        "openai_realtime.js", node_of(server, fox, key="a.b.c", wav=wav), trusting
    )
    assert refused == {"error": "AuthenticationError", "status": 401, "code": "invalid_api_key"}
    key = server.token(limits=Limits(session_audio_s=1), subject="node-quota")
    given = node_of(server, fox, key=key, stays=True)
    lines = await heard_by("openai_realtime.js", given, trusting)
    [refused] = [line for line in lines if "error" in line and "body" in line]
    assert refused["body"]["code"] == "insufficient_quota"
    assert lines[-1]["closed"] == 1008
    assert sessions_of(server, "node-quota") == 1


@pytest.mark.clients
@needs_clients
async def test_its_client_for_node_hears_a_file(secured_server, fox, native_words):
    server, trusting = secured_server
    given = node_of(server, fox, wav=encoded(fox.wav_bytes))
    [line] = await heard_by("openai_realtime.js", given, trusting)
    assert words_of(line["text"]) == native_words


async def gather(connection, events):
    async for event in connection:
        events.append(event)
