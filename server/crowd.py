"""Addresses of new connections in, a place for each or none out.

A stranger may hold so many connections at a time and no more, and so may all together; those that
find no place are closed before a byte of theirs is read. Of an IPv6 address the first 64 bits are
counted, since that is what one customer is given. They are told of at most once a minute for each
address, and what is remembered for that is bounded too: nobody can fill the log, or the memory.
"""

import ipaddress
from collections import Counter

from server.forwarded import Networks, decode_address

_TOLD_EVERY_S = 60.0
_MOST_TOLD = 1024
_CUSTOMER_BITS = 64
_ALL = ""
"""Counts every place; no address is spelled so."""


class Place:
    """One connection's, given back once however often it is left."""

    def __init__(self, counts: Counter[str], key: str | None) -> None:
        self._counts = counts
        self._keys = [_ALL] if key is None else [_ALL, key]
        self._counts.update(self._keys)

    def leave(self) -> None:
        """The connection is gone."""
        for key in self._keys:
            self._counts[key] -= 1
            if not self._counts[key]:
                del self._counts[key]
        self._keys = []


class Crowd:
    """Everybody who is connected; used from the event loop only."""

    def __init__(self, most: int, most_per_address: int, uncounted: Networks) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._uncounted = uncounted
        self._counts: Counter[str] = Counter()
        self._told_s: dict[str, float] = {}
        self.n_refused = 0
        """Connections that found no place, since the start."""

    @property
    def total(self) -> int:
        """Places taken."""
        return self._counts[_ALL]

    def enter(self, peer: str | None) -> Place | None:
        """A place for a connection from this address, if there is one."""
        key = None if peer in self._uncounted else customer_of(peer)
        is_crowded = key is not None and self._counts[key] >= self._most_per_address
        if is_crowded or self.total >= self._most:
            self.n_refused += 1
            return None
        return Place(self._counts, key)

    def is_worth_telling(self, peer: str | None, now_s: float) -> bool:
        """Whether nobody was told of this address within the last minute."""
        key = customer_of(peer)
        if now_s - self._told_s.get(key, -_TOLD_EVERY_S) < _TOLD_EVERY_S:
            return False
        if len(self._told_s) >= _MOST_TOLD:
            recent = {k: told for k, told in self._told_s.items() if now_s - told < _TOLD_EVERY_S}
            self._told_s = recent
        if len(self._told_s) >= _MOST_TOLD:
            return False
        self._told_s[key] = now_s
        return True


def customer_of(peer: str | None) -> str:
    """What is counted as one."""
    address = decode_address((peer or "").partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _CUSTOMER_BITS), strict=False))
    return str(address)
