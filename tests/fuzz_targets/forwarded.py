"""Bytes of X-Forwarded-For and X-Forwarded-Proto in; nothing, or what is wrong with us, out."""

import ipaddress

from server.forwarded import Networks, read_forwarding

TRUSTED = Networks(["10.0.0.0/8", "::1", "unix"])
MAX_BYTES = 1_024
SEEDS = [
    b"\x00203.0.113.9",
    b"\x00192.0.2.1, 10.0.0.2\n203.0.113.9:4711\nhttps",
    b"\x01203.0.113.9",
    b"\x02[2001:db8::1]:80, unknown, _hidden",
    b"\x03https,http\nfor=x",
    b"",
]
PEERS = ("10.0.0.1", "192.0.2.1", "::1", None)


def fuzz_forwarded(data: bytes) -> None:
    """Headers are cut at line ends; the first byte picks who sent them."""
    peer = PEERS[data[0] % len(PEERS)] if data else None
    said = data[1:].decode("latin-1").split("\n")
    way = read_forwarding(peer, TRUSTED, said, said)
    assert way.client == peer or ipaddress.ip_address(way.client)
    assert way.scheme in {None, "http", "https"}
    if peer not in TRUSTED:
        assert (way.client, way.scheme) == (peer, None)
