"""An ID token is for us, now, and for this very sign-in, or it is nothing."""

import json

import pytest

from security.errors import TokenError, UnknownKeyError
from security.id_tokens import Expected, verify_id_token
from security.token_keys import KeySet
from tests.security.forge import NOW_S, SECRET, b64, forged, private_key, token_key

ISSUER, CLIENT, NONCE = "https://id.test", "page", "n-1"
KEYS = KeySet([token_key("RS256")])


def claims(**changes):
    said = {
        "iss": ISSUER,
        "aud": CLIENT,
        "sub": "u-17",
        "nonce": NONCE,
        "iat": NOW_S,
        "exp": NOW_S + 300,
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def id_token(head=(), **changes):
    header = {"alg": "RS256", "typ": "JWT", "kid": "k-1", **dict(head)}
    header = {name: value for name, value in header.items() if value is not None}
    return forged(header, claims(**changes), "RS256", private_key("RS256"))


def verified(token, **changes):
    given = {"issuer": ISSUER, "client_id": CLIENT, "algorithm": "RS256", "nonce": NONCE}
    return verify_id_token(token, Expected(**{**given, **changes}), KEYS.find, NOW_S)


def reason(token, **changes):
    with pytest.raises(TokenError) as refused:
        verified(token, **changes)
    return refused.value.reason


@pytest.mark.parametrize(
    ("head", "changes"),
    [
        ({}, {}),
        ({"typ": None}, {}),
        ({"typ": "jwt"}, {}),
        ({"kid": None}, {}),
        ({"x5t": "abc"}, {}),
        ({}, {"aud": [CLIENT]}),
        ({}, {"azp": CLIENT}),
        ({}, {"aud": [CLIENT, "other"], "azp": CLIENT}),
        ({}, {"iat": NOW_S - 600, "exp": NOW_S + 9e9}),
        ({}, {"iat": NOW_S + 30.0}),
        ({}, {"exp": NOW_S - 29}),
        ({}, {"email": "x@example.test", "groups": [1, {}]}),
    ],
)
def test_a_good_one_says_who_it_is(head, changes):
    assert verified(id_token(head, **changes)) == "u-17"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "https://id.test/"}, "wrong_issuer"),
        ({"iss": "https://evil.test"}, "wrong_issuer"),
        ({"iss": None}, "bad_claims"),
        ({"aud": "other"}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": ["page", "other"]}, "wrong_audience"),
        ({"aud": "other", "azp": CLIENT}, "wrong_audience"),
        ({"azp": "other"}, "wrong_audience"),
        ({"aud": None}, "bad_claims"),
        ({"nonce": "n-2"}, "wrong_nonce"),
        ({"nonce": ""}, "wrong_nonce"),
        ({"nonce": None}, "bad_claims"),
        ({"nonce": "é"}, "wrong_nonce"),
        ({"nonce": "\ud800"}, "wrong_nonce"),
        ({"exp": NOW_S - 30}, "expired"),
        ({"exp": None}, "bad_claims"),
        ({"exp": "9999999999"}, "bad_claims"),
        ({"iat": NOW_S + 31}, "not_yet_valid"),
        ({"nbf": NOW_S + 31}, "not_yet_valid"),
        ({"iat": NOW_S - 631}, "too_old"),
        ({"iat": None}, "bad_claims"),
        ({"sub": None}, "bad_claims"),
        ({"sub": ""}, "bad_claims"),
        ({"sub": "a b"}, "bad_claims"),
        ({"sub": "u\n"}, "bad_claims"),
        ({"sub": "ü"}, "bad_claims"),
        ({"sub": "x" * 201}, "bad_claims"),
        ({"sub": 17}, "bad_claims"),
    ],
)
def test_claims_that_do_not_fit(changes, expected):
    assert reason(id_token(**changes)) == expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ({"alg": "none"}, "wrong_algorithm"),
        ({"alg": "HS256"}, "wrong_algorithm"),
        ({"alg": "ES256"}, "wrong_algorithm"),
        ({"alg": None}, "wrong_algorithm"),
        ({"typ": "at+jwt"}, "wrong_type"),
        ({"typ": "logout+jwt"}, "wrong_type"),
        ({"typ": 1}, "wrong_type"),
        ({"crit": ["exp"]}, "malformed"),
        ({"kid": "k-2"}, "unknown_key"),
        ({"kid": 1}, "unknown_key"),
    ],
)
def test_headers_that_do_not_fit(head, expected):
    assert reason(id_token(head)) == expected


def test_a_key_that_is_not_known_is_worth_a_look():
    with pytest.raises(UnknownKeyError):
        verified(id_token({"kid": "k-2"}))


def test_a_key_of_another_algorithm_is_not_taken_from_any_source():
    with pytest.raises(TokenError) as refused:
        verify_id_token(
            id_token(),
            Expected(ISSUER, CLIENT, "RS256", NONCE),
            lambda key_id, wall_s: token_key("ES256"),
            NOW_S,
        )
    assert refused.value.reason == "wrong_algorithm"


@pytest.mark.parametrize("key", [SECRET, b"public key in PEM" * 10])
def test_a_secret_signs_nothing_here(key):
    head = {"alg": "HS256", "kid": "k-1"}
    assert reason(forged(head, claims(), "HS256", key)) == "wrong_algorithm"


def test_a_signature_of_another_is_refused():
    good, other = id_token(), id_token(sub="u-18")
    mixed = ".".join([*good.split(".")[:2], other.split(".")[2]])
    assert reason(mixed) == "bad_signature"
    unsigned = ".".join([*good.split(".")[:2], ""])
    assert reason(unsigned) == "bad_signature"


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "...", "é.é.é", "x" * 10_000])
def test_what_is_no_token_is_refused(text):
    assert reason(text) == "malformed"


def test_a_claim_named_twice_is_refused():
    payload = json.dumps(claims())[:-1] + ', "sub": "u-18"}'
    head = {"alg": "RS256", "kid": "k-1"}
    token = forged(head, payload.encode(), "RS256", private_key("RS256"))
    assert reason(token) == "malformed"


def test_a_long_one_is_not_looked_at():
    assert reason(id_token(groups=[b64(b"x" * 20_000)])) == "too_long"


@pytest.mark.parametrize("said", ["staff", ["nurse", "staff"]])
def test_who_is_among_those_that_are_let_in_is_let_in(said):
    assert verified(id_token(groups=said), required=("groups", "staff")) == "u-17"


@pytest.mark.parametrize("said", [None, "staffs", ["Staff"], {"staff": 1}, True, [["staff"]]])
def test_who_is_not_is_not(said):
    assert reason(id_token(groups=said), required=("groups", "staff")) == "claim_missing"


def test_the_nonce_is_not_shown():
    assert "n-1" not in repr(Expected(ISSUER, CLIENT, "RS256", NONCE))
