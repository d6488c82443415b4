"""Sources and a door in; an account of what was said, while it is said, out.

A recording with a speaker on each channel is two sessions side by side; they are opened before
either is sent, so that both begin together or none does. Where a token is about to end, its source
is asked for a newer one, which is shown to the server; it is asked, too, when the connection broke
and another is opened.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from client.documents import Format, encode_document, encode_event
from client.errors import ConnectionLostError, RefusedError, SessionError, UnusableError
from client.line import Connection
from client.sources import FileSource, Source
from client.stream import Pace, Stream, connect, stream_source
from client.token_source import TokenSource
from client.transcript import Channels, Transcript
from server.wire import ServerEvent, TokenExpiring


@dataclass(frozen=True, slots=True)
class Door:
    """Where to knock, and what to ask for."""

    url: str
    find_token: TokenSource = field(repr=False)
    language: str | None = None
    end_of_speech_ms: int | None = None
    context: str | None = field(default=None, repr=False)
    has_partials: bool = True
    can_resume: bool = True


@dataclass(frozen=True, slots=True)
class Recording:
    """An open file."""

    sources: Mapping[str | None, Source]
    """By the name of the channel; None alone where channels are mixed."""
    audio_ms: int


class Account:
    """What was said so far on all channels."""

    def __init__(self, channels: Mapping[str | None, Source], kind: Format | None = None) -> None:
        self._transcripts = {name: Transcript() for name in channels}
        self._kind = kind
        self._lines: list[str] = []
        self.transcript = Channels(self._transcripts)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was said yet."""
        return not self.transcript.segments

    def receive_event(self, channel: str | None, event: ServerEvent) -> None:
        """Take in what the server said."""
        self._transcripts[channel].receive_event(event)
        if self._kind == "ndjson":
            self._lines.append(encode_event(event, channel))

    def encode(self) -> str:
        """The content of a file."""
        if self._kind == "ndjson":
            return "".join(f"{line}\n" for line in self._lines)
        return encode_document(self._kind or "txt", self.transcript)


def open_recording(path: Path, wish: str, labels: tuple[str, ...]) -> Recording:
    """A file, its channels apart if they are to be. Blocks. Raises SourceError."""
    from client.sound_file import SoundFile

    file = SoundFile(path)
    if wish == "split" and file.n_channels != 2:
        raise UnusableError(f"{path}: has no two channels to split")
    is_split = wish == "split" or (wish == "auto" and file.has_two_speakers())
    if not is_split:
        return Recording({None: FileSource(path)}, file.audio_ms)
    sources: dict[str | None, Source] = {
        label.strip(): FileSource(path, at) for at, label in enumerate(labels)
    }
    return Recording(sources, file.audio_ms)


async def hear(
    door: Door,
    sources: Mapping[str | None, Source],
    receive_event: Callable[[str | None, ServerEvent], None],
    pace: Pace = None,
    receive_connection: Callable[[str | None, Connection], None] = lambda *_: None,
) -> None:
    """Send every source, hand over every event with its channel, and how its connection stands
    when that changes. Raises any ClientError.
    """
    token = await asyncio.to_thread(door.find_token)
    async with AsyncExitStack() as stack:
        streams: dict[str | None, Stream] = {}
        for name, source in sources.items():
            streams[name] = await stack.enter_async_context(
                connect(
                    door.url,
                    token=_after(token, door.find_token),
                    sample_rate_hz=source.sample_rate_hz,
                    language=door.language,
                    end_of_speech_ms=door.end_of_speech_ms,
                    partials=door.has_partials,
                    context=door.context,
                    resume=door.can_resume,
                )
            )
        for name, stream in streams.items():
            receive_event(name, stream.ready)
        try:
            async with asyncio.TaskGroup() as group:
                for name, stream in streams.items():
                    listener = _Listener(name, stream, receive_event, door.find_token, token)
                    group.create_task(listener.listen(sources[name], pace))
                    group.create_task(_watch(name, stream, receive_connection))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None


async def _watch(
    name: str | None,
    stream: Stream,
    receive_connection: Callable[[str | None, Connection], None],
) -> None:
    async for connection in stream.connection_changes():
        receive_connection(name, connection)


def _after(token: str, find_token: TokenSource) -> TokenSource:
    """The token that was found already, and then whatever is found."""
    found = iter([token])
    return lambda: next(found, None) or find_token()


class _Listener:
    """Hears one channel to its end."""

    def __init__(
        self,
        name: str | None,
        stream: Stream,
        receive_event: Callable[[str | None, ServerEvent], None],
        find_token: TokenSource,
        token: str,
    ) -> None:
        self._name = name
        self._stream = stream
        self._receive_event = receive_event
        self._find_token = find_token
        self._token = token

    async def listen(self, source: Source, pace: Pace) -> None:
        """Raises any ClientError."""
        try:
            async with (
                asyncio.TaskGroup() as group,
                stream_source(self._stream, source, pace) as events,
            ):
                refreshing: list[asyncio.Task[None]] = []
                async for event in events:
                    self._receive_event(self._name, event)
                    if isinstance(event, TokenExpiring):
                        refreshing.append(group.create_task(self._refresh()))
                for task in refreshing:  # the session needs no token any more
                    task.cancel()
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _refresh(self) -> None:
        """Show a newer token, if there is one; else the session ends with the one that it has."""
        with suppress(UnusableError, SessionError, ConnectionLostError, RefusedError):
            newer = await asyncio.to_thread(self._find_token)
            if newer != self._token:
                self._token = newer
                await self._stream.refresh(newer)
