"""What can be decoded and aligned in one go."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.engines.whisper_groups import alignable, groups_of
from server.recognition import Utterance


def utterance(seconds, is_final=True):
    return Utterance(np.zeros(int(seconds * 16_000), np.float32), is_final)


def grouped(batch, contexts=None):
    return list(groups_of(batch, contexts or [[]] * len(batch)))


def test_rows_of_like_length_are_one_group():
    assert grouped([utterance(2), utterance(4), utterance(3)]) == [[0, 2, 1]]


def test_finals_and_partials_are_decoded_apart():
    batch = [utterance(2), utterance(2, is_final=False), utterance(2)]
    assert sorted(grouped(batch)) == [[0, 2], [1]]


def test_contexts_of_different_lengths_are_decoded_apart():
    assert sorted(grouped([utterance(2)] * 3, [[1, 2], [], [3, 4]])) == [[0, 2], [1]]


def test_a_long_row_does_not_pad_many_short_ones():
    assert grouped([utterance(25), *[utterance(2)] * 3]) == [[1, 2, 3], [0]]


@given(st.lists(st.tuples(st.floats(0.1, 28), st.booleans(), st.integers(0, 2)), max_size=12))
def test_every_row_is_in_one_group(rows):
    batch = [utterance(seconds, is_final) for seconds, is_final, _ in rows]
    groups = grouped(batch, [[1] * n_tokens for _, _, n_tokens in rows])
    assert sorted(index for group in groups for index in group) == list(range(len(rows)))
    alike = [{(rows[index][1], rows[index][2]) for index in group} for group in groups]
    assert all(len(kinds) == 1 for kinds in alike)


def test_nothing_has_no_groups():
    assert grouped([]) == []


def test_texts_of_one_language_are_aligned_together():
    languages = ["en", "de", "en"]
    assert sorted(alignable([[1], [2], [3]], [10, 20, 30], languages)) == [[0, 2], [1]]


def test_a_row_without_text_is_not_aligned():
    assert list(alignable([[], [2]], [10, 20], [None, None])) == [[1]]


def test_rows_of_equal_length_are_aligned_by_the_length_of_their_texts():
    rows = list(alignable([[1], [2, 3], [4]], [10, 10, 10], ["en"] * 3))
    assert sorted(rows) == [[0, 2], [1]]
