"""What PyJWT lets pass, and every way to confuse one algorithm or key with another; refused."""

import hashlib
import hmac
import json
import warnings

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from security.errors import TokenError, TokenKeyError, TokenReason, UnknownKeyError
from security.secret import SecretBytes
from security.token_keys import KeySet, TokenKey
from security.tokens import TokenPolicy, TokenVerifier
from tests.security.forge import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUERS,
    NOW_S,
    SECRET,
    b64,
    claims,
    der,
    encoded,
    forged,
    header,
    jwk,
    pem,
    private_key,
    rsa_key,
    signature,
    signed,
    verifier,
)

ALGORITHMS = list(ISSUERS)
PUBLIC_ONES = ["EdDSA", "ES256", "RS256"]
EVERYONE = verifier()


def refused(token, by=EVERYONE, wall_s=NOW_S):
    with pytest.raises(TokenError) as caught:
        by.verify(token, wall_s)
    return caught.value.reason


def plainly_decoded(token, key=None, algorithm="EdDSA"):
    """What a server does that calls PyJWT as its first example shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        key = key or private_key(algorithm).public_key()
        options = {"verify_iat": False, "verify_exp": False}  # its clock is not ours
        return jwt.decode(token, key, [algorithm], options, audience=AUDIENCE)


def without_end():
    payload = claims()
    del payload["exp"]
    return signed(payload=payload)


def with_one_claim_twice():
    payload = json.dumps(claims()).encode()[:-1] + b',"sub":"root"}'
    return signed(payload=payload)


def padded():
    text = ".".join(part + "=" * (-len(part) % 4) for part in signed().split(".")[:2])
    signed_part = b64(ED_KEY.sign(text.encode()))
    return f"{text}.{signed_part}=="


BY_DEFAULT = {
    "no end": (without_end, TokenReason.BAD_CLAIMS),
    "an end in the year 33658": (
        lambda: signed(payload=claims(exp=1_000_000_000_000)),
        TokenReason.BAD_CLAIMS,
    ),
    "another type": (lambda: signed(head=header(typ="id+jwt")), TokenReason.WRONG_TYPE),
    "a claim twice": (with_one_claim_twice, TokenReason.MALFORMED),
    "padding": (padded, TokenReason.MALFORMED),
}


@pytest.mark.parametrize("name", BY_DEFAULT)
def test_what_a_plain_decode_accepts_is_refused(name):
    make, reason = BY_DEFAULT[name]
    assert plainly_decoded(make())["aud"] == AUDIENCE
    assert refused(make()) is reason


def test_a_secret_of_eight_bytes_which_a_plain_decode_takes_cannot_be_had():
    token = forged(header("HS256"), claims("HS256"), "HS256", b"password")
    assert plainly_decoded(token, b"password", "HS256")["sub"] == "ward-7"
    with pytest.raises(TokenKeyError):
        TokenKey("k-1", "HS256", SecretBytes(bytearray(b"password")))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_controls_are_accepted(algorithm):
    assert EVERYONE.verify(signed(algorithm), NOW_S).issuer == ISSUERS[algorithm]


NOBODY = ["none", "None", "NONE", "nOnE", "", " none", "none ", None, 0, ["none"], {"none": 1}]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("nobody", NOBODY, ids=repr)
def test_no_algorithm_is_none_in_any_spelling(algorithm, nobody):
    token = forged(header(algorithm, alg=nobody), claims(algorithm), "none", None)
    kept = signed(algorithm).rsplit(".", 1)[1]
    assert refused(token) is TokenReason.WRONG_ALGORITHM
    assert refused(token + kept) is TokenReason.WRONG_ALGORITHM


@pytest.mark.parametrize("algorithm", PUBLIC_ONES)
@pytest.mark.parametrize("form", ["pem", "pem without its newline", "der", "jwk", "raw"])
def test_a_public_key_is_no_secret_to_sign_with(algorithm, form):
    key = private_key(algorithm)
    text = f"{encoded(header('HS256'))}.{encoded(claims(algorithm))}"
    secret = {
        "pem": pem(key),
        "pem without its newline": pem(key).strip(),
        "der": der(key),
        "jwk": json.dumps(jwk(algorithm)).encode(),
        "raw": der(key)[-32:],
    }[form]
    token = f"{text}.{b64(hmac.digest(secret, text.encode(), hashlib.sha256))}"
    assert refused(token) is TokenReason.WRONG_ALGORITHM


@pytest.mark.parametrize("said", ALGORITHMS)
@pytest.mark.parametrize("meant", ALGORITHMS)
def test_a_signature_counts_only_under_its_issuers_algorithm(said, meant):
    """One issuer's good key and signature, in another's name or under another's algorithm."""
    token = forged(header(said), claims(said), meant, private_key(meant))
    crossed = forged(header(meant), claims(said), meant, private_key(meant))
    if said == meant:
        assert EVERYONE.verify(token, NOW_S)
        return
    assert refused(token) is TokenReason.BAD_SIGNATURE
    assert refused(crossed) is TokenReason.WRONG_ALGORITHM


