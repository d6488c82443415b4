"""Handshakes of clients of another API, as far as that is the same for all of them."""

import asyncio
import base64
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import websockets
from starlette.applications import Starlette
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from security.door_events import HandshakeRefused, SessionEnded, SessionStarted
from security.limits import Limits
from server import wire
from server.client_routes import client_routes, read_key, response_of
from server.client_settings import ClientSettings
from server.dialects.translation import Answer, Broken, DeclinedError, Hear, Say
from server.dialects.values import Reply, Upgrade
from server.door import Ticket, Token
from server.errors import RefusedError
from server.session_values import SessionSettings
from server.tickets import TicketWish
from tests.fakes import silence
from tests.joined import NOW_S, Joined, bearer
from tests.server.listening import LIMIT_S, listening

PEER = "198.51.100.7"
TOKEN = "a.b.c"  # noqa: S105 (of no account)
BASIC = "Basic " + base64.b64encode(f"user:{TOKEN}".encode()).decode()
UNSUPPORTED = Answer(400, b'{"error":"no"}', [("x-request-id", "r-1")])


def shown(headers=(), query=(), keys=(), *, token_in_address=False):
    upgrade = Upgrade("/v1/parrot", headers, query)
    return read_key(upgrade, keys, token_in_address=token_in_address)


@pytest.mark.parametrize(
    ("header", "credential"),
    [
        (f"Bearer {TOKEN}", Token(TOKEN)),
        (f"bearer  {TOKEN} ", Token(TOKEN)),
        (f"Token {TOKEN}", Token(TOKEN)),
        (TOKEN, Token(TOKEN)),
        (BASIC, Token(TOKEN)),
        ("Bearer ek_ticket", Ticket("ticket")),
        ("Token ticket", Ticket("ticket")),
    ],
)
def test_a_header_shows_a_key_as_its_makers_let_it(header, credential):
    assert shown([("authorization", header)]) == credential


@pytest.mark.parametrize(
    ("key", "credential"),
    [
        (TOKEN, Token(TOKEN)),
        ("ek_ticket", Ticket("ticket")),
        ("ticket", Ticket("ticket")),
        ("ek_a.b.c", Token("ek_a.b.c")),
        ("ek_" + "x" * 19, Ticket("ek_" + "x" * 19)),
        ("ek_" + "x" * 22, Ticket("x" * 22)),
    ],
)
def test_an_api_may_have_a_place_of_its_own_for_its_key(key, credential):
    assert shown(keys=[key]) == credential


def test_a_ticket_comes_in_the_address():
    assert shown(query=[("ticket", "ticket")]) == Ticket("ticket")


def test_what_comes_as_a_ticket_is_never_a_token():
    assert shown(query=[("ticket", TOKEN)]) == Ticket(TOKEN)


def test_a_token_in_the_address_is_refused_unless_it_is_allowed():
    assert shown(query=[("token", TOKEN)], token_in_address=True) == Token(TOKEN)
    with pytest.raises(RefusedError) as refused:
        shown(query=[("token", TOKEN)])
    assert refused.value.reason == "token_in_address"


def test_one_key_in_two_places_is_one():
    assert shown([("authorization", f"Bearer {TOKEN}")], keys=[TOKEN, TOKEN]) == Token(TOKEN)


@pytest.mark.parametrize(
    ("headers", "query", "keys", "reason"),
    [
        ([], [], [], "token_missing"),
        ([], [], [""], "token_missing"),
        ([], [], ["x" * 9000], "token_missing"),
        ([], [], [TOKEN, "d.e.f"], "credentials_ambiguous"),
        ([("authorization", f"Bearer {TOKEN}")], [], ["d.e.f"], "credentials_ambiguous"),
        ([("authorization", f"Bearer {TOKEN}")], [("ticket", "t")], [], "credentials_ambiguous"),
        ([], [("ticket", "t")], [TOKEN], "credentials_ambiguous"),
        ([("authorization", "Bearer ")], [], [], "token_missing"),
    ],
)
def test_none_or_two_keys_are_refused(headers, query, keys, reason):
    with pytest.raises(RefusedError) as refused:
        shown(headers, query, keys)
    assert refused.value.reason == reason
    assert refused.value.refusal.http_status == 401


