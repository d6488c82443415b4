"""The trail as it grows in, lines of JSON for one reader out, until its right to them ends.

    {"type":"event","event":{…}}      one that is wanted
    {"type":"heartbeat","seq":7}      nothing was, up to this row
    {"type":"skipped","n_events":9}   more came than is sent
    {"type":"end","reason":"…"}       the token has expired or was revoked, or the server stops

Nothing is kept for a reader: rows are read when they are there, some at a time. Who falls too far
behind is told how many rows were left out and goes on with the newest; who does not read at all is
dropped by the listener, as with any answer. Whether it has to end is looked at several times a
second, because a stop waits for it.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import msgspec

from security.audit import AuditRecord
from security.audit_query import TrailFilter
from security.errors import AuditError
from server import errors
from server.shown import event_shown


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """How a feed is paced."""

    most_feeds: int = 16
    most_of_subject: int = 4
    heartbeat_s: float = 10.0
    pause_s: float = 0.25
    """Between two looks: what comes meanwhile is read together."""
    end_look_s: float = 0.25
    """Between two looks at whether it has ended, while nothing comes."""
    batch_rows: int = 100
    most_behind_rows: int = 2000


class Rows(Protocol):
    """Where they are read."""

    async def records(
        self,
        wanted: TrailFilter = ...,
        *,
        limit: int = ...,
        before_seq: int | None = ...,
        after_seq: int | None = ...,
    ) -> list[AuditRecord]:
        """The oldest ones after a number. Raises AuditError."""


class Growing(Protocol):
    """What tells that there are more."""

    async def until_beyond(self, seq: int) -> int:
        """The newest number, once it is larger. Raises AuditError."""


@dataclass(frozen=True, slots=True)
class Feed:
    """For one reader."""

    rows: Rows
    trail: Growing
    wanted: TrailFilter
    why_ended: Callable[[], errors.Refusal | None]
    """Whether, and for what, it has to end by now."""
    settings: FeedSettings

    async def lines(self, after_seq: int) -> AsyncIterator[bytes]:
        """Those behind a row, as they come."""
        told_seq = after_seq
        yield _line({"type": "heartbeat", "seq": told_seq})
        while True:
            try:
                newest_seq = await self._newest(told_seq)
                if ended := self.why_ended():
                    yield _line({"type": "end", "reason": ended.code})
                    return
                if newest_seq - told_seq > self.settings.most_behind_rows:
                    n_events = newest_seq - told_seq - self.settings.batch_rows
                    yield _line({"type": "skipped", "n_events": n_events})
                    told_seq += n_events
                records = await self._records(told_seq)
            except AuditError:  # the store has closed, or its disk does not answer
                return
            for record in records:
                yield _line({"type": "event", "event": event_shown(record)})
            is_all = len(records) < self.settings.batch_rows
            told_seq = max(told_seq, newest_seq) if is_all else records[-1].seq
            if not records:
                yield _line({"type": "heartbeat", "seq": told_seq})
            await asyncio.sleep(self.settings.pause_s)

    async def _records(self, told_seq: int) -> list[AuditRecord]:
        return await self.rows.records(
            self.wanted, limit=self.settings.batch_rows, after_seq=told_seq
        )

    async def _newest(self, told_seq: int) -> int:
        """The newest number there is after a while, or when the feed ends, at the latest."""
        n_looks = math.ceil(self.settings.heartbeat_s / self.settings.end_look_s)
        for _ in range(n_looks):
            with suppress(TimeoutError):
                async with asyncio.timeout(self.settings.heartbeat_s / n_looks):
                    return await self.trail.until_beyond(told_seq)
            if self.why_ended():
                break
        return told_seq


def _line(message: dict[str, object]) -> bytes:
    return msgspec.json.encode(message) + b"\n"
