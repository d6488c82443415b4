"""`python -m bench.deaf_server serve`: the server of `run.py`, whose engine hears nothing and takes
no time, so that what is measured is everything else.
"""

from collections.abc import Sequence

import run
from server.engines.whisper_ct2 import WhisperCt2
from server.recognition import NOTHING_HEARD, Hypothesis, Utterance


def hear_nothing(engine: WhisperCt2, batch: Sequence[Utterance]) -> list[Hypothesis]:
    """See `Recognizer`."""
    return [NOTHING_HEARD] * len(batch)


if __name__ == "__main__":
    WhisperCt2.transcribe = hear_nothing
    run.app()
