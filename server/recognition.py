"""What goes into an engine and what comes out: values, and the protocol that every engine keeps.

Times inside an utterance are 16 kHz samples from its first sample, so that a track can add its own
position.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
"""(n_samples,) float32 in [-1, 1], 16 kHz mono."""


class Urgency(IntEnum):
    """What waits for a hypothesis; lower is sooner."""

    FINAL = 0
    """Its segment is closed, and the client waits."""
    LIKELY = 1
    """A pause has begun: it is the final if the silence lasts."""
    PARTIAL = 2
    """A caption of what is still being said; the next one replaces it."""


@dataclass(frozen=True, slots=True, eq=False)
class Utterance:
    """Audio to be recognised on its own."""

    samples: Samples = field(repr=False)
    is_final: bool
    """Finals get word times and the full guard; partials are wanted soon and thrown away soon."""
    language: str | None = None
    """ISO 639 code; None lets the engine find out, or stay with the one language it knows."""
    context: str | None = field(default=None, repr=False)
    """Words that may be said, or text that came before, to be spelt like that; the engine uses as
    much of the end as it can.
    """
    before: "Hypothesis | None" = field(default=None, repr=False)
    """What was heard when less of this had been said, for a partial to go on from. An engine may
    take no notice.
    """


@dataclass(frozen=True, slots=True)
class Word:
    """One word, without surrounding space."""

    text: str
    start_sample: int
    end_sample: int
    probability: float
    """What the model gave it, 0 to 1."""
    is_joined: bool = False
    """Written without a space before it, as in Chinese."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine heard. No text means: no words in there."""

    text: str
    words: tuple[Word, ...] = ()
    """With times on finals; empty on partials."""
    language: str | None = None
    no_speech_probability: float = 0.0
    mean_log_probability: float = 0.0
    """Natural logarithm, over the tokens of the text."""
    are_times_estimated: bool = False
    """By the length of the words: nobody has looked where they lie in the audio."""


NOTHING_HEARD = Hypothesis(text="")


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a client may know of a model."""

    model_id: str
    """The name that clients and the audit trail see."""
    languages: frozenset[str]
    """ISO 639 codes of what it understands."""
    pack_version: int | None = None
    """None: it came out of no pack."""
    kek: str | None = None
    """Which key opened the pack; names the key and is none."""


class ModelError(Exception):
    """The opened files are not a model that the engine can run. Constant text, never content."""


class EngineSettingError(Exception):
    """A setting asks for what the engine cannot do on this machine. The text names the setting."""


class Recognizer(Protocol):
    """A model in memory. Called from `n_workers` threads at most, never from the event loop."""

    @property
    def n_workers(self) -> int:
        """Batches that it runs at the same time."""
        ...

    @property
    def most_utterances(self) -> int:
        """In a batch that it runs well."""
        ...

    card: ModelCard
    """What a client may know of it."""

    def transcribe(self, batch: Sequence[Utterance]) -> list[Hypothesis]:
        """One hypothesis for each utterance, in order. Raises only if the whole batch is lost."""
        ...
