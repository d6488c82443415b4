"""A client of another API in; a client of the native protocol out: what a session takes for its
peer, with a dialect between.

Whatever the dialect says goes out in the order in which it was said: what it answers at once and
what the session's events become are two streams, and a frame that was made later must not overtake
one that was made before. What is answered at once to somebody who has gone is dropped: that they
are gone, and why, is what they say last. Audio reaches the session in short pieces, however long
the client's frames are: it is counted, paced and waited for as it is of one that sends it as it is
spoken.
"""

import asyncio
from collections import deque
from typing import Protocol, assert_never

from starlette.types import Message
from starlette.websockets import WebSocketDisconnect

from server import errors, wire
from server.dialects.translation import Broken, ClientDialect, Hear, Say, Translated
from server.dialects.values import Reply
from server.line import Socket

_PIECE_BYTES = 32_768
_BROKEN: Message = {"type": "websocket.receive", "refusal": errors.BAD_MESSAGE}
"""With which the session ends. See `server.connection.Connection`."""


class ClientSocket(Socket, Protocol):
    """Starlette's accepted WebSocket, or what acts like it."""

    async def send_bytes(self, data: bytes, /) -> None:
        """As `send_text`."""
        ...


class Translator:
    """See `server.line.Socket`."""

    def __init__(self, websocket: ClientSocket, dialect: ClientDialect) -> None:
        """The socket is accepted by now."""
        self._websocket = websocket
        self._dialect = dialect
        self._heard: deque[Message] = deque()
        self._is_open = False
        self._is_deaf = False
        """Nothing can be answered to it; why is left to be read."""
        self._speaking = asyncio.Lock()

    async def receive(self) -> Message:
        """The next message for the session."""
        if not self._is_open:
            self._is_open = True
            async with self._speaking:
                await self._take(self._dialect.open())
        if self._heard:
            await asyncio.sleep(0)  # for nobody else would have a turn between two pieces
        while not self._heard:
            message = await self._websocket.receive()
            if message["type"] != "websocket.receive" or "refusal" in message:
                return message
            text, data = message.get("text"), message.get("bytes")
            frame = text if isinstance(text, str) else bytes(data or b"")
            async with self._speaking:
                await self._take(self._dialect.receive(frame))
        return self._heard.popleft()

    async def send_text(self, data: str, /) -> None:
        """An event of the session. Raises WebSocketDisconnect or RuntimeError when nobody is
        there.
        """
        async with self._speaking:
            for frame in self._dialect.tell(wire.decode_server_event(data)):
                await self._send(frame)

    async def close(self, code: int, /) -> None:
        """The last call."""
        await self._websocket.close(self._dialect.close_code(code))

    async def _take(self, translated: list[Translated]) -> None:
        for each in translated:
            match each:
                case Hear(payload):
                    for start in range(0, len(payload) or 1, _PIECE_BYTES):
                        piece = payload[start : start + _PIECE_BYTES]
                        self._heard.append({"type": "websocket.receive", "bytes": piece})
                case Say(message):
                    text = wire.encode(message)
                    self._heard.append({"type": "websocket.receive", "text": text})
                case Reply(frame):
                    await self._reply(frame)
                case Broken():
                    self._heard.append(_BROKEN)
                case _:
                    assert_never(each)

    async def _reply(self, frame: str | bytes) -> None:
        if self._is_deaf:
            return
        try:
            await self._send(frame)
        except (WebSocketDisconnect, RuntimeError):
            self._is_deaf = True

    async def _send(self, frame: str | bytes) -> None:
        if isinstance(frame, str):
            await self._websocket.send_text(frame)
        else:
            await self._websocket.send_bytes(frame)
