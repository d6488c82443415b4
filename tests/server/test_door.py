"""Headers to grants."""

import asyncio
import traceback
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.limits import Limits
from security.tokens import TokenPolicy, TokenVerifier, mint_token
from server import errors
from server.door import Door, Knock, chosen_subprotocol, read_credential
from server.errors import RefusedError
from server.grant import GrantSettings
from server.tickets import Tickets, TicketSettings
from tests.fakes import GRANT

KEY = Ed25519PrivateKey.generate()
POLICY = TokenPolicy(issuer="earwitness", audience="earwitness")
NOW_S = 1_000_000.0
VERIFIER = TokenVerifier.of_one(POLICY, KEY.public_key())


async def verify(brought, wall_s):
    return VERIFIER.verify(brought, wall_s)


def door(*origins, tickets=None, is_revoked=lambda grant: False):
    return Door(
        verify,
        frozenset(origins or {"https://ear.example"}),
        GrantSettings(most=Limits(session_audio_s=100)),
        tickets or Tickets(TicketSettings()),
        is_revoked,
    )


DOOR = door()


def token(**claims) -> str:
    given = {"subject": "alice", "scopes": {"transcribe"}, "lifetime_s": 600, "wall_s": NOW_S}
    return mint_token(KEY, POLICY, **{**given, **claims})


def admit(headers=(), subprotocols=(), now_s=NOW_S, at=DOOR, tickets=(), **given):
    knock = Knock(headers, subprotocols, tickets)
    grant = asyncio.run(at.identify(knock, wall_s=now_s, now_s=now_s))
    at.check(grant, given.get("scope", "transcribe"))
    return grant


def refusal(headers=(), subprotocols=(), now_s=NOW_S, **given) -> tuple[str, str]:
    with pytest.raises(RefusedError) as refused:
        admit(headers, subprotocols, now_s, **given)
    assert "eyJ" not in str(refused.value) + refused.value.reason
    return refused.value.refusal.code, refused.value.reason


def test_a_token_in_the_header_opens():
    minted = token(limits=Limits(session_audio_s=5))
    grant = admit([("authorization", f"Bearer {minted}")], [], NOW_S + 100)
    assert (grant.subject, grant.limits.session_audio_s, grant.expires_in_s) == ("alice", 5, 500.0)


def test_the_scheme_is_read_in_any_case():
    assert admit([("authorization", f"bEARER {token()}")], [], NOW_S).subject == "alice"


def test_a_token_beside_the_subprotocol_opens():
    assert admit([], ["earwitness.v1", f"bearer.{token()}"], NOW_S).subject == "alice"


def test_the_protocol_is_echoed_and_the_token_never():
    assert chosen_subprotocol(["bearer.x", "earwitness.v1"]) == "earwitness.v1"
    assert chosen_subprotocol(["bearer.x"]) is None


@pytest.mark.parametrize(
    ("headers", "subprotocols", "reason"),
    [
        ([], [], "token_missing"),
        ([], ["earwitness.v1"], "token_missing"),
        ([], ["bearer."], "token_missing"),
        ([("authorization", "Bearer ")], [], "token_missing"),
        ([("authorization", "Basic abc")], [], "credentials_ambiguous"),
        (
            [("authorization", "Bearer a"), ("authorization", "Bearer b")],
            [],
            "credentials_ambiguous",
        ),
        ([("authorization", "Bearer a")], ["bearer.a"], "credentials_ambiguous"),
        ([], ["bearer.a", "bearer.b"], "credentials_ambiguous"),
        ([], ["bearer.a", "ticket.b"], "credentials_ambiguous"),
        ([], ["ticket."], "token_missing"),
    ],
)
def test_credentials_are_one_token_or_none_at_all(headers, subprotocols, reason):
    with pytest.raises(RefusedError) as refused:
        read_credential(Knock(headers, subprotocols))
    assert (refused.value.refusal, refused.value.reason) == (errors.UNAUTHENTICATED, reason)


def test_expired_and_forged_are_two_reasons_and_one_answer():
    forged = mint_token(
        Ed25519PrivateKey.generate(),
        POLICY,
        subject="a",
        scopes={"transcribe"},
        lifetime_s=9,
        wall_s=NOW_S,
    )
    late = refusal([("authorization", f"Bearer {token()}")], now_s=NOW_S + 700)
    assert late == ("unauthenticated", "token_expired")
    code, reason = refusal([("authorization", f"Bearer {forged}")])
    assert code == "unauthenticated"
    assert reason in {"token_bad_signature", "token_unknown_key"}


