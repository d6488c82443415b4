"""A server's address in, its connections as `bench.load` wants them out: ours and others'.

The others are spoken to as their own clients do, as far as that helps them; sources: WhisperLive
0.10.0 `client.py`, WhisperLiveKit 0.2.26 `web/live_transcription.js`.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Callable

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.exceptions import ConnectionClosed

from bench.load import Sight
from bench.sound import RATE_HZ
from client.stream import Stream, connect
from server.wire import Final, Partial


class Earwitness:
    """One session through the client library."""

    def __init__(self, url: str, new_token: Callable[[], str]) -> None:
        self.sights: list[Sight] = []
        self._url = url
        self._new_token = new_token
        self._open = contextlib.AsyncExitStack()
        self._stream: Stream | None = None
        self._settled: list[str] = []
        self._captions: dict[int, str] = {}

    async def open(self) -> None:
        """See `Speaker`."""
        connection = connect(self._url, token=self._new_token(), sample_rate_hz=RATE_HZ)
        self._stream = await self._open.enter_async_context(connection)
        tasks = await self._open.enter_async_context(asyncio.TaskGroup())
        tasks.create_task(self._listen(self._stream))

    async def send(self, pcm: bytes) -> None:
        """See `Speaker`."""
        assert self._stream is not None
        await self._stream.send(pcm)

    async def finish(self) -> None:
        """See `Speaker`."""
        assert self._stream is not None
        await self._stream.stop()
        await self._open.aclose()

    async def _listen(self, stream: Stream) -> None:
        async for event in stream:
            match event:
                case Partial(segment=segment, stable=stable, unstable=unstable):
                    self._captions[segment] = stable + unstable
                case Final(segment=segment, text=text):
                    self._captions.pop(segment, None)
                    self._settled.append(text)
                case _:
                    continue
            settled = " ".join(self._settled)
            captions = (text for _, text in sorted(self._captions.items()))
            self.sights.append(Sight(time.monotonic(), settled, " ".join([settled, *captions])))


OPEN_LIMIT_S = 60.0
QUIET_S = 8.0
"""Without news from a server that does not say when it has done: its own client waits 15 s."""


class _Socket:
    """A connection that is listened to from the first moment."""

    def __init__(self, url: str) -> None:
        self.sights: list[Sight] = []
        self._url = url
        self._everything = contextlib.AsyncExitStack()
        self._socket: ClientConnection | None = None
        self._is_ready = asyncio.Event()
        self._is_done = asyncio.Event()
        self._has_news = asyncio.Event()

    async def _open(self, first: str | None) -> None:
        tasks = await self._everything.enter_async_context(asyncio.TaskGroup())
        connection = connect_socket(self._url, max_size=None, ping_interval=None)
        self._socket = await self._everything.enter_async_context(connection)
        if first is not None:
            await self._socket.send(first)
        tasks.create_task(self._listen(self._socket))
        async with asyncio.timeout(OPEN_LIMIT_S):
            await self._is_ready.wait()

    async def _send(self, data: bytes) -> None:
        assert self._socket is not None
        with contextlib.suppress(ConnectionClosed):  # what it lost shows in the figures
            await self._socket.send(data)

    async def _listen(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in socket:
                self._receive(json.loads(frame))
        self._is_ready.set()
        self._is_done.set()

    def _receive(self, message: dict[str, object]) -> None:
        raise NotImplementedError

    def _see(self, settled: str, shown: str) -> None:
        last = self.sights[-1] if self.sights else None
        if last is None or (last.settled, last.shown) != (settled, shown):
            self._has_news.set()
            self.sights.append(Sight(time.monotonic(), settled, shown))


class WhisperLive(_Socket):
    """Float samples in; a list of segments, the last of them open, out."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._uid = str(uuid.uuid4())
        self._completed: list[tuple[float, str]] = []

    async def open(self) -> None:
        """See `Speaker`."""
        wishes = {"language": "en", "task": "transcribe", "model": "tiny.en", "use_vad": True}
        await self._open(json.dumps({"uid": self._uid, "send_last_n_segments": 10, **wishes}))

    async def send(self, pcm: bytes) -> None:
        """See `Speaker`."""
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        await self._send(samples.tobytes())

    async def finish(self) -> None:
        """See `Speaker`. Its END_OF_AUDIO would throw away what it has not heard yet."""
        with contextlib.suppress(TimeoutError):
            while True:
                self._has_news.clear()
                async with asyncio.timeout(QUIET_S):
                    await self._has_news.wait()
        await self._everything.aclose()

    def _receive(self, message: dict[str, object]) -> None:
        if message.get("message") == "SERVER_READY":
            self._is_ready.set()
        segments = message.get("segments")
        if not isinstance(segments, list):
            return
        is_open = ""
        for segment in segments:
            if not segment.get("completed"):
                is_open = segment["text"]
            elif not self._completed or float(segment["start"]) >= self._completed[-1][0]:
                self._completed.append((float(segment["end"]), segment["text"]))
        settled = " ".join(text for _, text in self._completed)
        self._see(settled, f"{settled} {is_open}")


class WhisperLiveKit(_Socket):
    """PCM in; the whole transcript and its tail out."""

    async def open(self) -> None:
        """See `Speaker`."""
        await self._open(None)

    async def send(self, pcm: bytes) -> None:
        """See `Speaker`."""
        await self._send(pcm)

    async def finish(self) -> None:
        """See `Speaker`."""
        await self._send(b"")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(OPEN_LIMIT_S):
                await self._is_done.wait()
        await self._everything.aclose()

    def _receive(self, message: dict[str, object]) -> None:
        if message.get("type") == "config":
            self._is_ready.set()
        if message.get("type") == "ready_to_stop":
            self._is_done.set()
        lines = message.get("lines")
        if isinstance(lines, list):
            settled = " ".join(line.get("text") or "" for line in lines)
            self._see(settled, f"{settled} {message.get('buffer_transcription') or ''}")
