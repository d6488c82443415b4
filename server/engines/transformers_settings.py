"""How models of transformers are run. Apart, so that nobody needs torch to read the settings."""

from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from annotated_types import Ge, Le

from server.guards import GuardSettings

ENGINE: Final = "transformers"
"""As packs name it."""
LEAST_PLACES = 1024
"""For 400 tokens of context, 30 s of audio, and what can be said in them."""


@dataclass(frozen=True, slots=True)
class TransformersSettings:
    """For Qwen3-ASR and for Whisper."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: CUDA where there is any."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """`auto`: the checkpoint's, whose weights then stay where they were opened."""
    aligner: str | None = None
    """Name of the pack of a forced aligner, which finds the times of words; without one they are
    estimated.
    """
    most_rows: Annotated[int, Ge(1), Le(1024)] = 64
    """Utterances that Qwen3-ASR decodes at the same time."""
    most_places: Annotated[int, Ge(LEAST_PLACES), Le(32_768)] = LEAST_PLACES
    """Of the cache of each: at 1.7 billion parameters a place is 112 KiB, and rows times places
    7 GB.
    """
    most_windows: Annotated[int, Ge(1), Le(1_000_000)] = 1024
    """Windows of 8 s that were encoded and are remembered, 0.4 MiB each."""
    unsure_tokens: Annotated[int, Ge(1), Le(100)] = 5
    """Of the caption before, at its end: decoded again with the next."""
    final_beams: Annotated[int, Ge(1), Le(20)] = 5
    """Whisper's, for finals."""
    guards: GuardSettings = field(default_factory=lambda: GuardSettings(most_tokens=300))
