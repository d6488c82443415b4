"""Requests over HTTP, against a door, an engine and a trail that are held in the hand."""

import asyncio
import io
import json
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient

from security.door_events import HandshakeRefused, SessionEnded, SessionStarted
from security.limits import Limits
from server.rest import RestSettings, rest_routes
from server.session_values import SessionSettings
from tests.fakes import MODEL, silence, speech
from tests.joined import Joined, bearer
from tests.server.test_connection import FakeTranscriber

TRANSCRIPTIONS, RECOGNIZE = "/v1/audio/transcriptions", "/api/recognize"
SMALL = RestSettings(most_upload_bytes=200_000)


def wav(*parts: bytes) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.frombuffer(b"".join(parts), "<i2"), 16_000, format="WAV")
    return out.getvalue()


SAID = wav(speech(1000), silence(900))
TWICE = wav(speech(1000), silence(1500), speech(500), silence(900))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(Scene, "folder", tmp_path)


class Scene(Joined):
    folder = Path()

    def __init__(self, settings=SMALL, mode="answers", **limits):
        self.transcriber = FakeTranscriber(mode)
        super().__init__(
            self.folder,
            most_sessions=4,
            transcriber=self.transcriber,
            session_settings=SessionSettings(**limits),
        )
        self.app = Starlette(routes=rest_routes(self.reception, MODEL, settings))
        self.client = TestClient(self.app)

    def transcribe(self, file=SAID, headers=None, **fields):
        return self.client.post(
            TRANSCRIPTIONS,
            files=[("file", ("a.wav", file))],
            data={"model": "fake", **fields},
            headers=headers or bearer(),
        )

    def recognize(self, body=SAID, headers=None):
        return self.client.post(RECOGNIZE, content=body, headers=headers or bearer())

    @property
    def reasons(self):
        return [r.reason for r in self.records if isinstance(r, HandshakeRefused | SessionEnded)]


@pytest.fixture
def scene():
    return Scene()


def error(response):
    return response.status_code, response.json()["error"]["code"]


def test_a_file_is_heard_as_a_session_and_answered(scene):
    response = scene.transcribe()
    assert response.status_code == 200
    assert response.json()["text"] == "w5 w5 w5 w5"
    assert scene.reasons == ["stopped"]
    assert scene.live.total == 0
    assert scene.recognize().json() == {"text": "w5 w5 w5 w5", "status": "ok"}


def test_subtitles_and_the_plain_form_say_what_they_are(scene):
    assert (
        scene.transcribe(response_format="srt")
        .headers["content-type"]
        .startswith("application/x-subrip")
    )
    assert scene.recognize().headers["content-type"] == "application/json"


def test_a_stream_gives_the_words_of_each_final_and_then_all(scene):
    response = scene.transcribe(TWICE, stream="true")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = [json.loads(line[6:]) for line in response.text.split("\n\n") if line]
    assert [event["type"].rsplit(".", 1)[1] for event in events] == ["delta", "delta", "done"]
    assert events[0]["delta"] + events[1]["delta"] == events[2]["text"] == "w5 w5 w5 w5 w5 w5"


def test_a_stream_of_silence_is_one_event(scene):
    response = scene.transcribe(wav(silence(1000)), stream="true")
    assert response.text == 'data: {"type":"transcript.text.done","text":""}\n\n'


def test_a_stream_that_is_refused_before_its_first_words_has_a_status(scene):
    response = scene.transcribe(stream="true", headers=bearer(limits=Limits(session_audio_s=0)))
    assert error(response) == (429, "quota_audio")


def test_a_stream_that_is_refused_later_ends_with_an_error(scene):
    response = scene.transcribe(
        TWICE, stream="true", headers=bearer(limits=Limits(session_audio_s=3))
    )
    assert response.status_code == 200
    *deltas, last, _ = response.text.split("\n\n")
    assert deltas
    assert last.startswith("event: error\n")
    assert '"code":"quota_audio"' in last


