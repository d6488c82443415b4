"""The headers of a handshake: one token out of one of them, or our refusal."""

from server.door import chosen_subprotocol, read_token
from server.errors import RefusedError
from server.wire import PROTOCOL

MAX_BYTES = 4_096
SEEDS = [
    b"\nauthorization: Bearer aaaa.bbbb.cccc",
    b"earwitness.v1, bearer.aaaa.bbbb.cccc\n",
    b"earwitness.v1\nauthorization: Basic YTpi\norigin: http://localhost",
    b"bearer.a, bearer.b\nauthorization: bearer a\nauthorization: BEARER b",
    b"\nauthorization: Bearer \t \xff\xa0",
    b"",
]
_REASONS = {"credentials_ambiguous", "token_missing"}


def fuzz_door(data: bytes) -> None:
    offer, *lines = data.decode("latin-1").split("\n")  # as ASGI servers decode headers
    offered = [name.strip() for name in offer.split(",")]
    headers = [(name.lower(), value.strip()) for name, _, value in _parts(lines)]
    assert chosen_subprotocol(offered) in {None, PROTOCOL}
    try:
        token = read_token(headers, offered)
    except RefusedError as refused:
        assert refused.reason in _REASONS
        return
    carriers = [value for name, value in headers if name == "authorization" and token in value]
    carriers += [name for name in offered if name.endswith(token) and name.startswith("bearer.")]
    assert token
    assert carriers


def _parts(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in lines]
