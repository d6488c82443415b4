"""Successive hypotheses, and what of them stands."""

from hypothesis import given
from hypothesis import strategies as st

from server.hypotheses import Caption, LocalAgreement


def captions(*texts: str) -> list[Caption]:
    agreement = LocalAgreement()
    return [agreement.receive_text(text) for text in texts]


def test_nothing_is_stable_at_first():
    assert captions("the quick brown") == [Caption("", "the quick brown")]


def test_what_two_hypotheses_agree_on_is_stable():
    assert captions("the quick brawn", "the quick brown fox")[-1] == Caption(
        "the quick", " brown fox"
    )


def test_case_and_punctuation_are_no_disagreement_and_the_first_spelling_agreed_on_stays():
    _first, second, third = captions("And so,", "and so my", "And so. My fellow")
    assert second == Caption("and so", " my")
    assert third == Caption("and so My", " fellow")


def test_a_contradiction_changes_only_the_tail():
    texts = ("one two three", "one two three four", "one ten three five six")
    assert captions(*texts)[-1] == Caption("one two three", " five six")


def test_a_shorter_hypothesis_takes_nothing_back():
    assert captions("one two", "one two", "one")[-1] == Caption("one two", "")


def test_characters_of_spaceless_scripts_count_one_by_one():
    assert captions("今天天七", "今天天气很好")[-1] == Caption("今天天", "气很好")


def test_an_empty_hypothesis_is_no_agreement():
    assert captions("", "", "one")[-1] == Caption("", "one")


@given(st.lists(st.lists(st.sampled_from(["a", "B.", "c,", "d", "好"]), max_size=8), max_size=12))
def test_stable_text_is_only_ever_appended_to(hypotheses):
    agreement, stable = LocalAgreement(), ""
    for words in hypotheses:
        caption = agreement.receive_text(" ".join(words))
        assert caption.stable.startswith(stable)
        stable = caption.stable