def test_no_token_is_401_in_the_form_of_each_address(scene):
    none = {"authorization": ""}
    openai = scene.transcribe(headers=none)
    assert error(openai) == (401, "invalid_api_key")
    assert openai.headers["www-authenticate"] == "Bearer"
    assert openai.headers["connection"] == "close"
    plain = scene.recognize(headers=none)
    assert (plain.status_code, plain.json()) == (401, {"text": "", "status": "unauthenticated"})
    assert error(scene.client.get("/v1/models", headers=none)) == (401, "invalid_api_key")


def test_models_are_for_those_who_may_come_in(scene):
    listed = scene.client.get("/v1/models", headers=bearer()).json()
    assert [model["id"] for model in listed["data"]] == ["fake"]


def test_a_quota_is_429_and_no_reason_to_try_again(scene):
    response = scene.recognize(headers=bearer(limits=Limits(session_audio_s=1)))
    assert (response.status_code, response.json()["status"]) == (429, "quota_audio")
    assert response.headers["x-should-retry"] == "false"
    assert scene.reasons == ["quota_audio"]


def test_an_engine_that_fails_is_500_and_a_reason_to_try_again():
    scene = Scene(mode="fails")
    response = scene.transcribe()
    assert error(response) == (500, "internal")
    assert (response.headers["x-should-retry"], response.headers["retry-after"]) == ("true", "5")


@pytest.mark.parametrize(
    ("files", "fields", "status", "code"),
    [
        ([], {"model": "fake", "file": "not a file"}, 400, "bad_request"),
        ([("x", b"")], {"model": "fake"}, 400, "bad_request"),
        ([("file", SAID), ("file", SAID)], {"model": "fake"}, 400, "bad_request"),
        ([("file", SAID)], {}, 400, "bad_request"),
        ([("file", SAID)], {"model": "other"}, 404, "model_not_found"),
        ([("file", b"garbage")], {"model": "fake"}, 400, "audio_unreadable"),
        ([("file", bytes(200_001))], {"model": "fake"}, 413, "message_too_big"),
    ],
)
def test_what_cannot_be_heard_is_refused_and_recorded_once(scene, files, fields, status, code):
    response = scene.client.post(TRANSCRIPTIONS, files=files, data=fields, headers=bearer())
    assert error(response) == (status, code)
    assert len(scene.reasons) == 1
    assert scene.live.total == 0


def test_a_refused_field_is_named(scene):
    response = scene.transcribe(response_format="diarized_json")
    assert response.json()["error"]["param"] == "response_format"
    assert scene.reasons == ["field_response_format"]


def test_a_file_that_breaks_off_ends_its_session():
    scene = Scene(RestSettings())
    out = io.BytesIO()
    noise = np.random.default_rng(0).integers(-9000, 9000, 16_000 * 30).astype("<i2")
    soundfile.write(out, noise, 16_000, format="FLAC")
    response = scene.recognize(out.getvalue()[:-5000])
    assert (response.status_code, response.json()["status"]) == (415, "audio_unreadable")
    assert isinstance(scene.records[-1], SessionEnded)


def test_audio_over_the_limit_is_refused_however_small_the_file():
    scene = Scene(RestSettings(most_audio_s=60))
    out = io.BytesIO()
    soundfile.write(out, np.zeros(16_000 * 600, np.int16), 16_000, format="FLAC")
    assert len(out.getvalue()) < 100_000
    assert scene.recognize(out.getvalue()).status_code == 413


