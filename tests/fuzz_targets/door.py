"""The headers and the address of a handshake: one credential out of them, or our refusal."""

from server.door import Knock, chosen_subprotocol, read_credential
from server.errors import RefusedError
from server.wire import PROTOCOL

MAX_BYTES = 4_096
SEEDS = [
    b"\nauthorization: Bearer aaaa.bbbb.cccc",
    b"earwitness.v1, bearer.aaaa.bbbb.cccc\n",
    b"earwitness.v1\nauthorization: Basic YTpi\norigin: http://localhost",
    b"bearer.a, bearer.b\nauthorization: bearer a\nauthorization: BEARER b",
    b"\nauthorization: Bearer \t \xff\xa0",
    b"earwitness.v1, ticket.AAAA\norigin: http://localhost",
    b"\nticket: AAAA",
    b"",
]
_REASONS = {"credentials_ambiguous", "token_missing"}


def fuzz_door(data: bytes) -> None:
    offer, *lines = data.decode("latin-1").split("\n")  # as ASGI servers decode headers
    offered = [name.strip() for name in offer.split(",")]
    headers = [(name.lower(), value.strip()) for name, _, value in _parts(lines)]
    tickets = [value for name, value in headers if name == "ticket"]  # stand for the address
    assert chosen_subprotocol(offered) in {None, PROTOCOL}
    try:
        shown = read_credential(Knock(headers, offered, tickets)).text
    except RefusedError as refused:
        assert refused.reason in _REASONS
        return
    carriers = [v for name, v in headers if name in {"authorization", "ticket"} and shown in v]
    carriers += [name for name in offered if name in {f"bearer.{shown}", f"ticket.{shown}"}]
    assert shown
    assert carriers


def _parts(lines: list[str]) -> list[tuple[str, str, str]]:
    return [line.partition(":") for line in lines]
