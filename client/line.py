"""A door and a conversation in; the conversation held, over as many connections as it takes.

One task owns all of it: it knocks, reads, and has a second task that writes, a pair for each
socket. When a socket breaks and the server keeps the session, it knocks again, later each time,
until the grace time since the break is over. A break before the server has answered `start` costs
nothing, and the session is begun anew. The first attempt of all is the only one: where there is
no server, the caller hears so at once.

A line can be dead without a word: nothing comes for STALL_S, and audio stays unacknowledged. It is
broken off then, which costs nothing if the server was only busy.

What ends it for good becomes the failure of the conversation; it raises nothing itself.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import suppress
from enum import Enum

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from client.conversation import ABNORMAL_CLOSE, MAX_GRACE_S, REPORT_INTERVAL_S, Conversation
from client.credential import Credential
from client.door import CLOSE_TIMEOUT_S, open_socket
from client.errors import (
    ClientError,
    ConnectionLostError,
    RefusedError,
    SessionGoneError,
)

READY_TIMEOUT_S = 10.0
START_GRACE_S = 30.0
"""For a session that nobody was told of yet."""
FIRST_WAIT_S = 0.1
MAX_WAIT_S = 5.0
STALL_S = 15.0

_GONE = 410
_TOO_MANY = 429
_SERVER_FAULTS = 500
_OUR_REFUSALS = (1002, 1007, 1009)
"""Close codes of ours, for frames that no server of the protocol sends: it would send them again.
"""
_random = random.SystemRandom()


class Connection(Enum):
    """How the line stands."""

    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    OVER = "over"


class Line:
    """Keeps one conversation connected. `run` is a task's; the rest is for whoever talks."""

    def __init__(
        self, url: str, credential: Credential, conversation: Conversation, *, is_lasting: bool
    ) -> None:
        self.connection = Connection.RECONNECTING
        self._url = url
        self._credential = credential
        self._conversation = conversation
        self._is_lasting = is_lasting
        """Whether a break is to be mended."""
        self._socket: ClientConnection | None = None
        self._has_met = False
        self._give_up_at_s: float | None = None
        self._n_attempts = 0
        self._progress = 0
        self._connected_at_s = 0.0
        self._heard_at_s = 0.0
        self._has_news = asyncio.Event()
        self._has_work = asyncio.Event()

    async def run(self) -> None:
        """Until the session is over. Raises nothing of the client's errors."""
        try:
            while not self._conversation.is_over:
                await self._visit()
        except ClientError as error:
            self._conversation.give_up(error)
        finally:
            self._conversation.give_up(ConnectionLostError("The session was left.", 1000))
            self._change(Connection.OVER)

    async def wait_for_news(self) -> None:
        """Until something was received, sent, or has changed. Check, then wait: in one go."""
        self._has_news.clear()
        await self._has_news.wait()

    def send(self) -> None:
        """There is more to be sent."""
        self._has_work.set()

    async def leave(self) -> None:
        """Close the socket cleanly, so that the server does not wait for us."""
        if self._socket is not None:
            await self._socket.close()  # while the reader still clears the way for the answer

    async def changes(self) -> AsyncIterator[Connection]:
        """How the line stands, each time that changes, to its end."""
        known = self.connection
        while known is not Connection.OVER:
            if self.connection is known:
                await self.wait_for_news()
            else:
                known = self.connection
                yield known

    async def _visit(self) -> None:
        """One connection, from the handshake to its end, and the wait after it."""
        try:
            async with asyncio.timeout_at(self._give_up_at_s) as limit:
                token = await self._credential.find(self._conversation.shown_token)
                resumption = self._conversation.resumption
                key = None if resumption is None else resumption.key
                async with open_socket(self._url, token, key) as socket:
                    self._has_met = True
                    await self._talk(socket, limit)
        except TimeoutError:
            raise self._gone() from None
        except (ConnectionLostError, RefusedError) as error:
            self._judge(error)
        if not self._conversation.is_over:
            await self._wait()

    async def _talk(self, socket: ClientConnection, limit: asyncio.Timeout) -> None:
        self._socket = socket
        try:
            await self._open(socket)
            if not self._conversation.is_answered:
                return
            limit.reschedule(None)
            self._connected_at_s = _now_s()
            self._change(Connection.CONNECTED)
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(socket))
                while not self._conversation.is_over and await self._receive(socket):
                    pass
                writer.cancel()
            await self._say_goodbye(socket)
        finally:
            self._socket = None

    async def _open(self, socket: ClientConnection) -> None:
        """Send the first frame and wait for its answer."""
        conversation = self._conversation
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                with suppress(ConnectionClosed):  # what the server said before it left is read
                    await socket.send(conversation.opening())
                is_open = True
                while is_open and not conversation.is_answered and not conversation.is_over:
                    is_open = await self._receive(socket)
        except TimeoutError:
            late = ConnectionLostError("The server did not answer in time.")
            if conversation.ready is None:
                conversation.give_up(late)
            raise late from None

    async def _receive(self, socket: ClientConnection) -> bool:
        """Take in the next frame, or the end of the connection: then False."""
        try:
            frame = await socket.recv()
        except ConnectionClosed as closed:
            self._conversation.receive_close(_close_code(closed))
            return False
        finally:
            self._heard_at_s = _now_s()
        self._conversation.receive_frame(frame)
        self._has_news.set()
        self._has_work.set()
        return True

    async def _write(self, socket: ClientConnection) -> None:
        """Send what there is, as fast as the server takes it. Ends with the connection."""
        while True:
            self._has_work.clear()
            frame = self._conversation.take_frame(_now_s())
            if frame is None:
                self._break_off_if_stalled(socket)
                with suppress(TimeoutError):
                    async with asyncio.timeout(REPORT_INTERVAL_S):
                        await self._has_work.wait()
                continue
            self._has_news.set()  # there is room for more
            try:
                await socket.send(frame)
            except ConnectionClosed:
                return  # the reader finds out why

    def _break_off_if_stalled(self, socket: ClientConnection) -> None:
        is_silent = _now_s() - self._heard_at_s > STALL_S
        if is_silent and self._conversation.outgoing.is_unacknowledged:
            socket.transport.abort()

    async def _say_goodbye(self, socket: ClientConnection) -> None:
        """After `ended`: the last count, without which the server would wait for us."""
        if not self._conversation.is_over:
            return
        report = self._conversation.take_last_report()
        with suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if report is not None:
                    await socket.send(report)

    async def _wait(self) -> None:
        """Between two connections, longer each time that nothing came of it."""
        was_connected = self.connection is Connection.CONNECTED
        has_lasted = was_connected and _now_s() - self._connected_at_s > MAX_WAIT_S
        self._change(Connection.RECONNECTING)
        progress = self._conversation.progress
        if self._give_up_at_s is None or was_connected:  # the server waits from this break on
            self._give_up_at_s = _now_s() + self._grace_s
        if has_lasted or progress > self._progress:
            self._n_attempts = 0
        self._progress = progress
        wait_s = min(FIRST_WAIT_S * 2**self._n_attempts, MAX_WAIT_S) * _random.uniform(0.5, 1.5)
        self._n_attempts += 1
        if _now_s() + wait_s >= self._give_up_at_s:
            raise self._gone()
        await asyncio.sleep(wait_s)

    @property
    def _grace_s(self) -> float:
        resumption = self._conversation.resumption
        return START_GRACE_S if resumption is None else min(resumption.grace_s, MAX_GRACE_S)

    def _judge(self, error: ConnectionLostError | RefusedError) -> None:
        """Raises what another attempt would not mend."""
        if not self._has_met or not self._is_lasting:
            raise error
        if isinstance(error, RefusedError):
            if error.http_status == _GONE:
                raise SessionGoneError from None
            if error.http_status != _TOO_MANY and error.http_status < _SERVER_FAULTS:
                raise error

    def _gone(self) -> ConnectionLostError:
        if self._conversation.ready is None:
            return ConnectionLostError("The connection was lost, again and again.", ABNORMAL_CLOSE)
        return SessionGoneError()

    def _change(self, connection: Connection) -> None:
        self.connection = connection
        self._has_news.set()


def _close_code(closed: ConnectionClosed) -> int:
    if closed.rcvd is not None:
        return closed.rcvd.code
    is_ours = closed.sent is not None and closed.sent.code in _OUR_REFUSALS
    return closed.sent.code if is_ours and closed.sent is not None else ABNORMAL_CLOSE


def _now_s() -> float:
    return asyncio.get_running_loop().time()
