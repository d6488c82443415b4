"""Events to transcript."""

import pytest

from client.transcript import Channels, Transcript, join_text
from server import wire
from tests.client.fake_server import READY, ended, final, partial


def heard(*events):
    transcript = Transcript()
    for event in events:
        transcript.receive_event(event)
    return transcript


def test_a_caption_has_settled_text_and_a_tail():
    transcript = heard(wire.SpeechStarted(0, 40), partial(0, 0, "hello", " wor"))
    assert transcript.settled_text == "hello"
    assert transcript.tail == "wor"
    assert transcript.text == "hello wor"
    assert not transcript.is_settled


def test_a_final_replaces_its_captions():
    word = wire.WordEvent("Hello", 0, 10, 0.5)
    told = wire.Final(0, 1, 2, " Hello. ", "en", 0.5, [word])
    transcript = heard(partial(0, 0, "hallo", "wor"), told)
    (segment,) = transcript.segments
    assert (segment.text, segment.tail, segment.words) == ("Hello.", "", (word,))
    assert (segment.language, segment.confidence) == ("en", 0.5)
    assert transcript.is_settled


def test_nothing_replaces_a_final():
    transcript = heard(final(0, "a"), partial(0, 9, "b"), final(0, "c"), wire.SpeechStarted(0, 9))
    assert transcript.text == "a"


def test_an_older_caption_is_dropped():
    assert heard(partial(0, 1, "a b"), partial(0, 0, "a")).text == "a b"


def test_segments_stand_in_the_order_in_which_they_began():
    transcript = heard(
        wire.SpeechStarted(0, 0), wire.SpeechStarted(1, 9), final(1, "two"), final(0, "one")
    )
    assert transcript.text == "one two"


def test_a_final_without_words_adds_nothing():
    assert heard(final(0, "one"), final(1, ""), final(2, "two")).text == "one two"


def test_other_events_change_nothing():
    transcript = heard(
        READY, wire.SpeechEnded(0, 3), wire.ErrorEvent("idle", "", False), ended("idle")
    )
    assert transcript.segments == ()
    assert transcript.text == ""


@pytest.mark.parametrize(
    ("left", "right", "joined"),
    [
        ("", "a", "a"),
        ("a", "", "a"),
        ("hello", "world", "hello world"),
        ("hello ", "world", "hello world"),
        ("hello", " world", "hello world"),
        ("hello", ", world", "hello, world"),
        ("item", "#1", "item #1"),
        ("你好", "世界", "你好世界"),
        ("สวัสดี", "ครับ", "สวัสดีครับ"),
        ("안녕", "하세요", "안녕 하세요"),
        ("用", "Python", "用Python"),
    ],
)
def test_texts_are_joined_as_their_script_wants(left, right, joined):
    assert join_text(left, right) == joined


def test_words_come_with_their_times_in_order():
    one, two = (wire.WordEvent(text, at, at + 1, 0.5) for text, at in (("one", 0), ("two", 5)))
    told = [wire.Final(n, 0, 9, w.text, "en", 0.5, [w]) for n, w in enumerate((one, two))]
    assert heard(*told).words == (one, two)


def test_channels_stand_side_by_side_in_order_by_time():
    def said(*spans):
        return heard(*(wire.Final(n, at, at, t, "en", 1, []) for n, (at, t) in enumerate(spans)))

    both = Channels({"a": said((0, "one"), (20, "three")), "b": said((10, "two"))})
    assert [segment.text for segment in both.segments] == ["one", "two", "three"]
    assert [segment.label for segment in both.segments] == ["a: ", "b: ", "a: "]
    assert len({segment.key for segment in both.segments}) == 3
    alone = said((0, "one"))
    assert Channels({None: alone}).segments == alone.segments
    assert alone.segments[0].label == ""
