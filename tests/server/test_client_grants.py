"""Deepgram's temporary tokens are tickets of ours."""

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from security.door_events import TicketIssued
from server.client_apis import client_apis
from server.client_grants import grant_routes
from server.client_routes import client_routes
from server.client_settings import ClientSettings
from tests.joined import Joined, bearer

GRANT = "/v1/auth/grant"
LISTEN = "/v1/listen?encoding=linear16&sample_rate=16000"
SETTINGS = ClientSettings()


class Scene(Joined):
    def __init__(self, folder, settings=SETTINGS):
        super().__init__(folder)
        apis = client_apis(settings)
        routes = client_routes(apis, self.reception, lambda: self.wall_s, settings)
        self.client = TestClient(
            Starlette(routes=[*grant_routes(settings, self.reception), *routes])
        )

    def ask(self, headers=None, **body):
        return self.client.post(GRANT, headers=headers or key(), json=body)

    def token(self):
        return self.ask().json()["access_token"]


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def key(scheme="Token", **claims):
    """As Deepgram's clients show it."""
    shown = bearer(**claims)["authorization"].removeprefix("Bearer ")
    return {"authorization": f"{scheme} {shown}"}


def refusal(response):
    return response.status_code, response.json()["err_code"]


@pytest.mark.parametrize("headers", [key(), key("Bearer"), key("bearer")])
def test_a_key_gets_a_token_and_is_told_how_long_it_is_good(scene, headers):
    response = scene.ask(headers, ttl_seconds=30)
    assert response.status_code == 200
    assert response.json()["expires_in"] == 60
    assert response.headers["cache-control"] == "no-store"
    assert len(response.headers["dg-request-id"]) == 36
    [issued] = scene.records_of(TicketIssued)
    assert issued.subject == "alice"
    assert response.json()["access_token"] not in repr(scene.records)


def test_no_body_is_no_wish(scene):
    assert scene.client.post(GRANT, headers=key()).status_code == 200


@pytest.mark.parametrize("way", ["header", "subprotocol"])
def test_a_token_opens_one_connection(scene, way):
    token = scene.token()
    offered = ["bearer", token] if way == "subprotocol" else None
    headers = {"authorization": f"Bearer {token}"} if way == "header" else {}
    with scene.client.websocket_connect(LISTEN, offered, headers=headers) as peer:
        assert peer.accepted_subprotocol == ("bearer" if offered else None)
        headers_back = dict(peer.extra_headers)
        peer.send_text('{"type":"CloseStream"}')
        last = peer.receive_json()
        assert last["type"] == "Metadata"
        assert headers_back[b"dg-request-id"].decode() == last["request_id"]
        with pytest.raises(WebSocketDisconnect) as closed:
            peer.receive_json()
        assert closed.value.code == 1000
    with (
        pytest.raises(WebSocketDisconnect) as denied,
        scene.client.websocket_connect(LISTEN, offered, headers=headers),
    ):
        raise AssertionError("was let in twice")
    assert denied.value.status_code == 401


def test_a_token_gets_no_other(scene):
    headers = {"authorization": f"Bearer {scene.token()}"}
    assert refusal(scene.ask(headers)) == (403, "INSUFFICIENT_PERMISSIONS")
    assert scene.records[-1].reason == "ticket_for_ticket"


@pytest.mark.parametrize("ttl", ["0", "-1", "3601", '"30"', "[]", "1e400"])
def test_a_time_that_is_none_is_refused(scene, ttl):
    content = f'{{"ttl_seconds":{ttl}}}'
    response = scene.client.post(GRANT, headers=key(), content=content)
    assert refusal(response) == (400, "Bad Request")


def test_other_wishes_are_passed_over(scene):
    assert scene.ask(ttl_seconds=12.5, scopes=["admin"]).status_code == 200


def test_who_shows_no_key_gets_none(scene):
    assert refusal(scene.client.post(GRANT)) == (401, "INVALID_AUTH")
    assert refusal(scene.ask({"authorization": "Token a.b.c"})) == (401, "INVALID_AUTH")


def test_an_administrators_key_gets_none(scene):
    assert refusal(scene.ask(key(scopes={"admin"}))) == (403, "INSUFFICIENT_PERMISSIONS")


def test_where_deepgram_is_not_spoken_there_are_none(tmp_path):
    off = Scene(tmp_path, ClientSettings(deepgram=False))
    assert off.ask().status_code == 404
