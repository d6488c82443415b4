"""Sockets of one peer, one after the other, in; its messages out, and a session's events onto
whichever socket there is.

A socket that breaks is not the end of a session that was started `resumable`: for the grace time
the peer may come back over another one, which also takes the place of a socket of whose end nobody
has told us. The messages of the former one that were not heard by then are not heard any more, so
that what comes again comes once. A peer that closes has left, and so has one who stays away too
long.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from server import errors, wire
from server.outbox import Outbox

ABNORMAL_CLOSE = 1006
_AUDIO_STEP_BYTES = 32_000
_AUDIO_STEP_S = 0.5
_REPLACED_LIMIT_S = 0.05
_REFUSED_LIMIT_S = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How patient the shell is."""

    outbox_events: int = 256
    """Events waiting for a client that does not read; then the session stops listening too."""
    write_limit_s: float = 20.0
    """For one event to get onto the wire, and at the end for all that wait; then the client counts
    as gone, or as away.
    """
    resume_grace_s: int = 30
    """How long a session waits for its client to come back; 0: it ends with its connection."""
    contested_after_s: float = 3.0
    """Without its client, until another session of the subject may have its place."""
    most_unconfirmed_events: int = 1024
    """Kept for a client that may come back and does not say what it has; with more, it may not."""
    most_resumes: int = 1000
    """Of one session; each is a row of the trail, whatever comes of it."""


class Socket(Protocol):
    """What a connection needs of its peer: starlette's accepted WebSocket, or what acts like it."""

    async def receive(self) -> Message:
        """The next message, as ASGI spells them: `websocket.receive` or `websocket.disconnect`."""
        ...

    async def send_text(self, data: str, /) -> None:
        """Raises WebSocketDisconnect or RuntimeError when nobody is there."""
        ...

    async def close(self, code: int, /) -> None:
        """The last call."""
        ...


class Ear(Protocol):
    """Whoever is spoken to over the line."""

    async def hear(self, message: Message) -> None:
        """A `websocket.receive`."""
        ...

    def receive_away(self, is_away: bool) -> None:
        """The peer is not there but may come back; or it is there again."""
        ...

    def receive_gone(self, close_code: int | None) -> None:
        """It has left, and nothing will be heard any more."""
        ...


@dataclass(eq=False, slots=True)
class _Visit:
    """One socket."""

    socket: Socket
    n_received: int = 0
    """Numbered events that its peer has, as it says."""
    is_deaf: bool = False
    """Nothing can be written to it; why is left to be read."""
    close_code: int | None = None
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    def end(self, close_code: int | None) -> None:
        """No more of it."""
        if not self.is_over.is_set():
            self.close_code = close_code
            self.is_over.set()


