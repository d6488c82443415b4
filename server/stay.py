"""Somebody who has a place in; one `session.started` before anything is accepted or read, and one
`session.ended`, out.

Whoever cannot be recorded is not let in. What happens from then on is noted, whether or not the
trail can be written. The session says itself how it ended; where it never came to that, because
nothing was sent that could be heard, the peer was gone or the work was cancelled, this says it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from security.audit_events import AuditEvent
from security.door_events import SessionEnded, SessionStarted
from server import errors, wire
from server.errors import RefusedError
from server.recorder import Recorder, record_or_refuse
from server.session import CLIENT_GONE, Session
from server.session_values import End, end_of

_CANCELLED = End(1006, "cancelled")
_GONE = End(1006, CLIENT_GONE)
_FAILED = End(errors.INTERNAL.close_code, errors.INTERNAL.code)
_UNRECORDED = End(errors.TRAIL_UNAVAILABLE.close_code, errors.TRAIL_UNAVAILABLE.code)
_NOTE_LIMIT_S = 5.0
_HASTE_LIMIT_S = 0.05
"""Who was kept waiting for the trail once is not kept waiting for it again."""
_NOTHING = wire.Usage(bytes=0, audio_ms=0, speech_ms=0, segments=0)


class Stay:
    """Of one session; the trail, as its connection sees it. See `server.recorder.Recorder`."""

    def __init__(self, trail: Recorder, started: SessionStarted) -> None:
        self.started = started
        self.session: Session | None = None
        """Once there is one."""
        self._trail = trail
        self._is_over = False

    @asynccontextmanager
    async def on_record(self) -> AsyncIterator[None]:
        """From the start, which is durable, to the end. Raises RefusedError on entry."""
        await self._begin()
        end = _FAILED
        try:
            yield
            end = _GONE
        except RefusedError as refused:
            end = End(refused.refusal.close_code, refused.reason)
            raise
        except (WebSocketDisconnect, ClientDisconnect):
            end = _GONE
            raise
        except asyncio.CancelledError:
            end = _CANCELLED
            raise
        finally:
            await self._end(end)

    async def record(self, event: AuditEvent) -> int:
        """See `Recorder`."""
        return await self._trail.record(event)

    async def note(self, event: AuditEvent) -> None:
        """See `Recorder`."""
        if isinstance(event, SessionEnded):
            if self._is_over:
                return
            self._is_over = True
        await self._trail.note(event)

    async def _begin(self) -> None:
        end: End | None = _CANCELLED
        try:
            await record_or_refuse(self._trail, self.started)
            end = None
        except RefusedError:
            end = _UNRECORDED
            raise
        finally:
            if end is not None:  # the disk may have it all the same
                await self._end(end, _HASTE_LIMIT_S)

    async def _end(self, end: End, limit_s: float = _NOTE_LIMIT_S) -> None:
        usage, token_id = _NOTHING, self.started.token_id
        if self.session is not None:
            usage, token_id = self.session.usage, self.session.grant.token_id
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self.note(end_of(self.started, token_id, usage, end))
