"""The sessions that run now: one place that counts them, lists them and can end them.

A place is taken before the WebSocket is accepted and given back when its session ends, on every
path, so a refusal for too many is an HTTP answer and never a surprise in the middle of a sentence.
How many places a subject has is for the store of subjects to say, which other servers may share.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from server import errors
from server.errors import RefusedError
from server.grant import Grant
from server.line import Socket
from server.session_values import Caller
from server.subjects import SubjectLimits, SubjectStore
from server.text_hash import hash_of

_PLACE_TRIES, _PLACE_EVERY_S = 20, 0.05
_GIVE_LIMIT_S = 2.0
"""A place that cannot be given back frees itself."""


class Endable(Protocol):
    """A connection, as seen from here."""

    @property
    def grant(self) -> Grant:
        """What its session lives by now."""
        ...

    @property
    def grants(self) -> tuple[Grant, ...]:
        """That, and what its peer showed when it came back last."""
        ...

    @property
    def is_ending(self) -> bool:
        """Whether its session is past its last audio."""
        ...

    @property
    def is_given_up(self) -> bool:
        """Whether its peer has been away for so long that its place may go to another."""
        ...

    @property
    def may_come_back(self) -> bool:
        """Whether its peer may go on over another socket."""
        ...

    def refuse(self, refusal: errors.Refusal) -> None:
        """End the session from outside."""
        ...

    def give_up(self) -> None:
        """Nobody waits for its peer, if that is away."""
        ...

    def let_back(self, grant: Grant) -> bool:
        """Somebody comes back with this; False if that was too often."""
        ...

    async def rejoin(self, socket: Socket) -> None:
        """Go on over another socket, until that is over."""
        ...


@dataclass(frozen=True, slots=True)
class LiveSession:
    """One that runs."""

    session_id: str
    caller: Caller
    started_at_s: float
    """Unix time."""
    connection: Endable
    resume_key: str = field(default="", repr=False)
    """With which its peer may come back."""


class LiveSessions:
    """Of one process; used from the event loop only."""

    def __init__(self, most_sessions: int, subjects: SubjectStore) -> None:
        self._most_sessions = most_sessions
        self._subjects = subjects
        self._n_places = 0
        self._sessions: dict[str, LiveSession] = {}
        self._by_resume_hash: dict[bytes, LiveSession] = {}
        self._claimed: set[str] = set()
        self._is_stopping = False
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    @property
    def total(self) -> int:
        """Places taken."""
        return self._n_places

    @property
    def is_stopping(self) -> bool:
        """Whether no more are taken."""
        return self._is_stopping

    @property
    def sessions(self) -> list[LiveSession]:
        """Those that run, oldest first."""
        return list(self._sessions.values())

    @asynccontextmanager
    async def place(
        self, grant: Grant, session_id: str, *, insists: bool = False
    ) -> AsyncIterator[None]:
        """Take a place. Raises RefusedError when the subject or the server has none left; who
        insists gets that of a session of the subject whose peer has been away for long: it may be
        the one who comes now.
        """
        if self._is_stopping:
            raise RefusedError(errors.SHUTTING_DOWN)
        if self._n_places >= self._most_sessions:
            raise RefusedError(errors.OVERLOADED, "server_full")
        self._n_places += 1
        self._is_empty.clear()
        try:
            await self._take(grant, session_id, insists)
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

    async def _take(self, grant: Grant, session_id: str, insists: bool) -> None:
        limits = limits_of(grant)
        n_tries = 0
        while True:
            try:
                await self._subjects.take_place(grant.who, session_id, limits)
            except RefusedError as refused:
                is_full = refused.refusal is errors.TOO_MANY_SESSIONS
                if not is_full or not insists or n_tries == _PLACE_TRIES:
                    raise
                if n_tries == 0 and not self._give_up_one_of(grant.who):
                    raise
            else:
                return
            n_tries += 1
            limits = replace(limits, starts_per_minute=None)  # it is one start
            await asyncio.sleep(_PLACE_EVERY_S)

    @contextmanager
    def running(self, session: LiveSession) -> Iterator[None]:
        """While a connection runs it can be ended from here; one that only now begins, at once."""
        self._sessions[session.session_id] = session
        self._by_resume_hash[hash_of(session.resume_key)] = session
        if self._is_stopping:
            session.connection.refuse(errors.SHUTTING_DOWN)
        try:
            yield
        finally:
            del self._sessions[session.session_id]
            self._by_resume_hash.pop(hash_of(session.resume_key), None)
            self._claimed.discard(session.session_id)

    def find(self, session_id: str) -> LiveSession | None:
        """One that runs."""
        return self._sessions.get(session_id)

    def find_resumable(self, resume_key: str, who: str) -> LiveSession | None:
        """One to which this subject may come back."""
        session = self._by_resume_hash.get(hash_of(resume_key))
        is_theirs = session is not None and session.connection.grant.who == who
        return session if session and is_theirs and session.connection.may_come_back else None

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

    def _give_up_one_of(self, who: str) -> bool:
        """End a session of the subject that is without its peer; whether there is one."""
        for session in self._sessions.values():
            if session.connection.is_given_up and session.connection.grant.who == who:
                session.connection.give_up()
                return True
        return False


def limits_of(grant: Grant) -> SubjectLimits:
    """What a subject shares among its sessions."""
    limits = grant.limits
    day_s = limits.audio_s_per_day
    return SubjectLimits(
        concurrent_sessions=limits.concurrent_sessions,
        starts_per_minute=limits.starts_per_minute,
        audio_ms_per_day=None if day_s is None else day_s * 1000,
    )
