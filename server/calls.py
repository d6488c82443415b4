"""Connections of telephone systems in, the calls that they belong to out, for whoever may read.

A call is known by who streams it and by the telephone system's id: those of different owners never
meet, whatever their ids. One that is over is kept for a while, so that who comes late gets it
whole, and then its words are dropped; the oldest such one goes earlier when there are too many. A
call begins with a number that none that is gone has had, so that who comes back to a former call
of the same id does not miss what has the same numbers in the new one.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from server import errors
from server.call import Call, CallSeat, CallsSettings, Kept
from server.call_values import CallTrack
from server.errors import RefusedError

_LOOK_S = 0.25
"""Between two looks at what time has ended."""
_EVENTS_A_TURN = 32
"""Of what lies ready, for one reader."""
MaySee = Callable[[str], bool]
"""Whether the calls of this owner may be read."""
WhyEnded = Callable[[], errors.Refusal | None]
"""Whether, and for what, reading has to end by now."""


class _News:
    """Wakes all who wait for the next time."""

    def __init__(self) -> None:
        self._told = asyncio.Event()

    def tell(self) -> None:
        """It has come."""
        told, self._told = self._told, asyncio.Event()
        told.set()

    async def wait(self, limit_s: float) -> None:
        """Until it comes, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._told.wait()


@dataclass(frozen=True, slots=True)
class LiveCall:
    """One that runs or is kept."""

    owner: str = field(repr=False)
    call_id: str = field(repr=False)
    call: Call
    news: _News


