"""HTTP around the sessions: refusals, tickets, administrators, the page, and who am I."""

import json

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from security.audit import token_hash_of
from security.audit_events import TokenRevoked
from security.door_events import HandshakeRefused, SessionEndedByAdministrator, TicketIssued
from security.limits import Limits
from server.admin import admin_routes
from server.app import SECURITY_HEADERS, build_app
from tests.fakes import MODEL, speech
from tests.joined import Joined, bearer


class Scene(Joined):
    """The application with everything around it in the hand."""

    def __init__(self, folder, most_sessions=10):
        super().__init__(folder, most_sessions)
        app = build_app(self.reception, folder, admin_routes(self.office))
        self.client = TestClient(app)

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


def test_a_trail_that_cannot_be_written_lets_nobody_in_and_says_when_to_come_back(scene):
    scene.trail_fails = True
    response = scene.refusal(bearer())
    assert (response.status_code, response.json()["code"]) == (503, "trail_unavailable")
    assert response.headers["retry-after"] == "5"
    assert scene.live.total == 0


def test_a_trail_that_cannot_be_written_gives_no_tickets(scene):
    scene.trail_fails = True
    response = scene.client.post("/v1/tickets", headers=bearer())
    assert (response.status_code, response.json()["code"]) == (503, "trail_unavailable")


def test_a_session_that_lives_goes_on_when_the_trail_fails(scene):
    with scene.client.websocket_connect("/v1/stream", headers=bearer()) as peer:
        begin(peer)
        scene.trail_fails = True
        peer.send_bytes(speech(1000))
        peer.send_text('{"type":"stop"}')
        kinds = [peer.receive_json()["type"]]
        while kinds[-1] != "ended":
            kinds.append(peer.receive_json()["type"])
        with pytest.raises(WebSocketDisconnect) as closed:
            peer.receive_json()
    assert "final" in kinds
    assert closed.value.code == 1000


def test_an_administrator_takes_away_also_when_the_trail_fails(scene):
    with (
        scene.client.websocket_connect("/v1/stream", headers=bearer()) as one,
        scene.client.websocket_connect("/v1/stream", headers=bearer(subject="bob")) as other,
    ):
        begin(one)
        begin(other)
        scene.trail_fails = True
        shown = scene.client.get("/admin/sessions", headers=admin()).json()["sessions"]
        [of_alice] = [each["session_id"] for each in shown if each["subject"] == "alice"]
        path = f"/admin/sessions/{of_alice}"
        assert scene.client.delete(path, headers=admin()).json() == {"ended": 1}
        assert one.receive_json()["code"] == "ended_by_administrator"
        body = {"subject": "bob"}
        response = scene.client.post("/admin/revocations", headers=admin(), json=body)
        assert response.json() == {"ended": 1}
        assert other.receive_json()["code"] == "revoked"


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
    assert scene.client.get("/healthz").json() == {"status": "ok", "server": "earwitness"}


def test_whoami_tells_a_page_whether_its_token_is_good(scene):
    good = scene.client.get("/v1/whoami", headers=bearer())
    known = {"model": MODEL.model_id, "languages": sorted(MODEL.languages)}
    assert good.status_code == 200
    assert good.json() == {"subject": "alice", "expires_in_s": 600, **known}
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


@pytest.mark.parametrize(
    "path", ["/", "/main.js", "/healthz", "/v1/whoami", "/nothing", "/admin/sessions"]
)
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


# --- tickets ---


def ticket_of(scene, headers=None, **body):
    response = scene.client.post("/v1/tickets", headers=headers or bearer(), json=body)
    assert (response.status_code, response.json()["expires_in_s"]) == (201, 60)
    assert response.headers["cache-control"] == "no-store"
    return response.json()["ticket"]


