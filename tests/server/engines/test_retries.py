"""Which context an utterance is decoded with, and what is made of what was heard."""

import numpy as np
import pytest

from server.engines.retries import Retries, transcribe
from server.guards import GuardSettings, Verdict
from server.recognition import NOTHING_HEARD, Hypothesis, Utterance, Word

RETRIES = Retries(GuardSettings(), most_samples=28 * 16_000, last_attempt=2)


class FakeDecoder:
    """Hears what the script says for the sample that an utterance has most of, time after time."""

    def __init__(self, script):
        self._script = {mark: list(heard) for mark, heard in script.items()}
        self.calls = []

    def __call__(self, batch, attempt):
        marks = [int(np.median(utterance.samples)) for utterance in batch]
        self.calls.append((attempt, marks))
        self.languages = [utterance.language for utterance in batch]
        return [self._script[mark].pop(0) for mark in marks]


def marked(mark, seconds=4.0, is_final=True, **about):
    return Utterance(np.full(int(seconds * 16_000), mark, np.float32), is_final, **about)


def halved(first_mark, second_mark, seconds):
    """Quiet for a moment, a little after its middle: there it is cut."""
    whole = marked(first_mark, seconds)
    quiet = int(whole.samples.size * 0.55)
    whole.samples[quiet:] = second_mark
    whole.samples[quiet - 1600 : quiet + 1600] = 0
    return whole


def said(text, verdict=Verdict.FIT, times_s=None, language="en", **about):
    words = tuple(
        Word(word, int(at * 16_000), int((at + 0.1) * 16_000), 0.9)
        for word, at in zip(text.split(), times_s or (), strict=False)
    )
    return Hypothesis(text, words, language, **about), verdict


def heard(batch, decoder):
    return transcribe(batch, decoder, RETRIES)


def test_what_is_fit_is_decoded_once():
    decoder = FakeDecoder({1: [said("yes")]})
    assert heard([marked(1)], decoder)[0].text == "yes"
    assert decoder.calls == [(0, [1])]


def test_all_that_is_doubted_is_decoded_again_together():
    loop = said("we went we went we went", Verdict.LOOPING)
    decoder = FakeDecoder({1: [loop, said("a")], 2: [said("b")], 3: [loop, said("c")]})
    assert [h.text for h in heard([marked(1), marked(2), marked(3)], decoder)] == ["a", "b", "c"]
    assert decoder.calls == [(0, [1, 2, 3]), (1, [1, 3])]


def test_what_the_second_attempt_leaves_has_the_full_context_at_last():
    loop = said("no no no no", Verdict.LOOPING)
    decoder = FakeDecoder({1: [loop, loop, said("no")]})
    assert heard([marked(1)], decoder)[0].text == "no"
    assert [attempt for attempt, _ in decoder.calls] == [0, 1, 2]


def test_a_language_that_was_heard_once_is_not_looked_for_again():
    loop = said("so so so so", Verdict.LOOPING, language="de")
    decoder = FakeDecoder({1: [loop, said("so", language="de")]})
    heard([marked(1)], decoder)
    assert decoder.languages == ["de"]


def test_a_repeat_that_lasted_is_believed():
    twice = said("tear it down tear it down", Verdict.SUSPECT, [0, 0.5, 1, 1.5, 2, 2.5])
    assert heard([marked(1)], FakeDecoder({1: [twice]}))[0].text == twice[0].text


def test_a_repeat_that_took_no_time_is_taken_out_when_more_context_says_it_too():
    twice = said("tear it down tear it down", Verdict.SUSPECT, [0, 0.5, 1, 1, 1, 1])
    decoder = FakeDecoder({1: [twice, twice]})
    assert heard([marked(1)], decoder)[0].text == "tear it down"
    assert len(decoder.calls) == 2


def test_silence_is_nothing_heard_and_not_decoded_again():
    decoder = FakeDecoder({1: [said("you", Verdict.SILENT)]})
    assert heard([marked(1)], decoder) == [NOTHING_HEARD]


