"""Fifty thousand random claim sets through the verifier and through forty lines that share nothing
with it; never two opinions.
"""

import random
import re
import unicodedata

from security.errors import TokenError
from security.token_keys import KeySet
from security.tokens import TokenPolicy, TokenVerifier
from tests.security.forge import ISSUERS, NOW_S, SECRET, forged, header, token_key

POLICY = TokenPolicy(
    ISSUERS["HS256"],
    "earwitness",
    max_lifetime_s=1000,
    leeway_s=30,
    algorithm="HS256",
    max_age_s=500,
)
VERIFIER = TokenVerifier([(POLICY, KeySet([token_key("HS256")]))])
N_SETS = 50_000
LIMITS = {
    *("session_audio_s", "session_bytes", "session_s", "idle_s", "pace_percent"),
    *("concurrent_sessions", "audio_s_per_day", "starts_per_minute"),
}
MOMENTS = [
    *(NOW_S + s for s in (-531, -530, -529, -31, -30, -29, -1, 0, 1, 29, 30, 31, 469, 470, 471)),
    *(NOW_S + s for s in (499, 500, 501, 969, 970, 971, 999, 1000, 1001, 1030, 1031)),
]
ODD = [None, True, False, "", "x", [], {}, 1.5, -1, 0, 1 << 53, 10**30, "1800000000", ["x"], 2.0]
TEXTS = ["ward-7", "é", "x" * 255, "x" * 256, "a\nb", "a\u202eb", "\ue000", " ", "\u2028"]
POOLS = {
    "iss": [ISSUERS["HS256"], "https://other.test", ISSUERS["HS256"] + "/"],
    "aud": [
        *("earwitness", "other", ["earwitness"], ["other", "earwitness"], ["other"], [1], [[]]),
        *("earwitness/admin", ["earwitness/admin", "other"], ["earwitness/admin", "earwitness"]),
    ],
    "sub": TEXTS,
    "jti": TEXTS,
    "iat": MOMENTS,
    "exp": MOMENTS,
    "nbf": MOMENTS,
    "scope": ["", "transcribe", "a b", "a  b", " a", "a ", 'a"b', "a\\b", "a\tb", "é", "x" * 1025],
    "azp": ["whatever", {"a": [1]}],
}
HONEST = {
    "iss": ISSUERS["HS256"],
    "aud": "earwitness",
    "sub": "ward-7",
    "jti": "t-1",
    "iat": NOW_S,
    "exp": NOW_S + 600,
}


def is_integer(value, low, high):
    return type(value) is int and low <= value <= high


def is_name(value):
    return (
        type(value) is str
        and 1 <= len(value) <= 255
        and all(unicodedata.category(c)[0] != "C" for c in value)
    )


def allows(claims, now_s):  # noqa: C901 (a list of rules)
    """The rules as the documentation has them, in the simplest way there is."""
    if any(name not in claims for name in ("iss", "aud", "sub", "jti", "iat", "exp")):
        return False
    iat, exp, nbf = claims["iat"], claims["exp"], claims.get("nbf", 0)
    if not all(is_integer(second, 0, 253402300799) for second in (iat, exp, nbf)):
        return False
    if claims["iss"] != "https://hs256.test" or not all(
        map(is_name, [claims["sub"], claims["jti"]])
    ):
        return False
    audiences = claims["aud"] if type(claims["aud"]) is list else [claims["aud"]]
    if not all(type(audience) is str for audience in audiences):
        return False
    if len({"earwitness", "earwitness/admin"} & set(audiences)) != 1:
        return False
    scope = claims.get("scope", "")
    if type(scope) is not str or len(scope) > 1024:
        return False
    if scope and not all(re.fullmatch(r"[\x21\x23-\x5b\x5d-\x7e]+", s) for s in scope.split(" ")):
        return False
    extra = claims.get("earwitness", {})
    if type(extra) is not dict or set(extra) - LIMITS - {"models", "languages"}:
        return False
    for name, value in extra.items():
        if name in LIMITS and not is_integer(value, 0, 2**53 - 1):
            return False
        if name not in LIMITS and not (
            type(value) is list and len(value) <= 100 and all(map(is_name, value))
        ):
            return False
    return (
        iat < exp <= iat + 1000
        and max(iat, nbf) <= now_s + 30
        and exp > now_s - 30
        and iat + 500 >= now_s - 30
    )


def random_extra(dice):
    names = [*sorted(LIMITS), "models", "languages", "sessions", "Models"]
    weights = [4] * 10 + [1, 1]
    good = {"models": [["tiny.en"], [], ["a", "b"]], "languages": [["en"], ["de", "fr"]]}
    chosen = set(dice.choices(names, weights, k=dice.randint(0, 3)))
    return {
        name: dice.choice(ODD if dice.random() < 0.1 else good.get(name, [0, 1, 60, 2**53 - 1]))
        for name in sorted(chosen)
    }


def random_claims(dice):
    """Honest, but for some claims; about one in two is still acceptable."""
    claims = dict(HONEST)
    for name in dice.choices(sorted(POOLS), k=dice.randint(0, 3)):
        claims[name] = dice.choice(ODD if dice.random() < 0.15 else POOLS[name])
    if dice.random() < 0.1:
        claims.pop(dice.choice(sorted(claims)))
    if dice.random() < 0.5:
        claims["earwitness"] = dice.choice(ODD) if dice.random() < 0.1 else random_extra(dice)
    return claims


def is_accepted(claims, now_s):
    token = forged(header("HS256"), claims, "HS256", SECRET)
    try:
        verified = VERIFIER.verify(token, now_s)
    except TokenError:
        return False
    said = claims.get("earwitness", {})
    assert (verified.subject, verified.token_id) == (claims["sub"], claims["jti"])
    assert (verified.issued_at_s, verified.expires_at_s) == (claims["iat"], claims["exp"])
    assert verified.is_for_admin == ("earwitness/admin" in claims["aud"])
    assert verified.scopes == set(claims.get("scope", "").split())
    assert {name: getattr(verified.limits, name) for name in LIMITS} == {
        name: said.get(name) for name in LIMITS
    }
    for name in ("models", "languages"):
        assert getattr(verified, name) == (frozenset(said[name]) if name in said else None)
    return True


def test_the_verifier_and_the_oracle_never_differ():
    dice = random.Random(6)  # noqa: S311 (the same sets each time)
    n_accepted = 0
    for _ in range(N_SETS):
        claims, now_s = random_claims(dice), NOW_S + dice.choice([0, 0, 0, -30, -31, 1, 0.5])
        expected = allows(claims, now_s)
        assert is_accepted(claims, now_s) == expected, claims
        n_accepted += expected
    assert 0.2 < n_accepted / N_SETS < 0.8
