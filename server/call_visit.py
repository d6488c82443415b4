"""Requests to follow a call in; who follows which, from where on, and why no more, out.

A visit has its reader from the moment at which it may be on record that it reads, so that every end
is on record of which the beginning may be. What cannot be meant is refused: an id that no telephone
system may give, an event's number that is none.
"""

import re
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from security.call_events import CallUnwatched, CallWatched
from server import errors
from server.calls import CallReader, LiveCall
from server.dialects.values import is_id
from server.errors import Refusal, RefusedError
from server.grant import Grant
from server.lines import Place
from server.visitor import caller_of

_LAST_EVENT_ID = "last-event-id"
_SEQ = re.compile(r"[0-9]{1,15}")
_MOST_OWNER_CHARS = 255


@dataclass(frozen=True, slots=True)
class End:
    """Why somebody reads no more."""

    reason: str
    """For the trail."""
    refusal: Refusal | None = None


FOUND, DONE, GONE = End("found"), End("call_ended"), End("client_gone")


def ended_by(refused: RefusedError) -> End:
    """By that."""
    return End(refused.reason, refused.refusal)


@dataclass(slots=True)
class Visit:
    """One who reads, from the door to the end."""

    peer: HTTPConnection
    grant: Grant
    call_id: str
    owner: str | None
    """The subject whose call is meant; None: whoever's may be read."""
    after_seq: int
    place: Place
    ends_s: float
    """Monotonic: of the token."""
    reader: CallReader | None = None
    """As soon as it may be on record that it reads."""
    end: End = GONE

    def may_see(self, owner: str) -> bool:
        """Whether the call of this owner, by the name that grants give, is meant and granted."""
        is_meant = self.owner is None or owner == f"{self.grant.issuer} {self.owner}"
        return is_meant and self.grant.reads_call(self.call_id, owner)

    def watched(self, live: LiveCall) -> CallWatched:
        """For the trail: it reads this one."""
        owner = live.owner.removeprefix(f"{self.grant.issuer} ")
        shown = caller_of(self.peer).shown
        return CallWatched(**self.grant.holder, **shown, call_id=live.call_id, owner=owner)

    def unwatched(self) -> CallUnwatched | None:
        """For the trail: it reads no more; None: it never did."""
        if self.reader is None:
            return None
        return CallUnwatched(
            **self.grant.holder,
            peer_address=caller_of(self.peer).address,
            call_id=self.call_id,
            n_events=self.reader.n_events,
            reason=self.end.reason,
        )


def asked_of(peer: HTTPConnection) -> tuple[str, str | None, int]:
    """The call, whose, and after which of its events: a browser that comes back by itself says the
    last one in a header, beside the address that it had first. Raises RefusedError.
    """
    call_id, owner = peer.path_params["call_id"], peer.query_params.get("owner")
    after = peer.headers.get(_LAST_EVENT_ID) or peer.query_params.get("after", "0")
    is_owner = owner is None or 0 < len(owner) <= _MOST_OWNER_CHARS
    if not (is_id(call_id) and is_owner and _SEQ.fullmatch(after)):
        raise RefusedError(errors.BAD_REQUEST)
    return call_id, owner, int(after)
