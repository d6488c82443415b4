"""How long a bridge waits, and what it wants of its shell: see `server.bridge`."""

from dataclasses import dataclass, field

from server.dialects.values import Frame, Opening, Said
from server.errors import Refusal
from server.placing import PlacingSettings


@dataclass(frozen=True, slots=True)
class BridgeLimits:
    """How long, and how much, of whom."""

    opening_limit_s: float = 5.0
    """From the connection until somebody is admitted who was not known before."""
    known_limit_s: float = 10.0
    """The same, of somebody whose credential came with the upgrade: a place is kept for them."""
    opening_frames: int = 10
    """In that time."""
    opening_bytes: int = 8192
    frame_bytes: int = 65_536
    """Of any frame: telephone systems send some hundreds, and a few thousand at most."""
    idle_limit_s: float = 3600.0
    """Without a frame: a call on hold may send none, a machine that is gone sends none either."""
    keep_alive_s: float = 10.0
    """How often a session without audio is told that its call goes on."""
    farewell_s: float = 10.0
    """After the last words, until the peer has closed."""
    placing: PlacingSettings = field(default_factory=PlacingSettings)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a call ends, where it is not that its peer is done."""

    refusal: Refusal | None
    """None: nobody is left to be told anything."""
    reason: str
    """For the trail: exactly what was wrong."""

    @classmethod
    def of(cls, refusal: Refusal) -> "Cause":
        """Of which nothing more is known."""
        return cls(refusal, refusal.code)


PEER_LOST = Cause(None, "client_gone")
"""The connection broke without a word."""


# --- wanted of the shell ---


@dataclass(frozen=True, slots=True)
class Admit:
    """Who this is has to be checked; answered with `receive_admitted` or `receive_refused`."""

    opening: Opening


@dataclass(frozen=True, slots=True)
class ToSession:
    """A text frame of the native protocol, or audio: of the channel alone, or of all."""

    frame: str | bytes
    channel: int | None = None


@dataclass(frozen=True, slots=True)
class EndSession:
    """The session comes to its last words, and ends for this reason."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class ToPeer:
    """A frame for the wire, or its end."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class ToCall:
    """For those who listen to the call, in the time of this connection."""

    said: Said


Action = Admit | ToSession | EndSession | ToPeer | ToCall
