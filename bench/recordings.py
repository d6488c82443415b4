"""A folder with a manifest in, recordings with their texts out.

The folder is named by `EARWITNESS_AUDIO`, or lies beside the checkout as `../shared/audio`;
nothing in it is part of the project.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

AUDIO_VARIABLE = "EARWITNESS_AUDIO"


@dataclass(frozen=True, slots=True)
class Recording:
    """One line of the manifest."""

    id: str
    path: Path
    text: str
    language: str
    """ISO 639 code; `none` where nobody speaks."""
    kind: str


def audio_folder() -> Path | None:
    """Where the recordings lie, if they do."""
    named = os.environ.get(AUDIO_VARIABLE)
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "audio"
    return folder if (folder / "manifest.json").is_file() else None


def open_recordings() -> list[Recording]:
    """The manifest. Raises SystemExit where there is none: a bench without speech says nothing."""
    folder = audio_folder()
    if folder is None:
        raise SystemExit(f"bench: set {AUDIO_VARIABLE} to a folder of recordings")
    return [
        Recording(entry["id"], folder / entry["file"], entry["text"], entry["lang"], entry["kind"])
        for entry in json.loads((folder / "manifest.json").read_text())
    ]