def test_an_answer_is_sent_as_it_is():
    response = response_of(Answer(402, b"pay", [("retry-after", "5")], "text/plain"))
    assert (response.status_code, response.body) == (402, b"pay")
    assert response.headers["retry-after"] == "5"
    assert response.headers["content-type"].startswith("text/plain")


# --- over HTTP ---


class Parrot:
    """Says back what it is told; `end` ends it, and `start` begins it, unless it begins itself."""

    def __init__(self, says_start):
        self.says_start = says_start

    def open(self):
        return [Say(wire.Start(16_000))] if self.says_start else []

    def receive(self, frame):
        match frame:
            case bytes():
                return [Hear(frame)]
            case "start":
                return [Say(wire.Start(16_000))]
            case "end":
                return [Say(wire.Stop())]
            case "sing":
                return [Broken()]
            case _:
                return [Reply(frame)]

    def tell(self, event):
        return [type(event).__name__]

    def close_code(self, code):
        return {1000: 1000}.get(code, 4000)


@dataclass
class ParrotApi:
    """Its key may be a subprotocol; `sing` is an option that it has not."""

    paths: tuple[str, ...] = ("/v1/parrot", "/v1/cockatoo")
    hosts: list = field(default_factory=list)
    may_be_quiet: bool = False
    says_start: bool = True

    def keys(self, upgrade):
        return [each.removeprefix("key.") for each in upgrade.subprotocols if "key." in each]

    def subprotocol(self, upgrade):
        return "parrot" if "parrot" in upgrade.subprotocols else None

    def new_dialect(self, upgrade, host):
        self.hosts.append(host)
        if upgrade.parameter("sing"):
            raise DeclinedError(UNSUPPORTED)
        return Parrot(self.says_start)

    def headers(self, dialect):
        return [("x-parrot", "green")]

    def refuse(self, refusal):
        return Answer(refusal.http_status, f'{{"squawk":"{refusal.code}"}}'.encode())


class Scene(Joined):
    def __init__(self, folder, session_settings=None, may_be_quiet=False, **given):
        super().__init__(folder, session_settings=session_settings)
        self.api = ParrotApi(may_be_quiet=may_be_quiet)
        routes = client_routes(
            [self.api], self.reception, lambda: self.wall_s, ClientSettings(**given)
        )
        self.client = TestClient(Starlette(routes=routes), client=(PEER, 5))
        self.blocks_who_is_greeted = False

    async def note(self, event):
        await super().note(event)
        if self.blocks_who_is_greeted:
            self.blocks.block(PEER, NOW_S + 60)

    def connect(self, path="/v1/parrot", claims=None, **given):
        headers = bearer(**(claims or {})) if "headers" not in given else given.pop("headers")
        return self.client.websocket_connect(path, headers=headers, **given)

    def denial(self, *args, **given):
        with pytest.raises(WebSocketDenialResponse) as denied, self.connect(*args, **given):
            raise AssertionError("was let in")
        return denied.value

    async def ticket(self, **wished):
        grant = await self.reception._parts.door.grant(bearer()["authorization"][7:], NOW_S)
        return self.tickets.issue(grant, None, time.monotonic(), wish=TicketWish(**wished))[0]


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)


def converse(peer, *frames):
    """To its end: what was told, and the close code."""
    for frame in frames or (silence(100), "end"):
        (peer.send_text if isinstance(frame, str) else peer.send_bytes)(frame)
    return hear_out(peer)


def hear_out(peer):
    told = []
    try:
        while True:
            told.append(peer.receive_text())
    except WebSocketDisconnect as closed:
        return told, closed.code


@pytest.mark.parametrize("path", ["/v1/parrot", "/v1/cockatoo"])
def test_whoever_may_come_in_is_heard_in_a_session_of_its_own(scene, path):
    with scene.connect(path) as peer:
        told, code = converse(peer)
    assert (told[0], told[-1], code) == ("Ready", "Ended", 1000)
    [started], [ended] = scene.records_of(SessionStarted), scene.records_of(SessionEnded)
    assert (started.subject, ended.reason, ended.audio_ms) == ("alice", "stopped", 100)
    assert scene.live.total == 0


def test_an_api_adds_what_it_wants_to_the_answer_and_never_echoes_a_key(scene):
    key = bearer()["authorization"].removeprefix("Bearer ")
    offered = ["parrot", f"key.{key}"]
    with scene.connect(headers={}, subprotocols=offered) as peer:
        assert peer.accepted_subprotocol == "parrot"
        assert (b"x-parrot", b"green") in peer.extra_headers
        assert converse(peer)[1] == 1000


