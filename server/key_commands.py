"""`run.py keys …`: key sources in, packs that other keys open out; no weight is touched. And the
keys that sign tokens.

Each change is on record with the ids of the keys, which name them and are none.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from security.audit_events import KeySlotsChanged, SigningKeyRotated
from security.keks.uris import KINDS, open_kek
from security.keys import create_key_file, create_signing_key
from security.rotation import add_slot, drop_slot, rotate_slot, slots_of
from security.signing_rotation import rotate_signing_key
from server.command_line import (
    ConfigFile,
    Model,
    check_trail,
    plain_errors,
    read_duration_s,
    read_settings,
    record,
    refusals_recorded,
)
from server.packs import existing_pack, pack_trust, published_trust, rotate_key_file
from server.start_error import EXIT_SETTINGS, StartError

_KINDS = "; ".join(f"{kind.form}, {kind.help}" for kind in KINDS)
app = typer.Typer(no_args_is_help=True, help="The keys that open packs, and who holds them.")
Source = Annotated[str, typer.Argument(help=f"Where the key lies. {_KINDS}.")]


@app.command("list")
def list_(model: Model = None, config: ConfigFile = None) -> None:
    """Name the keys that open a pack; needs none of them."""
    with plain_errors():
        settings = read_settings(config, model)
        with refusals_recorded(settings):
            for kek_id in slots_of(existing_pack(settings), published_trust(settings)):
                print(kek_id)


@app.command("add")
def add(source: Source, model: Model = None, config: ConfigFile = None) -> None:
    """Let another key open a pack too."""
    with plain_errors():
        settings = read_settings(config, model)
        check_trail(settings)
        kek = open_kek(source)
        with refusals_recorded(settings):
            add_slot(existing_pack(settings), pack_trust(settings), kek)
        record(settings, KeySlotsChanged(settings.pack_folder.name, "added", kek.kek_id))
        print(f"{kek.kek_id} opens {settings.pack_folder} from now on")


@app.command("drop")
def drop(
    kek_id: Annotated[str, typer.Argument(help="As `keys list` prints it.")],
    model: Model = None,
    config: ConfigFile = None,
) -> None:
    """Let a key open a pack no more. If it may be known to others, reseal the pack as well."""
    with plain_errors():
        settings = read_settings(config, model)
        check_trail(settings)
        with refusals_recorded(settings):
            drop_slot(existing_pack(settings), pack_trust(settings), kek_id)
        record(settings, KeySlotsChanged(settings.pack_folder.name, "dropped", kek_id))
        print(f"{kek_id} opens {settings.pack_folder} no more")


@app.command("rotate")
def rotate(
    to: Annotated[
        str | None, typer.Option(help="The key to come; without it, a new key file is made.")
    ] = None,
    model: Model = None,
    config: ConfigFile = None,
) -> None:
    """Replace the key that opens a pack; without --to, the key file of all packs.

    The weights stay as they are, and a server that runs goes on.
    """
    with plain_errors():
        settings = read_settings(config, model)
        check_trail(settings)
        if to is None:
            if settings.packs.keys:
                text = "The settings name the keys of packs: say which comes next with --to."
                raise StartError(text, EXIT_SETTINGS)
            former, new, packs = rotate_key_file(settings)
        else:
            kek = open_kek(to)
            with refusals_recorded(settings):
                former = rotate_slot(existing_pack(settings), pack_trust(settings), kek)
            new, packs = kek.kek_id, [settings.pack_folder]
            print(f"Name it in the settings before the next start: [packs] keys = ['{to}']")
        for pack in packs:
            record(settings, KeySlotsChanged(pack.name, "rotated", new, former))
            print(f"{new} opens {pack} in the place of {former}")


@app.command("new")
def new(path: Annotated[Path, typer.Argument(help="Where; nothing may be there.")]) -> None:
    """Make a key file, for a second slot on another disk."""
    with plain_errors():
        create_key_file(path)


@app.command("new-publisher")
def new_publisher(
    path: Annotated[Path, typer.Argument(help="Where; the public half is made beside it.")],
) -> None:
    """Make the keys that packs are signed with: keep the private one off the server."""
    with plain_errors():
        create_signing_key(path)


@app.command("new-signing")
def new_signing(
    path: Annotated[Path, typer.Argument(help="Where; the public half is made beside it.")],
) -> None:
    """Make the keys that tokens are signed with, for an issuer on another machine."""
    with plain_errors():
        create_signing_key(path)


@app.command("rotate-signing")
def rotate_signing(
    overlap: Annotated[
        str, typer.Option(help="How long tokens of the former key are still accepted.")
    ] = "24h",
    config: ConfigFile = None,
) -> None:
    """Sign tokens with a new key from now on. A server that runs goes on, and knows it at once."""
    overlap_s = read_duration_s(overlap)
    with plain_errors():
        settings = read_settings(config)
        check_trail(settings)
        former, new = rotate_signing_key(
            settings.signing_key_file,
            settings.retired_keys_file,
            overlap_s,
            time.time(),  # noqa: TID251 - a command owns the wall clock
        )
        record(settings, SigningKeyRotated(new, former, overlap_s))
        print(f"{new} signs from now on; tokens of {former} pass for {overlap}")