class Line:
    """Of one session; used by the task group of its connection."""

    def __init__(
        self,
        socket: Socket,
        ear: Ear,
        settings: ConnectionSettings,
        clock: Callable[[], float],
        left_s: Callable[[], float],
    ) -> None:
        """`left_s`: until the last moment at which the peer may be there."""
        self._visit = _Visit(socket)
        self._coming: _Visit | None = None
        self._ear = ear
        self._settings = settings
        self._clock = clock
        self._left_s = left_s
        self._outbox = Outbox(settings.outbox_events, settings.most_unconfirmed_events)
        self._has_news = asyncio.Event()
        """Something to write."""
        self._has_moved = asyncio.Event()
        """Something was written or received, or somebody came or went."""
        self._has_arrived = asyncio.Event()
        self._may_read = asyncio.Event()
        self._received_bytes = self._told_bytes = 0
        self._told_s = clock()
        self._n_returns = 0
        self._is_patient = True
        self._away_since_s = 0.0
        """Of the event loop's clock."""
        self.is_away = False
        self.is_gone = False

    @property
    def may_come_back(self) -> bool:
        """Whether the peer may go on over another socket."""
        return not self.is_gone and self._outbox.is_keeping

    @property
    def is_given_up(self) -> bool:
        """Whether the peer has been away for so long that its place may go to another."""
        away_s = _loop_time_s() - self._away_since_s
        return self._is_missing and away_s >= self._settings.contested_after_s

    def keep(self) -> None:
        """From now on it may."""
        self._outbox.keep()

    def allow_reading(self, is_allowed: bool) -> None:
        """While it is not, TCP makes the peer wait."""
        if is_allowed:
            self._may_read.set()
        else:
            self._may_read.clear()

    def receive_audio(self, received_bytes: int) -> None:
        """So much audio has been taken in, since the beginning."""
        self._received_bytes = received_bytes
        if self._outbox.is_keeping and received_bytes - self._told_bytes >= _AUDIO_STEP_BYTES:
            self._tell_audio()

    def tick(self) -> None:
        """Let time pass."""
        is_due = self._clock() - self._told_s >= _AUDIO_STEP_S
        if self._outbox.is_keeping and is_due and self._received_bytes > self._told_bytes:
            self._tell_audio()

    def receive_count(self, n_received: int) -> bool:
        """The peer has so many events; False when it cannot."""
        is_possible = self._outbox.receive_count(n_received)
        self._has_moved.set()
        return is_possible

    async def put(self, event: wire.ServerEvent) -> None:
        """Say it, now or once the peer is back; waits while too much is waiting."""
        while self._outbox.is_full and not self.is_gone and not self._is_waited_for_in_vain:
            await self._until_moved()
        if not self.is_gone:
            self._outbox.put(event)
            self._has_news.set()

    async def run(self) -> None:
        """Attend to one socket after the other, until nobody can come any more."""
        while not self.is_gone:
            visit = self._visit
            await self._attend(visit)
            if self._coming is None:
                await self._miss(visit.close_code)
            else:
                await self._close_socket(
                    visit.socket, errors.SESSION_GONE.close_code, _REPLACED_LIMIT_S
                )
            if self._coming is not None:
                await self._take_in(self._coming)

    def count_return(self) -> bool:
        """Somebody wants to go on over another socket; False if that was too often."""
        self._n_returns += 1
        return self._n_returns <= self._settings.most_resumes

    async def rejoin(self, socket: Socket, n_received: int) -> None:
        """Go on over this one, until that is over. Its peer has so many events."""
        if not self.may_come_back:
            await self.turn_away(socket, errors.SESSION_GONE)
            return
        visit = _Visit(socket, n_received)
        if self._coming is not None:
            self._coming.end(None)
        self._coming = visit
        self._visit.end(None)
        self._has_arrived.set()
        await visit.is_over.wait()

    async def turn_away(self, socket: Socket, refusal: errors.Refusal) -> None:
        """Tell a peer why it cannot be heard."""
        event = wire.ErrorEvent(refusal.code, refusal.text, refusal.is_retryable)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(_REFUSED_LIMIT_S):
                await socket.send_text(wire.encode(event))
        await self._close_socket(socket, refusal.close_code, _REFUSED_LIMIT_S)

    def stop_waiting(self) -> None:
        """What is not delivered to a peer that is away will not be."""
        self._is_patient = False
        self._has_moved.set()

    def give_up(self) -> None:
        """A peer that is away does not come back."""
        if self._is_missing:
            self._leave(ABNORMAL_CLOSE)
            self._has_arrived.set()

    async def close(self, code: int) -> None:
        """After everything is on the wire, and received where that is told; nobody is waited for
        longer than is allowed, or beyond the last moment.
        """
        await self._until_delivered()
        await self.abandon(code, self._write_limit_s)

    async def abandon(self, code: int, limit_s: float) -> None:
        """Close what there is, without a word."""
        if not (self.is_gone or self.is_away):
            await self._close_socket(self._visit.socket, code, limit_s)

    def end(self) -> None:
        """There is no session any more: let go of every socket."""
        self.is_gone = True
        self._visit.end(None)
        if self._coming is not None:
            self._coming.end(None)

    async def _attend(self, visit: _Visit) -> None:
        async with asyncio.TaskGroup() as tasks:
            both = [tasks.create_task(self._read(visit)), tasks.create_task(self._write(visit))]
            await visit.is_over.wait()
            for task in both:
                task.cancel()

    async def _read(self, visit: _Visit) -> None:
        while True:
            if not visit.is_deaf:  # of a peer that is gone, only the reason is left to read
                await self._may_read.wait()
            message = await visit.socket.receive()
            if message["type"] != "websocket.receive":
                visit.end(message.get("code"))
                return
            await self._ear.hear(message)

    async def _write(self, visit: _Visit) -> None:
        while True:
            event = self._outbox.next_event()
            if event is None:
                self._has_news.clear()
                await self._has_news.wait()
                continue
            try:
                async with asyncio.timeout(self._write_limit_s):
                    await visit.socket.send_text(wire.encode(event))
            except (WebSocketDisconnect, RuntimeError):
                visit.is_deaf = True  # the reader will hear why
                self._may_read.set()
                return
            except TimeoutError:
                visit.end(ABNORMAL_CLOSE)
                return
            self._outbox.receive_written(event)
            self._has_moved.set()

    async def _miss(self, close_code: int | None) -> None:
        """Wait for somebody to come back, where that may be."""
        is_broken = close_code in {None, ABNORMAL_CLOSE, wire.RETURN_CLOSE_CODE}
        if not (is_broken and self.may_come_back):
            self._leave(close_code)
            return
        if not self.is_away:
            self.is_away = True
            self._away_since_s = _loop_time_s()
            self._has_moved.set()
            self._ear.receive_away(True)
        with contextlib.suppress(TimeoutError):
            last_s = _loop_time_s() + max(0.0, self._left_s())
            grace_ends_s = self._away_since_s + self._settings.resume_grace_s
            async with asyncio.timeout_at(min(grace_ends_s, last_s)):
                await self._has_arrived.wait()
        if self._coming is None:
            self._leave(ABNORMAL_CLOSE)

    async def _take_in(self, visit: _Visit) -> None:
        self._coming = None
        self._has_arrived.clear()
        if not self._outbox.go_on(visit.n_received, self._received_bytes):
            is_made_up = visit.n_received > self._outbox.n_events
            refusal = errors.BAD_MESSAGE if is_made_up else errors.SESSION_GONE
            await self.turn_away(visit.socket, refusal)
            visit.end(ABNORMAL_CLOSE)
        elif self.is_away:
            self.is_away = False
            self._ear.receive_away(False)
        self._told_bytes, self._told_s = self._received_bytes, self._clock()
        self._visit = visit
        self._has_news.set()
        self._has_moved.set()

    def _leave(self, close_code: int | None) -> None:
        if self.is_gone:
            return
        self.is_gone = True
        self._has_moved.set()
        self._ear.receive_gone(close_code)

    def _tell_audio(self) -> None:
        self._told_bytes, self._told_s = self._received_bytes, self._clock()
        self._outbox.tell_audio(self._received_bytes)
        self._has_news.set()

    async def _until_delivered(self) -> None:
        """As long as there is hope, and no longer than a peer that is there may take for all."""
        limit_s = _loop_time_s() + (self._left_s() if self.is_away else self._write_limit_s)
        while not (self.is_gone or self._outbox.is_delivered):
            was_away = self.is_away
            if self._is_waited_for_in_vain:
                return
            try:
                async with asyncio.timeout_at(limit_s):
                    await self._until_moved()
            except TimeoutError:
                return
            if self.is_away:  # the grace ends by itself
                limit_s = _loop_time_s() + max(0.0, self._left_s())
            elif was_away:
                limit_s = _loop_time_s() + self._write_limit_s

    @property
    def _is_missing(self) -> bool:
        """Whether the peer is away, and nobody is just coming back."""
        return self.is_away and not self.is_gone and self._coming is None

    @property
    def _is_waited_for_in_vain(self) -> bool:
        return self.is_away and not self._is_patient

    async def _until_moved(self) -> None:
        self._has_moved.clear()
        await self._has_moved.wait()

    @property
    def _write_limit_s(self) -> float:
        """From now on; nothing is waited for beyond the last moment."""
        return max(0.0, min(self._settings.write_limit_s, self._left_s()))

    async def _close_socket(self, socket: Socket, code: int, limit_s: float) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
            async with asyncio.timeout(limit_s):
                await socket.close(code)


def _loop_time_s() -> float:
    return asyncio.get_running_loop().time()
