"""`python -m client FILE…`: recordings, a microphone or raw PCM in, captions or documents out.

Standard output holds the words and nothing else; what went wrong is one line on standard error and
an exit code. Ctrl-C or SIGTERM ends the audio and still waits for the last finals, a second one
does not; before a session stands, and of several files, the first ends the whole at once. A token
is never printed. What was told before a session failed is written for a microphone, which cannot be
heard again, and not for a file, which can; but what was told before the connection was lost for
good is always written. One file waits a little for a server that is full or restarts.

    0 all was told, or all until it was stopped   1 the session ended by an error
    2 usage, audio that cannot be read, or a document that cannot be written
    3 refused at the door   4 no connection, or it was lost   130 interrupted
"""

import asyncio
import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import TextIO

from client.batch import Batch
from client.cells import clean
from client.documents import encode_event
from client.errors import (
    ClientError,
    ConnectionLostError,
    RefusedError,
    SourceError,
    UnusableError,
)
from client.hearing import Account, Door, Recording, hear, open_recording
from client.line import Connection
from client.microphone import MicrophoneSource
from client.options import Options, parse_options
from client.outputs import check_output, write_output
from client.patience import try_patiently
from client.progress import Progress
from client.recorders import find_recorder, list_devices
from client.signals import heeded
from client.sources import PipeSource, Source
from client.token_source import TokenCommand
from client.views import announce, choose_views, shown
from server.wire import ServerEvent

EXIT_INTERRUPTED = 130
WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each further attempt with one file."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the result is its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # words that the locale cannot write become "?"
    try:
        return _run(parse_options(arguments))
    except ClientError as error:
        return _complain(str(error), _exit_code(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (KeyboardInterrupt, asyncio.CancelledError):
        return _complain("Interrupted.", EXIT_INTERRUPTED)
    return 0


def _run(options: Options) -> int:
    if options.input == "devices":
        recorder = find_recorder()
        print(f"by {recorder.name}:", *list_devices(recorder) or ["its default"], sep="\n  ")
        return 0
    failure = asyncio.run(_transcribe(options))
    return 0 if failure is None else _exit_code(failure)


async def _transcribe(options: Options) -> ClientError | None:
    """The first failure of several files; that of one is raised."""
    try:
        if options.is_batch:
            with heeded():
                return await Batch(options, _door(options, has_captions=False), _tell).run()
        single = _Single(options)
        with heeded(single.stop):
            await single.run()
        return None
    finally:
        if isinstance(options.find_token, TokenCommand):
            options.find_token.end()


class _Single:
    """One recording, microphone or pipe, from its source to its document."""

    def __init__(self, options: Options) -> None:
        self._options = options
        kind = options.kind
        self._is_streamed = kind == "ndjson" and options.output is None
        self._is_document = kind is not None and not self._is_streamed
        self._heard: Mapping[str | None, Source] = {}
        """What is being sent; nothing before the session stands."""
        self._is_terminated = False

    def stop(self, number: signal.Signals) -> bool:
        """End the audio, if there is any; the last finals still come."""
        self._is_terminated = number is signal.SIGTERM
        for source in self._heard.values():
            source.close()
        return bool(self._heard)

    async def run(self) -> None:
        """Raises any ClientError."""
        options = self._options
        if options.output is not None:
            check_output(options.output, options.files, is_forced=options.is_forced)
        recording = await asyncio.to_thread(_open, options)
        account = Account(recording.sources, options.kind if self._is_document else None)
        try:
            await self._hear(recording, account)
        except ClientError as error:
            is_lost = isinstance(error, ConnectionLostError) and not account.is_empty
            if is_lost or not options.is_file:
                self._write(account)
            raise
        except asyncio.CancelledError:
            if not options.is_file:
                self._write(account)
            raise
        self._write(account)
        if self._is_terminated:
            _tell("earwitness: Ended by SIGTERM. What was heard until then is told.")
        for source in recording.sources.values():
            if isinstance(source, MicrophoneSource) and source.complaint is not None:
                raise SourceError(source.complaint)

    async def _hear(self, recording: Recording, account: Account) -> None:
        options = self._options
        progress = _progress(options, recording)
        captions_out = self._captions_out(recording)
        views = choose_views(captions_out, sys.stderr if options.is_file else None, progress)

        def receive_event(channel: str | None, event: ServerEvent) -> None:
            self._heard = recording.sources
            if self._is_streamed:
                print(encode_event(event, channel), flush=True)
            account.receive_event(channel, event)
            progress.receive_event(channel, event)
            for view in views:
                view.show(account.transcript)

        def tell(text: str) -> None:
            announce(f"earwitness: {text}", sys.stderr, views, account.transcript)

        def receive_connection(channel: str | None, connection: Connection) -> None:
            text = _spell_connection(connection)
            if text is not None:
                tell(text + ("" if channel is None else f" ({clean(channel)})"))

        is_fast_file = options.is_file and options.pace is None
        door = _door(options, has_captions=captions_out is not None and not is_fast_file)
        with shown(views, account.transcript):
            await try_patiently(
                lambda: hear(
                    door, recording.sources, receive_event, options.pace, receive_connection
                ),
                WAITS_S if options.is_file else (),
                can_wait=lambda: not self._heard,
                tell=tell,
            )

    def _captions_out(self, recording: Recording) -> TextIO | None:
        """Where captions may grow: not into a document, and not out of their order."""
        options = self._options
        if len(recording.sources) > 1 and options.pace is None:
            self._is_document = self._is_document or not self._is_streamed
            return None
        if options.kind is None:
            return sys.stdout
        if options.output is not None:
            return sys.stdout if sys.stdout.isatty() else None
        is_live = not options.is_file and not self._is_streamed
        return sys.stderr if is_live and sys.stderr.isatty() else None

    def _write(self, account: Account) -> None:
        options = self._options
        if not self._is_document:
            return
        if options.output is None:
            sys.stdout.write(account.encode())
        else:
            write_output(options.output, account.encode(), is_forced=options.is_forced)


def _door(options: Options, *, has_captions: bool) -> Door:
    """Captions that nobody sees would take the engine's time for nothing."""
    return Door(
        options.url,
        options.find_token,
        options.language,
        options.end_of_speech_ms,
        options.context,
        has_partials=has_captions or options.kind == "ndjson",
        can_resume=options.can_resume,
    )


def _spell_connection(connection: Connection) -> str | None:
    match connection:
        case Connection.RECONNECTING:
            return "The connection broke. Trying to go on …"
        case Connection.CONNECTED:
            return "Connected again."
        case Connection.OVER:
            return None


def _open(options: Options) -> Recording:
    match options.input:
        case "microphone":
            command = find_recorder().command_for(options.device)
            return Recording({None: MicrophoneSource(command)}, 0)
        case "stdin" if options.rate_hz is not None:
            return Recording({None: PipeSource(sys.stdin.fileno(), options.rate_hz)}, 0)
        case _:
            return open_recording(options.files[0], options.channels, options.labels)


def _progress(options: Options, recording: Recording) -> Progress:
    return Progress(
        options.files[0].name if options.is_file else "listening",
        recording.audio_ms,
        len(recording.sources),
        is_real_time=options.pace == "real_time",
        clock=monotonic,
    )


def _exit_code(error: ClientError) -> int:
    match error:
        case UnusableError():
            return 2
        case RefusedError():
            return 3
        case ConnectionLostError():
            return 4
        case _:
            return 1


def _complain(text: str, exit_code: int) -> int:
    _tell(f"earwitness: {text}")
    return exit_code


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
