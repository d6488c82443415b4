"""Tokens to words."""

from server.engines.words import (
    Piece,
    TimedText,
    group_words,
    join_pieces,
    with_estimated_times,
    with_times_of,
)
from server.recognition import Word


def pieces(*texts):
    return [Piece(text, at * 100, at * 100 + 100, 0.5 + at / 10) for at, text in enumerate(texts)]


def texts(words):
    return [word.text for word in words]


def test_a_piece_with_a_space_begins_a_word():
    words = group_words(pieces(" Hel", "lo", " world"), "en")
    assert texts(words) == ["Hello", "world"]
    assert (words[0].start_sample, words[0].end_sample) == (0, 200)


def test_punctuation_belongs_to_the_word_before_it_and_takes_no_time():
    [word] = group_words(pieces(" Yes", ".", " ..."), "en")
    assert (word.text, word.end_sample) == ("Yes. ...", 100)


def test_a_word_is_as_sure_as_its_least_sure_piece():
    [word] = group_words(pieces(" un", "like", "ly"), "en")
    assert word.probability == 0.5


def test_scripts_without_spaces_have_a_word_for_each_piece():
    words = group_words(pieces("今", "天", "。"), "zh")
    assert texts(words) == ["今", "天。"]
    assert all(word.is_joined for word in words)


def test_leading_punctuation_alone_is_kept_with_its_word():
    assert texts(group_words(pieces(' "', "Yes"), "en")) == ['"Yes']


def test_nothing_gives_nothing():
    assert group_words([], "en") == ()


def test_tokens_are_held_until_they_make_whole_characters():
    halves = {(1,): "\ufffd", (1, 2): "天", (3,): " ok"}
    joined = join_pieces([1, 2, 3], [0, 10, 20, 30], [0.9, 0.4, 0.8], lambda t: halves[tuple(t)])
    assert joined == [Piece("天", 0, 20, 0.4), Piece(" ok", 20, 30, 0.8)]


def test_a_character_that_is_never_finished_is_given_out_at_the_end():
    joined = join_pieces([1], [0, 10], [0.9], lambda tokens: "\ufffd")
    assert joined == [Piece("\ufffd", 0, 10, 0.9)]


def test_a_byte_that_is_of_no_character_does_not_hold_up_the_words_after_it():
    def decode(tokens):
        return "".join("\ufffd" if token == 0 else " a" for token in tokens)

    joined = join_pieces([0] + [1] * 12, range(14), [0.9] * 13, decode)
    assert [piece.text for piece in joined] == ["\ufffd" + " a" * 7, *[" a"] * 5]


# --- times that come from elsewhere ---


def untimed(*texts):
    return [Word(text, 0, 0, 0.5) for text in texts]


def spans(words):
    return [(word.start_sample, word.end_sample) for word in words]


def test_estimated_times_are_as_long_as_the_words_and_fill_the_audio():
    assert spans(with_estimated_times(untimed("a", "one", "a"), 800)) == [
        (0, 200),
        (200, 600),
        (600, 800),
    ]


def test_no_words_have_no_times():
    assert with_estimated_times([], 800) == ()
    assert with_times_of([], [TimedText("a", 0, 100)]) == ()


def test_words_lie_where_their_characters_do():
    heard = [TimedText("The", 100, 400), TimedText("fox", 500, 800)]
    assert spans(with_times_of(untimed("The,", "fox."), heard)) == [(100, 400), (500, 800)]


def test_a_word_of_several_aligned_characters_reaches_from_the_first_to_the_last():
    heard = [TimedText("今", 0, 100), TimedText("天", 150, 250), TimedText("好", 300, 400)]
    assert spans(with_times_of(untimed("今天", "好"), heard)) == [(0, 250), (300, 400)]


def test_words_that_share_what_was_aligned_share_its_time():
    heard = [TimedText("東京都", 0, 300)]
    assert spans(with_times_of(untimed("東", "京都"), heard)) == [(0, 100), (100, 300)]


def test_a_word_that_was_not_aligned_takes_no_time():
    heard = [TimedText("a", 0, 100), TimedText("b", 200, 300)]
    assert spans(with_times_of(untimed("a", "$", "b"), heard)) == [(0, 100), (100, 100), (200, 300)]
