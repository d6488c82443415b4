"""Tickets for telephone systems: what they are for, who gets them, and what they open."""

import time
from uuid import UUID

import httpx2
import pytest

from security.door_events import HandshakeRefused, TicketIssued
from security.limits import Limits
from server.call_values import CallPlace, Role
from tests.fakes import GRANT
from tests.joined import bearer
from tests.server.calling import Switchboard

ASKED = {"call_id": "c-1", "role": "customer", "language": "en"}
PBX = {"subject": "pbx"}


@pytest.fixture
def board(tmp_path):
    return Switchboard(tmp_path)


async def ask(board, asked=ASKED, headers=None, query="", **claims):
    """The answer, over no socket."""
    transport = httpx2.ASGITransport(board.app, client=("198.51.100.9", 5))
    given = bearer(**{**PBX, **claims}) if headers is None else headers
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        kind = {"content": asked} if isinstance(asked, bytes) else {"json": asked}
        return await client.post(f"/v1/calls/tickets{query}", headers=given, **kind)


async def granted(board, asked=ASKED, **claims):
    answered = await ask(board, asked, **claims)
    assert answered.status_code == 201
    return board.tickets.redeem(answered.json()["ticket"], None, time.monotonic())


async def refusal(board, asked=ASKED, **given):
    answered = await ask(board, asked, **given)
    return answered.status_code, answered.json()["code"]


async def test_a_ticket_is_a_uuid_that_nobody_keeps_on_the_way(board):
    answered = await ask(board)
    body = answered.json()
    assert (answered.status_code, answered.headers["cache-control"]) == (201, "no-store")
    assert str(UUID(body["ticket"])) == body["ticket"]
    assert body["expires_in_s"] == 60


async def test_it_says_which_call_whose_voice_and_which_language(board):
    grant = await granted(board)
    assert grant.call == CallPlace("c-1", Role.CUSTOMER, "en")
    assert (grant.subject, grant.issuer) == ("pbx", "earwitness")


async def test_of_a_call_only_its_id_must_be_said(board):
    grant = await granted(board, {"call_id": "a/b c"})
    assert grant.call == CallPlace("a/b c", Role.UNKNOWN, None)


async def test_it_transcribes_and_does_nothing_else(board):
    grant = await granted(board, scopes={"transcribe", "calls"})
    assert grant.scopes == {"transcribe"}


async def test_it_may_allow_less_than_its_token_and_never_more(board):
    asked = {**ASKED, "session_audio_s": 60, "session_s": 900}
    grant = await granted(board, asked, limits=Limits(session_s=600, session_bytes=5))
    assert grant.limits == Limits(session_audio_s=60, session_s=600, session_bytes=5)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"call_id": ""},
        {"call_id": "x" * 129},
        {"call_id": "caf\u00e9"},
        {"call_id": "a\nb"},
        {"call_id": 7},
        {**ASKED, "role": "boss"},
        {**ASKED, "language": "English"},
        {**ASKED, "session_s": -1},
        {**ASKED, "origin": "https://a.example"},
        [ASKED],
        b"",
        b"{",
        b"\xff",
        b"[" * 4000,
    ],
)
async def test_what_does_not_say_what_it_is_for_is_refused(board, asked):
    assert await refusal(board, asked) == (400, "bad_request")
    assert not board.records_of(TicketIssued)


async def test_a_message_has_a_longest_length(board):
    assert await refusal(board, b" " * 5000) == (413, "message_too_big")


async def test_a_language_that_the_model_does_not_know_is_refused_before_the_call(board):
    assert await refusal(board, {**ASKED, "language": "de"}) == (400, "language_unknown")


async def test_a_language_that_the_token_does_not_allow_is_refused(board):
    assert await refusal(board, languages={"de"}) == (403, "forbidden")
    assert board.records_of(HandshakeRefused)[0].reason == "language_not_granted"
    assert (await granted(board, languages={"en"})).call.language == "en"
    assert (await granted(board, {"call_id": "c-1"}, languages={"de"})).call.language is None


@pytest.mark.parametrize("scopes", [{"calls"}, {"admin"}, {"audit"}])
async def test_who_does_not_transcribe_gets_none(board, scopes):
    assert await refusal(board, scopes=scopes) == (403, "forbidden")


async def test_without_a_token_there_is_none(board):
    assert await refusal(board, headers={}) == (401, "unauthenticated")


async def test_a_ticket_gets_no_ticket(board):
    ticket, _ = board.tickets.issue(GRANT, None, time.monotonic())
    answered = await refusal(board, headers={}, query=f"?ticket={ticket}")
    assert answered == (403, "forbidden")
    assert board.records_of(HandshakeRefused)[0].reason == "ticket_for_ticket"


async def test_a_ticket_is_on_record_and_not_in_it(board):
    ticket = (await ask(board)).json()["ticket"]
    [issued] = board.records_of(TicketIssued)
    assert (issued.subject, issued.peer_address) == ("pbx", "198.51.100.9")
    assert ticket not in repr(board.records)


async def test_what_cannot_be_put_on_record_is_not_given(board):
    board.trail_fails = True
    assert await refusal(board) == (503, "trail_unavailable")


async def test_of_one_subject_there_are_so_many(board):
    for _ in range(100):
        assert (await ask(board)).status_code == 201
    assert await refusal(board) == (429, "too_many_starts")
    assert (await ask(board, subject="other")).status_code == 201


async def test_tickets_are_asked_for_and_not_fetched(board):
    transport = httpx2.ASGITransport(board.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://testserver") as client:
        assert (await client.get("/v1/calls/tickets")).status_code == 405
