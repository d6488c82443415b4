"""Words counted as a reader would count them, and figures that say where they are from."""

import json

import pytest

from bench import scoring
from bench.scoring import (
    Score,
    figures_before,
    keep_figures,
    machine_description,
    score,
    tail_words_lost,
    write_figures,
)


def test_the_same_words_are_no_errors():
    assert score("the cat sat", "the cat sat") == Score(3, 0, 0, 0)


def test_case_punctuation_and_spelling_are_no_errors():
    assert score("Mr. Brown, what colour?", "mister brown what color").wer == 0


def test_numbers_are_compared_as_digits():
    assert score("one two three", "123") == Score(1, 0, 0, 0)


def test_errors_are_told_apart():
    assert score("the red fox runs far away", "the bad fox runs so far") == Score(6, 1, 1, 1)


def test_a_missing_transcript_is_all_deletions():
    assert score("one more time", "") == Score(3, 0, 3, 0)


def test_words_for_silence_are_all_insertions():
    assert score("", "thank you") == Score(0, 0, 0, 2)


def test_a_rate_over_all_words_is_no_mean_of_rates():
    total = Score.nothing() + score("fox", "dog") + score("the cat sat", "the cat sat")
    assert total.wer == pytest.approx(0.25)


def test_silence_heard_as_silence_is_right():
    assert score("", "").wer == 0


def test_words_for_silence_are_wrong():
    assert score("", "you").wer == 1


@pytest.mark.parametrize(
    ("hypothesis", "n_lost"),
    [
        ("the fox jumps over the dog", 0),
        ("the fox jumps over the", 1),
        ("the fox jumps over", 2),
        ("the fox", 2),
        ("", 2),
        ("fox jumps over the dog", 0),
        ("the fox jumps over the log", 0),
        ("the fox jumps over the dog again", 0),
    ],
)
def test_last_words_are_lost_only_when_nothing_stands_for_them(hypothesis, n_lost):
    assert tail_words_lost("the fox jumps over the dog", hypothesis) == n_lost


@pytest.mark.parametrize("hypothesis", ["", "hello"])
def test_no_more_words_are_lost_than_there_were(hypothesis):
    assert tail_words_lost("", hypothesis) == 0
    assert tail_words_lost("stop", "", n_words=5) == 1


def test_a_machine_is_described_in_one_line():
    description = machine_description()
    assert "cores" in description
    assert "Python" in description
    assert "\n" not in description


def test_figures_say_which_machine_and_which_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "FIGURES_FOLDER", tmp_path / "bench")
    path = write_figures("stream", {"wer": 0.25})
    figures = json.loads(path.read_text())
    assert figures == {"wer": 0.25, "machine": machine_description(), "commit": figures["commit"]}
    assert path.name == "stream.json"


def test_figures_are_found_again_and_before_the_first_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "FIGURES_FOLDER", tmp_path / "bench")
    assert figures_before("stream") == {}
    write_figures("stream", {"wer": 0.25})
    assert figures_before("stream")["wer"] == 0.25


def test_a_part_measured_alone_leaves_the_others_and_says_its_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "FIGURES_FOLDER", tmp_path / "bench")
    monkeypatch.setattr(scoring, "head_commit", lambda: "first")
    keep_figures("stream", {"wer": 0.25, "cpu": 1.0}, ["one", "many"])
    monkeypatch.setattr(scoring, "head_commit", lambda: "second")
    keep_figures("stream", {"cpu": 2.0}, ["many"])
    figures = figures_before("stream")
    assert (figures["wer"], figures["cpu"]) == (0.25, 2.0)
    assert figures["commits"] == {"one": "first", "many": "second"}
