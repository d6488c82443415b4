"""Figures that no lazy or wrong contender gets into."""

import pytest

from bench import packs
from bench.contenders import CONTENDERS
from bench.packs import Run, checked, figures_of, memory_of, missing_packages

GIB = 1 << 30


def run(open_s=1.0, extra_bytes=0, digest="same"):
    return Run(open_s, GIB, extra_bytes, 0, digest)


def everybody(**runs):
    return {name: [run()] for name in CONTENDERS} | runs


def test_best_runs_are_compared_with_the_librarys_fastest_plain_copy():
    runs = everybody(
        pack=[run(0.6), run(0.5)],
        plain_copy=[run(0.4)],
        tensorizer=[run(2.0), run(3.0)],
        cryptotensors=[run(1.5)],
    )
    figures = figures_of(runs)
    ratios = figures["ratio_plain"], figures["ratio_tensorizer"], figures["ratio_cryptotensors"]
    assert ratios == (1.25, 4.0, 3.0)


def test_the_library_is_told_apart_from_what_could_be_written_by_hand():
    runs = everybody(pack=[run(0.6)], bare_map=[run(0.3)], plain_copy=[run(0.8)])
    figures = figures_of(runs)
    assert (figures["ratio_bare"], figures["ratio_plain"]) == (2.0, 0.75)


def test_memory_is_the_worst_of_the_runs():
    runs = everybody(pack=[run(extra_bytes=1 << 20), run(extra_bytes=4 << 20)])
    assert figures_of(runs)["extra_rss_mib"] == 4.0


def test_a_contender_with_other_weights_is_refused():
    with pytest.raises(SystemExit, match="do not agree"):
        checked(everybody(tensorizer=[run(), run(digest="other")]))


def test_a_contender_that_copied_nothing_is_refused():
    with pytest.raises(SystemExit, match="bare_map has no copy"):
        checked(everybody(bare_map=[run(extra_bytes=-GIB)]))


def test_honest_runs_pass():
    runs = everybody()
    assert checked(runs) is runs


def test_a_missing_rival_is_named_with_its_version(monkeypatch):
    monkeypatch.setattr(packs, "NEEDED", {"no_such_rival": "no-such-rival==1.0", "json": "json"})
    assert missing_packages() == ["no-such-rival==1.0"]


def test_memory_of_a_process_is_told_in_bytes():
    anonymous, mapped = memory_of("self")
    assert min(anonymous, mapped) > 1 << 20
