"""Segments to cues, and cues to files."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.cells import width_cells
from client.subtitles import (
    LEAST_CUE_MS,
    MOST_CUE_MS,
    MOST_LINE_CELLS,
    Cue,
    cues_of,
    encode_srt,
    encode_vtt,
)
from client.transcript import Segment
from server.wire import WordEvent


def spoken(text, *, start_ms=0, word_ms=300, gap_ms=0, channel=None, number=0):
    """A segment with a word every `word_ms` and `gap_ms` between them."""
    words, at = [], start_ms
    for word in text.split():
        words.append(WordEvent(word, at, at + word_ms, 0.9))
        at += word_ms + gap_ms
    end_ms = words[-1].end_ms if words else start_ms
    return Segment(
        number, start_ms, end_ms, text, is_final=True, words=tuple(words), channel=channel
    )


def lines(*segments):
    return [cue.lines for cue in cues_of(segments)]


def test_what_fits_stands_on_one_line_with_the_times_of_its_words():
    assert cues_of([spoken("Good morning, how are you?", start_ms=500)]) == [
        Cue(500, 2000, ("Good morning, how are you?",))
    ]


def test_two_lines_are_broken_behind_punctuation_if_they_are_about_even():
    text = "I came by this morning to see you, but nobody was at home by then."
    assert lines(spoken(text, word_ms=200)) == [
        ("I came by this morning to see you,", "but nobody was at home by then.")
    ]


def test_two_lines_are_else_about_even():
    assert lines(
        spoken("one two three four five six seven eight nine ten eleven", word_ms=200)
    ) == [("one two three four five six", "seven eight nine ten eleven")]


def test_a_cue_ends_with_a_sentence_once_it_stood_for_two_seconds():
    text = "This is the first of the sentences. And a second."
    assert lines(spoken(text)) == [("This is the first of the sentences.",), ("And a second.",)]
    assert lines(spoken("Yes. No. Maybe.")) == [("Yes. No. Maybe.",)]


def test_a_pause_ends_a_cue():
    assert lines(spoken("one two", gap_ms=1500)) == [("one",), ("two",)]


def test_a_short_cue_stays_for_a_second_or_until_the_next():
    one, two = cues_of([spoken("Yes."), spoken("No.", start_ms=700, number=1)])
    assert (one.start_ms, one.end_ms) == (0, 700)
    assert (two.start_ms, two.end_ms) == (700, 700 + LEAST_CUE_MS)


def test_without_words_the_time_is_shared_out_by_length():
    segment = Segment(0, 1000, 21_000, "word " * 40, is_final=True)
    cues = cues_of([segment])
    assert cues[0].start_ms == 1000
    assert cues[-1].end_ms == 21_000
    assert " ".join(line for cue in cues for line in cue.lines).split() == ["word"] * 40


def test_scripts_without_spaces_get_none_and_count_twice():
    text = "今天天气很好我们去公园散步吧然后回家吃饭看电视睡觉明天再说"
    words = tuple(WordEvent(char, at * 100, at * 100 + 100, 1) for at, char in enumerate(text))
    [cue] = cues_of([Segment(0, 0, len(text) * 100, text, is_final=True, words=words)])
    assert "".join(cue.lines) == text
    assert len(cue.lines) == 2


def test_a_word_without_end_is_cut():
    cues = cues_of([spoken("a" * 100 + " b")])
    assert "".join(line for cue in cues for line in cue.lines) == "a" * 100 + " b"
    assert cues_of([spoken("hm", word_ms=60_000)])[0].end_ms == MOST_CUE_MS


def test_channels_may_stand_together_and_are_named():
    cues = cues_of([spoken("Hello there.", channel="left"), spoken("Hi.", channel="right")])
    assert encode_srt(cues) == (
        "1\n00:00:00,000 --> 00:00:01,000\nleft: Hello there.\n\n"
        "2\n00:00:00,000 --> 00:00:01,000\nright: Hi.\n"
    )
    assert "<v left>Hello there.\n" in encode_vtt(cues)


def test_what_looks_like_markup_or_an_arrow_is_text():
    cues = cues_of([spoken("a <b> --> c & d\x1b\n\n2")])
    assert encode_vtt(cues).splitlines()[3] == "a &lt;b&gt; --&gt; c &amp; d 2"
    assert encode_srt(cues).splitlines()[2] == "a <b> -> c & d 2"


def test_nothing_said_is_a_file_without_cues():
    assert encode_srt(cues_of([])) == ""
    assert encode_vtt(cues_of([Segment(0, 0, 5, "", is_final=True)])) == "WEBVTT\n"


def test_times_count_hours():
    assert "01:02:03,004 --> 01:02:04,004" in encode_srt(cues_of([spoken("a", start_ms=3_723_004)]))


WORDS = st.lists(
    st.tuples(
        st.text(alphabet="abcdefgh.,!? 世界\x1b-<>", min_size=1, max_size=60),
        st.integers(0, 3000),
        st.integers(0, 9000),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(WORDS, st.sampled_from([None, "left", "an uncommonly long name of a channel"]))
def test_no_cue_is_too_big_or_over_another_and_no_word_is_lost(drawn, channel):
    at, words = 0, []
    for text, gap_ms, word_ms in drawn:
        words.append(WordEvent(text.strip(), at + gap_ms, at + gap_ms + word_ms, 1))
        at += gap_ms + word_ms
    text = " ".join(word.text for word in words)
    segment = Segment(0, 0, at, text, is_final=True, words=tuple(words), channel=channel)
    cues = cues_of([segment])
    shown = "".join(line for cue in cues for line in cue.lines)
    assert shown.replace(" ", "") == "".join(text.replace("\x1b", "").split())
    for cue in cues:
        assert 1 <= len(cue.lines) <= 2
        assert all(0 < width_cells(line) <= MOST_LINE_CELLS for line in cue.lines)
        assert cue.start_ms < cue.end_ms <= cue.start_ms + MOST_CUE_MS
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(cues))


@pytest.mark.parametrize("encode", [encode_srt, encode_vtt])
def test_blocks_are_apart_by_one_empty_line(encode):
    text = encode(cues_of([spoken("a"), spoken("b", start_ms=2000, number=1)]))
    assert "\n\n\n" not in text
    assert text.endswith("b\n")
