"""Tokens honest, forged and absurd in; claims, or one refusal with its reason, out."""

import base64
import contextlib
import json
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from security.errors import TokenError, TokenReason
from security.limits import Limits
from security.token_keys import KeySet, key_id_of, public_token_key
from security.tokens import ANY_OWNER, Claims, TokenPolicy, TokenVerifier, mint_token
from tests.security.fuzzed import JSON

NOW_S = 1_800_000_000
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
POLICY = TokenPolicy(issuer="https://issuer.test", audience="earwitness")
VERIFIER = TokenVerifier.of_one(POLICY, KEY.public_key())
ALL_LIMITS = Limits(
    session_audio_s=60,
    session_bytes=0,
    session_s=120,
    idle_s=30,
    pace_percent=125,
    concurrent_sessions=2,
    audio_s_per_day=3600,
    starts_per_minute=10,
)
HEADER = {"alg": "EdDSA", "typ": "at+jwt"}
CLAIMS = {
    "iss": "https://issuer.test",
    "aud": "earwitness",
    "sub": "ward-7",
    "jti": "t-1",
    "iat": NOW_S,
    "exp": NOW_S + 600,
    "scope": "transcribe",
    "earwitness": {"session_audio_s": 60},
}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header=None, payload=None, key=KEY):
    """Any header and payload, as objects or as text, under a good signature."""
    header = HEADER if header is None else header
    payload = CLAIMS if payload is None else payload
    parts = [p if isinstance(p, bytes) else json.dumps(p).encode() for p in (header, payload)]
    signing_input = ".".join(map(b64, parts))
    return signing_input + "." + b64(key.sign(signing_input.encode()))


def claims(**changes):
    return {**CLAIMS, **changes}


def without(name):
    return {key: value for key, value in CLAIMS.items() if key != name}


def refused(token, wall_s=NOW_S, verifier=VERIFIER):
    with pytest.raises(TokenError) as caught:
        verifier.verify(token, wall_s)
    assert str(caught.value) == TokenError.TEXT
    return caught.value.reason


def mint(**changes):
    fields = {"subject": "ward-7", "scopes": {"transcribe"}, "lifetime_s": 600, "wall_s": NOW_S}
    return mint_token(KEY, POLICY, **{**fields, **changes})


def test_a_minted_token_says_what_it_was_made_for():
    token = mint(
        scopes={"transcribe", "other"},
        token_id="t-9",  # noqa: S106 (a name, not a secret)
        limits=ALL_LIMITS,
        models={"tiny.en", "qwen3"},
        languages=set(),
    )
    assert VERIFIER.verify(token, NOW_S) == Claims(
        subject="ward-7",
        issuer="https://issuer.test",
        token_id="t-9",  # noqa: S106
        key_id=key_id_of(KEY.public_key()),
        issued_at_s=NOW_S,
        expires_at_s=NOW_S + 600,
        scopes=frozenset({"transcribe", "other"}),
        models=frozenset({"tiny.en", "qwen3"}),
        languages=frozenset(),
        limits=ALL_LIMITS,
    )


def test_limits_that_were_not_set_are_none():
    verified = VERIFIER.verify(mint(scopes=set()), NOW_S)
    assert verified.scopes == frozenset()
    assert verified.models is verified.languages is None
    assert verified.limits == Limits()


def test_a_minted_token_says_which_calls_of_whom_it_reads():
    token = mint(scopes={"calls"}, call_owners={"pbx", ANY_OWNER}, calls={"c-1", "a/b.c"})
    verified = VERIFIER.verify(token, NOW_S)
    assert (verified.call_owners, verified.calls) == ({"pbx", "*"}, {"c-1", "a/b.c"})


def test_a_token_that_says_nothing_of_calls_and_one_that_names_none_differ():
    silent = VERIFIER.verify(mint(scopes={"calls"}), NOW_S)
    assert silent.call_owners is silent.calls is None
    none = VERIFIER.verify(mint(scopes={"calls"}, call_owners=set(), calls=set()), NOW_S)
    assert none.call_owners == none.calls == frozenset()


