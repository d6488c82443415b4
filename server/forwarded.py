"""A peer's address and what proxies said about it in, the client's address out.

A proxy adds the address that it was spoken to from at the right end of `X-Forwarded-For`; whatever
stands further to the left came from a stranger. So the list is read from the right, for as long as
every hop is a proxy that the settings trust, and the first that is none is the client. Where an
entry is no address the walk ends, and the last proxy is taken for the client: nothing that a
stranger wrote can reach the trail but the address of a machine. An untrusted peer is believed
nothing at all.
"""

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

UNIX = "unix"
"""Names peers that come through a Unix socket and so have no address."""
_MOST_HOPS = 32
_MOST_CHARACTERS = 47
"""The longest address, in brackets and with its port, is shorter."""
_MOST_PORT_DIGITS = 5

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def decode_address(text: str) -> Address | None:
    """With or without a port, IPv6 in brackets then; None if it is anything else."""
    text = text.strip(" \t")
    if len(text) > _MOST_CHARACTERS:
        return None
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        is_whole = bool(bracket) and ":" in host and (not port or _is_port(port))
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        is_whole = _is_port(f":{port}")
    else:
        host, is_whole = text, True
    return _address(host) if is_whole and "%" not in host else None


def _is_port(text: str) -> bool:
    digits = text.removeprefix(":")
    return (
        text.startswith(":")
        and digits.isascii()
        and digits.isdigit()
        and (len(digits) <= _MOST_PORT_DIGITS)
    )


@lru_cache(maxsize=4096)
def _address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


class Networks:
    """Addresses that the settings name: `10.0.0.0/8`, `::1`, and `unix` for peers without one."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Raises ValueError, naming the entry, for one that is no network."""
        named = list(entries)
        self._has_unix = UNIX in named
        self._networks = [ipaddress.ip_network(entry) for entry in named if entry != UNIX]

    def __contains__(self, peer: str | None) -> bool:
        if peer is None:
            return self._has_unix
        address = decode_address(
            peer.partition("%")[0]
        )  # a peer's own address may name its interface
        return address is not None and self._has(address)

    def _has(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What is believed of a request's way."""

    client: str | None
    """None for a peer that came through a Unix socket without a proxy's word for it."""
    scheme: str | None
    """`http` or `https`; None where no proxy said so."""


def read_forwarding(
    peer: str | None, trusted: Networks, forwarded_for: Sequence[str], protocols: Sequence[str]
) -> Forwarding:
    """Give each header's values in the order in which they came."""
    if peer not in trusted:
        return Forwarding(peer, None)
    return Forwarding(_client(peer, trusted, forwarded_for), _scheme(protocols))


def _client(peer: str | None, trusted: Networks, forwarded_for: Sequence[str]) -> str | None:
    client = peer
    hops = [hop for value in reversed(forwarded_for) for hop in reversed(value.split(","))]
    for hop in hops[:_MOST_HOPS]:
        address = decode_address(hop)
        if address is None:
            break
        client = str(address)
        if client not in trusted:
            break
    return client


def _scheme(protocols: Sequence[str]) -> str | None:
    """The nearest proxy's word, which is the last."""
    said = protocols[-1].rpartition(",")[2].strip(" \t").lower() if protocols else ""
    return said if said in {"http", "https"} else None
