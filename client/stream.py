"""The client library: a URL, a token and PCM in; events of `server.wire`, or one error, out.

    async with connect(url, token=token, sample_rate_hz=16_000) as stream:
        await stream.send(pcm)
        await stream.stop()
        async for event in stream: ...

    async with stream_file(url, token, "talk.flac") as events:
        async for event in events: ...
    events.transcript.words

Sending and receiving are meant for two tasks. A task of the stream reads the socket all the time,
so that a consumer who is slow, or who sends everything before reading, never makes both ends wait
for each other; sending waits for the server, which takes audio no faster than it can hear it.
Iteration ends after `ended`; where the session did not end well it raises, after the last event,
the same error that `send` raises from then on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, Self

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from client.conversation import ABNORMAL_CLOSE, Conversation, encode_refresh, wrong_protocol
from client.door import open_socket
from client.errors import ClientError, ConnectionLostError, SessionError
from client.sources import FileSource, PacedBlocks, Source
from client.transcript import Transcript
from server.wire import Flush, KeepAlive, Ready, SampleRateHz, ServerEvent, Start, encode

READY_TIMEOUT_S = 10.0

Pace = Literal["real_time"] | None
"""None is as fast as the server takes it."""


class Stream:
    """One open session. Made by `connect`."""

    def __init__(self, socket: ClientConnection, conversation: Conversation, ready: Ready) -> None:
        self.ready = ready
        """What the server granted."""
        self._socket = socket
        self._conversation = conversation
        self._has_news = asyncio.Event()
        self._is_over = asyncio.Event()

    def __aiter__(self) -> Self:
        """The events after `ready`, each once; for one consumer."""
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event. Raises SessionError or ConnectionLostError after the last."""
        while True:
            event = self._conversation.take_event()
            if event is not None:
                return event
            if self._conversation.is_over:
                raise self._conversation.failure or StopAsyncIteration
            self._has_news.clear()
            await self._has_news.wait()

    async def send(self, pcm: bytes | bytearray | memoryview) -> None:
        """Send 16-bit little-endian mono PCM, cut anywhere. Waits while the server is busy."""
        self._check_open()
        for frame in self._conversation.encode_audio(pcm):
            await self._send_frame(frame)

    async def flush(self) -> None:
        """Ask for the final of what was said so far."""
        self._check_open()
        await self._send_frame(encode(Flush()))

    async def keep_alive(self) -> None:
        """Say that the silence is meant; a server ends sessions that send nothing at all."""
        self._check_open()
        await self._send_frame(encode(KeepAlive()))

    async def refresh(self, token: str) -> None:
        """Show a newer token of the same subject, to go on beyond the end of the one before.

        The answer is a `TokenRefreshed` or `RefreshRefused` among the events.
        """
        self._check_open()
        await self._send_frame(encode_refresh(token))

    async def stop(self) -> None:
        """Say that there is no more audio; the last finals follow. Once is enough."""
        for frame in self._conversation.encode_stop():
            await self._send_frame(frame)

    async def _send_frame(self, frame: str | bytes) -> None:
        try:
            await self._socket.send(frame)
        except ConnectionClosed:
            await self._is_over.wait()  # the reader finds out why
            raise self._why_closed() from None

    def _check_open(self) -> None:
        if not self._conversation.wants_audio:
            raise self._why_closed()

    def _why_closed(self) -> ClientError:
        return self._conversation.failure or SessionError("session_over", "The audio has ended.")

    async def _read(self) -> None:
        """Take in frames until the session is over. The one task of the stream."""
        try:
            while not self._conversation.is_over:
                await _receive(self._socket, self._conversation)
                self._has_news.set()
        finally:
            self._is_over.set()
        await self._socket.close()


@asynccontextmanager
async def connect(  # noqa: PLR0913 - a door and the wishes of `Start`
    url: str,
    *,
    token: str,
    sample_rate_hz: SampleRateHz,
    language: str | None = None,
    end_of_speech_ms: int | None = None,
    partials: bool = True,
    context: str | None = None,
) -> AsyncIterator[Stream]:
    """Open a session, and close it in the end; `context`: names and words that may be said, to be
    spelt like that. Raises any ClientError.
    """
    start = Start(
        sample_rate_hz,
        language=language,
        end_of_speech_ms=end_of_speech_ms,
        partials=partials,
        context=context,
    )
    conversation = Conversation(start)
    async with open_socket(url, token) as socket:
        ready = await _begin(socket, conversation)
        stream = Stream(socket, conversation, ready)
        # Entered by hand: as a block, it would wrap what the caller raises into an ExceptionGroup.
        group = asyncio.TaskGroup()
        await group.__aenter__()
        reader = group.create_task(stream._read())
        try:
            yield stream
        finally:
            await socket.close()  # while the reader still clears the way for the server's answer
            reader.cancel()
            await group.__aexit__(None, None, None)


