"""WhisperLive's own clients, unmodified, against a real server with the real model.

They take a host and a port and can set no header: a ticket stands behind the port, in the address
that they make of the two.
"""

import base64
import wave

import httpx2
import pytest

from security.limits import Limits
from server.config import load_settings
from server.listen_settings import ListenSettings
from tests.clients import heard_by, needs_clients
from tests.e2e.conftest import copy_data, serving
from tests.e2e.test_stream import converse, pcm_of, text_of, words_of
from tests.fakes import silence

pytestmark = [pytest.mark.clients, needs_clients]
SCRIPT = "live_whisper.py"
"""Not the name of the package."""
ENGLISH = {"lang": "en"}


@pytest.fixture(scope="module")
def whisper_live_server(embedded_model_pack, tmp_path_factory, canaries):
    folder = tmp_path_factory.mktemp("whisper-live") / "data"
    copy_data(embedded_model_pack, folder)
    settings = load_settings(
        data_folder=folder,
        listen={"port": 0, "access_log": False},
        clients={"whisper_live": True, "at_root": "whisper_live"},
    )
    with serving(settings) as server:
        server.mark = canaries.mark_token
        yield server


@pytest.fixture
def folder(tmp_path):
    """What a client writes lies no longer than its test."""
    yield tmp_path
    for path in tmp_path.iterdir():
        path.unlink()


def ticket_of(server, **claims):
    headers = {"Authorization": f"Bearer {server.token(**claims)}"}
    url = server.page_url.rstrip("/") + "/v1/tickets"
    with httpx2.Client(trust_env=False) as client:
        return client.post(url, headers=headers, json={}).json()["ticket"]


def address_of(server, ticket):
    host, _, port = server.page_url.removeprefix("http://").rstrip("/").partition(":")
    return host, f"{port}/?ticket={ticket}"


async def transcribed_file(server, recording, folder, ticket, **options):
    """With a pause after it, as these clients do not wait for what comes of the end."""
    path = folder / "speech.wav"
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 16_000, 0, "NONE", None))
        out.writeframes(pcm_of(recording) + silence(1000))
    given = {
        "address": address_of(server, ticket),
        "path": str(path),
        "srt_path": str(folder / "speech.srt"),
        "options": ENGLISH | options,
    }
    return await heard_by(SCRIPT, given)


async def transcribed_stream(server, recording, ticket, *, at_once=False, **options):
    given = {
        "address": address_of(server, ticket),
        "pcm": base64.b64encode(pcm_of(recording)).decode(),
        "options": ENGLISH | options,
    }
    if at_once:
        given |= {"pcm": base64.b64encode(whole(recording)).decode(), "chunk_bytes": 1 << 30}
    return await heard_by(SCRIPT, given)


def whole(recording):
    """Several times over, so that it is longer than a message of our own protocol may be."""
    return (pcm_of(recording) + silence(1000)) * 3


async def native_words(server, pcm):
    _, events = await converse(server, pcm)
    return words_of(text_of(events))


def ends_of(server, subject):
    rows = server.trail(event="session.ended")
    return [row.reason for row in rows if row.subject == subject]


async def test_a_file_comes_back_as_the_words_of_the_native_protocol(
    whisper_live_server, recording, folder
):
    server = whisper_live_server
    *told, last = await transcribed_file(server, recording, folder, ticket_of(server))
    words = words_of(" ".join(last["kept"]))
    assert words == await native_words(server, pcm_of(recording) + silence(1000))
    assert words == words_of(recording.text)
    assert told
    assert last["error"] == ""


async def test_a_stream_comes_back_with_its_last_words_and_what_is_said_comes_before_it_is_final(
    whisper_live_server, recording
):
    server = whisper_live_server
    ticket = ticket_of(server, subject="stream")
    *told, last = await transcribed_stream(server, recording, ticket)
    words = words_of(" ".join(last["kept"]))
    assert words == await native_words(server, pcm_of(recording)) == words_of(recording.text)
    kinds = [next(iter(each)) for each in told]
    assert kinds.index("partial") < kinds.index("committed")
    assert ends_of(server, "stream")[-1] == "stopped"


async def test_a_whole_recording_may_be_sent_at_once(whisper_live_server, fox):
    """Any size is fine, says the client; its samples are twice as long on the wire."""
    ticket = ticket_of(whisper_live_server, subject="whole")
    assert len(whole(fox)) * 2 > ListenSettings().most_frame_bytes
    *_, last = await transcribed_stream(whisper_live_server, fox, ticket, at_once=True)
    assert words_of(" ".join(last["kept"])) == words_of(fox.text) * 3
    assert ends_of(whisper_live_server, "whole") == ["stopped"]


async def test_a_language_that_was_not_named_is_no_hindrance(whisper_live_server, fox):
    ticket = ticket_of(whisper_live_server)
    *_, last = await transcribed_stream(whisper_live_server, fox, ticket, lang=None)
    assert words_of(" ".join(last["kept"])) == words_of(fox.text)


async def test_a_ticket_that_is_not_good_is_refused_and_recorded(whisper_live_server, fox, folder):
    [last] = await transcribed_file(whisper_live_server, fox, folder, "garbage")
    assert "401" in last["error"]
    assert last["kept"] == []
    refused, *_ = await transcribed_stream(whisper_live_server, fox, "garbage")
    assert "401" in refused["error"]
    assert whisper_live_server.last_row("handshake.refused").reason == "ticket_unknown"


async def test_a_quota_that_runs_out_is_told_as_time_that_is_over_and_nobody_comes_again(
    whisper_live_server, fox, folder
):
    server = whisper_live_server
    ticket = ticket_of(server, subject="quota", limits=Limits(session_audio_s=1))
    *_, closed, last = await transcribed_file(server, fox, folder, ticket)
    assert closed == {"closed": True}
    assert last["is_over_time"]
    assert last["error"] == "Connection closed normally (code 1000)"
    assert words_of(" ".join(last["kept"])) != words_of(fox.text)
    assert ends_of(server, "quota") == ["quota_audio"]


async def test_what_cannot_be_done_is_an_error_of_the_clients(whisper_live_server, fox, folder):
    ticket = ticket_of(whisper_live_server, subject="translated")
    [last] = await transcribed_file(whisper_live_server, fox, folder, ticket, translate=True)
    assert last["kept"] == []
    assert ends_of(whisper_live_server, "translated") == ["bad_message"]
