"""Inputs of every absurd shape in; the longest that the verifier took to refuse one, out.

Timed one by one on the processor's own clock, best of a few, so that what else the machine does is
not in the figure: what counts is the work that one stranger can cause.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from security.errors import TokenError
from security.token_keys import key_id_of
from security.tokens import TokenPolicy, TokenVerifier

MEGABYTE = 1_000_000
LONGEST = 8192
ROUNDS = 5
NOW_S = 1_800_000_000.0
_KEY = Ed25519PrivateKey.generate()
_POLICY = TokenPolicy("earwitness", "earwitness")
_VERIFIER = TokenVerifier.of_one(_POLICY, _KEY.public_key())
_HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": key_id_of(_KEY.public_key())}


def refuse_1mb_ms_max() -> float:
    """Over all shapes of a megabyte, and of the longest that is looked at (8 KiB)."""
    return max(refusal_ms(text) for n_bytes in (MEGABYTE, LONGEST) for text in shapes(n_bytes))


def refusal_ms(token: str) -> float:
    """Of one input, best of a few."""
    took_ns: list[int] = []
    for _ in range(ROUNDS):
        begin_ns = time.thread_time_ns()
        try:
            _VERIFIER.verify(token, NOW_S)
        except TokenError:
            took_ns.append(time.thread_time_ns() - begin_ns)
        else:
            raise AssertionError("accepted")
    return min(took_ns) / 1e6


def shapes(n_bytes: int) -> Iterator[str]:
    """Text without structure, tokens with something long in each place, and JSON at its worst."""
    for filler in ("x", ".", "=", "A", "\x00", "é", "\u2028", "[", '"', "\\"):
        yield filler * n_bytes
    yield "a." * (n_bytes // 2)
    yield f"{'A' * (n_bytes // 2)}.{'A' * (n_bytes // 2 - 2)}."
    for place in range(3):
        parts = [_encoded(_HEADER), _encoded({"iss": "earwitness"}), "AAAA"]
        room = n_bytes - len(".".join(parts)) + len(parts[place])
        parts[place] = "A" * (room - room % 4)
        yield ".".join(parts)
    for worst in _worst_json(_room_for_payload(n_bytes)):
        yield _signed(_HEADER, worst)
    for worst in _worst_json(_room_for_payload(n_bytes)):
        yield f"{_base64(worst)}.e30.AAAA"


def _worst_json(n_bytes: int) -> Iterator[bytes]:
    fill: dict[str, Callable[[int], bytes]] = {
        "nesting": lambda n: b'{"a":' + b"[" * (n // 2) + b"]" * (n // 2) + b"}",
        "objects": lambda n: b'{"a":' * (n // 6) + b"1" + b"}" * (n // 6),
        "members": lambda n: b"{" + b",".join(b'"%d":0' % i for i in range(n // 10)) + b"}",
        "one member": lambda n: b"{" + b",".join([b'"a":0'] * (n // 6)) + b"}",
        "digits": lambda n: b'{"a":' + b"9" * (n - 10) + b"}",
        "numbers": lambda n: b'{"a":[' + b",".join([b"1e9"] * (n // 4 - 4)) + b"]}",
        "escapes": lambda n: b'{"a":"' + b"\\u00e9" * (n // 6 - 2) + b'"}',
        "surrogates": lambda n: b'{"a":"' + b"\\ud800" * (n // 6 - 2) + b'"}',
        "spaces": lambda n: b"{" + b" " * (n - 2) + b"}",
        "no end": lambda n: b'{"a":"' + b"x" * (n - 6),
        "audiences": lambda n: (
            b'{"iss":"earwitness","sub":"a","jti":"a","iat":1800000000,"exp":1800000600,"aud":['
            + b",".join([b'"a"'] * (n // 4 - 30))
            + b"]}"
        ),
        "scopes": lambda n: b'{"iss":"earwitness","scope":"' + b"a " * (n // 2 - 20) + b'"}',
    }
    for make in fill.values():
        yield make(n_bytes)


def _room_for_payload(n_bytes: int) -> int:
    """Bytes of JSON that fit into a signed token of this length."""
    return (n_bytes - len(_encoded(_HEADER)) - 110) * 3 // 4


def _signed(header: object, payload: bytes) -> str:
    text = f"{_encoded(header)}.{_base64(payload)}"
    return f"{text}.{_base64(_KEY.sign(text.encode()))}"


def _encoded(part: object) -> str:
    return _base64(json.dumps(part).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


if __name__ == "__main__":
    print(f"refuse_1mb_ms_max {refuse_1mb_ms_max():.3f}")
