"""The sessions that run now: one place that counts them, lists them and can end them.

A place is taken before the WebSocket is accepted and given back when its session ends, on every
path, so a refusal for too many is an HTTP answer and never a surprise in the middle of a sentence.
How many places a subject has is for the store of subjects to say, which other servers may share.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from server import errors
from server.errors import RefusedError
from server.grant import Grant
from server.session_values import Caller
from server.subjects import SubjectLimits, SubjectStore

_GIVE_LIMIT_S = 2.0
"""A place that cannot be given back frees itself."""


class Endable(Protocol):
    """A connection, as seen from here."""

    @property
    def grant(self) -> Grant:
        """What its session lives by now."""
        ...

    @property
    def is_ending(self) -> bool:
        """Whether its session is past its last audio."""
        ...

    def refuse(self, refusal: errors.Refusal) -> None:
        """End the session from outside."""
        ...


@dataclass(frozen=True, slots=True)
class LiveSession:
    """One that runs."""

    session_id: str
    caller: Caller
    started_at_s: float
    """Unix time."""
    connection: Endable


class LiveSessions:
    """Of one process; used from the event loop only."""

    def __init__(self, most_sessions: int, subjects: SubjectStore) -> None:
        self._most_sessions = most_sessions
        self._subjects = subjects
        self._n_places = 0
        self._sessions: dict[str, LiveSession] = {}
        self._claimed: set[str] = set()
        self._is_stopping = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def total(self) -> int:
        """Places taken."""
        return self._n_places

    @property
    def sessions(self) -> list[LiveSession]:
        """Those that run, oldest first."""
        return list(self._sessions.values())

    @asynccontextmanager
    async def place(self, grant: Grant, session_id: str) -> AsyncIterator[None]:
        """Take a place. Raises RefusedError when the subject or the server has none left."""
        if self._is_stopping:
            raise RefusedError(errors.SHUTTING_DOWN)
        if self._n_places >= self._most_sessions:
            raise RefusedError(errors.OVERLOADED, "server_full")
        self._n_places += 1
        self._is_empty.clear()
        try:
            await self._subjects.take_place(grant.who, session_id, limits_of(grant))
            try:
                yield
            finally:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_GIVE_LIMIT_S):
                        await self._subjects.give_place(grant.who, session_id)
        finally:
            self._n_places -= 1
            if not self._n_places:
                self._is_empty.set()

    @contextmanager
    def running(self, session: LiveSession) -> Iterator[None]:
        """While a connection runs it can be ended from here; one that only now begins, at once."""
        self._sessions[session.session_id] = session
        if self._is_stopping:
            session.connection.refuse(errors.SHUTTING_DOWN)
        try:
            yield
        finally:
            del self._sessions[session.session_id]
            self._claimed.discard(session.session_id)

    def find(self, session_id: str) -> LiveSession | None:
        """One that runs."""
        return self._sessions.get(session_id)

    def claim_end(self, session: LiveSession) -> bool:
        """Whether it does not end yet, and nobody before has asked this to end it."""
        if session.connection.is_ending or session.session_id in self._claimed:
            return False
        self._claimed.add(session.session_id)
        return True

    def end(self, is_meant: Callable[[LiveSession], bool], refusal: errors.Refusal) -> int:
        """End those that are meant, with their last finals; says how many."""
        meant = [session for session in self.sessions if is_meant(session)]
        for session in meant:
            session.connection.refuse(refusal)
        return len(meant)

    async def drain(self, limit_s: float) -> bool:
        """Take no more, end all with their last finals; whether they ended in time."""
        self._is_stopping = True
        self.end(lambda session: True, errors.SHUTTING_DOWN)
        try:
            async with asyncio.timeout(limit_s):
                await self._is_empty.wait()
        except TimeoutError:
            return False
        return True


def limits_of(grant: Grant) -> SubjectLimits:
    """What a subject shares among its sessions."""
    limits = grant.limits
    day_s = limits.audio_s_per_day
    return SubjectLimits(
        concurrent_sessions=limits.concurrent_sessions,
        starts_per_minute=limits.starts_per_minute,
        audio_ms_per_day=None if day_s is None else day_s * 1000,
    )
