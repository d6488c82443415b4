"""One stretch of speech from its first request to its final."""

from dataclasses import replace

import pytest

from server.recognition import Hypothesis, Word
from server.segment import Segment


def heard(text: str) -> Hypothesis:
    words = tuple(
        Word(word, 16_000 * index, 16_000 * (index + 1), 0.5 + index / 10)
        for index, word in enumerate(text.split())
    )
    return Hypothesis(text, words, "en")


def segment(start_sample: int = 16_000, speech_sample: int = 24_000) -> Segment:
    return Segment(3, start_sample, speech_sample)


# --- captions ---


def test_captions_carry_how_far_their_audio_reaches():
    opened = segment()
    revision = opened.ask(32_000)
    caption = opened.take_caption(revision, heard("one two"))
    assert (caption.segment, caption.revision) == (3, 1)
    assert (caption.start_ms, caption.end_ms) == (1000, 2000)
    assert caption.stable + caption.unstable == "one two"


def test_a_caption_that_a_newer_one_has_overtaken_is_not_shown():
    opened = segment()
    first, second = opened.ask(32_000), opened.ask(40_000)
    assert opened.take_caption(second, heard("one two")) is not None
    assert opened.take_caption(first, heard("one")) is None


def test_an_answer_is_shown_once():
    opened = segment()
    revision = opened.ask(32_000)
    assert opened.take_caption(revision, heard("one")) is not None
    assert opened.take_caption(revision, heard("one")) is None


def test_no_words_are_no_caption_and_hold_up_no_later_one():
    opened = segment()
    first, second = opened.ask(32_000), opened.ask(40_000)
    assert opened.take_caption(first, heard("")) is None
    assert opened.take_caption(second, heard("one")).unstable == "one"


def test_what_two_answers_agree_on_is_stable():
    opened = segment()
    opened.take_caption(opened.ask(32_000), heard("one two"))
    caption = opened.take_caption(opened.ask(40_000), heard("one too many"))
    assert (caption.stable, caption.unstable) == ("one", " too many")


# --- the candidate ---


def test_the_candidate_is_the_final_when_the_segment_ends_where_its_audio_did():
    closed = segment()
    revision = closed.ask_for_candidate(48_000)
    assert closed.has_candidate
    assert closed.ends_with_candidate(48_000)
    assert not closed.ends_with_candidate(49_000)
    closed.receive_hypothesis(revision, heard("one two"))
    assert closed.final() is None
    closed.end_sample = 48_000
    assert closed.final().text == "one two"


@pytest.mark.parametrize("is_first", [True, False])
def test_no_other_answer_becomes_the_final(is_first):
    closed = segment()
    caption = closed.ask(32_000)
    candidate = closed.ask_for_candidate(48_000)
    closed.end_sample = 48_000
    order = [caption, candidate] if is_first else [candidate, caption]
    for revision in order:
        closed.receive_hypothesis(revision, heard(f"r{revision}"))
    assert closed.final().text == f"r{candidate}"


def test_speech_that_goes_on_makes_the_candidate_a_caption():
    opened = segment()
    revision = opened.ask_for_candidate(48_000)
    opened.resume()
    opened.receive_hypothesis(revision, heard("one"))
    assert not opened.has_candidate
    assert opened.take_caption(revision, heard("one")) is not None
    opened.end_sample = 64_000
    assert opened.final() is None


def test_a_second_candidate_takes_the_place_of_the_first():
    closed = segment()
    first = closed.ask_for_candidate(48_000)
    closed.receive_hypothesis(first, heard("one"))
    second = closed.ask_for_candidate(64_000)
    closed.end_sample = 64_000
    assert closed.final() is None
    closed.receive_hypothesis(second, heard("one two"))
    assert closed.final().text == "one two"


# --- failures ---


def test_a_caption_that_failed_loses_no_words():
    opened = segment()
    assert opened.receive_failure(opened.ask(32_000))


def test_a_candidate_that_failed_while_speech_may_go_on_can_be_asked_for_again():
    opened = segment()
    assert opened.receive_failure(opened.ask_for_candidate(48_000))
    assert not opened.has_candidate


def test_a_final_that_failed_loses_words():
    closed = segment()
    revision = closed.ask_for_candidate(48_000)
    closed.end_sample = 48_000
    assert not closed.receive_failure(revision)


def test_what_was_shown_last_is_what_a_caption_may_go_on_from():
    opened = segment()
    first, second, third = (opened.ask(at) for at in (32_000, 40_000, 48_000))
    assert opened.heard_so_far is None
    opened.take_caption(second, heard("one two"))
    opened.take_caption(first, heard("one"))
    opened.take_caption(third, heard(""))
    assert opened.heard_so_far == heard("one two")


# --- the final ---


def final_of(hypothesis: Hypothesis, **where):
    closed = segment(**where)
    revision = closed.ask_for_candidate(80_000)
    closed.end_sample = 80_000
    closed.receive_hypothesis(revision, hypothesis)
    return closed.final()


def test_the_words_of_a_final_lie_where_they_are_in_the_stream():
    final = final_of(heard("one two"))
    assert [(word.start_ms, word.end_ms) for word in final.words] == [(1500, 2000), (2000, 3000)]
    assert (final.start_ms, final.end_ms) == (1000, 5000)


def test_a_first_word_never_ends_before_it_begins():
    final = final_of(heard("one two"), speech_sample=40_000)
    assert [(word.start_ms, word.end_ms) for word in final.words] == [(2000, 2000), (2500, 3000)]


def test_the_confidence_of_a_final_is_the_mean_of_its_words():
    assert final_of(heard("one two")).confidence == 0.55
    assert final_of(Hypothesis("")).confidence == 0.0


def test_times_that_nobody_measured_are_said_to_be_estimated():
    assert final_of(heard("one two")).word_times == "measured"
    estimated = replace(heard("one two"), are_times_estimated=True)
    assert final_of(estimated).word_times == "estimated"
