"""JWKS documents honest, careless and hostile in; the keys that may verify tokens out."""

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from security.errors import TokenKeyError
from security.secret import SecretBytes
from security.spelling import decode_base64url
from security.token_keys import (
    ALGORITHMS,
    KeySet,
    TokenKey,
    decode_jwks,
    encode_jwks,
    key_id_of,
    public_token_key,
)
from tests.security.forge import (
    EC_KEY,
    ED_KEY,
    NOW_S,
    SECRET,
    b64,
    jwk,
    jwks,
    private_key,
    rsa_jwk,
    rsa_key,
    token_key,
)
from tests.security.fuzzed import JSON

PUBLIC_ONES = ["EdDSA", "ES256", "RS256"]


def ids(encoded, algorithm):
    return [key.key_id for key in decode_jwks(encoded, algorithm).keys]


def nothing_in(*members, algorithm="EdDSA"):
    with pytest.raises(TokenKeyError, match="holds no key"):
        decode_jwks(jwks(*members), algorithm)
    return True


@pytest.mark.parametrize("algorithm", PUBLIC_ONES)
def test_a_key_is_read_as_its_issuer_publishes_it(algorithm):
    [key] = decode_jwks(jwks(jwk(algorithm, x5t="ignored")), algorithm).keys
    assert (key.key_id, key.algorithm, key.expires_at_s) == ("k-1", algorithm, None)
    assert key.material == private_key(algorithm).public_key()


@pytest.mark.parametrize("algorithm", PUBLIC_ONES)
def test_of_all_that_is_published_only_what_fits_is_kept(algorithm):
    members = [jwk(other, kid=other) for other in PUBLIC_ONES]
    secret = {"kty": "oct", "kid": "oct", "k": b64(SECRET)}
    assert ids(jwks(*members, secret, {}, None, 1, "x", []), algorithm) == [algorithm]


def test_a_key_without_a_name_is_named_by_its_content():
    member = jwk("EdDSA")
    del member["kid"]
    assert ids(jwks(member), "EdDSA") == [key_id_of(ED_KEY.public_key())]
    assert ids(jwks(jwk("EdDSA", kid=None)), "EdDSA") == [key_id_of(ED_KEY.public_key())]


def test_alg_use_and_key_ops_may_be_missing():
    member = {name: value for name, value in jwk("ES256").items() if name not in {"alg", "use"}}
    assert ids(jwks(member), "ES256") == ["k-1"]
    assert ids(jwks({**member, "key_ops": ["verify"]}), "ES256") == ["k-1"]


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "ES256"},
        {"alg": "Ed25519"},
        {"alg": 1},
        {"use": "enc"},
        {"use": ["sig"]},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kty": "EC"},
        {"kty": 1},
        {"crv": "Ed448"},
        {"x": b64(bytes(31))},
        {"x": b64(bytes(33))},
        {"x": b64(bytes(32)) + "="},
        {"x": ""},
        {"kid": ""},
        {"kid": "k" * 65},
        {"kid": "../k"},
        {"kid": "k\n"},
        {"kid": 1},
        {"exp": "soon"},
        {"d": b64(bytes(32))},
        {"k": b64(SECRET)},
    ],
)
def test_a_key_that_does_not_fit_is_left_out(changes):
    assert nothing_in(jwk("EdDSA", **changes))


def test_an_rsa_key_that_is_weak_or_absurd_is_left_out():
    good = jwk("RS256")
    wide = {"n": b64(b"\xff" * 1200)}
    even = {"n": b64(b"\xff" * 255 + b"\xfe")}
    exponents = [{"e": b64(b"\x01")}, {"e": b64(b"\x02")}, {"e": b64(b"\x01" + bytes(7) + b"\x01")}]
    weak = rsa_jwk(rsa_key(1024))
    for changes in [weak, wide, *exponents, {"n": ""}, {"e": ""}, {"n": b64(b"\x80" * 1100)}]:
        assert nothing_in({**good, **changes}, algorithm="RS256")
    assert nothing_in({**good, **even, "e": b64(b"\x04")}, algorithm="RS256")


