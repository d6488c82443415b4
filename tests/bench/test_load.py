"""What is shown and when, counted alike for every server."""

import os
import subprocess
import sys

import numpy as np
import pytest

from bench.load import (
    Play,
    Sight,
    Utterance,
    children,
    cpu_seconds,
    percentile,
    revised_share,
    rss_mib,
    timed,
)
from bench.sound import RATE_HZ, nonspeech, speech_bounds_s

PLAY = [Utterance("the quick brown fox", 1.0, 3.0), Utterance("jumps over it", 4.0, 6.0)]


def played(*sights: tuple[float, str, str]) -> Play:
    """A play that began at 100 s; each sight: seconds into it, settled, shown."""
    seen = [Sight(100.0 + at_s, settled, shown) for at_s, settled, shown in sights]
    return Play(PLAY, b"", 100.0, seen)


def test_each_utterance_has_its_first_its_last_change_and_its_final():
    play = played(
        (1.5, "", "the"),
        (2.5, "", "the quick brown"),
        (3.5, "", "the quick brown fox"),
        (4.0, "the quick brown fox", "the quick brown fox"),
        (5.0, "the quick brown fox", "the quick brown fox jumps"),
        (6.5, "the quick brown fox jumps over it", "the quick brown fox jumps over it"),
    )
    assert timed(play) == [(500.0, 500.0, 1000.0), (1000.0, 500.0, 500.0)]


def test_text_that_changed_again_was_not_final():
    play = played(
        (3.5, "", "the quick brown fox"),
        (3.6, "", "the quick brown box"),
        (4.0, "the quick brown fox", "the quick brown fox"),
        (6.5, "the quick brown fox jumps over it", "the quick brown fox jumps over it"),
    )
    assert timed(play)[0] == (2500.0, 1000.0, 1000.0)


def test_an_utterance_of_which_nothing_was_settled_is_lost():
    play = played((4.0, "the quick brown fox", "the quick brown fox"))
    assert [times is None for times in timed(play)] == [False, True]
    assert timed(played()) == [None, None]


def test_case_and_punctuation_are_no_change():
    play = played(
        (3.5, "", "The quick, brown fox"),
        (4.0, "the quick brown fox.", "the quick brown fox."),
        (6.5, "the quick brown fox. jumps over it", "the quick brown fox. jumps over it"),
    )
    assert timed(play)[0][1] == 500.0


def sights_of(*shown: str) -> list[Sight]:
    return [Sight(float(at), "", text) for at, text in enumerate(shown)]


@pytest.mark.parametrize(
    ("shown", "share"),
    [
        (("red", "red fox", "red fox ran"), 0.0),
        (("red", "rad", "rod"), 1.0),
        (("", "red fox", "red fix", "red fix ran"), 0.25),
        ((), 0.0),
    ],
)
def test_a_word_that_another_took_the_place_of_was_revised(shown, share):
    assert revised_share([sights_of(*shown)]) == share


def test_percentiles_of_nothing_are_no_number():
    assert np.isnan(percentile([], 95))
    assert percentile([1.0, 3.0], 50) == 2


def test_speech_lies_where_it_is_loud():
    samples = np.zeros(3 * RATE_HZ, np.float32)
    samples[RATE_HZ : 2 * RATE_HZ] = 0.3
    assert speech_bounds_s(samples) == (1.0, 2.0)


def test_a_loud_room_is_no_speech():
    samples = np.random.default_rng(0).normal(0, 0.02, 3 * RATE_HZ).astype(np.float32)
    samples[RATE_HZ : 2 * RATE_HZ] += 0.3
    assert speech_bounds_s(samples) == (1.0, 2.0)


def test_sound_without_speech_is_as_long_as_asked_and_the_same_for_the_same_seed():
    sound = nonspeech([], 7, 30.0)
    assert sound.size == 30 * RATE_HZ
    assert np.abs(sound).max() > 0.05
    assert (sound == nonspeech([], 7, 30.0)).all()
    assert (sound != nonspeech([], 8, 30.0)).any()


def test_what_a_server_takes_includes_its_children_and_those_that_ended_take_nothing():
    command = [sys.executable, "-c", "print('up', flush=True); input()"]
    own_mib = rss_mib(os.getpid(), "VmRSS")
    with subprocess.Popen(  # noqa: S603
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        assert child.pid in children(os.getpid())
        assert rss_mib(child.pid, "VmRSS") > 1
        assert rss_mib(os.getpid(), "VmRSS") > own_mib
        child.communicate(b"\n")
    assert child.pid not in children(os.getpid())
    assert (children(child.pid), cpu_seconds(child.pid), rss_mib(child.pid, "VmRSS")) == ([], 0, 0)
