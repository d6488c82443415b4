"""What Project Wycheproof tries on verifiers of signed tokens, through the layer that tokens pass.

No package carries its file of JWS vectors, so its kinds of attack are made here for our
algorithms: modified signatures and paddings, other primitives, encodings, serialisations and keys.
Whoever has the file names it in EARWITNESS_WYCHEPROOF_JWS, and all its vectors are tried as well.
"""

import hashlib
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA224, SHA256, SHA384, SHA512

from security.errors import TokenError, TokenKeyError
from security.secret import SecretBytes
from security.signed import read_signed
from security.spelling import decode_base64url
from security.token_keys import TokenKey, decode_jwks
from tests.security.forge import (
    EC_KEY,
    SECRET,
    b64,
    encoded,
    forged,
    private_key,
    rsa_key,
    signature,
    token_key,
)

ALGORITHMS = ["EdDSA", "ES256", "RS256", "HS256"]
PAYLOADS = [b"foo", b"", b"\x00", b"a" * 1000, bytes(range(256))]
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def accepts(token, key):
    """The signature layer, without any claim: these are no access tokens."""
    try:
        read_signed(token).check(key)
    except TokenError:
        return False
    return True


def head(algorithm):
    return {"alg": algorithm, "kid": "k-1"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("payload", PAYLOADS, ids=len)
def test_what_is_valid_is_accepted(algorithm, payload):
    token = forged(head(algorithm), payload, algorithm, private_key(algorithm))
    assert accepts(token, token_key(algorithm))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_no_bit_of_a_token_may_be_turned(algorithm):
    token = forged(head(algorithm), b"foo", algorithm, private_key(algorithm))
    text, signed = token.rsplit(".", 1)
    content, key = decode_base64url(signed), token_key(algorithm)
    for bit in range(len(content) * 8):
        turned = bytearray(content)
        turned[bit // 8] ^= 1 << bit % 8
        assert not accepts(f"{text}.{b64(turned)}", key)
    for index in range(len(text)):
        other = "A" if text[index] != "A" else "B"
        assert not accepts(f"{text[:index]}{other}{text[index + 1 :]}.{signed}", key)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_signature_cut_or_lengthened_is_none(algorithm):
    text = f"{encoded(head(algorithm))}.{encoded(b'foo')}"
    good = signature(algorithm, private_key(algorithm), text.encode())
    bad = [
        b"",
        good[:-1],
        good[1:],
        good + b"\x00",
        b"\x00" + good,
        good * 2,
        good[: len(good) // 2],
    ]
    bad += [bytes(len(good)), b"\xff" * len(good)]
    assert not any(accepts(f"{text}.{b64(b)}", token_key(algorithm)) for b in bad)


def test_ecdsa_takes_no_numbers_out_of_range_and_no_other_encoding():
    text = f"{encoded(head('ES256'))}.{encoded(b'foo')}"
    der = EC_KEY.sign(text.encode(), ec.ECDSA(SHA256()))
    r, s = decode_dss_signature(der)
    edges = [0, 1, P256_ORDER - 1, P256_ORDER, P256_ORDER + 1, 2**256 - 1]
    pairs = [(one, other) for one in edges for other in edges]
    pairs += [(edge, s) for edge in edges] + [(r, edge) for edge in edges]
    bad = [der, *(one.to_bytes(32, "big") + other.to_bytes(32, "big") for one, other in pairs)]
    wide = r.to_bytes(48, "big") + s.to_bytes(48, "big")
    key = token_key("ES256")
    assert not any(accepts(f"{text}.{b64(b)}", key) for b in [*bad, wide])


@pytest.mark.parametrize("hashed", [SHA224(), SHA384(), SHA512()], ids=lambda hashed: hashed.name)
def test_another_hash_is_another_algorithm(hashed):
    for algorithm, sign in {
        "ES256": lambda text: raw(EC_KEY.sign(text, ec.ECDSA(hashed))),
        "RS256": lambda text: rsa_key().sign(text, padding.PKCS1v15(), hashed),
    }.items():
        text = f"{encoded(head(algorithm))}.{encoded(b'foo')}"
        assert not accepts(f"{text}.{b64(sign(text.encode()))}", token_key(algorithm))


def raw(der):
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def test_pss_is_another_primitive():
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    text = f"{encoded(head('RS256'))}.{encoded(b'foo')}"
    signed = rsa_key().sign(text.encode(), pss, SHA256())
    assert not accepts(f"{text}.{b64(signed)}", token_key("RS256"))


DIGEST_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def paddings(digest):
    """PKCS #1 as lax verifiers have taken it: 256 bytes each."""
    info = DIGEST_INFO + digest
    without_null = bytes.fromhex("302f300b0609608648016503040201" + "0420") + digest
    good_length = 256 - 3 - len(info)
    yield b"\x00\x01" + b"\xff" * (256 - 3 - len(without_null)) + b"\x00" + without_null
    yield b"\x00\x02" + b"\xff" * good_length + b"\x00" + info
    yield b"\x00\x00" + b"\xff" * good_length + b"\x00" + info
    yield b"\x01\x01" + b"\xff" * good_length + b"\x00" + info
    yield b"\x00\x01" + b"\xff" * (good_length - 1) + b"\x00\x00" + info
    yield b"\x00\x01" + b"\xfe" * good_length + b"\x00" + info
    yield b"\x00\x01" + b"\x00" * good_length + b"\x00" + info
    yield b"\x00\x01" + b"\xff" * 8 + b"\x00" + info + bytes(good_length - 8)  # Bleichenbacher 2006
    yield b"\x00\x01" + b"\xff" * (good_length + len(DIGEST_INFO)) + b"\x00" + digest
    yield b"\x00\x01" + b"\xff" * good_length + b"\x01" + info
    yield digest.rjust(256, b"\x00")


def test_a_padding_that_was_modified_is_refused():
    numbers = rsa_key().private_numbers()
    n = numbers.public_numbers.n
    text = f"{encoded(head('RS256'))}.{encoded(b'foo')}"
    digest = hashlib.sha256(text.encode()).digest()
    good = b"\x00\x01" + b"\xff" * (256 - 3 - 51) + b"\x00" + DIGEST_INFO + digest
    key = token_key("RS256")

    def under(block):
        signed = pow(int.from_bytes(block, "big"), numbers.d, n).to_bytes(256, "big")
        return f"{text}.{b64(signed)}"

    assert accepts(under(good), key)
    every = list(paddings(digest))
    assert {len(block) for block in every} == {256}
    assert not any(accepts(under(block), key) for block in every)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_only_the_compact_form_is_read(algorithm):
    token = forged(head(algorithm), b"foo", algorithm, private_key(algorithm))
    protected, payload, signed = token.split(".")
    flat = {"protected": protected, "payload": payload, "signature": signed}
    general = {"payload": payload, "signatures": [{"protected": protected, "signature": signed}]}
    spellings = [json.dumps(flat), json.dumps(general), f"{protected}..{signed}", f" {token}"]
    spellings += [f"{token}.", f"{token}=", f"{token}\n", token.replace(".", ".\n", 1), f".{token}"]
    spellings += [f"{protected}=.{payload}.{signed}", f"{protected}.{payload}=.{signed}"]
    assert not any(accepts(spelling, token_key(algorithm)) for spelling in spellings)


def test_a_secret_is_not_a_public_key_nor_the_other_way_round():
    for algorithm in ("EdDSA", "ES256", "RS256"):
        with pytest.raises(TokenKeyError):
            TokenKey("k-1", algorithm, SecretBytes(bytearray(SECRET)))
        with pytest.raises(TokenKeyError):
            TokenKey("k-1", "HS256", private_key(algorithm).public_key())


VECTORS = os.environ.get("EARWITNESS_WYCHEPROOF_JWS")


def key_of(group):
    """What we would make of a group's key; None if it is none that we would use."""
    jwk = group.get("public") or group["private"]
    try:
        if jwk["kty"] == "oct":
            secret = SecretBytes(bytearray(decode_base64url(jwk["k"])))
            return TokenKey(jwk["kid"], jwk["alg"], secret)
        return decode_jwks(json.dumps({"keys": [jwk]}).encode(), jwk.get("alg", "RS256")).keys[0]
    except TokenKeyError:
        return None


@pytest.mark.shared
@pytest.mark.skipif(VECTORS is None, reason="needs the file (EARWITNESS_WYCHEPROOF_JWS)")
def test_the_projects_own_vectors_have_their_documented_outcome():
    groups = json.loads(Path(VECTORS).read_text())["testGroups"]
    every = [(key_of(group), test) for group in groups for test in group["tests"]]
    assert len(every) == 401
    accepted = {test["tcId"] for key, test in every if key and accepts(test["jws"], key)}
    valid_texts = {test["jws"] for _, test in every if test["result"] == "valid"}
    valid = {test["tcId"] for _, test in every if test["jws"] in valid_texts}
    assert valid & {367, 370} == {367, 370}  # the text of 357, which is valid (wycheproof #236)
    assert accepted - valid == set()
    ours = {test["tcId"] for key, test in every if key} & valid
    assert ours - accepted == {372, 373}  # a question mark in base64url, which RFC 7515 forbids