@pytest.mark.parametrize("way", ["address", "subprotocol"])
def test_a_ticket_opens_once_what_its_token_grants_and_no_more_than_was_asked_for(scene, way):
    ticket = ticket_of(scene, bearer(limits=Limits(session_bytes=50)), session_audio_s=7)
    path = f"/v1/stream?ticket={ticket}" if way == "address" else "/v1/stream"
    offered = ["earwitness.v1", f"ticket.{ticket}"] if way == "subprotocol" else ["earwitness.v1"]
    with scene.client.websocket_connect(path, offered) as peer:
        assert peer.accepted_subprotocol == "earwitness.v1"
        peer.send_text('{"type":"start","sample_rate_hz":16000}')
        limits = peer.receive_json()["limits"]
        assert (limits["audio_ms"], limits["bytes"]) == (7000, 50)
    with pytest.raises(WebSocketDenialResponse), scene.client.websocket_connect(path, offered):
        raise AssertionError("was let in twice")
    reasons = [event.reason for event in scene.records if isinstance(event, HandshakeRefused)]
    assert reasons == ["ticket_replayed"]
    [issued] = [event for event in scene.records if isinstance(event, TicketIssued)]
    assert issued.subject == "alice"
    assert ticket not in repr(scene.records)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[]", 400),
        (b'{"session_audio_s":"7"}', 400),
        (b'{"pace_percent":-1}', 400),  # is no pace at all to who reckons with it
        (b'{"scopes":[]}', 400),
        (b"x" * 5000, 413),
    ],
)
def test_a_body_that_asks_for_something_else_gets_no_ticket(scene, body, status):
    response = scene.client.post("/v1/tickets", headers=bearer(), content=body)
    assert response.status_code == status


def test_a_ticket_opens_nothing_but_sessions(scene):
    path = f"/admin/sessions?ticket={ticket_of(scene)}"
    assert scene.client.get(path).json()["code"] == "forbidden"
    path = f"/v1/tickets?ticket={ticket_of(scene)}"
    assert scene.client.post(path).json()["code"] == "forbidden"
    assert scene.records[-1].reason == "ticket_for_ticket"


@pytest.mark.parametrize("scope", ["admin", "audit"])
def test_an_administrators_token_makes_no_ticket_and_opens_no_session(scene, scope):
    headers = bearer(scopes={scope})
    assert scene.client.post("/v1/tickets", headers=headers).json()["code"] == "forbidden"
    assert scene.refusal(headers).json()["code"] == "forbidden"
    assert [event.reason for event in scene.records] == ["scope_missing"] * 2
    assert {event.subject for event in scene.records} == {"alice"}


def test_a_session_cannot_go_on_by_an_administrators_token(scene):
    with scene.client.websocket_connect("/v1/stream", headers=bearer()) as peer:
        begin(peer)
        other = bearer(scopes={"admin"}, lifetime_s=900)["authorization"].removeprefix("Bearer ")
        peer.send_text(json.dumps({"type": "refresh", "token": other}))
        assert peer.receive_json()["code"] == "forbidden"


def test_without_a_token_there_is_no_ticket(scene):
    assert scene.client.post("/v1/tickets").status_code == 401
    assert isinstance(scene.records[-1], HandshakeRefused)


# --- administrators ---


def admin():
    return bearer(subject="root", scopes={"admin"})


def begin(peer):
    peer.send_text('{"type":"start","sample_rate_hz":16000}')
    assert peer.receive_json()["type"] == "ready"


def test_an_administrator_sees_who_is_connected_and_nobody_else_does(scene):
    with scene.client.websocket_connect("/v1/stream", headers=bearer()) as peer:
        begin(peer)
        [shown] = scene.client.get("/admin/sessions", headers=admin()).json()["sessions"]
        assert (shown["subject"], shown["issuer"]) == ("alice", "earwitness")
        assert shown["token_hash"] == token_hash_of(shown["token_id"])
        assert (shown["address"], shown["port"], shown["is_ending"]) == ("testclient", 50000, False)
        assert shown["started_at"] == "1970-01-12T13:46:40+00:00"
        assert scene.client.get("/admin/sessions", headers=bearer()).status_code == 403
        assert scene.client.get("/admin/sessions").status_code == 401


def test_an_administrator_ends_a_session_on_record(scene):
    with scene.client.websocket_connect("/v1/stream", headers=bearer()) as peer:
        begin(peer)
        [shown] = scene.client.get("/admin/sessions", headers=admin()).json()["sessions"]
        path = f"/admin/sessions/{shown['session_id']}"
        assert scene.client.delete(path, headers=bearer()).status_code == 403
        assert scene.client.delete(path, headers=admin()).json() == {"ended": 1}
        assert peer.receive_json()["code"] == "ended_by_administrator"
        peer.receive_json()
        with pytest.raises(WebSocketDisconnect) as closed:
            peer.receive_json()
        assert closed.value.code == 4403
    [ended] = [event for event in scene.records if isinstance(event, SessionEndedByAdministrator)]
    assert (ended.by, ended.subject, ended.session_id) == ("root", "alice", shown["session_id"])
    assert scene.client.delete(path, headers=admin()).status_code == 404