def test_two_minted_tokens_have_two_ids():
    ids = {VERIFIER.verify(mint(), NOW_S).token_id for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"lifetime_s": 3601},
        {"lifetime_s": 0},
        {"subject": ""},
        {"subject": "a\nb"},
        {"subject": "a" * 256},
        {"scopes": {"two words"}},
        {"scopes": {""}},
        {"limits": Limits(session_audio_s=-1)},
        {"models": {"a\nb"}},
        {"token_id": "t\x00"},
    ],
)
def test_a_token_that_would_be_refused_is_not_minted(changes):
    with pytest.raises(TokenError):
        mint(**changes)


def test_a_token_of_another_maker_with_the_same_key_is_accepted():
    assert VERIFIER.verify(signed(), NOW_S).subject == "ward-7"


def test_one_audience_of_several_is_enough():
    assert VERIFIER.verify(signed(payload=claims(aud=["other", "earwitness"])), NOW_S)


@pytest.mark.parametrize("scopes", [{"admin"}, {"audit"}, {"admin", "audit"}])
def test_a_token_for_administrators_has_its_own_audience(scopes):
    verified = VERIFIER.verify(mint(scopes=scopes), NOW_S)
    assert (verified.is_for_admin, verified.scopes) == (True, scopes)
    assert not VERIFIER.verify(mint(), NOW_S).is_for_admin


@pytest.mark.parametrize("scopes", [{"admin", "transcribe"}, {"audit", "other"}])
def test_a_token_for_both_is_not_minted(scopes):
    with pytest.raises(TokenError):
        mint(scopes=scopes)


@pytest.mark.parametrize(
    "audience",
    [
        ["earwitness", "earwitness/admin"],
        "earwitness/",
        "earwitness/admin/",
        "earwitness/Admin",
        "/admin",
        [],
    ],
)
def test_an_audience_that_is_neither_or_both_is_refused(audience):
    assert refused(signed(payload=claims(aud=audience))) == TokenReason.WRONG_AUDIENCE


def test_the_audience_of_administrators_can_be_named():
    policy = replace(POLICY, admin_audience="https://ear.test/desk")
    verifier = TokenVerifier.of_one(policy, KEY.public_key())
    assert verifier.verify(signed(payload=claims(aud="https://ear.test/desk")), NOW_S).is_for_admin
    assert refused(mint(scopes={"admin"}), verifier=verifier) == TokenReason.WRONG_AUDIENCE


def test_claims_that_mean_nothing_here_are_ignored():
    assert VERIFIER.verify(signed(payload=claims(azp="x", groups=[1.5, None])), NOW_S)


def test_the_key_may_be_named_as_the_issuer_names_it():
    verifier = TokenVerifier.of_one(POLICY, KEY.public_key(), key_id="2026-11")
    assert verifier.verify(signed({**HEADER, "kid": "2026-11"}), NOW_S)
    assert refused(mint(), verifier=verifier) is TokenReason.UNKNOWN_KEY


def test_a_minted_token_names_its_key():
    assert jwt.get_unverified_header(mint())["kid"] == key_id_of(KEY.public_key())


@pytest.mark.parametrize(
    ("wall_s", "reason"),
    [
        (NOW_S - 31, TokenReason.NOT_YET_VALID),
        (NOW_S + 630, TokenReason.EXPIRED),
        (NOW_S + 10**9, TokenReason.EXPIRED),
        (0, TokenReason.NOT_YET_VALID),
    ],
)
def test_a_token_out_of_its_time_is_refused(wall_s, reason):
    assert refused(signed(), wall_s) is reason


@pytest.mark.parametrize("wall_s", [NOW_S - 30, NOW_S, NOW_S + 629.9])
def test_clocks_may_differ_by_the_leeway(wall_s):
    assert VERIFIER.verify(signed(), wall_s)


def test_a_token_that_starts_later_is_refused_until_then():
    token = signed(payload=claims(nbf=NOW_S + 100))
    assert refused(token) is TokenReason.NOT_YET_VALID
    assert VERIFIER.verify(token, NOW_S + 100)


