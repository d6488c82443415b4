"""A reference and a hypothesis in, word errors out; and figures into build/bench.

Both texts pass Whisper's English normaliser first, so that spelling, case and punctuation are no
errors and words are (`whisper-normalizer`, `jiwer`).
"""

import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jiwer
from whisper_normalizer.english import EnglishTextNormalizer

FIGURES_FOLDER = Path("build/bench")
normalise = EnglishTextNormalizer()


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of words; add them up before dividing."""

    words: int
    substitutions: int
    deletions: int
    insertions: int

    @classmethod
    def nothing(cls) -> Self:
        """To add to."""
        return cls(0, 0, 0, 0)

    @property
    def wer(self) -> float:
        """Word error rate, 0 to 1 and beyond."""
        errors = self.substitutions + self.deletions + self.insertions
        return errors / self.words if self.words else float(errors > 0)

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )


def score(reference: str, hypothesis: str) -> Score:
    """Compare two texts."""
    words = normalise(reference).split()
    heard = normalise(hypothesis).split()
    if not words:
        return Score(0, 0, 0, len(heard))
    output = jiwer.process_words(" ".join(words), " ".join(heard))
    return Score(len(words), output.substitutions, output.deletions, output.insertions)


def tail_words_lost(reference: str, hypothesis: str, n_words: int = 2) -> int:
    """How many of the last words of the reference are missing, not merely misheard."""
    words = normalise(reference).split()
    heard = normalise(hypothesis).split()
    if not heard:
        return min(n_words, len(words))
    [chunks] = jiwer.process_words(" ".join(words), " ".join(heard)).alignments
    first = len(words) - n_words
    return sum(
        max(0, chunk.ref_end_idx - max(chunk.ref_start_idx, first))
        for chunk in chunks
        if chunk.type == "delete"
    )


def machine_description() -> str:
    """Processor, cores, memory and interpreter, in one line."""
    cpu = "unknown processor"
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
    n_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cpu}, {os.cpu_count()} cores, {n_gib:.0f} GiB, Python {platform.python_version()}"


def head_commit() -> str:
    """Of this repository, short."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip()


def figures_before(name: str) -> dict[str, object]:
    """What build/bench/NAME.json holds; nothing if there is none."""
    path = FIGURES_FOLDER / f"{name}.json"
    known: dict[str, object] = json.loads(path.read_text()) if path.exists() else {}
    return known


def write_figures(name: str, figures: Mapping[str, object], folder: Path | None = None) -> Path:
    """One object in NAME.json, with `machine` and `commit`; by itself in build/bench."""
    folder = folder or FIGURES_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    named = {**figures, "machine": machine_description(), "commit": head_commit()}
    path.write_text(json.dumps(named, indent=2) + "\n")
    return path


def keep_figures(name: str, figures: Mapping[str, object], parts: Sequence[str]) -> Path:
    """Write those of `parts` beside those that are there of other parts; `commits` tells of which
    commit each part is.
    """
    before = figures_before(name)
    commits = before.get("commits")
    kept = commits if isinstance(commits, dict) else {}
    now = dict.fromkeys(parts, head_commit())
    return write_figures(name, {**before, **figures, "commits": {**kept, **now}})
