"""`client.stream.connect` for programs that do not await: the same session, driven by a thread.

    with connect_blocking(url, token=token, sample_rate_hz=16_000) as stream:
        stream.send(pcm)
        stream.stop()
        for event in stream: ...

The thread has an event loop of its own and lives as long as the block. Sending and iterating may
be done in one thread or in two; sending waits when too much is on its way to the server. What is
asked of a stream after its block is a `SessionError`.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Self, TypeVar

from client.errors import SessionError
from client.stream import Stream, Token, connect
from server.wire import Ready, SampleRateHz, ServerEvent

T = TypeVar("T")


class BlockingStream:
    """One open session. Made by `connect_blocking`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        self._lock = Lock()
        self._is_left = False

    @property
    def ready(self) -> Ready:
        """What the server granted."""
        return self._stream.ready

    def __iter__(self) -> Self:
        """The events after `ready`, each once; for one consumer."""
        return self

    def __next__(self) -> ServerEvent:
        """Wait for the next event. Raises any ClientError after the last."""
        event = self._wait_for(self._take_event())
        if event is None:
            raise StopIteration
        return event

    def send(self, pcm: bytes | bytearray | memoryview) -> None:
        """Send 16-bit little-endian mono PCM, cut anywhere. Waits for room."""
        self._wait_for(self._stream.send(pcm))

    def flush(self) -> None:
        """Ask for the final of what was said so far."""
        self._wait_for(self._stream.flush())

    def keep_alive(self) -> None:
        """Say that the silence is meant; a server ends sessions that send nothing at all."""
        self._wait_for(self._stream.keep_alive())

    def refresh(self, token: str) -> None:
        """Show a newer token of the same subject, to go on beyond the end of the one before."""
        self._wait_for(self._stream.refresh(token))

    def stop(self) -> None:
        """Say that there is no more audio; the last finals follow. Once is enough."""
        self._wait_for(self._stream.stop())

    async def wait_for_end(self) -> None:
        """For the thread that holds the session."""
        await self._end.wait()

    def leave(self) -> None:
        """Let that thread end. The end of the block does it."""
        with self._lock:
            self._is_left = True
            self._loop.call_soon_threadsafe(self._end.set)

    async def _take_event(self) -> ServerEvent | None:
        return await anext(self._stream, None)

    def _wait_for(self, work: Coroutine[object, object, T]) -> T:
        with self._lock:  # so that the loop does not end before it has heard of the work
            if self._is_left:
                work.close()
                raise _session_over()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise _session_over() from None
        finally:
            future.cancel()  # where the wait was interrupted, by Ctrl-C


def _session_over() -> SessionError:
    return SessionError("session_over", "The session is over: its block has ended.")


@contextmanager
def connect_blocking(  # noqa: PLR0913 - a door and the wishes of `Start`
    url: str,
    *,
    token: Token,
    sample_rate_hz: SampleRateHz,
    language: str | None = None,
    end_of_speech_ms: int | None = None,
    partials: bool = True,
    context: str | None = None,
    resume: bool = True,
) -> Iterator[BlockingStream]:
    """Open a session, and close it in the end; as `client.stream.connect`. Raises any
    ClientError.
    """
    opened: Future[BlockingStream] = Future()

    async def hold() -> None:
        async with connect(
            url,
            token=token,
            sample_rate_hz=sample_rate_hz,
            language=language,
            end_of_speech_ms=end_of_speech_ms,
            partials=partials,
            context=context,
            resume=resume,
        ) as stream:
            blocking = BlockingStream(stream)
            opened.set_result(blocking)
            await blocking.wait_for_end()

    def run() -> None:
        try:
            asyncio.run(hold())
        except BaseException as error:  # whatever it is, it belongs to the caller
            if opened.done():
                raise
            opened.set_exception(error)

    thread = Thread(target=run, name="earwitness-stream", daemon=True)
    thread.start()
    stream = opened.result()
    try:
        yield stream
    finally:
        stream.leave()
        thread.join()