def test_a_token_may_be_too_old_before_it_has_expired():
    verifier = TokenVerifier.of_one(replace(POLICY, max_age_s=60), KEY.public_key())
    assert verifier.verify(signed(), NOW_S + 90)
    assert refused(signed(), NOW_S + 91, verifier) is TokenReason.TOO_OLD


def test_an_issuer_may_have_another_type_and_a_shorter_limit():
    other = TokenVerifier.of_one(replace(POLICY, typ="JWT"), KEY.public_key())
    assert other.verify(signed({**HEADER, "typ": "JWT"}), NOW_S)
    assert refused(signed(), verifier=other) is TokenReason.WRONG_TYPE
    own = (replace(POLICY, max_token_bytes=100), KeySet())
    both = TokenVerifier([own, (replace(POLICY, issuer="other"), KeySet())])
    assert refused(signed(), verifier=both) is TokenReason.TOO_LONG


def test_a_source_of_keys_is_not_believed_about_the_algorithm():
    keys = KeySet([public_token_key("EdDSA", KEY.public_key())])
    misled = TokenVerifier([(replace(POLICY, algorithm="ES256"), keys)])
    assert (
        refused(signed({**HEADER, "alg": "ES256"}), verifier=misled) is TokenReason.WRONG_ALGORITHM
    )