@pytest.mark.parametrize("named", ["subject", "token_id", "key_id"])
def test_what_is_revoked_ends_and_is_not_let_in_again(scene, named):
    headers = bearer(token_id="t-7")  # noqa: S106 (an id)
    with scene.client.websocket_connect("/v1/stream", headers=headers) as peer:
        begin(peer)
        [shown] = scene.client.get("/admin/sessions", headers=admin()).json()["sessions"]
        body = {named: shown[named]}
        assert scene.client.post("/admin/revocations", headers=admin(), json=body).json() == {
            "ended": 1
        }
        assert peer.receive_json()["code"] == "revoked"
    assert scene.refusal(headers).json()["code"] == "revoked"
    [revoked] = scene.records_of(TokenRevoked)
    assert (getattr(revoked, named), revoked.by) == (shown[named], "root")
    assert revoked.peer_address == "testclient"
    [refused] = scene.records_of(HandshakeRefused)
    assert (refused.reason, refused.subject, refused.token_id) == ("revoked", "alice", "t-7")


def test_a_ticket_of_a_revoked_token_opens_nothing(scene):
    ticket = ticket_of(scene)
    scene.client.post("/admin/revocations", headers=admin(), json={"subject": "alice"})
    assert scene.refusal({}, [f"ticket.{ticket}"]).json()["code"] == "revoked"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"subject": "a", "token_id": "b"},
        {"subject": ""},
        {"subject": "a", "issuer": "unknown"},
        {"what": "a"},
    ],
)
def test_a_revocation_says_one_thing_of_a_known_issuer(scene, body):
    response = scene.client.post("/admin/revocations", headers=admin(), json=body)
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


def test_a_revocation_that_cannot_be_written_is_not_promised(scene, tmp_path):
    (tmp_path / "revocations.ndjson").mkdir()
    response = scene.client.post("/admin/revocations", headers=admin(), json={"subject": "a"})
    assert response.status_code == 500


def test_a_model_that_was_not_granted_is_forbidden(scene):
    assert scene.refusal(bearer(models={"other"})).status_code == 403
    assert scene.records[-1].reason == "model_not_granted"


def test_too_many_starts_in_a_minute_are_429_and_looking_in_is_no_start(scene):
    headers = bearer(limits=Limits(starts_per_minute=2))
    for _ in range(3):
        assert scene.client.post("/v1/whoami", headers=headers).status_code == 200
    for _ in range(2):
        with scene.client.websocket_connect("/v1/stream", headers=headers):
            pass
    assert scene.refusal(headers).json()["code"] == "too_many_starts"


# --- tokens that end ---


def test_a_newer_token_lets_a_session_go_on(scene):
    with scene.client.websocket_connect("/v1/stream", headers=bearer()) as peer:
        begin(peer)
        scene.wall_s += 100
        newer = bearer(wall_s=scene.wall_s)["authorization"].removeprefix("Bearer ")
        peer.send_text(json.dumps({"type": "refresh", "token": newer}))
        assert peer.receive_json() == {"type": "token_refreshed", "expires_in_s": 600}
        peer.send_text(json.dumps({"type": "refresh", "token": "x.y.z"}))
        refused = peer.receive_json()
        assert (refused["type"], refused["code"]) == ("refresh_refused", "unauthenticated")
        peer.send_text('{"type":"stop"}')
        assert peer.receive_json()["reason"] == "stopped"
    assert newer not in repr(scene.records)


def test_waiting_for_the_keys_of_an_issuer_makes_no_token_live_longer(scene):
    scene.keys_take_s = 10.0
    assert scene.client.get("/v1/whoami", headers=bearer()).json()["expires_in_s"] == 590
    headers = bearer(wall_s=scene.wall_s)
    with scene.client.websocket_connect("/v1/stream", headers=headers) as peer:
        begin(peer)
        newer = bearer(wall_s=scene.wall_s, lifetime_s=900)["authorization"].removeprefix("Bearer ")
        peer.send_text(json.dumps({"type": "refresh", "token": newer}))
        told = {"type": "token_refreshed", "expires_in_s": 880}  # waited for before and after
        assert peer.receive_json() == told
