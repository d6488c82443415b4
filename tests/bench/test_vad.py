"""How detectors are counted."""

import numpy as np
import pytest

from bench.vad import area_under_curve, heard, loud_windows, missed, over_telephone
from server.audio import WINDOW_SAMPLES


def tone(tone_hz: float) -> np.ndarray:
    at_s = np.arange(40 * WINDOW_SAMPLES) / 16_000
    return (0.3 * np.sin(2 * np.pi * tone_hz * at_s)).astype(np.float32)


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.square(samples).mean()))


def test_a_telephone_line_lets_through_its_band_and_nothing_else():
    assert over_telephone(tone(1000)).size == tone(1000).size
    assert level(over_telephone(tone(1000))) == pytest.approx(level(tone(1000)), rel=0.02)
    assert level(over_telephone(tone(100))) < 0.01
    assert level(over_telephone(tone(5000))) < 0.01


def test_speech_is_where_it_is_loud():
    samples = tone(1000)
    samples[: 8 * WINDOW_SAMPLES] *= 0.01
    assert loud_windows(samples).tolist() == [False] * 8 + [True] * 32


def test_what_lies_between_the_thresholds_is_neither_missed_nor_heard():
    scores = np.array([0.1, 0.4, 0.4, 0.9])
    assert missed(scores) == 0.25
    assert heard(scores) == 0.25


@pytest.mark.parametrize(
    ("speech", "noise", "area"),
    [([0.9, 0.8], [0.1, 0.2], 1.0), ([0.5], [0.5], 0.5), ([0.1, 0.9], [0.5], 0.5)],
)
def test_the_area_is_how_often_speech_scores_more(speech, noise, area):
    assert area_under_curve(np.array(speech), np.array(noise)) == area