def test_expired_and_forged_differ_in_their_reason_alone():
    assert refused(signed(), NOW_S + 1000) is TokenReason.EXPIRED
    assert refused(signed(key=STRANGER), NOW_S + 1000) is TokenReason.BAD_SIGNATURE


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "jti", "iat", "exp"])
def test_a_token_without_a_required_claim_is_refused(name):
    assert refused(signed(payload=without(name))) is TokenReason.BAD_CLAIMS


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://issuer.test.evil"}, TokenReason.WRONG_ISSUER),
        ({"iss": ["https://issuer.test"]}, TokenReason.WRONG_ISSUER),
        ({"aud": "earwitness2"}, TokenReason.WRONG_AUDIENCE),
        ({"aud": ["other"]}, TokenReason.WRONG_AUDIENCE),
        ({"aud": {"earwitness": 1}}, TokenReason.BAD_CLAIMS),
        ({"aud": []}, TokenReason.WRONG_AUDIENCE),
        ({"exp": NOW_S + 3601}, TokenReason.LIFETIME_TOO_LONG),
        ({"exp": 1_000_000_000_000 - 1}, TokenReason.BAD_CLAIMS),
        ({"exp": 200_000_000_000}, TokenReason.LIFETIME_TOO_LONG),
        ({"exp": 10**4000}, TokenReason.BAD_CLAIMS),
        ({"exp": -1}, TokenReason.BAD_CLAIMS),
        ({"exp": True}, TokenReason.BAD_CLAIMS),
        ({"exp": str(NOW_S + 600)}, TokenReason.BAD_CLAIMS),
        ({"exp": NOW_S + 600.5}, TokenReason.BAD_CLAIMS),
        ({"exp": None}, TokenReason.BAD_CLAIMS),
        ({"exp": [NOW_S]}, TokenReason.BAD_CLAIMS),
        ({"exp": NOW_S}, TokenReason.BAD_CLAIMS),
        ({"iat": False}, TokenReason.BAD_CLAIMS),
        ({"nbf": None}, TokenReason.BAD_CLAIMS),
        ({"nbf": "now"}, TokenReason.BAD_CLAIMS),
        ({"sub": ""}, TokenReason.BAD_CLAIMS),
        ({"sub": 7}, TokenReason.BAD_CLAIMS),
        ({"sub": "x" * 256}, TokenReason.BAD_CLAIMS),
        ({"sub": "a\u202eb"}, TokenReason.BAD_CLAIMS),
        ({"sub": "a\x1b[2Jb"}, TokenReason.BAD_CLAIMS),
        ({"sub": "\ud800"}, TokenReason.BAD_CLAIMS),
        ({"jti": 7}, TokenReason.BAD_CLAIMS),
        ({"jti": "a\nb"}, TokenReason.BAD_CLAIMS),
        ({"scope": "a  b"}, TokenReason.BAD_CLAIMS),
        ({"scope": ["a"]}, TokenReason.BAD_CLAIMS),
        ({"scope": "a\n"}, TokenReason.BAD_CLAIMS),
        ({"scope": "a" * 1025}, TokenReason.BAD_CLAIMS),
        ({"earwitness": None}, TokenReason.BAD_CLAIMS),
        ({"earwitness": []}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"session_audio_s": -1}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"session_audio_s": 1.0}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"session_bytes": True}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"session_bytes": 1 << 53}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"session_bytes": None}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"sessions": 1}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"models": "tiny.en"}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"models": [""]}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"models": ["m"] * 101}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"models": None}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"languages": [1]}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"call_owners": "*"}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"call_owners": None}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"call_owners": ["a\u202eb"]}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"call_owners": ["x" * 256]}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"calls": [7]}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"calls": [""]}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"calls": ["c\n1"]}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"calls": ["c"] * 101}}, TokenReason.BAD_CLAIMS),
        ({"earwitness": {"languages": ["e\x00n"]}}, TokenReason.BAD_CLAIMS),
    ],
)
def test_a_claim_out_of_bounds_is_refused(changes, reason):
    assert refused(signed(payload=claims(**changes))) is reason


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"alg": "EdDSA"}, TokenReason.WRONG_TYPE),
        ({**HEADER, "typ": "JWT"}, TokenReason.WRONG_TYPE),
        ({**HEADER, "typ": "id+jwt"}, TokenReason.WRONG_TYPE),
        ({**HEADER, "typ": "AT+JWT"}, TokenReason.WRONG_TYPE),
        ({"typ": "at+jwt"}, TokenReason.WRONG_ALGORITHM),
        ({**HEADER, "alg": "none"}, TokenReason.WRONG_ALGORITHM),
        ({**HEADER, "alg": "HS256"}, TokenReason.WRONG_ALGORITHM),
        ({**HEADER, "alg": ["EdDSA"]}, TokenReason.WRONG_ALGORITHM),
        ({**HEADER, "crit": []}, TokenReason.MALFORMED),
        ({**HEADER, "crit": ["b64"], "b64": False}, TokenReason.MALFORMED),
        ({**HEADER, "b64": False}, TokenReason.MALFORMED),
        ({**HEADER, "jku": "https://keys.test"}, TokenReason.MALFORMED),
        ({**HEADER, "jwk": {"kty": "OKP"}}, TokenReason.MALFORMED),
        ({**HEADER, "kid": "other"}, TokenReason.UNKNOWN_KEY),
        ({**HEADER, "kid": ["other"]}, TokenReason.UNKNOWN_KEY),
        ({**HEADER, "kid": None}, TokenReason.UNKNOWN_KEY),
    ],
)
def test_a_header_that_is_not_ours_is_refused(header, reason):
    assert refused(signed(header)) is reason


@pytest.mark.parametrize("algorithm", ["none", "HS256", ["EdDSA"]])
def test_a_wrong_algorithm_is_the_reason_whatever_is_claimed(algorithm):
    header = {**HEADER, "alg": algorithm}
    assert refused(signed(header, {})) is TokenReason.WRONG_ALGORITHM


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b'"text"',
        b"null",
        b"{",
        b"\xff",
        b"\xef\xbb\xbf" + json.dumps(CLAIMS).encode(),
        json.dumps(CLAIMS).encode("utf-16"),
        json.dumps(CLAIMS).encode() + b"x",
        json.dumps(CLAIMS).encode()[:-1] + b',"sub":"root"}',
        json.dumps(CLAIMS).encode()[:-1] + b',"x":{"a":1,"a":2}}',
        json.dumps(claims(exp=float("nan"))).encode(),
        json.dumps(claims(exp=float("inf"))).encode(),
        json.dumps(CLAIMS).encode()[:-1] + b',"x":' + b"1" * 4400 + b"}",
        b'{"x":' + b"[" * 5000,
    ],
)
def test_a_payload_that_is_not_one_json_object_is_refused(payload):
    assert refused(signed(payload=payload)) is TokenReason.MALFORMED


