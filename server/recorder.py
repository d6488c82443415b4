"""Events in, durable or a refusal out: the trail, as those see it who put something into it."""

from typing import Protocol

from security.audit_events import AuditEvent
from security.errors import AuditError
from server import errors
from server.errors import RefusedError


class Recorder(Protocol):
    """The trail, or what passes events on to it."""

    async def record(self, event: AuditEvent, /) -> int:
        """For what must not happen unless it is on record: its number, once it is durable. Raises
        AuditError within a second if it is not; it is not written later, unless the disk had it.
        """
        ...

    async def note(self, event: AuditEvent, /) -> None:
        """For what has happened, or takes something away: waits as `record` does, and raises
        nothing. Who is cancelled meanwhile leaves it in the trail; what is lost is counted there.
        """
        ...


async def record_or_refuse(trail: Recorder, event: AuditEvent) -> None:
    """What must not happen unless it is on record: raises RefusedError if it is not."""
    try:
        await trail.record(event)
    except AuditError:
        raise RefusedError(errors.TRAIL_UNAVAILABLE) from None
