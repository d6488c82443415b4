"""Events that wait in, batches out in their order; who waits for too long is told so.

An event whose waiter was told that it is not written is not written later: it leaves the queue.
One that is already handed to the disk can no longer be called back; then it may be in the trail
although its waiter was refused, which is the lesser harm. A waiter who was cancelled was told
nothing: its event is written. Everything that was refused is counted, for the trail to say so; the
log has a line when that begins and one when the trail has said it, never one an event.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import structlog

from security.audit import AuditRow
from security.audit_events import TrailGap
from security.errors import AuditError

_log = structlog.get_logger()
WRITE_LIMIT_S = 0.7
TOO_SLOW = "The audit trail could not be written in time: check the disk it lies on."
NOT_WRITTEN = "The audit trail could not be written: check the disk it lies on."
LOCKED = "The audit trail could not be written: it is locked by another program."
FULL = "The audit trail does not keep up: its disk is too slow for the load."


@dataclass(slots=True, eq=False)
class Waiting:
    """An event, and who waits for it."""

    at_utc_ns: int
    row: AuditRow
    since_s: float
    """Of the loop's clock."""
    seq: "asyncio.Future[int]"


class Losses:
    """What was not written."""

    def __init__(self) -> None:
        self.n_lost = 0
        """Ever."""
        self._n_before = 0
        """Ever lost when the trail last worked."""
        self._gap: TrailGap | None = None

    def add(self, at_utc_ns: int, reason: str) -> None:
        """An event more."""
        if self._gap is None:
            with suppress(OSError):  # the log may lie on the same full disk
                _log.error("the audit trail cannot be written", reason=reason)
        self.n_lost += 1
        gap = self._gap or TrailGap(0, at_utc_ns, at_utc_ns, reason)
        first_ns = min(gap.first_lost_utc_ns, at_utc_ns)
        last_ns = max(gap.last_lost_utc_ns, at_utc_ns)
        self._gap = TrailGap(gap.n_events + 1, first_ns, last_ns, reason)

    @property
    def gap(self) -> TrailGap | None:
        """What the trail does not say yet."""
        return self._gap

    def forget(self, gap: TrailGap) -> None:
        """The trail says this much of it now; what was lost meanwhile is left to say."""
        now, self._gap = self._gap, None
        if now is not None and now.n_events > gap.n_events:
            n_events = now.n_events - gap.n_events
            self._gap = TrailGap(n_events, gap.last_lost_utc_ns, now.last_lost_utc_ns, now.reason)
        else:
            n_lost, self._n_before = self.n_lost - self._n_before, self.n_lost
            with suppress(OSError):
                _log.warning("the audit trail is written again", n_lost=n_lost)


class WaitingEvents:
    """In the order in which they came: those that queue, and those that the disk has."""

    def __init__(self, most_waiting: int, losses: Losses) -> None:
        self._queue: deque[Waiting] = deque()
        self._at_disk: Sequence[Waiting] = ()
        self._most_waiting = most_waiting
        self._losses = losses
        self._has_some = asyncio.Event()

    def check_room(self, at_utc_ns: int) -> None:
        """For one that happened then, before anything is made of it. Raises AuditError."""
        if len(self._queue) >= self._most_waiting:
            self._losses.add(at_utc_ns, "queue_full")
            raise AuditError(FULL)

    def add(self, waiting: Waiting) -> None:
        """Behind all others."""
        self._queue.append(waiting)
        self._has_some.set()

    async def until_some(self, limit_s: float) -> None:
        """Until something waits, or for so long."""
        try:
            async with asyncio.timeout(limit_s):
                await self._has_some.wait()
        except TimeoutError:
            return

    def take(self, most: int) -> Sequence[Waiting]:
        """The next batch, for the disk."""
        queue = self._queue
        self._at_disk = [queue.popleft() for _ in range(min(most, len(queue)))]
        if not queue:
            self._has_some.clear()
        return self._at_disk

    def settle(self, first_seq: int) -> None:
        """The batch is durable."""
        for seq, waiting in enumerate(self._at_disk, first_seq):
            if not waiting.seq.done():
                waiting.seq.set_result(seq)
        self._at_disk = ()

    def refuse(self, reason: str) -> None:
        """The batch was not written."""
        for waiting in self._at_disk:
            self._refuse(waiting, LOCKED if reason == "locked" else NOT_WRITTEN, reason)
        self._at_disk = ()

    def refuse_all(self, reason: str) -> None:
        """Nothing more is written."""
        self.refuse(reason)
        self.take(len(self._queue))
        self.refuse(reason)

    def wake(self) -> None:
        """Whoever is in `until_some` goes on."""
        self._has_some.set()

    def expire(self, now_s: float) -> float | None:
        """Refuse those who have waited too long; when the next one will have."""
        while self._queue and self._queue[0].since_s + WRITE_LIMIT_S <= now_s:
            self._refuse(self._queue.popleft(), TOO_SLOW, "too_slow")
        if not self._queue:
            self._has_some.clear()
        late = [each for each in self._at_disk if each.since_s + WRITE_LIMIT_S <= now_s]
        for waiting in late:
            if not waiting.seq.done():
                waiting.seq.set_exception(AuditError(TOO_SLOW))
        for waiting in (*self._at_disk[len(late) :][:1], *islice(self._queue, 1)):
            return waiting.since_s + WRITE_LIMIT_S
        return None

    def lag_s(self, now_s: float) -> float:
        """How long the oldest has waited."""
        for waiting in (*self._at_disk[:1], *islice(self._queue, 1)):
            return max(0.0, now_s - waiting.since_s)
        return 0.0

    def __len__(self) -> int:
        return len(self._at_disk) + len(self._queue)

    def _refuse(self, waiting: Waiting, text: str, reason: str) -> None:
        self._losses.add(waiting.at_utc_ns, reason)
        if not waiting.seq.done():
            waiting.seq.set_exception(AuditError(text))