def test_a_key_named_twice_in_the_header_is_refused():
    header = b'{"alg":"none","alg":"EdDSA","typ":"at+jwt"}'
    assert refused(signed(header)) is TokenReason.MALFORMED


def padded(token):
    return ".".join(segment + "=" * (-len(segment) % 4) for segment in token.split("."))


def with_other_trailing_bits(token):
    # 64 bytes of signature end in a character of which 4 bits say nothing
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


SPELLINGS = {
    "padded": padded,
    "padded_signature": lambda token: token + "==",
    "other_trailing_bits": with_other_trailing_bits,
    "dot_after": lambda token: token + ".",
    "dot_before": lambda token: "." + token,
    "fourth_segment": lambda token: token + ".e30",
    "newline_after": lambda token: token + "\n",
    "space_before": lambda token: " " + token,
    "space_inside": lambda token: token.replace(".", ". ", 1),
    "other_alphabet": lambda token: token[:-6] + "+/+/" + token[-2:],
    "two_segments": lambda token: token.rsplit(".", 1)[0],
    "empty_signature": lambda token: token.rsplit(".", 1)[0] + ".",
    "wide_dot": lambda token: token.replace(".", "\uff0e", 1),
    "digit_of_another_script": lambda token: token + "\u0660",
    "lone_surrogate": lambda token: token[:-1] + "\ud800",
    "empty": lambda token: "",
    "only_dots": lambda token: "..",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_token_has_one_spelling(spelling):
    reason = refused(SPELLINGS[spelling](signed()))
    assert reason in {TokenReason.MALFORMED, TokenReason.BAD_SIGNATURE}


def test_a_token_that_was_signed_with_its_padding_is_refused():
    header, payload, _ = padded(signed()).split(".")
    signature = b64(KEY.sign(f"{header}.{payload}".encode()))
    assert refused(f"{header}.{payload}.{signature}") is TokenReason.MALFORMED


def test_length_is_looked_at_before_anything_else():
    assert refused("x" * 8193) is TokenReason.TOO_LONG
    assert refused("." * 8_000_000) is TokenReason.TOO_LONG
    assert refused("x" * 8192) is TokenReason.MALFORMED


def test_a_token_signed_with_the_public_key_as_a_password_is_refused():
    password = KEY.public_key().public_bytes_raw()
    token = jwt.encode(CLAIMS, password, algorithm="HS256", headers={"typ": "at+jwt"})
    assert refused(token) is TokenReason.WRONG_ALGORITHM


def test_the_signature_of_one_token_does_not_fit_another():
    one, other = signed(), signed(payload=claims(sub="root"))
    grafted = other.rsplit(".", 1)[0] + "." + one.rsplit(".", 1)[1]
    assert refused(grafted) is TokenReason.BAD_SIGNATURE


CHARACTERS = st.sampled_from("ABCabc019-_.=+/ \n{}\x00é") | st.characters()


@st.composite
def mutated(draw):
    """A good token with a few characters changed, added, dropped or moved."""
    good = signed()
    token = good
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(token)))
        end = draw(st.integers(start, min(len(token), start + draw(st.integers(0, 40)))))
        token = token[:start] + draw(st.text(CHARACTERS, max_size=4)) + token[end:]
    return token if token != good else token[::-1]


@settings(max_examples=500, deadline=None)
@given(mutated())
def test_no_mutation_of_a_good_token_is_accepted(token):
    refused(token)


@settings(max_examples=300, deadline=None)
@given(st.text(CHARACTERS, max_size=60))
def test_no_text_raises_anything_but_the_refusal(text):
    refused(text)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CLAIMS)), JSON)
def test_whatever_a_signed_claim_holds_the_answer_is_claims_or_the_refusal(name, value):
    with contextlib.suppress(TokenError):
        verified = VERIFIER.verify(signed(payload=claims(**{name: value})), NOW_S)
        assert verified.expires_at_s - verified.issued_at_s <= POLICY.max_lifetime_s
