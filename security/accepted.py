"""The highest version of each model that was ever opened here: kept in a small file, in and out.

An old release, signed and sealed as it was, still opens by its keys: whoever can write to the disk
could put back the one with the known fault. So the version that was opened is remembered, outside
the pack, and an older one is refused. The file holds no secret and no proof: who may write to it
may also reset it, which the trail shows, because each opening is in it with its version.
"""

from pathlib import Path

import msgspec

from security.durable import replace_file
from security.errors import SealError
from security.manifest import ModelId, Version

_MAX_FILE_BYTES = 1 << 20
_Versions = dict[ModelId, Version]


def read_accepted(path: Path) -> dict[str, int]:
    """By model; empty if nothing was accepted yet. Raises SealError."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_FILE_BYTES), type=_Versions)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeError, msgspec.DecodeError):
        text = (
            f"{path} cannot be read: it says which versions of models were accepted; bring it back"
        )
        raise SealError(text) from None


def write_accepted(path: Path, model_id: str, version: int) -> None:
    """From now on, `version` is the oldest of this model that opens. Raises SealError."""
    versions = read_accepted(path)
    if versions.get(model_id) == version:
        return
    encoded = msgspec.json.encode({**versions, model_id: version}, order="sorted") + b"\n"
    try:
        replace_file(path, path.with_name(f".{path.name}.new"), encoded, 0o644)
    except OSError as error:
        raise SealError(f"{path} cannot be written: {error.strerror}") from None
