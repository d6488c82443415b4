"""The files of keys, of the pack and of the trail in, what a dashboard may say of them out: names,
numbers and ages, never a key.

Nothing is opened with a key here: the slots are read as they lie there, to be shown and not to be
relied on. What cannot be read is not told; the doctor says why.
"""

from pathlib import Path

from security.errors import KeyFileError, PackError
from security.keys import open_verifying_key, public_half
from security.pack_folder import SLOTS_NAME
from security.slots import MAX_SLOTS_BYTES, read_slots
from security.token_keys import key_id_of
from security.trail_places import TrailPlaces
from server.config import Settings
from server.overview import KeysSeen


def look_at_keys(settings: Settings, places: TrailPlaces) -> KeysSeen:
    """As they are now; blocks, and raises nothing."""
    return KeysSeen(
        is_auditor_key_here=places.auditor_key_file.exists(),
        n_segments=len(places.segment_files()),
        slots=_slots(settings.pack_folder / SLOTS_NAME),
        signing_key_id=_key_id(public_half(settings.signing_key_file)),
        signing_since_s=_since_s(settings.signing_key_file),
    )


def _slots(path: Path) -> tuple[str, ...] | None:
    try:
        with path.open("rb") as file:
            encoded = file.read(MAX_SLOTS_BYTES + 1)
        return tuple(slot.kek for slot in read_slots(encoded))
    except (OSError, PackError):
        return None


def _key_id(path: Path) -> str | None:
    try:
        return key_id_of(open_verifying_key(path))
    except KeyFileError:
        return None


def _since_s(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
