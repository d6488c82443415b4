"""A server's address in, its connections as `bench.load` wants them out: ours."""

import asyncio
import contextlib
import time
from collections.abc import Callable

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
