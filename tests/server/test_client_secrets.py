"""OpenAI's ephemeral keys: who gets them, what they say, what they open."""

import json
import time

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketDenialResponse

from security.door_events import HandshakeRefused, TicketIssued
from server.client_routes import client_routes
from server.client_secrets import client_secret_routes
from server.client_settings import ClientSettings
from server.dialects.hints import MOST_CONTEXT_CHARS
from server.dialects.openai_realtime import OpenAiApi
from server.dialects.openai_realtime_messages import MOST_PROMPT_CHARS
from server.door import Ticket
from server.errors import RefusedError
from tests.joined import NOW_S, Joined, bearer

PATH, FLAT_PATH = "/v1/realtime/client_secrets", "/v1/realtime/transcription_sessions"
SESSION = {"type": "transcription", "audio": {"input": {"transcription": {"language": "en"}}}}


class Desk:
    def __init__(self, folder):
        self.joined = Joined(folder)
        reception, wall_clock = self.joined.reception, lambda: NOW_S
        secrets = client_secret_routes(reception, wall_clock)
        self.app = Starlette(
            routes=[
                *secrets,
                *client_routes([OpenAiApi()], reception, wall_clock, ClientSettings()),
            ]
        )

    async def ask(self, body=None, path=PATH, headers=None, **claims):
        transport = httpx2.ASGITransport(self.app, client=("198.51.100.9", 5))
        given = bearer(**claims) if headers is None else headers
        kind = {"content": body} if isinstance(body, bytes) else {"json": body or {}}
        async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
            return await client.post(path, headers=given, **kind)

    def carried(self, key):
        return self.joined.reception.carried_by(Ticket(key.removeprefix("ek_")))

    def redeem(self, key, in_s=0.0):
        return self.joined.tickets.redeem(key.removeprefix("ek_"), None, time.monotonic() + in_s)

    def session(self, key, origin="http://testserver"):
        """What a page hears of the one that the key opens."""
        offered = ["realtime", f"openai-insecure-api-key.{key}"]
        connection = TestClient(self.app).websocket_connect(
            "/v1/realtime", subprotocols=offered, headers={"origin": origin}
        )
        with connection as peer:
            return peer.receive_json()["session"]


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
    assert desk.carried(body["value"]).language == "en"
    assert desk.redeem(body["value"]).subject == "alice"
    assert len(desk.joined.records_of(TicketIssued)) == 1


async def test_the_beta_has_a_form_of_its_own(desk):
    answered = await desk.ask({"input_audio_format": "g711_ulaw"}, FLAT_PATH)
    body = answered.json()
    assert body["input_audio_format"] == "g711_ulaw"
    assert body["client_secret"]["expires_at"] == NOW_S + 60
    assert desk.carried(body["client_secret"]["value"]).format == "audio/pcmu"


@pytest.mark.parametrize("path", [PATH, FLAT_PATH])
async def test_nothing_need_be_said(desk, path):
    assert (await desk.ask(b"", path)).status_code == 200


async def test_it_ends_sooner_if_that_is_asked_for_and_never_later(desk):
    for asked_s, ends_s in ((10, 10), (7200, 60)):
        asked = {"expires_after": {"anchor": "created_at", "seconds": asked_s}}
        body = (await desk.ask(asked)).json()
        assert body["expires_at"] == NOW_S + ends_s
        with pytest.raises(
            RefusedError,
        ) as refused:
            desk.redeem(body["value"], in_s=ends_s)
        assert refused.value.reason == "ticket_expired"
        desk.redeem(body["value"], in_s=ends_s - 1)


@pytest.mark.parametrize("prefix", ["ek_", ""])
async def test_what_was_wished_holds_for_the_session_that_the_key_opens(desk, prefix):
    wished = {"format": {"type": "audio/pcmu"}, "transcription": {"language": "en"}}
    secret = (await desk.ask({"session": {"audio": {"input": wished}}})).json()["value"]
    key = prefix + secret.removeprefix("ek_")
    with pytest.raises(WebSocketDenialResponse) as refused:
        desk.session(key, origin="http://foreign.example")
    assert refused.value.status_code == 403
    held = desk.session(key)["audio"]["input"]
    assert (held["format"]["type"], held["transcription"]["language"]) == ("audio/pcmu", "en")
    with pytest.raises(WebSocketDenialResponse) as refused:
        desk.session(key)
    assert refused.value.status_code == 401


@pytest.mark.parametrize("path", [PATH, FLAT_PATH])
@pytest.mark.parametrize(("n_chars", "status"), [(MOST_PROMPT_CHARS, 200), (300_000, 413)])
async def test_a_prompt_may_be_as_long_as_in_a_session(desk, path, n_chars, status):
    hints = {"prompt": "é" * n_chars}
    nested = {"session": {"audio": {"input": {"transcription": hints}}}}
    body = nested if path == PATH else {"input_audio_transcription": hints}
    answered = await desk.ask(json.dumps(body).encode(), path)
    assert answered.status_code == status


async def test_of_long_hints_as_much_is_kept_as_a_session_hears(desk):
    hints = {"prompt": "before " + "so be it " * 300, "keywords": ["anna"] * 30}
    asked = {"session": {"audio": {"input": {"transcription": hints}}}}
    key = (await desk.ask(asked)).json()["value"]
    carried = desk.carried(key)
    assert sum(map(len, [carried.prompt, *carried.keywords])) < 2 * MOST_CONTEXT_CHARS
    assert "so be it" in carried.start().context


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
