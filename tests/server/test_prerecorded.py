"""Files that come by Deepgram's API, against a door and an engine that are held in the hand."""

import hashlib
import io

import numpy as np
import pytest
import soundfile
from starlette.applications import Starlette
from starlette.testclient import TestClient

from security.door_events import SessionEnded
from security.limits import Limits
from server.client_settings import ClientSettings
from server.prerecorded import PATH, prerecorded
from server.rest import rest_routes
from tests.fakes import MODEL, silence, speech
from tests.joined import Joined
from tests.server.test_client_grants import key, refusal
from tests.server.test_rest import SAID, SMALL, TWICE


class Scene(Joined):
    def __init__(self, folder, settings):
        super().__init__(folder)
        others = prerecorded(settings, MODEL, lambda: self.wall_s)
        routes = rest_routes(self.reception, MODEL, SMALL, others)
        self.client = TestClient(Starlette(routes=routes))

    def listen(self, file=SAID, headers=None, **query):
        shown = key() if headers is None else headers
        return self.client.post(PATH, content=file, headers=shown, params=query)


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path, ClientSettings())


def test_a_file_is_heard_as_a_session_and_answered(scene):
    response = scene.listen(model="nova-3", utterances="true")
    assert response.status_code == 200
    answer = response.json()
    assert answer["metadata"]["request_id"] == response.headers["dg-request-id"]
    assert answer["metadata"]["sha256"] == hashlib.sha256(SAID).hexdigest()
    assert answer["metadata"]["duration"] == 1.9
    [alternative] = answer["results"]["channels"][0]["alternatives"]
    assert alternative["transcript"] == "w5 w5 w5 w5"
    assert len(answer["results"]["utterances"]) == 1
    assert [event.reason for event in scene.records_of(SessionEnded)] == ["stopped"]
    assert scene.live.total == 0


def test_each_request_has_an_id_of_its_own(scene):
    ids = {scene.listen().headers["dg-request-id"] for _ in range(2)}
    assert len(ids) == 2


def test_each_stretch_of_speech_is_an_utterance(scene):
    utterances = scene.listen(TWICE, utterances="true").json()["results"]["utterances"]
    assert [each["transcript"] for each in utterances] == ["w5 w5 w5 w5", "w5 w5"]


def test_two_channels_are_heard_apart_where_it_is_asked_for(scene):
    caller = np.frombuffer(speech(1000) + silence(900), "<i2")
    out = io.BytesIO()
    stereo = np.stack([np.zeros_like(caller), caller], axis=1)
    soundfile.write(out, stereo, 16_000, format="WAV")
    answer = scene.listen(out.getvalue(), multichannel="true").json()
    silent, said = answer["results"]["channels"]
    assert silent["alternatives"][0]["transcript"] == ""
    assert said["alternatives"][0]["transcript"] == "w5 w5 w5 w5"
    assert (answer["metadata"]["channels"], answer["metadata"]["duration"]) == (2, 1.9)
    assert len(scene.listen(out.getvalue()).json()["results"]["channels"]) == 1


def test_utterances_are_told_where_they_are_asked_for(scene):
    assert "utterances" not in scene.listen().json()["results"]


@pytest.mark.parametrize("headers", [{}, {"authorization": "Token a.b.c"}])
def test_who_shows_no_key_is_refused(scene, headers):
    response = scene.listen(headers=headers)
    assert refusal(response) == (401, "INVALID_AUTH")
    assert response.headers["dg-error"] == "Invalid credentials."
    assert response.headers["dg-request-id"] == response.json()["request_id"]
    assert response.headers["connection"] == "close"


def test_the_address_of_a_file_is_refused(scene):
    headers = key() | {"content-type": "application/json; charset=utf-8"}
    response = scene.listen(b'{"url":"https://media.example/a.wav"}', headers)
    assert refusal(response) == (400, "Bad Request")
    assert "fetches nothing" in response.json()["err_msg"]
    assert scene.records[-1].reason == "address_of_a_file"


@pytest.mark.parametrize("option", ["diarize", "redact", "summarize", "callback"])
def test_what_is_not_done_here_is_refused(scene, option):
    response = scene.listen(**{option: "true"})
    assert refusal(response) == (400, "INVALID_QUERY_PARAMETER")
    assert scene.records[-1].reason == f"field_{option}"


def test_what_is_not_done_here_is_told_to_nobody_else(scene):
    assert refusal(scene.listen(headers={}, diarize="true")) == (401, "INVALID_AUTH")


@pytest.mark.parametrize("file", [b"", b"not a file", SAID[:40]])
def test_what_is_no_sound_is_refused(scene, file):
    assert refusal(scene.listen(file)) == (400, "Bad Request")


def test_a_file_that_is_too_long_is_refused(scene):
    assert refusal(scene.listen(bytes(2_000_000))) == (413, "PAYLOAD_TOO_LARGE")


def test_a_quota_that_is_used_up_has_to_be_paid_for(scene):
    response = scene.listen(headers=key(limits=Limits(session_audio_s=0)))
    assert refusal(response) == (402, "ASR_PAYMENT_REQUIRED")


def test_who_has_no_place_may_come_again(scene):
    response = scene.listen(headers=key(limits=Limits(concurrent_sessions=0)))
    assert refusal(response) == (429, "TOO_MANY_REQUESTS")
    assert int(response.headers["retry-after"]) > 0


def test_where_deepgram_is_not_spoken_there_is_nothing(tmp_path):
    off = Scene(tmp_path, ClientSettings(deepgram=False))
    assert off.listen().status_code == 404
