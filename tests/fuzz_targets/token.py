"""Bytes of a fuzzer in; an exception out only where something is really wrong.

Random text never gets past a signature, so most inputs are signed as they are: the parsers behind
it are then as open as to an issuer who has gone mad.
"""

import json

from security.errors import TokenError
from security.token_keys import KeySet
from security.tokens import TokenPolicy, TokenVerifier
from tests.security.forge import (
    AUDIENCE,
    ISSUERS,
    NOW_S,
    SECRET,
    claims,
    forged,
    header,
    signed,
    token_key,
)

_POLICY = TokenPolicy(ISSUERS["HS256"], AUDIENCE, algorithm="HS256")
_VERIFIER = TokenVerifier([(_POLICY, KeySet([token_key("HS256")]))])
_SEPARATOR = b"\x00"
_PAYLOAD = json.dumps(claims("HS256")).encode()
MAX_BYTES = 9_000
SEEDS = [
    b"p" + _PAYLOAD,
    b"h" + json.dumps(header("HS256")).encode() + _SEPARATOR + _PAYLOAD,
    b"r" + signed().encode(),
    b"r" + b"." * 100,
    b"",
]


def fuzz_token(data: bytes) -> None:
    """The first byte says what the rest is: a whole token, a payload, or a header and a payload."""
    kind, rest = data[:1], data[1:]
    if kind == b"r":
        _refused(rest.decode("utf-8", "surrogateescape"))
    elif kind == b"h":
        head, _, payload = rest.partition(_SEPARATOR)
        _verify(forged(head, payload, "HS256", SECRET))
    else:
        _verify(forged(header("HS256"), rest, "HS256", SECRET))


def _refused(token: str) -> None:
    """Nobody guesses a signature."""
    try:
        _VERIFIER.verify(token, NOW_S)
    except TokenError:
        return
    raise AssertionError("a token was accepted that nobody signed")


def _verify(token: str) -> None:
    """What is accepted keeps the rules that everything behind the door relies on."""
    try:
        said = _VERIFIER.verify(token, NOW_S)
    except TokenError:
        return
    assert said.issuer == _POLICY.issuer
    assert 0 < len(said.subject) <= 255
    assert 0 < said.expires_at_s - said.issued_at_s <= _POLICY.max_lifetime_s
    assert NOW_S - _POLICY.leeway_s < said.expires_at_s
    assert not {"\n", "\r", "\x1b", "\u202e"} & set(said.subject + said.token_id)
