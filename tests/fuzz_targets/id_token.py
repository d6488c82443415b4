"""ID tokens of a provider that has gone mad in; a subject within its bounds, or our refusal, out.

All are signed as they are, or the signature would be all that is ever tried.
"""

import json
import string

from security.errors import TokenError
from security.id_tokens import Expected, verify_id_token
from security.token_keys import KeySet
from tests.security.forge import NOW_S, forged, private_key, token_key

_KEYS = KeySet([token_key("EdDSA")])
_EXPECTED = Expected("https://id.test", "page", "EdDSA", "n-1", required=("groups", "staff"))
_CLAIMS = {
    "iss": "https://id.test",
    "aud": ["page", "other"],
    "azp": "page",
    "sub": "u-17",
    "nonce": "n-1",
    "iat": NOW_S,
    "exp": NOW_S + 300,
    "groups": ["staff"],
}
_PAYLOAD = json.dumps(_CLAIMS).encode()
_HEAD = {"alg": "EdDSA", "typ": "JWT", "kid": "k-1"}
_SEPARATOR = b"\x00"
_MOST_SUBJECT_CHARS = 200
_VISIBLE = set(string.ascii_letters + string.digits + string.punctuation)
MAX_BYTES = 9_000
SEEDS = [
    b"p" + _PAYLOAD,
    b"h" + json.dumps(_HEAD).encode() + _SEPARATOR + _PAYLOAD,
    b"r" + forged(_HEAD, _PAYLOAD, "EdDSA", private_key("EdDSA")).encode(),
    b"p" + _PAYLOAD.replace(b'"u-17"', b"1e999"),
    b"",
]


def fuzz_id_token(data: bytes) -> None:
    """The first byte says what the rest is: a whole token, a payload, or a header and a payload."""
    kind, rest = data[:1], data[1:]
    if kind == b"r":
        token = rest.decode("utf-8", "surrogateescape")
    elif kind == b"h":
        head, _, payload = rest.partition(_SEPARATOR)
        token = forged(head, payload, "EdDSA", private_key("EdDSA"))
    else:
        token = forged(_HEAD, rest, "EdDSA", private_key("EdDSA"))
    try:
        subject = verify_id_token(token, _EXPECTED, _KEYS.find, NOW_S)
    except TokenError:
        return
    assert 0 < len(subject) <= _MOST_SUBJECT_CHARS
    assert set(subject) <= _VISIBLE
