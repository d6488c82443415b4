"""`python -m client FILE`: an audio file or raw PCM in, live captions or events out.

Standard output holds the words and nothing else; everything that went wrong is one line on standard
error and an exit code. Ctrl-C ends the audio and still waits for the last finals, a second one does
not. The token comes from a file or from the environment, because the command line is visible to
everybody on the machine, and it is never printed.

    0 all was told   1 the session ended by an error   2 usage, or audio that cannot be read
    3 refused at the door   4 no connection, or it was lost   130 interrupted twice
"""

import argparse
import asyncio
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from client.captions import Captions
from client.errors import ClientError, ConnectionLostError, RefusedError, UnusableError
from client.sources import RATES_HZ, FileSource, PipeSource, Source
from client.stream import Pace, connect, converse
from client.transcript import Transcript
from server.wire import SampleRateHz, ServerEvent, encode

DEFAULT_URL = "ws://127.0.0.1:8765/v1/stream"
STANDARD_INPUT = "-"
MAX_TOKEN_FILE_BYTES = 16_384
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, with what the environment adds to it."""

    file: str
    url: str
    token: str = field(repr=False)
    rate_hz: SampleRateHz | None
    language: str | None
    end_of_speech_ms: int | None
    context: str | None = field(repr=False)
    is_fast: bool
    is_json: bool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the result is its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # words that the locale cannot write become "?"
    try:
        asyncio.run(_transcribe(parse_options(arguments)))
    except ClientError as error:
        return _complain(str(error), _exit_code(error))
    except BrokenPipeError:  # whoever read the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _complain("Interrupted.", EXIT_INTERRUPTED)
    return 0


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Read command line and environment. Raises UnusableError; SystemExit on bad usage."""
    parser = _make_parser()
    found, unknown = parser.parse_known_args(arguments)
    if unknown:  # not repeated: a token may be among them
        parser.error("there are arguments that this program does not know; see --help")
    if found.rate is not None and found.file != STANDARD_INPUT:
        parser.error("--rate is for raw PCM on standard input; files know their own")
    if found.rate is None and found.file == STANDARD_INPUT:
        parser.error("raw PCM on standard input needs --rate")
    return Options(
        file=found.file,
        url=found.url,
        token=_find_token(found.token, found.token_file),
        rate_hz=found.rate,
        language=found.language,
        end_of_speech_ms=found.end_of_speech_ms,
        context=found.context,
        is_fast=found.fast,
        is_json=found.json,
    )


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m client",
        usage="%(prog)s FILE [options]",
        description="Transcribe an audio file, or raw PCM from standard input, with live captions.",
        epilog="Exit codes: 0 ok, 1 session error, 2 usage or unreadable audio, 3 refused at the "
        "door, 4 connection lost, 130 interrupted twice.",
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", help="WAV, FLAC, MP3 or Ogg Vorbis; - is raw PCM")
    parser.add_argument(
        "--url",
        default=os.environ.get("EARWITNESS_URL", DEFAULT_URL),
        help=f"the server; by default EARWITNESS_URL, or {DEFAULT_URL}",
    )
    token = parser.add_mutually_exclusive_group()
    token.add_argument(
        "--token",
        help="bearer token; everybody on this machine can see it there, so prefer --token-file or "
        "the environment variable EARWITNESS_TOKEN",
    )
    token.add_argument("--token-file", type=Path, metavar="F", help="file that holds the token")
    parser.add_argument(
        "--rate", type=int, choices=RATES_HZ, help="samples a second of raw 16-bit mono PCM"
    )
    parser.add_argument("--language", metavar="L", help="language code, such as en")
    parser.add_argument(
        "--end-of-speech-ms", type=int, metavar="MS", help="silence that ends a segment"
    )
    parser.add_argument(
        "--context", metavar="WORDS", help="names and words that may be said, to be spelt so"
    )
    parser.add_argument("--fast", action="store_true", help="send faster than real time")
    parser.add_argument(
        "--json", action="store_true", help="print the events, a JSON object a line"
    )
    return parser


def _find_token(given: str | None, file: Path | None) -> str:
    if given is not None:
        return given
    if file is not None:
        try:
            with file.open("rb") as content:
                return content.read(MAX_TOKEN_FILE_BYTES).decode("ascii").strip()
        except OSError as error:
            raise UnusableError(f"{file}: {error.strerror or 'cannot be read'}") from None
        except UnicodeDecodeError:
            raise UnusableError(f"{file}: holds no token") from None
    token = os.environ.get("EARWITNESS_TOKEN", "").strip()
    if not token:
        raise UnusableError("A token is needed: --token-file, or EARWITNESS_TOKEN.")
    return token


async def _transcribe(options: Options) -> None:
    source = await asyncio.to_thread(_open_source, options)
    with _stopping_at_ctrl_c(source):
        async with connect(
            options.url,
            token=options.token,
            sample_rate_hz=source.sample_rate_hz,
            language=options.language,
            end_of_speech_ms=options.end_of_speech_ms,
            context=options.context,
        ) as stream:
            pace: Pace = None if options.is_fast else "real_time"
            if options.is_json:
                _print_event(stream.ready)
                await converse(stream, source, _print_event, pace)
            else:
                with _captions() as show_event:
                    await converse(stream, source, show_event, pace)


def _open_source(options: Options) -> Source:
    if options.rate_hz is None:
        return FileSource(Path(options.file))
    return PipeSource(sys.stdin.fileno(), options.rate_hz)


@contextmanager
def _stopping_at_ctrl_c(source: Source) -> Iterator[None]:
    """Ctrl-C ends the audio; from then on it is the usual KeyboardInterrupt again."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        source.close()
        loop.remove_signal_handler(signal.SIGINT)

    with suppress(NotImplementedError):  # Windows
        loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        with suppress(NotImplementedError):
            loop.remove_signal_handler(signal.SIGINT)


def _print_event(event: ServerEvent) -> None:
    print(encode(event), flush=True)


@contextmanager
def _captions() -> Iterator[Callable[[ServerEvent], None]]:
    """Shows events on standard output while it is open."""
    is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    captions = Captions(sys.stdout, is_terminal=is_terminal)
    transcript = Transcript()

    def show_event(event: ServerEvent) -> None:
        transcript.receive_event(event)
        captions.show(transcript)

    try:
        yield show_event
    finally:
        captions.close(transcript)


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
    print(f"earwitness: {text}", file=sys.stderr)
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
