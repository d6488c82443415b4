"""Upgrades in, the credential that they show out."""

import base64

import pytest

from server.bridge_credentials import credential_of
from server.dialects.values import Upgrade
from server.door import Ticket, Token
from server.errors import RefusedError

BASIC = "Basic " + base64.b64encode(b"user:a.b:c").decode()


def shown(headers=(), query=(), *, may_be_in_address=False):
    upgrade = Upgrade("/v1/bridges/pbx", headers, query)
    return credential_of(upgrade, may_be_in_address=may_be_in_address)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (("authorization", "Bearer a.b.c"), "a.b.c"),
        (("authorization", "bearer  a.b.c "), "a.b.c"),
        (("authorization", "Token a.b.c"), "a.b.c"),
        (("authorization", "a.b.c"), "a.b.c"),
        (("authorization", BASIC), "a.b:c"),
        (("x-telnyx-streaming-auth-token", "a.b.c"), "a.b.c"),
        (("x-earwitness-token", "a.b.c"), "a.b.c"),
    ],
)
def test_a_header_shows_a_token_as_its_makers_let_it(header, token):
    assert shown([header]) == Token(token)


def test_a_ticket_comes_in_the_address():
    assert shown(query=[("ticket", "t")]) == Ticket("t")


def test_a_token_in_the_address_is_refused_unless_it_is_allowed():
    assert shown(query=[("token", "t")], may_be_in_address=True) == Token("t")
    with pytest.raises(RefusedError) as refused:
        shown(query=[("token", "t")])
    assert refused.value.reason == "token_in_address"


def test_nothing_shown_is_nothing():
    assert shown([("x-api-key", "a")], [("agent", "42")]) is None


def test_one_credential_twice_is_one():
    headers = [("authorization", "Bearer t"), ("x-telnyx-streaming-auth-token", "t")]
    assert shown(headers) == Token("t")


@pytest.mark.parametrize(
    ("headers", "query", "reason"),
    [
        ([("authorization", "a"), ("authorization", "b")], [], "credentials_ambiguous"),
        ([("authorization", "a")], [("ticket", "a")], "credentials_ambiguous"),
        ([], [("ticket", "a"), ("ticket", "b")], "credentials_ambiguous"),
        ([("authorization", "Bearer ")], [], "token_missing"),
        ([("authorization", "x" * 9000)], [], "token_missing"),
        ([("authorization", "Basic %%%")], [], "token_malformed"),
        ([("authorization", "Basic /////w==")], [], "token_malformed"),
        ([("authorization", "Basic caf\u00e9")], [], "token_malformed"),
        ([], [("ticket", "")], "token_missing"),
    ],
)
def test_what_is_unclear_is_refused(headers, query, reason):
    with pytest.raises(RefusedError) as refused:
        shown(headers, query)
    assert refused.value.reason == reason
