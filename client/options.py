"""The command line and the environment in; checked options out.

Bad usage ends the program with 2 and a line that repeats no argument: a token may be among them.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from client.documents import Format
from client.sources import RATES_HZ
from client.stream import Pace
from client.token_source import TokenSource, find_token, looks_like_token
from server.wire import SampleRateHz

DEFAULT_URL = "ws://127.0.0.1:8765/v1/stream"
STANDARD_INPUT = "-"
DEFAULT_JOBS = 2
MOST_JOBS = 64
MOST_LABEL_CHARS = 20
FORMATS: tuple[Format, ...] = get_args(Format)

ChannelWish = Literal["auto", "mix", "split"]


@dataclass(frozen=True, slots=True)
class Options:
    """The command line, with what the environment adds to it."""

    files: tuple[Path, ...]
    input: Literal["files", "stdin", "microphone", "devices"]
    """`devices` only lists them."""
    device: str | None
    url: str
    find_token: TokenSource = field(repr=False)
    rate_hz: SampleRateHz | None
    """Of raw PCM on standard input."""
    language: str | None
    end_of_speech_ms: int | None
    context: str | None = field(repr=False)
    can_resume: bool
    channels: ChannelWish
    labels: tuple[str, ...]
    """Two: of the left and the right channel."""
    pace: Pace
    kind: Format | None
    """None is live captions on standard output."""
    output: Path | None
    output_folder: Path | None
    is_batch: bool
    n_jobs: int
    is_forced: bool

    @property
    def is_file(self) -> bool:
        """Whether the audio has an end that is known, and can be sent again."""
        return self.input == "files"


def parse_options(arguments: Sequence[str] | None) -> Options:
    """Read command line and environment. Raises UnusableError; SystemExit on bad usage."""
    parser = _make_parser()
    found, unknown = parser.parse_known_args(arguments)
    if unknown or any(map(looks_like_token, found.files)):  # not repeated: it may be a token
        parser.error("there are arguments that this program does not know; see --help")
    complaint = _find_fault(found)
    if complaint:
        parser.error(complaint)
    source = _input_of(found)
    files = tuple(Path(file) for file in found.files) if source == "files" else ()
    is_batch = (
        len(files) > 1 or found.output_folder is not None or any(file.is_dir() for file in files)
    )
    if is_batch and found.output is not None:
        parser.error("--output is for one recording; several go beside theirs, or --output-folder")
    is_slow = found.realtime or (source != "files" and not found.fast)
    return Options(
        files=files,
        input=source,
        device=found.device,
        url=found.url,
        find_token=_no_token
        if source == "devices"
        else find_token(found.token, found.token_file, found.token_command),
        rate_hz=found.rate,
        language=found.language,
        end_of_speech_ms=found.end_of_speech_ms,
        context=found.context,
        can_resume=not found.no_resume,
        channels=found.channels,
        labels=tuple(found.labels.split(",")),
        pace="real_time" if is_slow else None,
        kind="ndjson" if found.json else found.format or _kind_of(found.output),
        output=found.output,
        output_folder=found.output_folder,
        is_batch=is_batch,
        n_jobs=found.jobs,
        is_forced=found.force,
    )


def _no_token() -> str:
    return ""


def _input_of(
    found: argparse.Namespace,
) -> Literal["files", "stdin", "microphone", "devices"]:
    if found.list_devices:
        return "devices"
    if found.microphone:
        return "microphone"
    return "stdin" if STANDARD_INPUT in found.files else "files"


def _kind_of(output: Path | None) -> Format | None:
    """By the ending of the file; text if it has none."""
    if output is None:
        return None
    return next((kind for kind in FORMATS if output.suffix.lower() == f".{kind}"), "txt")


def _is_ending_unknown(found: argparse.Namespace) -> bool:
    if found.output is None or found.format is not None or found.json:
        return False
    ending = found.output.suffix.lower()
    return bool(ending) and ending not in {f".{kind}" for kind in FORMATS}


def _find_fault(found: argparse.Namespace) -> str | None:
    labels = found.labels.split(",")
    is_stdin = STANDARD_INPUT in found.files
    n_inputs = len(found.files) + found.microphone + found.list_devices
    faults = {
        "name an audio file, a folder, -, or --microphone": n_inputs == 0,
        "files, standard input and the microphone exclude each other": n_inputs > 1
        and (is_stdin or found.microphone or found.list_devices),
        "--rate is for raw PCM on standard input; files know their own": found.rate is not None
        and not is_stdin,
        "raw PCM on standard input needs --rate": found.rate is None and is_stdin,
        "--device is for --microphone": found.device is not None and not found.microphone,
        "the microphone cannot be heard faster than it hears": found.microphone and found.fast,
        f"--labels are two names of up to {MOST_LABEL_CHARS} characters, as in Agent,Caller": len(
            set(labels)
        )
        != 2
        or not all(0 < len(label.strip()) <= MOST_LABEL_CHARS for label in labels),
        f"--jobs are 1 to {MOST_JOBS}": not 1 <= found.jobs <= MOST_JOBS,
        "--output ends in .txt, .srt, .vtt, .json or .ndjson, unless --format says what it is": (
            _is_ending_unknown(found)
        ),
        "--json is --format ndjson": found.json and found.format not in (None, "ndjson"),
    }
    return next((fault for fault, is_there in faults.items() if is_there), None)


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m client",
        usage="%(prog)s FILE... | - | --microphone [options]",
        description="Transcribe audio files, folders of them, the microphone, or raw PCM from "
        "standard input, with live captions.",
        epilog="Exit codes: 0 ok, 1 session error, 2 usage, unreadable audio or a file that cannot "
        "be written, 3 refused at the door, 4 connection lost, 130 interrupted. Of several files "
        "that fail, the first decides.",
        allow_abbrev=False,
    )
    _add_inputs(parser.add_argument_group("input"))
    _add_server(parser.add_argument_group("server"))
    _add_outputs(parser.add_argument_group("output"))
    return parser


def _add_inputs(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "files",
        metavar="FILE",
        nargs="*",
        help="WAV, FLAC, MP3 or Ogg Vorbis, or a folder of them; - is raw PCM",
    )
    group.add_argument("--microphone", action="store_true", help="hear the microphone")
    group.add_argument("--device", metavar="D", help="which one; see --list-devices")
    group.add_argument("--list-devices", action="store_true", help="list microphones")
    group.add_argument(
        "--rate", type=int, choices=RATES_HZ, help="samples a second of raw 16-bit mono PCM"
    )
    group.add_argument(
        "--channels",
        choices=get_args(ChannelWish),
        default="auto",
        help="of a stereo file: mix them, or split them into a transcript for each; by default "
        "they are split if two speakers talk in turn on them",
    )
    group.add_argument(
        "--labels", default="left,right", metavar="L,R", help="names of the two channels"
    )
    pace = group.add_mutually_exclusive_group()
    pace.add_argument(
        "--realtime", action="store_true", help="send at the pace it was spoken (default of -)"
    )
    pace.add_argument(
        "--fast", action="store_true", help="send as fast as the server takes it (default of files)"
    )


def _add_server(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--url",
        default=os.environ.get("EARWITNESS_URL", DEFAULT_URL),
        help=f"the server; by default EARWITNESS_URL, or {DEFAULT_URL}",
    )
    token = group.add_mutually_exclusive_group()
    token.add_argument(
        "--token",
        help="bearer token; everybody on this machine can see it there, so prefer --token-file, "
        "--token-command or the environment variable EARWITNESS_TOKEN",
    )
    token.add_argument("--token-file", type=Path, metavar="F", help="file that holds the token")
    token.add_argument(
        "--token-command",
        metavar="C",
        help="command that prints the token; run without a shell, for 30 s at most",
    )
    group.add_argument("--language", metavar="L", help="language code, such as en")
    group.add_argument(
        "--end-of-speech-ms", type=int, metavar="MS", help="silence that ends a segment"
    )
    group.add_argument(
        "--context", metavar="WORDS", help="names and words that may be said, to be spelt so"
    )
    group.add_argument(
        "--no-resume",
        action="store_true",
        help="give up when the connection breaks, instead of going on over another one",
    )


def _add_outputs(group: "argparse._ArgumentGroup") -> None:
    group.add_argument(
        "--format", choices=FORMATS, help="by default that of --output, live captions without one"
    )
    group.add_argument("--json", action="store_true", help="the same as --format ndjson")
    group.add_argument("--output", type=Path, metavar="F", help="file for the transcript")
    group.add_argument(
        "--output-folder", type=Path, metavar="DIR", help="folder for those of several files"
    )
    group.add_argument("--force", action="store_true", help="write over files that are there")
    group.add_argument(
        "--jobs",
        type=int,
        default=DEFAULT_JOBS,
        metavar="N",
        help=f"of several files, so many at once (default {DEFAULT_JOBS})",
    )
