"""The sessions that run now: who has how many, and one place that can end them all.

A place is taken before the WebSocket is accepted and given back when its session ends, on every
path, so a refusal for too many is an HTTP answer and never a surprise in the middle of a sentence.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from server import errors
from server.errors import RefusedError
from server.grant import Grant


class Endable(Protocol):
    """A connection, as seen from here."""

    def refuse(self, refusal: errors.Refusal) -> None:
        """End the session from outside."""
        ...


class LiveSessions:
    """Counts places by subject; used from the event loop only."""

    def __init__(self, most_sessions: int) -> None:
        self._most_sessions = most_sessions
        self._by_subject: Counter[tuple[str, str]] = Counter()
        self._connections: set[Endable] = set()
        self._is_stopping = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def total(self) -> int:
        """Places taken."""
        return self._by_subject.total()

    @contextmanager
    def place(self, grant: Grant) -> Iterator[None]:
        """Take a place. Raises RefusedError when the subject or the server has none left."""
        if self._is_stopping:
            raise RefusedError(errors.SHUTTING_DOWN)
        if self.total >= self._most_sessions:
            raise RefusedError(errors.OVERLOADED, "server_full")
        who = (grant.issuer, grant.subject)
        most = grant.concurrent_sessions
        if most is not None and self._by_subject[who] >= most:
            raise RefusedError(errors.TOO_MANY_SESSIONS)
        self._by_subject[who] += 1
        self._is_empty.clear()
        try:
            yield
        finally:
            self._by_subject[who] -= 1
            if not self._by_subject[who]:
                del self._by_subject[who]
            if not self._by_subject:
                self._is_empty.set()

    @contextmanager
    def running(self, connection: Endable) -> Iterator[None]:
        """While a connection runs it can be ended from here; one that only now begins, at once."""
        self._connections.add(connection)
        if self._is_stopping:
            connection.refuse(errors.SHUTTING_DOWN)
        try:
            yield
        finally:
            self._connections.discard(connection)

    async def drain(self, limit_s: float) -> bool:
        """Take no more, end all with their last finals; whether they ended in time."""
        self._is_stopping = True
        for connection in list(self._connections):
            connection.refuse(errors.SHUTTING_DOWN)
        try:
            async with asyncio.timeout(limit_s):
                await self._is_empty.wait()
        except TimeoutError:
            return False
        return True
