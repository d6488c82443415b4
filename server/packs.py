"""Settings in; what packs are held to, what they are sealed with, and where they lie, out.

Without settings of its own an installation has one key file, which opens its packs, and one
publisher, itself: both are made with the first pack, never over packs that lack theirs, because a
new key would open none of them. With settings, keys may live anywhere and packs may come from a
publisher elsewhere: then nothing is made here.
"""

import os
from dataclasses import replace
from pathlib import Path

import structlog

from security.accepted import read_accepted
from security.durable import replace_file, sync_folder
from security.errors import KekError, KeyFileError
from security.keks.uris import open_kek
from security.keys import (
    create_key_file,
    create_signing_key,
    open_signing_key,
    open_verifying_key,
)
from security.pack_folder import MANIFEST_NAME, PackTrust
from security.rotation import add_slot, drop_slot, slots_of
from security.sealing import Seal
from security.slots import Kek
from server.config import Settings
from server.start_error import EXIT_MODEL, StartError

_log = structlog.get_logger()


def model_packs(settings: Settings) -> list[Path]:
    """Every pack of the data folder."""
    return sorted(path.parent for path in settings.models_folder.glob(f"[!.]*/{MANIFEST_NAME}"))


def make_pack_keys(settings: Settings) -> None:
    """The key file and the publisher's keys, each if it is ours to make and missing.

    Raises KeyFileError.
    """
    settings.keys_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not settings.packs.keys and not settings.pack_key_file.exists():
        _refuse_over_packs(settings, settings.pack_key_file)
        create_key_file(settings.pack_key_file)
    public = settings.publisher_files[0]
    if not settings.packs.publishers and not public.exists():
        _refuse_over_packs(settings, public)
        create_signing_key(settings.publisher_key_file)


def pack_trust(settings: Settings, *, is_older_allowed: bool = False) -> PackTrust:
    """What a pack must satisfy. Raises KeyFileError, KekError and SealError."""
    trust = replace(published_trust(settings), keks=open_keks(settings))
    return replace(trust, accepted_versions={}) if is_older_allowed else trust


def published_trust(settings: Settings) -> PackTrust:
    """The same without any key: enough to check what was published. Raises KeyFileError."""
    publishers = [open_verifying_key(path) for path in settings.publisher_files]
    return PackTrust([], publishers, read_accepted(settings.accepted_file))


def pack_seal(settings: Settings) -> Seal:
    """What a new pack is sealed with: every key gets a slot. Raises KeyFileError and KekError."""
    keks = [open_kek(uri) for uri in settings.pack_key_uris]
    return Seal(keks, open_signing_key(settings.publisher_key_file))


def open_keks(settings: Settings) -> list[Kek]:
    """The keys that open packs here, in the order in which they are asked.

    One that is lost does not stand in the way of the others: that is what they are for. Raises
    KeyFileError and KekError if none is there.
    """
    keks: list[Kek] = []
    faults: list[KeyFileError | KekError] = []
    for uri in settings.pack_key_uris:
        try:
            keks.append(open_kek(uri))
        except (KeyFileError, KekError) as fault:
            faults.append(fault)
    if not keks:
        raise faults[0]
    for missing in faults:
        _log.warning("a key of packs is missing", fault=str(missing))
    return keks


def existing_pack(settings: Settings) -> Path:
    """The pack of the model in use. Raises StartError if nothing has its name."""
    path = settings.pack_folder
    if not os.path.lexists(path):
        text = f"{path}: there is no such pack. run.py seal --help shows how to make one."
        raise StartError(text, EXIT_MODEL)
    return path


def rotate_key_file(settings: Settings) -> tuple[str, str, list[Path]]:
    """Make a new key file for all packs in the place of the old one.

    Gives the ids of the former and the new key and the packs. A process killed at any moment leaves
    a key file that opens every pack, and calling this again goes on: first every pack gets a slot
    for the new key, then the new file takes the name of the old, then the old slots go.

    Raises KeyFileError, PackError and SealError.
    """
    current, coming = settings.pack_key_file, settings.pack_key_file.with_suffix(".next")
    _drop_retired_slots(settings)
    trust = pack_trust(settings, is_older_allowed=True)
    former = trust.keks[0].kek_id
    packs = [pack for pack in model_packs(settings) if former in slots_of(pack, trust)]
    if not coming.exists():
        create_key_file(coming)
    new = open_kek(f"file:{coming}")
    for pack in packs:
        if new.kek_id not in slots_of(pack, trust):
            add_slot(pack, trust, new)
    retired = _retired_file(settings)
    replace_file(retired, retired.with_suffix(".new"), former.encode(), 0o600)
    coming.replace(current)
    sync_folder(current.parent)
    _drop_retired_slots(settings)
    return former, new.kek_id, packs


def _drop_retired_slots(settings: Settings) -> None:
    """The last step of a rotation, or of one that was killed before it."""
    retired = _retired_file(settings)
    if not retired.exists():
        return
    former, trust = retired.read_text(), pack_trust(settings, is_older_allowed=True)
    if trust.keks[0].kek_id != former:
        for pack in model_packs(settings):
            if former in slots_of(pack, trust):
                drop_slot(pack, trust, former)
    retired.unlink()


def _retired_file(settings: Settings) -> Path:
    """Holds the id, which is no secret, of the key that a rotation takes out of use."""
    return settings.pack_key_file.with_suffix(".retired")


def _refuse_over_packs(settings: Settings, missing: Path) -> None:
    if packs := model_packs(settings):
        raise KeyFileError(
            f"{missing} is missing; without it {packs[0]} stays sealed. Bring it back, name one that "
            "fits in the settings ([packs]), or delete the pack to have a new one made."
        )
