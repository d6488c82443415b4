"""Names of recordings and the content of their documents in; files where the user wants them out.

The one module of the client that writes: what was said, into a file that the user named or beside a
recording. A file that is there already stays, unless the user said otherwise; one that could not be
written whole is taken away again.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from client.documents import Format
from client.errors import UnusableError

SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga")
"""What is taken from a folder."""

_IS_THERE = "is there already; --force writes over it."


@dataclass(frozen=True, slots=True)
class Job:
    """A recording and where its document goes."""

    recording: Path
    output: Path


def plan_jobs(inputs: Sequence[Path], kind: Format, folder: Path | None) -> list[Job]:
    """All recordings among files and in folders. Raises UnusableError if there are none.

    Documents lie beside their recordings, or in a folder as they lay in theirs. Where two would get
    one name, they keep the endings of their recordings.
    """
    found = {  # by the recording, once, however often it was named
        recording: root for path in inputs for recording, root in _recordings_in(path)
    }
    if not found:
        raise UnusableError(f"There are no recordings ({', '.join(SUFFIXES)}) in there.")
    places = {
        recording: folder / recording.relative_to(root) if folder else recording
        for recording, root in found.items()
    }
    uses = Counter(place.with_suffix("") for place in places.values())
    jobs = [
        Job(recording, _document(place, kind, is_alone=uses[place.with_suffix("")] == 1))
        for recording, place in places.items()
    ]
    if len({job.output for job in jobs}) < len(jobs):
        raise UnusableError("Two recordings of one name would be written into one file.")
    return jobs


def check_output(path: Path, recordings: Sequence[Path] = (), *, is_forced: bool) -> None:
    """Before any work is done for it. Raises UnusableError."""
    if any(
        recording.exists() and path.exists() and recording.samefile(path)
        for recording in recordings
    ):
        raise UnusableError(f"{path} is the recording itself.")
    if not is_forced and (path.exists() or path.is_symlink()):
        raise UnusableError(f"{path} {_IS_THERE}")
    if not path.parent.is_dir():
        raise UnusableError(f"{path.parent}: no such folder")


def make_folder(folder: Path) -> None:
    """With all above it. Raises UnusableError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableError(f"{folder}: {error.strerror or 'cannot be made'}") from None


def write_output(path: Path, content: str, *, is_forced: bool) -> None:
    """All of it or nothing. Raises UnusableError."""
    place = path.with_name(f".{path.name}.{os.getpid()}.part") if is_forced else path
    try:
        with place.open("x", encoding="utf-8", newline="") as file:
            _write_whole(file, content, place)
        if is_forced:
            place.replace(path)
    except FileExistsError:
        raise UnusableError(f"{path} {_IS_THERE}") from None
    except OSError as error:
        raise UnusableError(f"{path}: {error.strerror or 'cannot be written'}") from None


def _write_whole(file: TextIO, content: str, place: Path) -> None:
    try:
        file.write(content)
        file.flush()
    except BaseException:
        place.unlink()
        raise


def _recordings_in(path: Path) -> Iterator[tuple[Path, Path]]:
    """Each with the folder that it was found from; what is no folder is taken at its word."""
    if not path.is_dir():
        yield path, path.parent
        return
    for inside in sorted(path.rglob("*")):
        is_hidden = any(part.startswith(".") for part in inside.relative_to(path).parts)
        if inside.suffix.lower() in SUFFIXES and not is_hidden and inside.is_file():
            yield inside, path


def _document(place: Path, kind: Format, *, is_alone: bool) -> Path:
    short, long = place.with_suffix(f".{kind}"), place.with_name(f"{place.name}.{kind}")
    return short if is_alone and short != place else long