@pytest.mark.parametrize("fault", ["expired", "cut", "no scope", "twice"])
def test_no_fault_repeats_the_token(fault):
    good = token(scopes={"audit"} if fault == "no scope" else {"transcribe"})
    brought = good[:-8] if fault == "cut" else good
    headers = [("authorization", f"Bearer {brought}")] * (2 if fault == "twice" else 1)
    with pytest.raises(RefusedError) as refused:
        admit(headers, [], NOW_S + (700 if fault == "expired" else 0))
    told = "".join(traceback.format_exception(refused.value)) + repr(refused.value)
    context = refused.value.__context__
    told += "".join(traceback.format_exception(context)) + repr(context)
    assert not any(part in told for part in brought.split("."))


def test_a_token_for_something_else_is_forbidden():
    headers = [("authorization", f"Bearer {token(scopes={'audit'})}")]
    assert refusal(headers) == ("forbidden", "scope_missing")


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://ear.example",
        "https://ear.example:443",
        "https://ear.example/",
        "https://ear.example.",
        "https://EAR.example",
        "https://evil.ear.example",
        "https://ear.example.evil.com",
        "https://xn--ear-9za.example",
        "https://ear.example https://ear.example",
    ],
)
def test_an_origin_that_is_not_exactly_on_the_list_is_refused(origin):
    headers = [("origin", origin), ("authorization", f"Bearer {token()}")]
    assert refusal(headers)[0] == "origin_refused"


def test_an_origin_on_the_list_may_come():
    headers = [("origin", "https://ear.example"), ("authorization", f"Bearer {token()}")]
    assert admit(headers, [], NOW_S).subject == "alice"


def test_of_two_origins_both_must_be_on_the_list():
    headers = [("origin", "https://ear.example"), ("origin", "https://evil.example")]
    assert refusal(headers)[0] == "origin_refused"


def test_a_door_with_no_origins_lets_no_page_in():
    with pytest.raises(RefusedError):
        replace(DOOR, origins=frozenset()).check_origin(Knock([("origin", "https://ear.example")]))


def test_nobody_gets_more_than_the_settings_allow():
    asked = token(limits=Limits(session_audio_s=5000, session_bytes=7))
    grant = admit([("authorization", f"Bearer {asked}")])
    assert grant.limits == Limits(session_audio_s=100, session_bytes=7)


def test_another_scope_can_be_asked_for():
    headers = [("authorization", f"Bearer {token(scopes={'audit'})}")]
    assert admit(headers, scope="audit").subject == "alice"


@pytest.mark.parametrize(
    ("scope", "audience"), [("admin", "earwitness"), ("transcribe", "earwitness/admin")]
)
def test_a_scope_of_the_other_audience_opens_nothing(scope, audience):
    payload = {"iss": "earwitness", "aud": audience, "sub": "a", "jti": "t", "scope": scope}
    times = {"iat": int(NOW_S), "exp": int(NOW_S) + 60}
    signed = jwt.encode({**payload, **times}, KEY, "EdDSA", headers={"typ": "at+jwt"})
    headers = [("authorization", f"Bearer {signed}")]
    assert refusal(headers, scope=scope) == ("forbidden", "scope_missing")


def test_what_was_revoked_is_refused_as_such():
    revoked = door(is_revoked=lambda grant: grant.subject == "alice")
    assert refusal([("authorization", f"Bearer {token()}")], at=revoked)[0] == "revoked"


@pytest.mark.parametrize("way", ["subprotocol", "address"])
def test_a_ticket_opens_in_either_place(way):
    tickets = Tickets(TicketSettings())
    ticket, _ = tickets.issue(GRANT, "https://ear.example", NOW_S)
    shown = (
        {"subprotocols": [f"ticket.{ticket}"]} if way == "subprotocol" else {"tickets": [ticket]}
    )
    at = door(tickets=tickets)
    assert refusal(at=at, **shown)[1] == "ticket_of_other_origin"
    headers = [("origin", "https://ear.example")]
    assert admit(headers, at=at, **shown) == GRANT
    assert refusal(headers, at=at, **shown)[1] == "ticket_replayed"


def test_a_ticket_in_the_address_beside_a_token_is_one_too_many():
    headers = [("authorization", f"Bearer {token()}")]
    assert refusal(headers, tickets=["x"])[1] == "credentials_ambiguous"


def test_what_is_shown_at_the_door_is_shown_to_nobody_else():
    knock = Knock([("authorization", "Bearer secret")], ["bearer.secret"], ["secret"])
    assert "secret" not in repr(knock) + repr(read_credential(Knock([], ["ticket.secret"])))


def test_a_ticket_of_what_was_revoked_or_is_not_for_it_opens_nothing():
    tickets = Tickets(TicketSettings())
    shown = [tickets.issue(GRANT, None, NOW_S)[0] for _ in range(2)]
    revoked = door(tickets=tickets, is_revoked=lambda grant: True)
    assert refusal(at=revoked, tickets=shown[:1])[0] == "revoked"
    assert refusal(at=door(tickets=tickets), tickets=shown[1:], scope="admin")[0] == "forbidden"
