"""OpenAI's ephemeral keys: who gets them, what they say, what they open."""

import time

import httpx2
import pytest
from starlette.applications import Starlette

from security.door_events import HandshakeRefused, TicketIssued
from server.client_secrets import client_secret_routes
from server.dialects.openai_keys import EphemeralKeys
from tests.joined import NOW_S, Joined, bearer
from tests.server.dialects.openai_session import upgrade

PATH, FLAT_PATH = "/v1/realtime/client_secrets", "/v1/realtime/transcription_sessions"
SESSION = {"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}}}}


class Desk:
    def __init__(self, folder):
        self.joined = Joined(folder)
        self.keys = EphemeralKeys()
        self.app = Starlette(
            routes=client_secret_routes(self.joined.reception, self.keys, lambda: NOW_S)
        )

    async def ask(self, body=None, path=PATH, headers=None, **claims):
        transport = httpx2.ASGITransport(self.app, client=("198.51.100.9", 5))
        given = bearer(**claims) if headers is None else headers
        kind = {"content": body} if isinstance(body, bytes) else {"json": body or {}}
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.post(path, headers=given, **kind)

    def kept(self, key):
        return self.keys.take(upgrade(headers=[("authorization", f"Bearer {key}")]))

    def redeem(self, key):
        return self.joined.tickets.redeem(key.removeprefix("ek_"), None, time.monotonic())


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


async def test_a_key_is_a_ticket_and_says_when_it_ends_and_what_it_opens(desk):
    answered = await desk.ask({"session": SESSION})
    body = answered.json()
    assert (answered.status_code, answered.headers["cache-control"]) == (200, "no-store")
    assert body["expires_at"] == NOW_S + 60
    assert body["session"]["audio"]["input"]["transcription"]["language"] == "en"
    assert body["session"]["id"].startswith("sess_")
    assert desk.redeem(body["value"]).subject == "alice"
    assert desk.kept(body["value"]).wishes.language == "en"
    assert len(desk.joined.records_of(TicketIssued)) == 1


async def test_the_beta_has_a_form_of_its_own(desk):
    answered = await desk.ask({"input_audio_format": "g711_ulaw"}, FLAT_PATH)
    body = answered.json()
    assert body["input_audio_format"] == "g711_ulaw"
    assert body["client_secret"]["expires_at"] == NOW_S + 60
    assert desk.kept(body["client_secret"]["value"]).wishes.format == "audio/pcmu"


@pytest.mark.parametrize("path", [PATH, FLAT_PATH])
async def test_nothing_need_be_said(desk, path):
    assert (await desk.ask(b"", path)).status_code == 200


async def test_it_ends_sooner_if_that_is_asked_for_and_never_later(desk):
    for asked_s, ends_s in ((10, 10), (7200, 60)):
        asked = {"expires_after": {"anchor": "created_at", "seconds": asked_s}}
        body = (await desk.ask(asked)).json()
        assert body["expires_at"] == NOW_S + ends_s
        assert desk.kept(body["value"]).ends_s == NOW_S + ends_s


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({"session": {"type": "realtime", "model": "x"}}, "invalid_value", "session.type"),
        (
            {"session": {"audio": {"input": {"transcription": {"model": "x"}}}}},
            "model_not_found",
            "session.audio.input.transcription.model",
        ),
        ({"expires_after": {"seconds": 9}}, "bad_request", None),
        ({"expires_after": {"anchor": "now", "seconds": 60}}, "bad_request", None),
        (b"{", "bad_request", None),
    ],
)
async def test_what_is_wrong_is_told_to_who_asks(desk, asked, code, param):
    answered = await desk.ask(asked)
    fault = answered.json()["error"]
    assert (answered.status_code, fault["type"]) == (400, "invalid_request_error")
    assert (fault["code"], fault["param"]) == (code, param)
    assert not desk.joined.records_of(TicketIssued)


async def test_who_has_no_key_gets_none(desk):
    answered = await desk.ask(headers={})
    assert answered.status_code == 401
    assert answered.json()["error"]["code"] == "invalid_api_key"
    assert answered.headers["www-authenticate"] == "Bearer"


async def test_a_key_gets_no_key(desk):
    key = (await desk.ask()).json()["value"].removeprefix("ek_")
    answered = await desk.ask(path=f"{PATH}?ticket={key}", headers={})
    assert (answered.status_code, answered.json()["error"]["type"]) == (403, "permission_error")
    assert desk.joined.records_of(HandshakeRefused)[-1].reason == "ticket_for_ticket"


async def test_a_trail_that_cannot_be_written_gives_no_keys(desk):
    desk.joined.trail_fails = True
    answered = await desk.ask()
    assert answered.status_code == 503
    assert answered.headers["x-should-retry"] == "true"
