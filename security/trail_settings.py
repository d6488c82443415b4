"""How the trail is kept: when it is signed, how it is cut into files, where copies of signatures
go.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrailSettings:
    """The group `audit` of the settings."""

    checkpoint_every_s: int = 3600
    """Rows are signed, and their key destroyed, this long after the first of them."""
    checkpoint_every_rows: int = 10_000
    segment_s: int = 7 * 86_400
    """A file of the trail takes no more rows this long after its first."""
    segment_rows: int = 1_000_000
    checkpoint_copies: tuple[Path, ...] = ()
    """Files that each checkpoint is appended to, best on another machine: whoever takes this one
    over cannot take those back."""
    retention: str | None = None
    """Name of the profile by which old files may go; None: they stay."""


def trail_faults(settings: TrailSettings) -> list[str]:
    """What is wrong with them, by key and rule."""
    least_one = ("checkpoint_every_s", "checkpoint_every_rows", "segment_s", "segment_rows")
    faults = [f"{name}: at least 1" for name in least_one if getattr(settings, name) < 1]
    if any(path.is_dir() for path in settings.checkpoint_copies):
        faults.append("checkpoint_copies: names a file, not a folder")
    return faults
