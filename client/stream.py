"""The client library: a URL, a token and PCM in; events of `server.wire`, or one error, out.

    async with connect(url, token=token, sample_rate_hz=16_000) as stream:
        await stream.send(pcm)
        await stream.stop()
        async for event in stream: ...

    async with stream_file(url, token, "talk.flac") as events:
        async for event in events: ...
    events.transcript.words

Sending and receiving are meant for two tasks. Tasks of the stream read and write all the time, so
that a consumer who is slow, or who sends everything before reading, never makes both ends wait for
each other; sending waits when too much is on its way to the server, which takes audio no faster
than it can hear it. When the connection breaks, the session goes on over another one (client.line).
Iteration ends after `ended`; where the session did not end well it raises, after the last event,
the same error that `send` raises from then on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal, Self

from client.conversation import Conversation, wrong_protocol
from client.credential import Credential
from client.errors import ConnectionLostError, RefusedError, SessionError
from client.line import Connection, Line
from client.outgoing import MARK_BYTES, MAX_AUDIO_FRAME_BYTES
from client.sources import FileSource, PacedBlocks, Source
from client.transcript import Transcript
from server.wire import Flush, KeepAlive, Ready, SampleRateHz, ServerEvent, Start

Token = str | Callable[[], str]
"""A function may block: it is called in a thread."""
Pace = Literal["real_time"] | None
"""None is as fast as the server takes it."""


class Stream:
    """One open session. Made by `connect`."""

    def __init__(self, line: Line, conversation: Conversation, ready: Ready) -> None:
        self.ready = ready
        """What the server granted."""
        self._line = line
        self._conversation = conversation

    @property
    def connection(self) -> Connection:
        """How the line to the server stands at the moment."""
        return self._line.connection

    def connection_changes(self) -> AsyncIterator[Connection]:
        """How it stands, each time that changes, to the end of the session."""
        return self._line.changes()

    def __aiter__(self) -> Self:
        """The events after `ready`, each once; for one consumer."""
        return self

    async def __anext__(self) -> ServerEvent:
        """The next event. Raises any ClientError after the last."""
        while True:
            event = self._conversation.take_event()
            if event is not None:
                return event
            if self._conversation.is_over:
                raise self._conversation.failure or StopAsyncIteration
            await self._line.wait_for_news()

    async def send(self, pcm: bytes | bytearray | memoryview) -> None:
        """Send 16-bit little-endian mono PCM, cut anywhere. Waits for room: what the server has not
        acknowledged is kept.
        """
        self._check_open()
        whole = memoryview(pcm).cast("B")
        for at in range(0, len(whole), MAX_AUDIO_FRAME_BYTES):
            piece = whole[at : at + MAX_AUDIO_FRAME_BYTES]
            await self._wait_for_room(len(piece))
            self._conversation.outgoing.add_audio(piece)
            self._line.send()

    async def flush(self) -> None:
        """Ask for the final of what was said so far."""
        await self._say(Flush())

    async def keep_alive(self) -> None:
        """Say that the silence is meant; a server ends sessions that send nothing at all."""
        await self._say(KeepAlive())

    async def refresh(self, token: str) -> None:
        """Show a newer token of the same subject, to go on beyond the end of the one before.

        The answer is a `TokenRefreshed` or `RefreshRefused` among the events.
        """
        self._check_open()
        self._conversation.refresh(token)
        self._line.send()

    async def stop(self) -> None:
        """Say that there is no more audio; the last finals follow. Once is enough."""
        self._conversation.stop()
        self._line.send()

    async def _say(self, mark: Flush | KeepAlive) -> None:
        self._check_open()
        await self._wait_for_room(MARK_BYTES)
        self._conversation.outgoing.add(mark)
        self._line.send()

    async def _wait_for_room(self, n_bytes: int) -> None:
        while not self._conversation.outgoing.has_room(n_bytes):
            await self._line.wait_for_news()
            self._check_open()

    def _check_open(self) -> None:
        if not self._conversation.wants_audio:
            raise self._conversation.failure or SessionError("session_over", "The audio has ended.")


@asynccontextmanager
async def connect(  # noqa: PLR0913 - a door and the wishes of `Start`
    url: str,
    *,
    token: Token,
    sample_rate_hz: SampleRateHz,
    language: str | None = None,
    end_of_speech_ms: int | None = None,
    partials: bool = True,
    context: str | None = None,
    resume: bool = True,
) -> AsyncIterator[Stream]:
    """Open a session, and close it in the end. Raises any ClientError.

    `token` may be a function, which is asked at each handshake. `context`: names and words that may
    be said, to be spelt like that. `resume`: when the connection breaks, go on over another one.
    """
    start = Start(
        sample_rate_hz,
        language=language,
        end_of_speech_ms=end_of_speech_ms,
        partials=partials,
        context=context,
        resumable=resume,
    )
    conversation = Conversation(start)
    line = Line(url, Credential(token), conversation, is_lasting=resume)
    # Entered by hand: as a block, it would wrap what the caller raises into an ExceptionGroup.
    group = asyncio.TaskGroup()
    await group.__aenter__()
    task = group.create_task(line.run())
    try:
        while conversation.ready is None and not conversation.is_over:
            await line.wait_for_news()
        if conversation.ready is None:
            raise conversation.failure or wrong_protocol()
        yield Stream(line, conversation, conversation.ready)
    finally:
        if not conversation.is_over:  # else the line is about to end, with a last word
            await line.leave()
            task.cancel()
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
        """The next event. Raises any ClientError after the last."""
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
    token: Token,
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
    token: Token,
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
    token: Token,
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


async def _send_source(stream: Stream, source: Source, pace: Pace) -> None:
    clock = asyncio.get_running_loop().time
    blocks = PacedBlocks(source, is_real_time=pace == "real_time", clock=clock)
    failures = (SessionError, ConnectionLostError, RefusedError)
    with suppress(*failures):  # the receiving side raises the same
        async for block in blocks:
            await stream.send(block)
        await stream.stop()