async def test_a_ticket_opens_as_a_key_with_the_prefix_of_ephemeral_ones(scene):
    for path, headers in (
        ("/v1/parrot", {"authorization": f"Bearer ek_{await scene.ticket()}"}),
        (f"/v1/parrot?ticket={await scene.ticket()}", {}),
    ):
        with scene.connect(path, headers=headers) as peer:
            assert converse(peer)[1] == 1000


async def test_a_ticket_opens_once(scene):
    headers = {"authorization": f"Bearer ek_{await scene.ticket()}"}
    with scene.connect(headers=headers) as peer:
        converse(peer)
    assert scene.denial(headers=headers).status_code == 401
    assert scene.records_of(HandshakeRefused)[-1].reason == "ticket_replayed"


@pytest.mark.parametrize("prefix", ["", "ek_"])
async def test_what_a_ticket_carries_is_known_to_the_dialect_however_often_it_is_refused(
    scene, prefix
):
    headers = {"authorization": f"Bearer {prefix}{await scene.ticket(carried='seed')}"}
    scene.denial(headers=headers | {"origin": "https://foreign.example"})
    with scene.connect(headers=headers) as peer:
        converse(peer)
    assert scene.denial(headers=headers).status_code == 401
    assert [host.carried for host in scene.api.hosts] == ["seed", "seed", None]


def test_a_token_carries_nothing(scene):
    with scene.connect() as peer:
        converse(peer)
    scene.denial(headers={})
    assert [host.carried for host in scene.api.hosts] == [None, None]


HASTY = SessionSettings(start_limit_s=0.05, idle_limit_s=0.05)


@pytest.mark.parametrize("says_start", [False, True])
def test_who_may_be_quiet_is_waited_for(tmp_path, says_start):
    scene = Scene(tmp_path, HASTY, may_be_quiet=True, quiet_limit_s=60.0)
    scene.api.says_start = says_start
    with scene.connect() as peer:
        time.sleep(0.3)
        frames = [] if says_start else ["start"]
        assert converse(peer, *frames, silence(100), "end")[1] == 1000
    assert scene.records_of(SessionEnded)[0].reason == "stopped"


@pytest.mark.parametrize(("says_start", "reason"), [(False, "start_late"), (True, "idle")])
def test_who_may_not_be_quiet_is_sent_away(tmp_path, says_start, reason):
    scene = Scene(tmp_path, HASTY, quiet_limit_s=60.0)
    scene.api.says_start = says_start
    with scene.connect() as peer:
        assert hear_out(peer)[1] == 4000
    assert scene.records_of(SessionEnded)[0].reason == reason


def test_a_token_in_the_address_opens_where_that_is_wished(tmp_path):
    token = bearer()["authorization"].removeprefix("Bearer ")
    path = f"/v1/parrot?token={token}"
    assert Scene(tmp_path).denial(path, headers={}).status_code == 401
    with Scene(tmp_path, token_in_address=True).connect(path, headers={}) as peer:
        assert converse(peer)[1] == 1000


def test_who_shows_no_key_is_refused_in_the_shape_of_the_api_and_on_record(scene):
    response = scene.denial(headers={})
    assert (response.status_code, response.json()) == (401, {"squawk": "unauthenticated"})
    [refused] = scene.records
    assert (refused.http_status, refused.reason, refused.subject) == (401, "token_missing", None)


def test_who_shows_two_keys_is_refused(scene):
    response = scene.denial(subprotocols=["parrot", "key.d.e.f"])
    assert response.status_code == 401
    assert scene.records[0].reason == "credentials_ambiguous"


def test_one_session_too_many_is_refused_in_the_shape_of_the_api(scene):
    claims = {"limits": Limits(concurrent_sessions=1)}
    with scene.connect(claims=claims):
        response = scene.denial(claims=claims)
    assert (response.status_code, response.json()) == (429, {"squawk": "too_many_sessions"})


def test_a_page_of_a_foreign_origin_is_refused(scene):
    response = scene.denial(headers=bearer() | {"origin": "https://foreign.example"})
    assert (response.status_code, response.json()) == (403, {"squawk": "origin_refused"})


