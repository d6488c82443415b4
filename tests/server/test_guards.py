"""What may be seen, and what a decoder made up."""

import pytest

from server.guards import (
    GuardSettings,
    Verdict,
    judge,
    token_budget,
    without_loop,
    without_repeats,
    without_unsaid_repeat,
)
from server.recognition import Hypothesis, Word

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


def timed(*words: tuple[str, float]) -> Hypothesis:
    """Words and how long each lasts, in seconds."""
    at_s, said = 0.0, []
    for text, lasts_s in words:
        said.append(Word(text, int(at_s * 16_000), int((at_s + lasts_s) * 16_000), 0.9))
        at_s += lasts_s
    return Hypothesis(" ".join(text for text, _ in words), tuple(said), "en")


SAID, SQUEEZED = 0.3, 0.02


def test_a_copy_that_took_no_time_was_not_said():
    heard = timed(("Come", SAID), ("back.", SAID), ("Come", SQUEEZED), ("back.", SQUEEZED))
    without = without_unsaid_repeat(heard)
    assert without.text == "Come back."
    assert without.words == heard.words[:2]


def test_the_copy_that_lasted_is_the_one_that_was_said():
    heard = timed(
        ("So", SAID),
        *(("come", SQUEEZED), ("back", SQUEEZED)),
        *(("come", SAID), ("back", SAID)),
        *(("come", SQUEEZED), ("back", SQUEEZED)),
    )
    without = without_unsaid_repeat(heard)
    assert without.text == "So come back"
    assert without.words == (heard.words[0], *heard.words[3:5])


def test_a_last_copy_that_a_budget_cut_short_goes_too():
    heard = timed(
        *(("tear", SAID), ("it", SAID), ("down,", SAID)),
        *(("tear", SQUEEZED), ("it", SQUEEZED), ("do", SQUEEZED)),
    )
    assert without_unsaid_repeat(heard).text == "tear it down,"


def test_what_was_said_twice_stays():
    assert without_unsaid_repeat(timed(*[("no", SAID)] * 4)) is None


def test_what_is_not_said_again_stays():
    assert without_unsaid_repeat(timed(("come", SAID), ("back", SQUEEZED))) is None


def test_without_word_times_nothing_is_known_of_copies():
    assert without_unsaid_repeat(Hypothesis("no no no no")) is None


def test_of_copies_that_all_took_no_time_one_is_left():
    heard = timed(("on", SAID), *[("and", SQUEEZED)] * 5)
    assert without_unsaid_repeat(heard).text == "on and"


def test_joined_words_get_no_space():
    words = tuple(
        Word(text, at, at + (8000 if at < 16_000 else 100), 0.9, is_joined=True)
        for text, at in (("天", 0), ("气", 8000), ("天", 16_000), ("气", 16_100))
    )
    assert without_unsaid_repeat(Hypothesis("天气天气", words, "zh")).text == "天气"


def test_a_loop_takes_its_words_with_it():
    heard = timed(*[(word, SAID) for word in "We went out. We went out. We".split()])  # noqa: SIM905
    without = without_loop(heard)
    assert without.text == "We went out."
    assert without.words == heard.words[:3]


def test_a_loop_that_begins_inside_a_word_leaves_the_beginning_of_the_word():
    heard = timed(*[(word, SAID) for word in "so we.so we.so we.so we.so".split()])  # noqa: SIM905
    without = without_loop(heard)
    assert without.text == "so we."
    assert [word.text for word in without.words] == ["so", "we."]