class Calls:
    """Of one process; used from the event loop only."""

    def __init__(
        self,
        settings: CallsSettings,
        clock: Callable[[], float],
        is_stopping: Callable[[], bool] = lambda: False,
        first_seq: int = 1,
    ) -> None:
        """`clock` is the one by which connections say what time it is; `first_seq` no process
        before this one has come to.
        """
        self.settings = settings
        self._clock = clock
        self._is_stopping = is_stopping
        self._calls: dict[str, dict[str, LiveCall]] = {}
        """By id and owner."""
        self._n_calls = 0
        self._unused_seq = first_seq
        """No call that is gone has had it, or a higher one."""
        self._begun = _News()
        self._n_visitors = 0
        self._has_none = asyncio.Event()
        self._has_none.set()

    @property
    def total(self) -> int:
        """Those that run or are kept."""
        return self._n_calls

    @property
    def is_stopping(self) -> bool:
        """Whether no call waits for another connection."""
        return self._is_stopping()

    async def run(self) -> None:
        """End and drop what time has ended, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self.tick(self._clock())

    def arrive(self) -> None:
        """Somebody reads, or waits for a call to read."""
        self._n_visitors += 1
        self._has_none.clear()

    def depart(self) -> None:
        """Somebody does so no longer."""
        self._n_visitors -= 1
        if not self._n_visitors:
            self._has_none.set()

    async def drain(self, limit_s: float) -> None:
        """The server stops, and its sessions have ended: until everybody has read that, or for so
        long.
        """
        self.tick(self._clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._has_none.wait()

    def tick(self, now_s: float) -> None:
        """Let time pass."""
        rejoin_s = 0.0 if self._is_stopping() else self.settings.rejoin_s
        for live in list(self._all()):
            live.call.tick(now_s, rejoin_s)
            over_s = live.call.over_s
            if over_s is not None and now_s >= over_s + self.settings.kept_s:
                self._drop(live)

    def join(
        self,
        owner: str,
        call_id: str,
        session_id: str,
        tracks: Sequence[CallTrack],
        now_s: float,
    ) -> CallSeat:
        """A place in the call, which begins with it unless it runs. Raises RefusedError."""
        live = self._calls.get(call_id, {}).get(owner)
        if live is None or live.call.over_s is not None:
            live = self._begin(owner, call_id, now_s, live)
        return live.call.join(session_id, tracks, now_s)

    def find(self, call_id: str, may_see: MaySee) -> LiveCall | None:
        """The one that began last, of those that may be read."""
        seen = [live for live in self._calls.get(call_id, {}).values() if may_see(live.owner)]
        return seen[-1] if seen else None

    async def until_begun(self, call_id: str, may_see: MaySee, why_ended: WhyEnded) -> LiveCall:
        """Waits for one for a while. Raises RefusedError."""
        ends_s = self._clock() + self.settings.wait_s
        while True:
            if live := self.find(call_id, may_see):
                return live
            if refusal := why_ended():
                raise RefusedError(refusal)
            left_s = ends_s - self._clock()
            if left_s <= 0:
                raise RefusedError(errors.CALL_UNKNOWN)
            await self._begun.wait(min(left_s, _LOOK_S))

    def _begin(self, owner: str, call_id: str, now_s: float, former: LiveCall | None) -> LiveCall:
        if former is not None:
            self._drop(former)
        if self._n_calls >= self.settings.most_calls:
            self._make_room()
        news = _News()
        call = Call(call_id, self.settings, now_s, news.tell, self._unused_seq)
        live = LiveCall(owner, call_id, call, news)
        self._calls.setdefault(call_id, {})[owner] = live
        self._n_calls += 1
        self._begun.tell()
        return live

    def _make_room(self) -> None:
        over = [(live.call.over_s, live) for live in self._all() if live.call.over_s is not None]
        if not over:
            raise RefusedError(errors.OVERLOADED, "calls_full")
        self._drop(min(over, key=lambda pair: pair[0])[1])

    def _drop(self, live: LiveCall) -> None:
        """Who reads it still has it, to its end."""
        self._unused_seq = max(self._unused_seq, live.call.last_seq + 1)
        owners = self._calls[live.call_id]
        del owners[live.owner]
        if not owners:
            del self._calls[live.call_id]
        self._n_calls -= 1

    def _all(self) -> Iterator[LiveCall]:
        return (live for owners in self._calls.values() for live in owners.values())


class CallReader:
    """Of one who follows a call, from after the number that it has."""

    def __init__(
        self, live: LiveCall, after_seq: int, outbox_events: int, why_ended: WhyEnded
    ) -> None:
        self._live = live
        self._since_seq = live.call.last_seq
        """What was there before does not make a reader slow."""
        self._outbox_events = outbox_events
        self._why_ended = why_ended
        self.seq = after_seq if after_seq <= live.call.last_seq else 0
        """Everything up to here was taken. Who has more than there is had another call."""
        self.n_events = 0

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to read, nor will be."""
        call = self._live.call
        return call.over_s is not None and call.next_after(self.seq) is None

    @property
    def why_ended(self) -> errors.Refusal | None:
        """Whether, and for what, reading has to end by now."""
        unread = self._live.call.count_after(max(self.seq, self._since_seq))
        return self._why_ended() or (errors.SLOW_READER if unread > self._outbox_events else None)

    async def take(self, limit_s: float) -> Kept | None:
        """The next event; None: there was none for so long, or it is done. Raises RefusedError."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + limit_s
        if self.n_events % _EVENTS_A_TURN == 0:  # who catches up holds up nobody's audio
            await asyncio.sleep(0)
        while True:
            if refusal := self.why_ended:
                raise RefusedError(refusal)
            kept = self._live.call.next_after(self.seq)
            if kept is not None:
                self.seq = kept.seq
                self.n_events += 1
                return kept
            left_s = ends_s - loop.time()
            if self.is_done or left_s <= 0:
                return None
            await self._live.news.wait(min(left_s, _LOOK_S))

    async def until_ended(self) -> errors.Refusal:
        """Why reading has to end, when it has to; also while nothing is taken."""
        while True:
            if refusal := self.why_ended:
                return refusal
            await asyncio.sleep(_LOOK_S)
