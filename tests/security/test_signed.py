"""Tokens and keys of every algorithm in; whether they belong together out."""

import pytest

from security.errors import TokenError, TokenReason
from security.signed import decode_part, read_signed
from tests.security.forge import ISSUERS, claims, header, signed, token_key


@pytest.mark.parametrize("algorithm", ISSUERS)
def test_a_token_is_signed_by_its_key_and_no_other(algorithm):
    for other in ISSUERS:
        if other == algorithm:
            read_signed(signed(algorithm)).check(token_key(algorithm))
            continue
        with pytest.raises(TokenError) as caught:
            read_signed(signed(algorithm)).check(token_key(other))
        assert caught.value.reason is TokenReason.WRONG_ALGORITHM


def test_a_signature_that_does_not_fit_is_told_apart_for_the_trail():
    grafted = signed().rsplit(".", 1)[0] + "." + signed(head=header(kid="k-2")).rsplit(".", 1)[1]
    with pytest.raises(TokenError) as caught:
        read_signed(grafted).check(token_key("EdDSA"))
    assert caught.value.reason is TokenReason.BAD_SIGNATURE


def test_a_token_is_split_unverified():
    text = read_signed(signed())
    assert (text.header, decode_part(text.payload)) == (header(), claims())
    assert signed().startswith(text.signed.decode() + ".")


@pytest.mark.parametrize(
    "text", ["", "..", "a.b", "e30.e30", "e30.e30.e30.e30", "e30.e30.A", "W10.e30."]
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(TokenError) as caught:
        read_signed(text)
    assert caught.value.reason is TokenReason.MALFORMED