@pytest.mark.parametrize("n_bytes", [200_001, 2_000_000])
def test_a_plain_body_over_the_limit_is_refused_with_and_without_a_length(scene, n_bytes):
    assert scene.recognize(bytes(n_bytes)).status_code == 413
    pieces = (bytes(50_000) for _ in range(n_bytes // 50_000 + 1))
    assert scene.recognize(pieces).status_code == 413


def test_fields_nobody_knows_count_too(scene):
    response = scene.client.post(
        TRANSCRIPTIONS,
        content=(bytes(100_000) for _ in range(20)),
        headers={**bearer(), "content-type": "multipart/form-data; boundary=x"},
    )
    assert error(response) == (413, "message_too_big")


# --- at the level of ASGI ---


def scope_of(path=RECOGNIZE, headers=None):
    given = {**bearer(), **(headers or {})}
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


class Peer:
    """A client whose messages come when a test lets them."""

    def __init__(self, scene, headers=None):
        self.scene, self.headers = scene, headers
        self.inbox, self.sent = asyncio.Queue(), []

    def put(self, body, more_body=False):
        self.inbox.put_nowait({"type": "http.request", "body": body, "more_body": more_body})

    def leave(self):
        self.inbox.put_nowait({"type": "http.disconnect"})

    async def send(self, message):
        self.sent.append(message)

    @asynccontextmanager
    async def asking(self):
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            tasks.create_task(
                self.scene.app(scope_of(headers=self.headers), self.inbox.get, self.send)
            )
            yield self

    async def until(self, condition):
        while not condition():  # noqa: ASYNC110 (of things that know no events)
            await asyncio.sleep(0.001)

    @property
    def status(self):
        return self.sent[0]["status"]


async def test_a_stranger_is_refused_before_a_byte_is_read(scene):
    async with Peer(scene, {"authorization": "Bearer x"}).asking() as peer:
        await peer.until(lambda: peer.sent)
    assert peer.status == 401
    assert peer.inbox.empty()


async def test_who_is_refused_while_it_writes_is_answered_when_it_has_written(scene):
    async with Peer(scene, {"authorization": "Bearer x"}).asking() as peer:
        peer.put(b"x", more_body=True)
        await asyncio.sleep(0)
        assert peer.sent == []
        peer.put(b"y")
        await peer.until(lambda: peer.sent)
    assert peer.status == 401


@pytest.mark.parametrize("length", [str(1 << 40), "9" * 400, "-1", "x"])
async def test_a_length_that_is_too_much_is_refused_before_a_byte_is_read(scene, length):
    async with Peer(scene, {"content-length": length}).asking() as peer:
        await peer.until(lambda: peer.sent)
    assert peer.status == 413


async def test_a_session_is_on_record_before_a_byte_is_read_and_ends_on_every_path(scene):
    async with Peer(scene).asking() as peer:
        await peer.until(lambda: scene.records)
        assert [type(record) for record in scene.records] == [SessionStarted]
        peer.leave()
    assert [type(record) for record in scene.records] == [SessionStarted, SessionEnded]


async def test_a_trail_that_cannot_be_written_takes_no_upload(scene):
    scene.trail_fails = True
    async with Peer(scene).asking() as peer:
        await peer.until(lambda: peer.sent)
    assert peer.status == 503
    assert peer.inbox.empty()


async def test_a_client_that_leaves_while_it_sends_is_heard_no_further(scene):
    async with Peer(scene).asking() as peer:
        peer.put(SAID[:1000], more_body=True)
        peer.leave()
    assert (peer.sent, scene.reasons) == ([], ["client_gone"])
    assert scene.live.total == 0


async def test_a_client_that_leaves_while_it_is_heard_ends_its_session():
    scene = Scene(mode="hangs")
    async with Peer(scene).asking() as peer:
        peer.put(SAID)
        await peer.until(lambda: scene.transcriber.futures)
        peer.leave()
    assert peer.sent == []
    assert scene.reasons == ["client_gone"]
    assert all(future.cancelled() for future in scene.transcriber.futures)


async def test_a_body_that_does_not_come_is_not_waited_for():
    scene = Scene(RestSettings(upload_limit_s=0.02))
    async with Peer(scene).asking() as peer:
        peer.put(SAID[:1000], more_body=True)
    assert peer.status == 408
    assert scene.reasons == ["upload_late"]


async def test_all_bodies_together_have_their_limit():
    scene = Scene(RestSettings(most_held_bytes=100_000))
    length = {"content-length": str(len(SAID))}
    async with Peer(scene, length).asking() as first:
        first.put(b"", more_body=True)
        await first.until(lambda: first.inbox.empty())
        async with Peer(scene, length).asking() as second:
            await second.until(lambda: second.sent)
        first.leave()
    assert second.status == 503
    assert scene.reasons == ["uploads_full", "client_gone"]
    async with Peer(scene, length).asking() as third:
        third.put(SAID)
    assert third.status == 200
