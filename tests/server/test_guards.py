"""What may be seen, and what a decoder made up."""

import pytest

from server.guards import GuardSettings, Verdict, judge, token_budget, without_repeats
from server.recognition import Hypothesis

SETTINGS = GuardSettings()


def verdict(text: str, seconds: float = 4.0, n_tokens: int | None = None, **heard) -> Verdict:
    n_tokens = len(text.split()) if n_tokens is None else n_tokens
    return judge(Hypothesis(text, **heard), n_tokens, int(seconds * 16_000), SETTINGS)


@pytest.mark.parametrize(
    "text",
    [
        "Ask not what your country can do for you.",
        "I know that you know that I know.",
        "Yes.",
        "one two one two three",
        "今天天气很好",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10",
    ],
)
def test_what_people_say_is_fit(text):
    assert verdict(text) is Verdict.FIT


@pytest.mark.parametrize(
    "text",
    [
        "The average man's a coward. The average man's a coward. The average",
        "You didn't want to come. You didn't want to come.",
        "tear down the fence, tear down the fence",
        "Lobsters and Lobsters. Lobsters and Lobsters. Lobsters and Lob",
        "no no no no",
    ],
)
def test_an_end_that_says_itself_again_is_suspect(text):
    assert verdict(text) is Verdict.SUSPECT


def test_a_text_that_compresses_too_well_loops():
    assert verdict("thank you very much " * 20, seconds=60) is Verdict.LOOPING


def test_a_text_that_used_its_whole_budget_loops():
    budget = token_budget(4 * 16_000, SETTINGS)
    assert verdict("a b c", n_tokens=budget) is Verdict.LOOPING
    assert verdict("a b c", n_tokens=budget - 1) is Verdict.FIT


def test_a_few_words_for_a_long_stretch_are_sparse():
    assert verdict("Thank you for calling.", seconds=16) is Verdict.SPARSE
    assert verdict("Thank you for calling.", seconds=3) is Verdict.FIT


@pytest.mark.parametrize("text", ["", " ", "...", "♪♪", "-"])
def test_a_text_without_a_letter_says_nothing(text):
    assert verdict(text) is Verdict.SILENT


def test_an_unsure_text_over_likely_silence_says_nothing():
    unsure = {"no_speech_probability": 0.9, "mean_log_probability": -1.5}
    assert verdict("you", **unsure) is Verdict.SILENT
    assert verdict("you", **{**unsure, "mean_log_probability": -0.2}) is Verdict.FIT
    assert verdict("you", **{**unsure, "no_speech_probability": 0.1}) is Verdict.FIT


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("We went. We went. We", "We went."),
        (
            "They went up in front as they could. They went up in",
            "They went up in front as they could.",
        ),
        ("one two three four", "one two three four"),
        ("", ""),
        ("so so so so", "so"),
    ],
)
def test_a_loop_is_cut_where_it_begins_to_repeat(text, without):
    assert without_repeats(text) == without
