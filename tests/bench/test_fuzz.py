"""The fuzzer's words in, findings out; and an input that takes too long is one."""

import pytest

from bench.fuzz import Outcome, SlowInputError, Target, Timed, load_target, outcome_of, target_names

OUTPUT = """\
INFO: Running with entropic power schedule (0xFF, 100).
earwitness: slowest input so far 1.25 ms
#2\tINITED cov: 2 ft: 2 corp: 1/1b exec/s: 0 rss: 40Mb
#65536\tpulse  cov: 9 ft: 9 corp: 4/20b exec/s: 21845 rss: 41Mb
earwitness: slowest input so far 7.50 ms
"""
STATS = "Done 70000 runs in 3 second(s)\nstat::number_of_executed_units: 70000\n"


class StepClock:
    """Every look at it, the next of its times."""

    def __init__(self, *times_ms):
        self._times_ms = list(times_ms)

    def __call__(self):
        return self._times_ms.pop(0) / 1000


def timed(*times_ms):
    seen, told = [], []
    target = Target("any", seen.append, [b""], 10, 100.0)
    return Timed(target, told.append, StepClock(*times_ms)), seen, told


def test_a_run_that_ends_well_is_counted_and_no_finding():
    outcome = outcome_of("wire", 0, OUTPUT + STATS, corpus_files=4)
    assert outcome == Outcome("wire", 70_000, 4, 7.5, 0, outcome.tail)
    assert not outcome.is_finding


def test_a_run_that_ends_at_a_finding_has_counted_up_to_its_last_pulse():
    outcome = outcome_of("wire", 77, OUTPUT + "ValueError: why\n", corpus_files=4)
    assert (outcome.executions, outcome.is_finding) == (65_536, True)
    assert outcome.tail.endswith("ValueError: why")


def test_a_target_that_never_ran_is_a_finding():
    outcome = outcome_of("wire", 0, "", corpus_files=0)
    assert (outcome.slowest_ms, outcome.is_finding) == (0.0, True)


def test_only_the_slowest_input_so_far_is_told():
    run, seen, told = timed(0, 5, 5, 7, 7, 16)
    for data in (b"a", b"b", b"c"):
        run(data)
    assert seen == [b"a", b"b", b"c"]
    assert told == pytest.approx([5, 9])


def test_an_input_that_is_slow_twice_is_a_finding():
    run, seen, _ = timed(0, 300, 300, 450)
    with pytest.raises(SlowInputError, match="150 ms for 3 bytes"):
        run(b"abc")
    assert seen == [b"abc", b"abc"]


def test_an_input_that_is_slow_once_is_none():
    run, _, told = timed(0, 300, 300, 310)
    run(b"abc")
    assert told == pytest.approx([10])


def test_targets_are_found_by_their_files():
    assert "wire_client" in target_names()
    assert load_target("wire_client").max_bytes == 5_000
