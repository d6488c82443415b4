"""Two folders in, where each file of the trail lies out.

The trail's folder holds what an auditor gets a copy of; what only this server may know, and what a
thief of the trail must not be able to put back to yesterday's, lies with the keys.
"""

from dataclasses import dataclass
from pathlib import Path

_SEGMENT = "segment-"
_SUFFIX = ".sqlite3"


@dataclass(frozen=True, slots=True)
class TrailPlaces:
    """Of one trail."""

    folder: Path
    keys_folder: Path

    def segment_file(self, first_seq: int) -> Path:
        """The segment that begins with this row."""
        return self.folder / f"{_SEGMENT}{first_seq:012d}{_SUFFIX}"

    def segment_files(self) -> list[Path]:
        """Those that are there, the oldest first; the last one is written to."""
        return sorted(self.folder.glob(f"{_SEGMENT}{'[0-9]' * 12}{_SUFFIX}"))

    @property
    def former_file(self) -> Path:
        """The trail of versions before this one, a single file, which is left alone."""
        return self.folder.with_name(self.folder.name + _SUFFIX)

    @property
    def checkpoints_file(self) -> Path:
        """Signed checkpoints, one after the other."""
        return self.folder / "checkpoints"

    @property
    def lock_file(self) -> Path:
        """Who holds it may write."""
        return self.folder / "lock"

    @property
    def in_use_file(self) -> Path:
        """Whoever has the trail open shares it; who holds it alone may move the trail away."""
        return self.folder / "in-use"

    @property
    def chain_key_file(self) -> Path:
        """The key of the running epoch, and where the epoch began."""
        return self.keys_folder / "audit-chain.key"

    @property
    def head_file(self) -> Path:
        """The number and MAC of the last row, so that a tail that is cut off is missed."""
        return self.keys_folder / "audit-head"

    @property
    def signing_key_file(self) -> Path:
        """Signs checkpoints; its public half lies beside it."""
        return self.keys_folder / "audit-signing.pem"

    def missing_files(self) -> list[Path]:
        """Those beside the trail without which nobody goes on with it."""
        needed = (self.chain_key_file, self.head_file, self.signing_key_file)
        return [path for path in needed if not path.exists()]

    @property
    def auditor_key_file(self) -> Path:
        """The first key of the chain, for the auditor to take away."""
        return self.keys_folder / "audit-auditor.key"