def test_a_zero_in_front_of_a_modulus_does_not_matter():
    member = jwk("RS256")
    member["n"] = b64(b"\x00" + decode_base64url(member["n"]))
    assert ids(jwks(member), "RS256") == ["k-1"]


@pytest.mark.parametrize(
    "changes", [{"crv": "P-384"}, {"x": b64(bytes(32))}, {"y": b64(bytes(31))}]
)
def test_a_point_off_the_curve_is_left_out(changes):
    assert nothing_in(jwk("ES256", **changes), algorithm="ES256")


def test_two_keys_of_one_name_are_both_left_out():
    other = jwk("ES256", kid="other")
    assert ids(jwks(jwk("ES256"), jwk("ES256"), other), "ES256") == ["other"]


@pytest.mark.parametrize(
    "encoded",
    [
        *(b"", b"[]", b"{}", b'{"keys":{}}', b'{"keys":null}', b'{"keys":[],"keys":[]}', b"\xff"),
        *(b"[", jwks(*([{}] * 101)), b"[" * 100_000),
    ],
)
def test_what_is_no_document_is_refused(encoded):
    with pytest.raises(TokenKeyError, match="not a JWKS document"):
        decode_jwks(encoded, "EdDSA")


def test_retired_keys_are_written_as_they_are_read():
    keys = [TokenKey(f"k-{n}", "EdDSA", ED_KEY.public_key(), n or None) for n in range(3)]
    assert list(decode_jwks(encode_jwks(keys), "EdDSA").keys) == keys
    assert json.loads(encode_jwks([token_key("ES256")])) == {"keys": []}


def test_a_key_ends_at_its_second():
    found = KeySet([TokenKey("k-1", "EdDSA", ED_KEY.public_key(), NOW_S)]).find
    assert found("k-1", NOW_S - 0.1)
    assert found(None, NOW_S - 0.1)
    assert found("k-1", NOW_S) is found(None, NOW_S) is None


def test_a_token_that_names_no_key_has_one_only_where_there_is_one():
    one = TokenKey("k-1", "EdDSA", ED_KEY.public_key())
    ended = TokenKey("k-2", "EdDSA", ED_KEY.public_key(), NOW_S)
    other = TokenKey("k-3", "EdDSA", ED_KEY.public_key())
    assert KeySet().find(None, NOW_S) is None
    assert KeySet([one]).find(None, NOW_S) is one
    assert KeySet([one, ended]).find(None, NOW_S) is one
    assert KeySet([one, other]).find(None, NOW_S) is None
    assert KeySet([one, other]).find("k-3", NOW_S) is other


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_is_bound_to_its_algorithm(algorithm):
    for other in ALGORITHMS:
        if other == algorithm:
            continue
        with pytest.raises(TokenKeyError):
            TokenKey("k-1", other, token_key(algorithm).material)


def test_curves_and_secrets_that_are_too_weak_or_others_are_refused():
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key()
    with pytest.raises(TokenKeyError):
        TokenKey("k-1", "ES256", p384)
    with pytest.raises(TokenKeyError):
        TokenKey("k-1", "HS256", SecretBytes(bytearray(31)))
    with pytest.raises(TokenKeyError):
        public_token_key("EdDSA", Ed448PrivateKey.generate().public_key())
    with pytest.raises(TokenKeyError, match="letters"):
        public_token_key("ES256", EC_KEY.public_key(), "no name")


def test_a_key_shows_no_material():
    assert "SecretBytes" not in repr(token_key("HS256"))
    assert "object at" not in repr(token_key("EdDSA"))


@given(st.dictionaries(st.sampled_from(sorted({*jwk("ES256"), "exp", "key_ops"})), JSON))
def test_whatever_a_member_holds_the_other_keys_are_kept(changes):
    other = jwk("ES256", kid="other")
    assert "other" in ids(jwks(jwk("ES256") | changes, other), "ES256")
