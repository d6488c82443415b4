"""Finals in, events of AudioHook out."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from server.dialects.audiohook_transcripts import event_of
from server.wire import Final, WordEvent
from tests.server.dialects.audiohook_client import DURATION, RULES, SESSION, seconds


def final(*words, segment=0, text="", confidence=0.9):
    return Final(segment, 0, 20_000, text, "en", confidence, list(words))


def shown(event):
    """As it is read of the wire, by the vendor's rules."""
    parameters = json.loads(msgspec.json.encode(event))
    RULES["event"](parameters)
    return parameters["entities"][0]["data"]


def test_a_final_is_told_as_the_protocol_shows_a_transcript():
    words = WordEvent("Hello,", 1100, 1500, 0.9), WordEvent("world.", 1600, 2700, 0.8)
    told = shown(event_of(SESSION, 0, final(*words, text="Hello, world.", confidence=0.85)))
    name = told.pop("id")
    assert told == {
        "channelId": 0,
        "isFinal": True,
        "offset": "PT1.100S",
        "duration": "PT1.600S",
        "alternatives": [
            {
                "confidence": 0.85,
                "interpretations": [
                    {
                        "type": "display",
                        "transcript": "Hello, world.",
                        "tokens": [
                            {
                                "type": "word",
                                "value": "Hello,",
                                "confidence": 0.9,
                                "offset": "PT1.100S",
                                "duration": "PT0.400S",
                            },
                            {
                                "type": "word",
                                "value": "world.",
                                "confidence": 0.8,
                                "offset": "PT1.600S",
                                "duration": "PT1.100S",
                            },
                        ],
                    }
                ],
            }
        ],
    }
    assert name != SESSION


def test_a_final_without_words_is_no_event():
    assert event_of(SESSION, 0, final()) is None


def test_it_begins_with_its_first_word_and_not_with_its_segment():
    told = shown(event_of(SESSION, 0, final(WordEvent("so", 6_700, 9_300, 1.0))))
    assert (told["offset"], told["duration"]) == ("PT6.700S", "PT2.600S")


def test_it_lasts_until_the_last_of_its_words_has_ended():
    words = WordEvent("long", 1000, 3000, 0.5), WordEvent("short", 1200, 1400, 0.5)
    assert shown(event_of(SESSION, 0, final(*words)))["duration"] == "PT2.000S"


def test_words_that_begin_at_once_are_told_a_millisecond_apart():
    words = [WordEvent(text, 1000, 1000, 0.5) for text in "abc"]
    told = shown(event_of(SESSION, 0, final(*words)))
    tokens = told["alternatives"][0]["interpretations"][0]["tokens"]
    assert [token["offset"] for token in tokens] == ["PT1.000S", "PT1.001S", "PT1.002S"]
    assert {token["duration"] for token in tokens} == {"PT0.000S"}


def test_a_transcript_has_the_same_name_whenever_it_is_told_and_no_other_has_it():
    word = WordEvent("yes", 0, 100, 0.5)
    names = [
        shown(event_of(session_id, channel, final(word, segment=segment)))["id"]
        for session_id in (SESSION, SESSION.replace("3", "4"))
        for channel in (0, 1)
        for segment in (0, 1, 10)
    ]
    assert len(set(names)) == 12
    assert shown(event_of(SESSION, 0, final(word)))["id"] == names[0]


WORDS = st.builds(
    WordEvent, st.text(max_size=5), st.integers(0, 10**7), st.integers(0, 10**7), st.floats(0, 1)
)


@given(st.lists(WORDS, min_size=1, max_size=20), st.integers(0, 1))
def test_every_final_is_told_by_the_vendor_s_rules(words, channel):
    told = shown(event_of(SESSION, channel, final(*words)))
    tokens = told["alternatives"][0]["interpretations"][0]["tokens"]
    assert [token["value"] for token in tokens] == [word.text for word in words]
    offsets_s = [seconds(token["offset"]) for token in tokens]
    assert offsets_s == sorted(offsets_s)
    assert all(DURATION.fullmatch(token["duration"]) for token in tokens)
    assert seconds(told["offset"]) == offsets_s[0]
