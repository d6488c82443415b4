"""Random and half-honest bytes through the targets: none of them raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz_targets.jwks import fuzz_jwks
from tests.fuzz_targets.token import fuzz_token
from tests.security.forge import claims, header, jwk, jwks, signed
from tests.security.fuzzed import JSON

PAYLOAD = json.dumps(claims("HS256")).encode()
HEADER = json.dumps(header("HS256")).encode()


@given(st.binary(max_size=200))
def test_no_bytes_are_a_fault(data):
    fuzz_token(data)
    fuzz_jwks(data)


@given(st.sampled_from(sorted(claims())), JSON)
def test_no_claim_is_a_fault(name, value):
    fuzz_token(b"p" + json.dumps(claims("HS256", **{name: value})).encode())


@given(st.sampled_from(["x", "y", "kid", "exp", "use", "key_ops", "kty"]), JSON)
def test_no_member_is_a_fault(name, value):
    fuzz_jwks(jwks(jwk("ES256", **{name: value}), jwk("EdDSA")))


@pytest.mark.parametrize(
    "data", [b"p" + PAYLOAD, b"h" + HEADER + b"\x00" + PAYLOAD, b"r" + signed().encode(), b""]
)
def test_honest_ones_are_none_either(data):
    fuzz_token(data)


def test_a_token_that_was_accepted_unsigned_would_be_one():
    with pytest.raises(AssertionError):
        fuzz_token(b"r" + signed("HS256").encode())