def test_a_partial_that_loops_is_shown_without_its_loop():
    decoder = FakeDecoder({1: [said("we went we went we went", Verdict.LOOPING)]})
    assert heard([marked(1, is_final=False)], decoder)[0].text == "we went"


def test_a_sparse_text_is_heard_in_halves_that_are_decoded_together():
    script = {
        1: [said("hm", Verdict.SPARSE), said("one", times_s=[1])],
        2: [said("two", times_s=[1])],
    }
    decoder = FakeDecoder(script)
    [whole] = heard([halved(1, 2, seconds=10)], decoder)
    assert whole.text == "one two"
    assert decoder.calls == [(0, [1]), (0, [1, 2])]
    assert [round(word.start_sample / 16_000) for word in whole.words] == [1, 6]


def test_halves_of_all_rows_are_one_batch():
    sparse = said("hm", Verdict.SPARSE)
    script = {1: [sparse, said("a")], 2: [said("b")], 3: [sparse, said("c")], 4: [said("d")]}
    decoder = FakeDecoder(script)
    both = heard([halved(1, 2, seconds=10), halved(3, 4, seconds=10)], decoder)
    assert [hypothesis.text for hypothesis in both] == ["a b", "c d"]
    assert decoder.calls == [(0, [1, 3]), (0, [1, 2, 3, 4])]


def test_what_halves_leave_joins_what_waited_for_more_context():
    loop, sparse = said("no no no no", Verdict.LOOPING), said("hm", Verdict.SPARSE)
    script = {1: [loop, said("a")], 2: [sparse, loop, said("b")], 3: [said("c")]}
    decoder = FakeDecoder(script)
    heard([marked(1), halved(2, 3, seconds=10)], decoder)
    assert decoder.calls == [(0, [1, 2]), (0, [2, 3]), (1, [1, 2])]


def test_halves_keep_the_language_that_was_heard_in_the_whole():
    decoder = FakeDecoder(
        {1: [said("hm", Verdict.SPARSE, language="zh"), said("a")], 2: [said("b")]}
    )
    heard([halved(1, 2, seconds=10)], decoder)
    assert decoder.languages == ["zh", "zh"]


def test_halves_are_joined_as_their_language_writes():
    sparse = said("天", Verdict.SPARSE, language="zh")
    decoder = FakeDecoder({1: [sparse, said("今", language="zh")], 2: [said("天", language="zh")]})
    assert heard([halved(1, 2, seconds=10)], decoder)[0].text == "今天"


def test_a_silent_half_leaves_the_other_alone():
    script = {1: [said("hm", Verdict.SPARSE), said("", Verdict.SILENT)], 2: [said("two")]}
    assert heard([halved(1, 2, seconds=10)], FakeDecoder(script))[0].text == "two"


def test_what_is_longer_than_the_context_is_heard_in_parts():
    decoder = FakeDecoder({1: [said("one")], 2: [said("two")]})
    assert heard([halved(1, 2, seconds=40)], decoder)[0].text == "one two"


def test_a_loop_that_stays_in_a_long_stretch_is_heard_in_halves():
    loop = said("no no no no", Verdict.LOOPING)
    decoder = FakeDecoder({1: [loop, loop, loop, said("no")], 2: [said("yes")]})
    assert heard([halved(1, 2, seconds=10)], decoder)[0].text == "no yes"


@pytest.mark.parametrize(("log_probability", "text"), [(-0.3, "no"), (-1.5, "")])
def test_a_loop_that_stays_in_a_short_stretch_is_cut_or_not_believed(log_probability, text):
    loop = said("no no no no", Verdict.LOOPING, mean_log_probability=log_probability)
    assert heard([marked(1, 2.0)], FakeDecoder({1: [loop, loop, loop]}))[0].text == text


def test_an_empty_batch_is_not_decoded():
    decoder = FakeDecoder({})
    assert heard([], decoder) == []
    assert decoder.calls == []
