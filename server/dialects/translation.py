"""What clients of other people's APIs say and are told, in the words of the native protocol: the
values between a dialect and the shell that lets it speak to a session, `server.translating`.

A dialect is a synchronous codec of one connection of somebody who was let in: frames in, what to
say to the session or to answer at once out; the session's events in, frames out. It knows no clock,
no token, no quota and no other dialect. It refuses before the connection is accepted what it cannot
honour, as the original does, and ignores what the original ignores.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from server import wire
from server.dialects.values import Reply, Upgrade
from server.errors import Refusal
from server.recognition import ModelCard


@dataclass(frozen=True, slots=True)
class Say:
    """To the session; `Start` once, and before it nothing but `KeepAlive`."""

    message: wire.SessionMessage


@dataclass(frozen=True, slots=True)
class Hear:
    """Audio of the format that `Start` named, cut anywhere; of all channels, interleaved."""

    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """The client did what its protocol does not allow: the session ends with `bad_message`, after
    the last finals, and the dialect is told so as an `ErrorEvent`.
    """


Translated = Say | Hear | Reply | Broken


class ClientDialect(Protocol):
    """Of one connection."""

    def open(self) -> list[Translated]:
        """What is said before the client says anything; once, first."""
        ...

    def receive(self, frame: str | bytes) -> list[Translated]:
        """What a frame says. Raises nothing."""
        ...

    def tell(self, event: wire.ServerEvent) -> list[str | bytes]:
        """How the wire says it; empty if it does not. `ErrorEvent`, if any, and `Ended` are the
        last.
        """
        ...

    def close_code(self, code: int) -> int:
        """With which the connection is closed, for the session's own code."""
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """Of HTTP, in the shape that the original gives its errors."""

    status: int
    body: bytes
    headers: Sequence[tuple[str, str]] = ()
    media_type: str = "application/json"


class DeclinedError(Exception):
    """Something was asked for that is not done here; nothing was accepted."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("declined")
        self.answer = answer


@dataclass(frozen=True, slots=True)
class Host:
    """What a dialect may know of where it is."""

    model: ModelCard
    new_id: Callable[[], str]
    """A UUID, version 4, in lower case: another each time."""
    wall_s: float
    """Unix time at which the client came."""
    carried: object = field(default=None, repr=False)
    """By the ticket that is shown, which need not be good: what it was wished to open, of whatever
    kind; see `TicketWish`.
    """


class ClientApi(Protocol):
    """One API that is spoken over WebSocket: what is the same for all of its connections."""

    paths: Sequence[str]
    """Of its address, such as `/v1/listen`."""
    may_be_quiet: bool
    """Whether the original lets a client stay that says nothing, for longer than we do."""

    def keys(self, upgrade: Upgrade) -> list[str]:
        """What the client shows where this API has a place of its own for its key, such as a
        subprotocol; the `Authorization` header and a ticket in the address are looked at for all.
        """
        ...

    def subprotocol(self, upgrade: Upgrade) -> str | None:
        """Of those that were offered, the one to echo; never one that holds a key."""
        ...

    def new_dialect(self, upgrade: Upgrade, host: Host) -> ClientDialect:
        """Raises DeclinedError."""
        ...

    def headers(self, dialect: ClientDialect) -> Sequence[tuple[str, str]]:
        """Of the answer that accepts it."""
        ...

    def refuse(self, refusal: Refusal) -> Answer:
        """How who was not let in is told so."""
        ...
