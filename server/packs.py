"""Settings in; what packs are held to, what they are sealed with, and where they lie, out.

Without settings of its own an installation has one key file, which opens its packs, and one
publisher, itself: both are made with the first pack, never over packs that lack theirs, because a
new key would open none of them. With settings, keys may live anywhere and packs may come from a
publisher elsewhere: then nothing is made here.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from security.accepted import read_accepted
from security.durable import replace_file, sync_folder
from security.errors import KekError, KeyFileError, PackError, SealError
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
from server.start_error import EXIT_DATA, EXIT_KEYS, EXIT_MODEL, StartError

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
    """What the pack of the model in use must satisfy. Raises KeyFileError, KekError, SealError."""
    trust = replace(published_trust(settings), keks=open_keks(settings))
    return replace(trust, accepted_versions={}) if is_older_allowed else trust


def published_trust(settings: Settings) -> PackTrust:
    """The same without any key: enough to check what was published. Raises KeyFileError."""
    publishers = [open_verifying_key(path) for path in settings.publisher_files]
    try:
        accepted = read_accepted(settings.accepted_file)
    except SealError as error:
        raise StartError(str(error), EXIT_DATA) from None
    return PackTrust([], publishers, accepted, settings.model)


def _trust_in_any(settings: Settings) -> PackTrust:
    """For changing the keys of all packs, whichever model and version they are of."""
    return replace(pack_trust(settings, is_older_allowed=True), model_id=None)


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

    Raises KeyFileError, PackError, SealError and StartError.
    """
    with _one_rotation(settings):
        current, coming = settings.pack_key_file, settings.pack_key_file.with_suffix(".next")
        _drop_retired_slots(settings)
        trust = _trust_in_any(settings)
        former = trust.keks[0].kek_id
        packs = _packs_opened_by(former, settings, trust)
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


@contextmanager
def _one_rotation(settings: Settings) -> Iterator[None]:
    folder = os.open(settings.keys_folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        text = f"the keys in {settings.keys_folder} are being rotated: try again"
        raise StartError(text, EXIT_KEYS) from None
    finally:
        os.close(folder)


def _packs_opened_by(kek_id: str, settings: Settings, trust: PackTrust) -> list[Path]:
    """Raises StartError for one that cannot be asked: it must not be left behind unseen."""
    packs: list[Path] = []
    for pack in model_packs(settings):
        try:
            if kek_id in slots_of(pack, trust):
                packs.append(pack)
        except PackError as error:
            text = f"{pack}: {error} Mend it or move it away, then rotate again."
            raise StartError(text, EXIT_MODEL) from None
    return packs


def _drop_retired_slots(settings: Settings) -> None:
    """The last step of a rotation, or of one that was killed before it."""
    retired = _retired_file(settings)
    if not retired.exists():
        return
    former, trust = retired.read_text(), _trust_in_any(settings)
    if trust.keks[0].kek_id != former:
        for pack in _packs_opened_by(former, settings, trust):
            drop_slot(pack, trust, former)
    retired.unlink()


def _retired_file(settings: Settings) -> Path:
    """Holds the id, which is no secret, of the key that a rotation takes out of use."""
    return settings.pack_key_file.with_suffix(".retired")


def _refuse_over_packs(settings: Settings, missing: Path) -> None:
    if packs := model_packs(settings):
        raise KeyFileError(
            f"{missing} is missing; without it {packs[0]} stays sealed. Bring it back, name one "
            "that fits in the settings ([packs]), or delete the pack to have a new one made."
        )
