"""A sound file in, as the messages of a client that streams it; the events of its session, kept,
out.

A request over HTTP is a session like any other, with the same quotas, the same trail and the same
place in the scheduler, so this stands where a WebSocket would: the start, the audio in frames as a
live client sends them, the stop. Nothing is decoded before the session asks for it, which is all
the back-pressure there is. Decoding happens in a thread.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from starlette.types import Message

from server import errors, wire
from server.audio import SAMPLE_RATE_HZ
from server.errors import Refusal, RefusedError

_FRAME_BYTES = SAMPLE_RATE_HZ * 2 // 5
"""200 ms: what a quota or a limit cuts off is no longer than that."""
_ABNORMAL_CLOSE = 1006
_REFUSALS = {refusal.code: refusal for refusal in errors.ALL}

OnFinal = Callable[[wire.Final], Awaitable[None]]


class Sound(Protocol):
    """A decoder; its calls block."""

    def read(self) -> bytes:
        """The next block of PCM16, 16 kHz, of as many channels as are heard; nothing at the end.
        Raises RefusedError.
        """
        ...


class OneShot:
    """The socket of one request. See `server.connection.Socket`."""

    def __init__(
        self,
        sound: Sound,
        language: str | None,
        context: str | None,
        on_final: OnFinal,
        channels: Literal[1, 2] = 1,
    ) -> None:
        """`on_final` is awaited for each final with words in it, in order."""
        self.channels = channels
        self._sound = sound
        self._on_final = on_final
        self._waiting: list[Message] = [_text(_start(language, context, channels))]
        self._is_stopped = False
        self._gone = asyncio.Event()
        self._block = memoryview(b"")
        self._ended: wire.Ended | None = None
        self._refusal: Refusal | None = None
        self.finals: list[wire.Final] = []
        """With words in them."""

    @property
    def is_gone(self) -> bool:
        """Whether the client left before it had its answer."""
        return self._gone.is_set()

    @property
    def refusal(self) -> Refusal | None:
        """Why there is no whole transcript, once the session has run."""
        if self._refusal is None and self._ended is None:
            return errors.INTERNAL
        return self._refusal

    @property
    def audio_ms(self) -> int:
        """How much was heard, however many channels it had."""
        return self._ended.usage.audio_ms // self.channels if self._ended else 0

    def vanish(self) -> None:
        """The client has left."""
        self._gone.set()

    async def receive(self) -> Message:
        """The next message of the client that this stands for."""
        await asyncio.sleep(0)  # what is decoded already must not keep the others waiting
        if self._waiting:
            return self._waiting.pop()
        if not self._is_stopped and not self.is_gone:
            return await self._next()
        await self._gone.wait()
        return _disconnect(_ABNORMAL_CLOSE)

    async def send_text(self, data: str, /) -> None:
        """Keep what an answer is made of."""
        match wire.decode_server_event(data):
            case wire.Final() as final if final.text:
                self.finals.append(final)
                await self._on_final(final)
            case wire.ErrorEvent(code):
                self._refusal = _REFUSALS.get(code, errors.INTERNAL)
            case wire.Ended() as ended:
                self._ended = ended
            case _:
                pass

    async def close(self, code: int, /) -> None:
        """Nothing: what the session said before says more than its code."""

    async def _next(self) -> Message:
        if not self._block:
            try:
                self._block = memoryview(await asyncio.to_thread(self._sound.read))
            except RefusedError as refused:
                self._refusal, self._is_stopped = refused.refusal, True
                return _disconnect(refused.refusal.close_code)
        if not self._block:
            self._is_stopped = True
            return _text(wire.Stop())
        frame, self._block = self._block[:_FRAME_BYTES], self._block[_FRAME_BYTES:]
        return {"type": "websocket.receive", "bytes": bytes(frame)}


def _start(language: str | None, context: str | None, channels: Literal[1, 2]) -> wire.Start:
    return wire.Start(
        sample_rate_hz=16_000,
        channels=channels,
        language=language,
        partials=False,
        context=context,
    )


def _text(message: wire.ClientMessage) -> Message:
    return {"type": "websocket.receive", "text": wire.encode(message)}


def _disconnect(code: int) -> Message:
    return {"type": "websocket.disconnect", "code": code}