def test_what_is_not_done_here_is_declined_in_the_words_of_the_api_and_on_record(scene):
    response = scene.denial("/v1/parrot?sing=1")
    assert (response.status_code, response.json()) == (400, {"error": "no"})
    assert response.headers["x-request-id"] == "r-1"
    [refused] = scene.records_of(HandshakeRefused)
    assert (refused.http_status, refused.reason) == (400, "option_unsupported")
    assert refused.subject == "alice"
    assert scene.records_of(SessionStarted) == []
    assert scene.live.total == 0


def test_whether_something_is_done_here_is_told_only_to_who_may_come_in(scene):
    response = scene.denial("/v1/parrot?sing=1", headers={})
    assert (response.status_code, response.json()) == (401, {"squawk": "unauthenticated"})
    [refused] = scene.records_of(HandshakeRefused)
    assert refused.reason == "token_missing"


def test_who_is_blocked_meanwhile_is_told_that_and_not_what_is_done_here(scene):
    scene.blocks_who_is_greeted = True
    response = scene.denial("/v1/parrot?sing=1")
    assert (response.status_code, response.json()) == (429, {"squawk": "address_blocked"})


def test_the_token_for_something_else_does_not_open(scene):
    claims = {"scopes": {"calls"}}
    for path in ("/v1/parrot", "/v1/parrot?sing=1"):
        response = scene.denial(path, claims=claims)
        assert (response.status_code, response.json()) == (403, {"squawk": "forbidden"})


def test_a_dialect_knows_the_model_the_time_and_names_that_are_new_each_time(scene):
    with scene.connect() as peer:
        converse(peer)
    [host] = scene.api.hosts
    assert (host.model.model_id, host.wall_s) == ("fake", NOW_S)
    ids = {host.new_id() for _ in range(3)}
    assert len(ids) == 3
    assert all(len(each) == 36 and each[14] == "4" and each == each.lower() for each in ids)


def test_what_breaks_the_protocol_of_the_api_ends_the_session(scene):
    with scene.connect() as peer:
        told, code = converse(peer, "polly", "sing")
    assert sorted(told[:2]) == ["Ready", "polly"]
    assert (told[-1], code) == ("Ended", 4000)
    assert scene.records_of(SessionEnded)[0].reason == "bad_message"


async def test_a_client_that_vanishes_in_the_middle_of_its_answers_has_gone(scene):
    async with asyncio.timeout(LIMIT_S), listening(app=scene.client.app) as here:
        url = f"ws://127.0.0.1:{here.port}/v1/parrot"
        websocket = await websockets.connect(
            url, additional_headers=bearer(), proxy=None, compression=None, max_queue=1
        )
        await websocket.recv()
        for _ in range(200):
            await websocket.send("polly" * 1000)
        websocket.transport.abort()
        await here.until(lambda: scene.records_of(SessionEnded))
    [ended] = scene.records_of(SessionEnded)
    assert ended.reason == "client_gone"
    assert scene.live.total == 0


@asynccontextmanager
async def speaking(scene):
    """A connection over a real socket, and its listener."""
    async with asyncio.timeout(LIMIT_S), listening(app=scene.client.app) as here:
        url = f"ws://127.0.0.1:{here.port}/v1/parrot"
        async with websockets.connect(
            url, additional_headers=bearer(), proxy=None, compression=None
        ) as websocket:
            yield websocket
        await here.until(lambda: scene.records_of(SessionEnded))


async def test_a_whole_recording_may_come_in_one_message(tmp_path):
    scene = Scene(tmp_path, frame_bytes=1_000_000)
    async with speaking(scene) as websocket:
        await websocket.send(silence(20_000))
        await websocket.send("end")
        told = [each async for each in websocket]
    assert told[-1] == "Ended"
    [ended] = scene.records_of(SessionEnded)
    assert (ended.reason, ended.audio_ms) == ("stopped", 20_000)


async def test_a_message_that_is_too_long_is_refused_in_the_words_of_the_api(tmp_path):
    scene = Scene(tmp_path, frame_bytes=1_000_000)
    async with speaking(scene) as websocket:
        await websocket.send(silence(1_000))
        await websocket.send(bytes(1_000_001))
        told = [await websocket.recv() for _ in range(3)]
        await websocket.wait_closed()
    assert told == ["Ready", "ErrorEvent", "Ended"]
    assert websocket.close_code == 4000
    [ended] = scene.records_of(SessionEnded)
    assert (ended.reason, ended.close_code, ended.audio_ms) == ("message_too_big", 1009, 1_000)
