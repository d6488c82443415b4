"""HTTP around the sessions: refusals, the page, and who am I."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from security.audit import HandshakeRefused
from security.errors import AuditError
from security.limits import Limits
from security.tokens import TokenPolicy, TokenVerifier, mint_token
from server.app import SECURITY_HEADERS, Parts, build_app
from server.connection import ConnectionSettings
from server.door import Door
from server.live import LiveSessions
from server.session_values import SessionSettings
from tests.fakes import MODEL, FakeDetector, speech
from tests.server.test_connection import FakeTranscriber

KEY = Ed25519PrivateKey.generate()
POLICY = TokenPolicy(issuer="earwitness", audience="earwitness")
NOW_S = 1_000_000.0


class Scene:
    """The application with everything around it in the hand."""

    def __init__(self, web_folder, most_sessions=10):
        self.records, self.is_full, self.trail_fails = [], False, False
        parts = Parts(
            door=Door(
                TokenVerifier.of_one(POLICY, KEY.public_key()), frozenset({"http://testserver"})
            ),
            live=LiveSessions(most_sessions),
            transcriber=FakeTranscriber(),
            is_engine_full=lambda: self.is_full,
            new_detector=FakeDetector,
            record=self.record,
            model=MODEL,
            session_settings=SessionSettings(),
            connection_settings=ConnectionSettings(),
            web_folder=web_folder,
            wall_clock=lambda: NOW_S,
        )
        self.client = TestClient(build_app(parts))

    async def record(self, event):
        if self.trail_fails:
            raise AuditError("disk full")
        self.records.append(event)

    def refusal(self, headers, subprotocols=None):
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            self.client.websocket_connect("/v1/stream", subprotocols, headers=headers),
        ):
            raise AssertionError("was let in")
        return denied.value


@pytest.fixture
def scene(tmp_path):
    (tmp_path / "index.html").write_text("<title>Earwitness</title>")
    (tmp_path / "main.js").write_text("export {}")
    return Scene(tmp_path)


def bearer(**claims):
    given = {"subject": "alice", "scopes": {"transcribe"}, "lifetime_s": 600, "wall_s": NOW_S}
    return {"authorization": f"Bearer {mint_token(KEY, POLICY, **{**given, **claims})}"}


def test_no_token_is_401_and_says_how_to_bring_one(scene):
    response = scene.refusal({})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["code"] == "unauthenticated"
    [record] = scene.records
    assert isinstance(record, HandshakeRefused)
    assert (record.http_status, record.reason, record.subject) == (401, "token_missing", None)


def test_a_full_engine_is_503_and_says_when_to_come_back(scene):
    scene.is_full = True
    response = scene.refusal(bearer())
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    assert (scene.records[0].reason, scene.records[0].subject) == ("engine_full", "alice")


def test_a_full_server_is_503(tmp_path):
    scene = Scene(tmp_path, most_sessions=0)
    assert scene.refusal(bearer()).status_code == 503


def test_too_many_sessions_of_one_subject_are_429(scene):
    headers = bearer(limits=Limits(concurrent_sessions=1))
    with scene.client.websocket_connect("/v1/stream", headers=headers):
        assert scene.refusal(headers).status_code == 429


def test_a_trail_that_cannot_be_written_still_refuses(scene):
    scene.trail_fails = True
    assert scene.refusal({}).status_code == 401


def test_a_session_runs_through_the_application(scene):
    with scene.client.websocket_connect("/v1/stream", ["earwitness.v1"], headers=bearer()) as peer:
        assert peer.accepted_subprotocol == "earwitness.v1"
        peer.send_text('{"type":"start","sample_rate_hz":16000}')
        assert peer.receive_json()["type"] == "ready"
        peer.send_bytes(speech(1000))
        peer.send_text('{"type":"stop"}')
        kinds = [peer.receive_json()["type"]]
        while kinds[-1] != "ended":
            kinds.append(peer.receive_json()["type"])
    assert "final" in kinds
    assert scene.client.get("/healthz").json() == {"status": "ok", "sessions": 0}


def test_whoami_tells_a_page_whether_its_token_is_good(scene):
    good = scene.client.get("/v1/whoami", headers=bearer())
    assert (good.status_code, good.json()) == (200, {"subject": "alice", "expires_in_s": 600})
    bad = scene.client.get("/v1/whoami", headers={"authorization": "Bearer x"})
    assert (bad.status_code, bad.json()["code"]) == (401, "unauthenticated")
    assert scene.client.get("/v1/whoami", headers=bearer(scopes={"audit"})).status_code == 403


def test_whoami_tells_a_page_that_there_is_no_room_or_that_it_may_not_come(scene):
    elsewhere = {**bearer(), "origin": "https://evil.example"}
    assert scene.client.post("/v1/whoami", headers=elsewhere).json()["code"] == "origin_refused"
    none_left = bearer(limits=Limits(concurrent_sessions=0))
    assert scene.client.post("/v1/whoami", headers=none_left).json()["code"] == "too_many_sessions"
    scene.is_full = True
    assert scene.client.post("/v1/whoami", headers=bearer()).json()["code"] == "overloaded"


@pytest.mark.parametrize("path", ["/", "/main.js", "/healthz", "/v1/whoami", "/nothing"])
def test_every_answer_carries_the_security_headers(scene, path):
    response = scene.client.get(path)
    for name, value in SECURITY_HEADERS.items():
        assert response.headers[name] == value


@pytest.mark.parametrize("path", ["/../run.py", "/%2e%2e/run.py", "/..%2frun.py", "/.git/config"])
def test_nothing_outside_the_page_is_served(scene, path):
    assert scene.client.get(path).status_code in {404, 405}


@pytest.mark.parametrize(
    "name", [".env", ".hidden/x.js", "__init__.py", "main.js.map~", "notes.md", "sub/.git/config"]
)
def test_what_lies_in_the_folder_and_is_no_part_of_the_page_is_not_served(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("not for strangers")
    assert Scene(tmp_path).client.get(f"/{name}").status_code == 404


@pytest.mark.parametrize("path", ["/v1/stream/", "/nothing", "/"])
def test_a_stream_is_found_at_its_address_alone(scene, path):
    with pytest.raises(WebSocketDisconnect), scene.client.websocket_connect(path, headers=bearer()):
        raise AssertionError("was let in")
    assert scene.records == []


def test_a_poisoned_host_header_opens_nothing(scene):
    response = scene.client.get("/v1/whoami", headers={"host": "x/healthz?"})
    assert response.status_code == 401
