"""How many streams an engine of known speed carries."""

import pytest

from bench.step_times import Latencies, StepTimes, most_streams, simulate


def engine(fixed_s, row_s):
    """Takes a fixed time for a batch and some more for each utterance, whatever their length."""
    times = {length_s: {n: fixed_s + row_s * n for n in (1, 8, 64)} for length_s in (2.0, 10.0)}
    return StepTimes(times, times)


def test_a_fast_engine_has_finals_before_their_segments_end():
    latencies = simulate(engine(0.01, 0.001), 4, 64)
    assert len(latencies.after_close_s) > 20
    assert latencies.p95_s() == 0


def test_a_final_that_is_slower_than_a_pause_is_waited_for():
    slow = simulate(engine(0.4, 0.0), 1, 64)
    assert 0.1 < slow.p95_s() < 1.0


def test_an_engine_that_is_twice_as_fast_carries_many_more():
    one, two = (most_streams(engine(0.2 / k, 0.1 / k), 64) for k in (1, 2))
    assert two > 1.5 * one


def test_an_engine_that_is_too_slow_for_one_carries_none():
    assert most_streams(engine(3.0, 0.0), 64) == 0


def test_the_most_is_the_last_that_is_fast_enough():
    known = engine(0.05, 0.05)
    most = most_streams(known, 64)
    assert simulate(known, most, 64).p95_s() <= 0.5


def test_times_between_those_that_were_measured_lie_between_them():
    known = {2.0: {1: 1.0, 3: 3.0}, 4.0: {1: 3.0, 3: 5.0}}
    from bench.step_times import _between

    assert _between({2.0: 1.0, 4.0: 3.0}, 3.0) == pytest.approx(2.0)
    assert _between({2.0: 1.0, 4.0: 3.0}, 5.0) == pytest.approx(4.0)
    assert _between(known[2.0], 2) == pytest.approx(2.0)
    assert _between({5.0: 1.5}, 3.0) == 1.5


def test_finals_that_were_there_before_are_not_waited_for():
    assert Latencies([-1.0] * 99 + [2.0]).p95_s() == 0