RELATIVES = ["RS384", "RS512", "PS256", "ES256K", "ES384", "ES512", "HS384", "HS512", "Ed25519"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("relative", [*RELATIVES, "rs256", "es256", "eddsa", "EDDSA", "hs256"])
def test_relatives_and_other_spellings_of_an_algorithm_are_not_it(algorithm, relative):
    token = signed(algorithm, head=header(algorithm, alg=relative))
    assert refused(token) is TokenReason.WRONG_ALGORITHM


STRANGER = ec.derive_private_key(0xBAD, ec.SECP256R1())
STEERING = {
    "jwk": jwk("ES256"),
    "jku": "https://keys.evil.test/jwks.json",
    "x5u": "https://keys.evil.test/cert.pem",
    "x5c": ["MIIB"],
    "x5t": "AAAA",
    "x5t#S256": "AAAA",
    "crit": ["exp"],
    "b64": False,
    "cty": "JWT",
    "zip": "DEF",
    "epk": {},
    "iss": ISSUERS["ES256"],
}


@pytest.mark.parametrize("field", STEERING)
def test_no_field_of_the_header_chooses_how_a_token_is_checked(field):
    head = header("ES256", **{field: STEERING[field]})
    assert refused(signed("ES256", head=head)) is TokenReason.MALFORMED
    assert refused(forged(head, claims("ES256"), "ES256", STRANGER)) is TokenReason.MALFORMED


KEY_IDS = [
    "../../../../dev/null",
    "/dev/null",
    "k-1\x00",
    "k-1' OR '1'='1",
    "k-1;id",
    "https://keys.evil.test",
    "k" * 65,
    "",
    "k 1",
    "k=1",
    "κ",
    ["k-1"],
    {"k-1": 1},
    1,
    True,
    None,
]


@pytest.mark.parametrize("key_id", KEY_IDS, ids=repr)
def test_a_name_that_no_key_can_have_is_not_even_looked_for(key_id):
    with pytest.raises(TokenError) as caught:
        EVERYONE.verify(signed(head=header(kid=key_id)), NOW_S)
    assert caught.value.reason is TokenReason.UNKNOWN_KEY
    assert not isinstance(caught.value, UnknownKeyError)


def test_a_name_that_a_key_could_have_says_whose_it_would_be():
    with pytest.raises(UnknownKeyError) as caught:
        EVERYONE.verify(signed(head=header(kid="k-2")), NOW_S)
    assert caught.value.issuer == ISSUERS["EdDSA"]


def test_the_key_of_one_issuer_verifies_nothing_of_another():
    policies = [TokenPolicy(name, AUDIENCE, algorithm="ES256") for name in ("one", "other")]
    keys = [TokenKey("k-1", "ES256", key.public_key()) for key in (EC_KEY, STRANGER)]
    both = TokenVerifier(
        (policy, KeySet([key])) for policy, key in zip(policies, keys, strict=True)
    )
    honest = forged(header("ES256"), claims("ES256", iss="one"), "ES256", EC_KEY)
    posing = forged(header("ES256"), claims("ES256", iss="other"), "ES256", EC_KEY)
    assert both.verify(honest, NOW_S).issuer == "one"
    assert refused(posing, both) is TokenReason.BAD_SIGNATURE


ISSUER_SPELLINGS = [
    "https://eddsa.test/",
    "https://EdDSA.test",
    "https://eddsa.test.evil.test",
    " https://eddsa.test",
    "https://eddsa.test\x00",
    ["https://eddsa.test"],
    {"https://eddsa.test": 1},
    None,
    0,
    "",
]


@pytest.mark.parametrize("issuer", ISSUER_SPELLINGS, ids=repr)
def test_an_issuer_has_one_spelling(issuer):
    assert refused(signed(payload=claims(iss=issuer))) is TokenReason.WRONG_ISSUER


@pytest.mark.parametrize("bits", [1024, 2047])
def test_a_weak_rsa_key_verifies_nothing(bits):
    with pytest.raises(TokenKeyError):
        TokenKey("k-1", "RS256", rsa_key(bits).public_key())


def test_a_source_of_keys_that_gives_one_of_another_algorithm_is_not_believed():
    policy = TokenPolicy(ISSUERS["EdDSA"], AUDIENCE)
    misled = TokenVerifier([(policy, KeySet([TokenKey("k-1", "ES256", EC_KEY.public_key())]))])
    assert refused(signed(), misled) is TokenReason.WRONG_ALGORITHM


def test_an_ecdsa_signature_of_zeros_is_none():
    text = f"{encoded(header('ES256'))}.{encoded(claims('ES256'))}"
    assert refused(f"{text}.{b64(bytes(64))}") is TokenReason.BAD_SIGNATURE


@pytest.mark.parametrize("length", [0, 1, 63, 65, 70, 72, 128])
def test_a_signature_of_another_length_is_none(length):
    text = f"{encoded(header('ES256'))}.{encoded(claims('ES256'))}"
    good = signature("ES256", EC_KEY, text.encode())
    assert refused(f"{text}.{b64((good * 2)[:length])}") is TokenReason.BAD_SIGNATURE


class Counted(str):
    """A token that tells whether anything but its length was looked at."""

    looks = 0

    def split(self, *arguments):
        Counted.looks += 1
        return super().split(*arguments)

    def encode(self, *arguments):
        Counted.looks += 1
        return super().encode(*arguments)

    def __iter__(self):
        Counted.looks += 1
        return super().__iter__()


MEGABYTES = ["x" * 1_000_000, "." * 1_000_000, "[" * 1_000_000, signed() + "A" * 1_000_000]


@pytest.mark.parametrize("text", MEGABYTES, ids=["x", "dots", "brackets", "a good one before"])
def test_of_a_megabyte_only_the_length_is_looked_at(text):
    Counted.looks = 0
    assert refused(Counted(text)) is TokenReason.TOO_LONG
    assert Counted.looks == 0
    assert refused(Counted("x")) is TokenReason.MALFORMED
    assert Counted.looks > 0


def test_the_longest_token_is_that_of_its_issuer():
    secret = SecretBytes(bytearray(SECRET))
    strict = TokenPolicy(ISSUERS["HS256"], AUDIENCE, algorithm="HS256", max_token_bytes=100)
    both = TokenVerifier(
        [
            (strict, KeySet([TokenKey("k-1", "HS256", secret)])),
            (TokenPolicy(ISSUERS["EdDSA"], AUDIENCE), KeySet()),
        ]
    )
    assert refused(signed("HS256"), both) is TokenReason.TOO_LONG
