"""Addresses that tried too much in, until when nobody from there is looked at out.

Of an IPv6 address the whole customer is blocked, as it is counted. This machine, the networks that
the settings do not count and the proxies that they trust are never blocked: behind them are many.
How many addresses are held has a bound; beyond it the block that would end first ends at once.
Knows no clock but the one handed in, and is forgotten when the server stops.
"""

from dataclasses import dataclass

from server.crowd import customer_of
from server.forwarded import Networks

_THIS_MACHINE = Networks(["127.0.0.0/8", "::1/128"])


@dataclass(frozen=True, slots=True)
class Block:
    """One that holds."""

    address: str
    """Of IPv6, the network of the customer."""
    until_s: float
    """Unix time."""


class Blocks:
    """Those of one server; used from the event loop only."""

    def __init__(self, never: Networks, most: int = 10_000) -> None:
        """`never`: whom nobody blocks, besides this machine."""
        self._never = never
        self._most = most
        self._until_s: dict[str, float] = {}
        """By customer."""

    def block(self, address: str, until_s: float) -> bool:
        """Nobody from there until that Unix time, or until a later one that was said before; False
        for an address that is not blocked.
        """
        customer = customer_of(address)
        if customer_of("") == customer or address in self._never or address in _THIS_MACHINE:
            return False
        self._until_s[customer] = max(until_s, self._until_s.get(customer, until_s))
        if len(self._until_s) > self._most:
            del self._until_s[min(self._until_s, key=self._until_s.__getitem__)]
        return customer in self._until_s

    def unblock(self, address: str) -> bool:
        """Whether there was a block to take back; takes what `blocked` tells, too."""
        key = address if address in self._until_s else customer_of(address)
        return self._until_s.pop(key, None) is not None

    def is_blocked(self, address: str, wall_s: float) -> bool:
        """Whether nobody from there is looked at."""
        if not self._until_s:
            return False
        customer = customer_of(address)
        until_s = self._until_s.get(customer)
        if until_s is None:
            return False
        if until_s <= wall_s:
            del self._until_s[customer]
            return False
        return True

    def blocked(self, wall_s: float) -> list[Block]:
        """Those that hold, the one that ends first in front."""
        self._until_s = {name: at_s for name, at_s in self._until_s.items() if at_s > wall_s}
        blocks = [Block(name, until_s) for name, until_s in self._until_s.items()]
        return sorted(blocks, key=lambda block: (block.until_s, block.address))