class Events:
    """The events of a source while it is being sent. Made by `stream_source` and `stream_file`."""

    def __init__(self, stream: Stream) -> None:
        self.ready = stream.ready
        """What the server granted."""
        self.transcript = Transcript()
        """Grows with the events that were taken."""
        self._stream = stream

    def __aiter__(self) -> Self:
        """The events after `ready`, each once; for one consumer."""
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event. Raises SessionError or ConnectionLostError after the last."""
        event = await anext(self._stream)
        self.transcript.receive_event(event)
        return event


@asynccontextmanager
async def stream_source(stream: Stream, source: Source, pace: Pace = None) -> AsyncIterator[Events]:
    """Send a source while its events are read. Closing the source stops the session cleanly; what
    it raises comes out of the block.
    """
    try:
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(_send_source(stream, source, pace))
            try:
                yield Events(stream)
            finally:
                sender.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        source.close()


async def converse(
    stream: Stream,
    source: Source,
    receive_event: Callable[[ServerEvent], None],
    pace: Pace = None,
) -> None:
    """Send a source, hand over every event. Closing the source stops the session cleanly."""
    async with stream_source(stream, source, pace) as events:
        async for event in events:
            receive_event(event)


@asynccontextmanager
async def stream_file(  # noqa: PLR0913 - a door, a file, and the wishes of `Start`
    url: str,
    token: str,
    path: str | Path,
    pace: Pace = None,
    *,
    language: str | None = None,
    context: str | None = None,
    partials: bool = True,
) -> AsyncIterator[Events]:
    """The events of a WAV, FLAC, MP3 or Ogg Vorbis file as they come. Raises any ClientError."""
    source = await asyncio.to_thread(FileSource, Path(path))
    async with (
        connect(
            url,
            token=token,
            sample_rate_hz=source.sample_rate_hz,
            language=language,
            partials=partials,
            context=context,
        ) as stream,
        stream_source(stream, source, pace) as events,
    ):
        yield events


async def transcribe_file(
    url: str,
    token: str,
    path: str | Path,
    pace: Pace = None,
    language: str | None = None,
    context: str | None = None,
) -> Transcript:
    """The transcript of a WAV, FLAC, MP3 or Ogg Vorbis file. Raises any ClientError."""
    async with stream_file(
        url, token, path, pace, language=language, context=context, partials=False
    ) as events:
        async for _ in events:
            pass
    return events.transcript


def transcribe_file_blocking(
    url: str,
    token: str,
    path: str | Path,
    pace: Pace = None,
    language: str | None = None,
    context: str | None = None,
) -> Transcript:
    """`transcribe_file` for programs that do not await; a notebook's event loop is no obstacle."""

    def run() -> Transcript:
        return asyncio.run(transcribe_file(url, token, path, pace, language, context))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


async def _begin(socket: ClientConnection, conversation: Conversation) -> Ready:
    """Send `start` and wait for its answer."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            with suppress(ConnectionClosed):  # what the server said before it left is read below
                await socket.send(conversation.start_frame)
            while conversation.ready is None and not conversation.is_over:
                await _receive(socket, conversation)
    except TimeoutError:
        raise ConnectionLostError("The server did not answer in time.") from None
    if conversation.ready is None:
        raise conversation.failure or wrong_protocol()
    return conversation.ready


async def _receive(socket: ClientConnection, conversation: Conversation) -> None:
    try:
        conversation.receive_frame(await socket.recv())
    except ConnectionClosed as closed:
        conversation.receive_close(closed.rcvd.code if closed.rcvd else ABNORMAL_CLOSE)


async def _send_source(stream: Stream, source: Source, pace: Pace) -> None:
    clock = asyncio.get_running_loop().time
    blocks = PacedBlocks(source, is_real_time=pace == "real_time", clock=clock)
    with suppress(SessionError, ConnectionLostError):  # the receiving side raises the same
        async for block in blocks:
            await stream.send(block)
        await stream.stop()
