"""What a session hears in a channel in, what is told of it out."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import wire
from server.dialects import deepgram_messages as messages
from server.dialects.deepgram_options import live_options
from server.dialects.deepgram_results import ChannelResults

METADATA = messages.ResultsMetadata("an-id", messages.ModelInfo("tiny", "0", "tiny"), "a-model")


def channel(place=(0, 1), **query):
    query = {"interim_results": "true", "vad_events": "true", **query}
    return ChannelResults(place, live_options(query.items(), frozenset({"en"})), METADATA)


def began(number=0, start_ms=0):
    return wire.SpeechStarted(number, start_ms)


def ended(number=0, end_ms=1000):
    return wire.SpeechEnded(number, end_ms)


def cut(number=0, end_ms=1000):
    return wire.SpeechEnded(number, end_ms, is_cut=True)


def caption(text="to be", number=0, end_ms=700):
    return wire.Partial(number, 1, 0, end_ms, text, "")


def final(text="To be.", number=0, start_ms=0, end_ms=1000, word_ends_ms=900):
    words = [wire.WordEvent(word, start_ms, word_ends_ms, 0.9) for word in text.split()]
    return wire.Final(number, start_ms, end_ms, text, "en", 0.9 if words else 0.0, words)


def told(it, *events, heard_ms=0):
    return [message for event in events for message in it.tell(event, heard_ms)]


def text_of(results):
    return results.channel.alternatives[0].transcript


def test_speech_is_told_from_its_beginning_to_its_end():
    it = channel(place=(1, 2))
    start, interim, last = told(it, began(0, 250), caption(), ended(), final())
    assert start == messages.SpeechStarted((1, 2), 0.25)
    assert (text_of(interim), interim.is_final, interim.speech_final) == ("to be", False, False)
    assert (text_of(last), last.is_final, last.speech_final) == ("To be.", True, True)
    assert last.channel_index == (1, 2)
    assert not last.from_finalize
    assert last.metadata == METADATA


def test_the_beginning_of_speech_is_told_where_it_is_asked_for():
    assert told(channel(vad_events="false"), began()) == []


def test_ranges_have_no_gaps():
    it = channel()
    results = told(
        it,
        *(began(0, 300), ended(0, 1000), began(1, 1500), final(end_ms=1000)),
        *(caption(number=1, end_ms=1900), ended(1, 2000), final(number=1, end_ms=2000)),
    )
    first, interim, second = (each for each in results if isinstance(each, messages.Results))
    assert (first.start_s, first.duration_s) == (0.0, 1.0)
    assert (interim.start_s, interim.duration_s) == (1.0, 0.9)
    assert (second.start_s, second.duration_s) == (1.0, 1.0)


def test_what_nobody_said_is_told_too():
    [_, last] = told(channel(), began(), ended(), final(""))
    assert (text_of(last), last.channel.alternatives[0].confidence) == ("", 0.0)
    assert last.speech_final


def test_a_segment_that_was_only_too_long_ends_no_speech():
    it = channel()
    results = told(it, began(), cut(), began(1, 1000), final())
    assert not results[-1].speech_final
    assert told(it, ended(1, 2000), final(number=1, start_ms=1000, end_ms=2000))[-1].speech_final


@pytest.mark.parametrize("start_ms", [1000, 1100])
def test_speech_has_ended_whoever_speaks_by_the_time_its_words_come(start_ms):
    assert told(channel(), began(), ended(), began(1, start_ms), final())[-1].speech_final


def cut_speech(**query):
    it = channel(vad_events="false", **query)
    it.ready(500)
    return it, told(it, began(), cut(), final())


def test_speech_that_was_cut_ends_without_words_after_as_much_silence_as_ends_speech():
    it, [last] = cut_speech()
    assert not last.speech_final
    assert it.ends(1499) == []
    [end] = it.ends(1500)
    assert (text_of(end), end.is_final, end.speech_final) == ("", True, True)
    assert (end.start_s, end.duration_s, end.from_finalize) == (1.0, 0.0, False)
    assert it.ends(9000) == it.end(9000) == []


def test_who_speaks_on_has_not_ended_where_the_segment_was_cut():
    it, _ = cut_speech()
    told(it, began(1, 1400))
    assert it.ends(9000) == []
    [last] = told(it, ended(1, 3000), final("Or not.", 1, 1400, 3000))
    assert last.speech_final
    assert it.ends(9000) == []


def test_a_segment_that_was_cut_where_the_next_had_begun_leaves_no_end_to_tell():
    it = channel(vad_events="false")
    it.ready(500)
    told(it, began(), cut(), began(1, 1000), final(), ended(1, 2000))
    assert it.ends(9000) == []


def test_the_answer_to_finalize_is_the_end_of_speech_that_was_cut():
    it, _ = cut_speech()
    it.finalize()
    [answer] = it.tell_flushed(1200, 1200)
    assert (answer.from_finalize, answer.speech_final) == (True, True)
    assert it.ends(9000) == []


def test_where_only_finalize_ends_speech_silence_does_not_though_it_was_cut():
    it, _ = cut_speech(endpointing="false")
    it.ready(wire.ONLY_FLUSH_MS)
    assert it.ends(99_000) == []
    it.stop()
    assert [each.speech_final for each in it.end(99_000)] == [True]


def test_speech_that_was_cut_goes_on_in_what_was_sent_before_the_end_of_the_stream():
    it = channel(vad_events="false")
    it.ready(500)
    it.stop()
    assert [each.speech_final for each in told(it, began(), cut(), final(), heard_ms=9000)] == [
        False
    ]
    assert [each.speech_final for each in it.end(9000)] == [True]


def test_speech_that_was_cut_ends_before_its_utterance():
    it, _ = cut_speech(utterance_end_ms="1000")
    assert list(map(type, it.ends(9000))) == [messages.Results, messages.UtteranceEnd]


def test_without_endpointing_only_the_end_of_the_stream_ends_speech():
    it = channel(endpointing="false")
    assert not told(it, began(), ended(), final())[-1].speech_final
    it.stop()
    assert told(it, began(1), ended(1), final(number=1))[-1].speech_final


def test_finalize_is_answered_with_the_final_that_it_brought():
    it = channel(vad_events="false")
    it.tell(began(), 0)
    it.finalize()
    assert told(it, ended(), final()) == []
    [answer] = it.tell_flushed(1000, 0)
    assert (text_of(answer), answer.from_finalize, answer.speech_final) == ("To be.", True, True)


def test_of_several_finals_the_last_is_the_answer():
    it = channel(vad_events="false")
    told(it, began(0), ended(0), began(1, 1100))
    it.finalize()
    assert told(it, ended(1, 2000), final()) == []
    [first] = told(it, final("Or not.", 1, 1100, 2000))
    [second] = it.tell_flushed(2000, 0)
    assert (text_of(first), first.from_finalize) == ("To be.", False)
    assert (text_of(second), second.from_finalize) == ("Or not.", True)


def test_who_speaks_on_takes_no_answer_from_finalize():
    it = channel(vad_events="false")
    it.tell(began(), 0)
    it.finalize()
    assert told(it, ended(0, 2000), began(1, 2000), final(end_ms=2000)) == []
    [answer] = it.tell_flushed(2000, 2500)
    assert (text_of(answer), answer.from_finalize) == ("To be.", True)
    [later] = told(it, ended(1, 3000), final("Or not.", 1, 2000, 3000))
    assert (text_of(later), later.from_finalize) == ("Or not.", False)


def test_a_final_that_may_be_the_answer_is_told_before_what_was_said_after_it():
    it = channel(vad_events="false")
    told(it, began(0), ended(0), began(1, 1100))
    it.finalize()
    assert told(it, final()) == []
    first, interim = told(it, caption(number=1, end_ms=1500))
    assert (text_of(first), first.from_finalize) == ("To be.", False)
    assert not interim.is_final


def test_no_utterance_ends_where_the_next_begins():
    it = channel(vad_events="false", utterance_end_ms="1000")
    it.tell(began(), 0)
    it.finalize()
    told(it, ended(), final())
    assert list(map(type, told(it, began(1, 2100), heard_ms=2400))) == [messages.Results]


def test_finals_that_come_together_are_told_in_their_order():
    it = channel(vad_events="false")
    it.finalize()
    assert told(it, began(0), ended(0), final()) == []
    told_now = told(it, began(1, 1100), ended(1, 2000), final("Or not.", 1, 1100, 2000))
    assert list(map(text_of, told_now)) == ["To be."]


def test_finalize_is_answered_where_there_is_nothing_to_say():
    it = channel()
    it.finalize()
    [answer] = it.tell_flushed(700, 0)
    assert (text_of(answer), answer.from_finalize, answer.is_final) == ("", True, True)
    assert (answer.start_s, answer.duration_s) == (0.0, 0.7)
    assert not answer.speech_final


def test_an_answer_without_words_ends_an_utterance_that_is_open():
    it = channel(endpointing="false")
    told(it, began(), ended(), final())
    it.finalize()
    assert it.tell_flushed(1200, 0)[0].speech_final
    it.finalize()
    assert not it.tell_flushed(1300, 0)[0].speech_final


def test_two_finalizes_are_answered_twice():
    it = channel(vad_events="false")
    it.tell(began(), 0)
    it.finalize()
    it.finalize()
    told(it, ended(), final())
    answers = [*it.tell_flushed(1000, 0), *it.tell_flushed(1000, 0)]
    assert list(map(text_of, answers)) == ["To be.", ""]
    assert all(answer.from_finalize for answer in answers)


def test_what_is_held_is_not_lost_at_the_end():
    it = channel(vad_events="false")
    it.finalize()
    told(it, began(), ended(), final())
    assert list(map(text_of, it.release(0))) == ["To be."]
    assert it.release(0) == []


def utterance(**query):
    it = channel(utterance_end_ms="1000", **query)
    told(it, began(), ended(), final())
    return it


def test_an_utterance_ends_once_when_no_word_came_for_so_long():
    it = utterance()
    assert it.ends(900 + 1000) == []  # speech may have begun and not be noticed yet
    assert it.ends(900 + 1250) == [messages.UtteranceEnd((0, 1), 0.9)]
    assert it.ends(9000) == []


def test_an_utterance_does_not_end_while_somebody_speaks():
    it = utterance()
    told(it, began(1, 1800))
    assert it.ends(9000) == []
    told(it, ended(1, 3000), final("Or.", 1, 1800, 3000, 2900))
    assert it.ends(2900 + 1250) == [messages.UtteranceEnd((0, 1), 2.9)]


def test_an_utterance_that_has_ended_when_its_words_come_ends_with_them():
    it = channel(utterance_end_ms="1000")
    assert told(it, began(), ended(), final(), heard_ms=5000)[-1] == messages.UtteranceEnd(
        (0, 1), 0.9
    )


def test_where_no_word_was_said_no_utterance_ends():
    it = channel(utterance_end_ms="1000")
    assert isinstance(told(it, began(), ended(), final(""), heard_ms=9000)[-1], messages.Results)


def test_nobody_is_told_who_has_not_asked():
    assert channel().ends(9000) == []


ACTIONS = st.lists(st.sampled_from(["speak", "final", "finalize", "flushed", "caption", "hear"]))


@given(ACTIONS, st.sampled_from(["false", "300"]), st.booleans())
def test_no_final_is_lost_and_no_finalize_unanswered(actions, endpointing, is_cut):
    it = channel(endpointing=endpointing, utterance_end_ms="1000")
    it.ready(300)
    closed = cut if is_cut else ended
    said, n_flushes, n_answers = [], 0, 0
    open_segments, at_ms, messages_told = [], 0, []
    for action in actions:
        match action:
            case "speak":
                number = len(said) + len(open_segments)
                open_segments.append((number, at_ms))
                messages_told += told(it, began(number, at_ms), closed(number, at_ms + 500))
                at_ms += 600
            case "caption" if open_segments:
                number, _ = open_segments[-1]
                messages_told += told(it, caption("x", number, at_ms))
            case "final" if open_segments:
                number, start_ms = open_segments.pop(0)
                said.append(f"word{number}")
                messages_told += told(
                    it, final(said[-1], number, start_ms, start_ms + 500, start_ms + 400)
                )
            case "finalize":
                n_flushes += 1
                it.finalize()
            case "flushed" if n_answers < n_flushes:
                n_answers += 1
                messages_told += it.tell_flushed(at_ms, at_ms)
            case _:
                messages_told += it.ends(at_ms)
    messages_told += it.end(at_ms)
    finals = [m for m in messages_told if isinstance(m, messages.Results) and m.is_final]
    assert [text_of(each) for each in finals if text_of(each)] == said
    assert sum(each.from_finalize for each in finals) == n_answers
    assert all(each.duration_s >= 0 for each in finals)
    for before, after in pairwise(each for each in finals if text_of(each)):
        assert after.start_s + 0.0005 > before.start_s
