"""Who takes part in a call of a telephone system, and where a connection belongs in it: the values
that tickets, grants, bridges and those who watch share.
"""

from dataclasses import dataclass, field
from enum import StrEnum

PARTIES = ("caller", "callee")
"""Of interleaved channels, in the order in which FreeSWITCH and jambonz have them."""


class Role(StrEnum):
    """What a party of a call is to those who run this."""

    CUSTOMER = "customer"
    AGENT = "agent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class CallTrack:
    """One party's audio."""

    name: str
    """As the wire calls it, such as `inbound`."""
    role: Role


@dataclass(frozen=True, slots=True)
class CallPlace:
    """For which call, and whose voice in it, a ticket was issued."""

    call_id: str = field(repr=False)
    role: Role = Role.UNKNOWN
    language: str | None = None
    """ISO 639 code; None: found out by the model."""
