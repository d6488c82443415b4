"""Three hours of one speaker through the core: at the end it is as it was at the beginning."""

import gc
import tracemalloc
from collections.abc import Sequence

import miniaudio
import numpy as np
import pytest

from server.recognition import Hypothesis, Utterance
from server.session_values import SessionSettings
from server.vad import SileroDetector, SileroNetwork
from server.wire import Final, Partial, ServerEvent
from tests.fakes import Shell, new_shell, silence

HOUR_S = 3600
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def round_of_speech(english_recordings):
    """Every recording with a pause after it, and then half a minute of nearly nothing, as PCM16 of
    a whole number of seconds.
    """
    pieces = []
    for recording in english_recordings:
        decoded = miniaudio.decode(recording.wav_bytes, nchannels=1, sample_rate=RATE_HZ)
        pieces += [np.array(decoded.samples, "<i2").tobytes(), silence(900)]
    said = b"".join(pieces)
    room = np.random.default_rng(1).normal(0, 3, 30 * RATE_HZ).astype("<i2").tobytes()
    return said + silence(1000)[: -len(said) % (2 * RATE_HZ)] + room


def play(shell: Shell, pcm: bytes, recognizer: object) -> list[ServerEvent]:
    """What a round gave; nothing of it is kept."""
    shell.recognizer = recognizer
    shell.audio(pcm, frame_bytes=2 * RATE_HZ)
    events = list(shell.events)
    shell.events.clear()
    shell.outputs.clear()
    return events


def said(events: list[ServerEvent]) -> list[str]:
    """Captions and finals, in order."""
    shown = (event for event in events if isinstance(event, Final | Partial))
    return [e.text if isinstance(e, Final) else e.stable + e.unstable for e in shown]


def memory() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def test_after_three_hours_words_are_heard_as_at_first_and_nothing_has_piled_up(
    model, round_of_speech
):
    shell = new_shell(limits=SessionSettings(session_limit_s=5.0 * HOUR_S))
    shell.detector = SileroDetector(SileroNetwork())
    measuring = Measuring()
    rounds_per_hour = HOUR_S * RATE_HZ * 2 // len(round_of_speech) + 1
    play(shell, round_of_speech, measuring)  # every other one follows half a minute of a room
    first = play(shell, round_of_speech, model)
    first_lengths = said(play(shell, round_of_speech, measuring))
    tracemalloc.start()
    try:
        grown = [0]
        for _ in range(3):
            for _ in range(rounds_per_hour):
                last_lengths = said(play(shell, round_of_speech, measuring))
            grown.append(memory())
    finally:
        tracemalloc.stop()
    last = play(shell, round_of_speech, model)
    assert any(len(text.split()) > 3 for text in said(first))
    assert said(last) == said(first)
    assert last_lengths == first_lengths
    assert grown[3] - grown[2] < 32 * 1024  # the interpreter fills its free lists at first


class Measuring:
    """Hears how much audio there is."""

    def transcribe(self, batch: Sequence[Utterance]) -> list[Hypothesis]:
        return [Hypothesis(str(utterance.samples.size)) for utterance in batch]
