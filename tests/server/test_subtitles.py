"""Cues that fit a screen, and files that players can read."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.subtitles import (
    MOST_CUE_MS,
    MOST_LINE_CHARS,
    MOST_LINES,
    Cue,
    cues_of,
    encode_srt,
    encode_vtt,
)
from server.wire import Final, WordEvent


def final(text, start_ms=0, word_ms=300, words=None):
    spoken = text.split() if words is None else words
    events = [
        WordEvent(word, start_ms + index * word_ms, start_ms + (index + 1) * word_ms, 0.9)
        for index, word in enumerate(spoken)
    ]
    end_ms = start_ms + max(len(spoken), 1) * word_ms
    return Final(0, start_ms, end_ms, text, "en", 0.9, events)


def test_a_short_sentence_is_one_cue_with_the_times_of_its_words():
    assert cues_of([final("Hello, world.", 500)]) == [Cue(500, 1100, ("Hello, world.",))]


def test_a_long_sentence_is_cut_into_cues_of_two_lines():
    text = "the quick brown fox jumps over the lazy dog and " * 4
    cues = cues_of([final(text.strip(), word_ms=100)])
    assert cues[0].lines == (
        "the quick brown fox jumps over the lazy",
        "dog and the quick brown fox jumps over the",
    )
    assert " ".join(line for cue in cues for line in cue.lines) == text.strip()


def test_slow_speech_does_not_stand_for_longer_than_a_reader_needs():
    cues = cues_of([final("one two three four", word_ms=3_000)])
    assert [cue.lines for cue in cues] == [("one two",), ("three four",)]


def test_scripts_without_spaces_stay_without():
    cues = cues_of([final("你好世界", words=["你", "好", "世", "界"])])
    assert [cue.lines for cue in cues] == [("你好世界",)]


def test_a_word_longer_than_a_line_is_cut():
    [cue] = cues_of([final("a" * 50)])
    assert cue.lines == ("a" * 42, "a" * 8)


def test_words_without_times_share_out_those_of_the_final():
    cues = cues_of([final("word " * 40, start_ms=1000, words=[], word_ms=8000)])
    assert cues[0].start_ms == 1000
    assert cues[-1].end_ms == 9000
    assert len(cues) == 3
    assert cues_of([final("", words=[])]) == []


def test_a_word_that_is_not_in_the_text_moves_none_of_the_others():
    cues = cues_of([final("one two", words=["one", "2", "two"])])
    assert [cue.lines for cue in cues] == [("one two",)]


def test_finals_that_overlap_make_cues_that_do_not():
    cues = cues_of([final("one", 0, 1000), final("two", 400, 300), final("three", 2000)])
    assert [(cue.start_ms, cue.end_ms) for cue in cues] == [(0, 1000), (1000, 1001), (2000, 2300)]


def test_srt_has_numbers_commas_and_no_second_arrow():
    cues = [Cue(0, 1, ("a --> b",)), Cue(3_723_004, 360_000_000, ("ü & <i>", "d"))]
    assert encode_srt(cues) == (
        "1\n00:00:00,000 --> 00:00:00,001\na -> b\n\n"
        "2\n01:02:03,004 --> 100:00:00,000\nü & <i>\nd\n"
    )
    assert encode_srt([]) == ""


def test_vtt_has_a_head_and_escapes():
    assert encode_vtt([Cue(0, 1500, ("a --> b & <i>",))]) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\na --&gt; b &amp; &lt;i&gt;\n"
    )
    assert encode_vtt([]) == "WEBVTT\n"


@pytest.mark.parametrize("text", ["one\n\n2\n00:00 --> 00:01\ntwo", "one\r\u2028two\x00\x0b"])
def test_nothing_said_ends_a_cue(text):
    [cue] = cues_of([final(text)])
    assert all(line.isprintable() for line in cue.lines)


@given(
    st.lists(
        st.tuples(st.text(max_size=120), st.integers(0, 20_000), st.integers(0, 9_000)), max_size=6
    ),
    st.booleans(),
)
def test_whatever_is_said_cues_are_in_order_and_fit(said, has_words):
    finals = [final(t, start, ms, None if has_words else []) for t, start, ms in said]
    cues = cues_of(finals)
    for cue in cues:
        assert 1 <= len(cue.lines) <= MOST_LINES
        assert all(0 < len(line) <= MOST_LINE_CHARS for line in cue.lines)
        assert cue.start_ms < cue.end_ms
    for before, after in itertools.pairwise(cues):
        assert before.end_ms <= after.start_ms
    assert encode_vtt(cues).count("-->") == len(cues)
    assert encode_srt(cues).count("-->") == len(cues)
    assert MOST_CUE_MS == 7_000
