"""Texts of Deepgram's clients in; what is said in its words out."""

import json

import pytest

from server.dialects import deepgram_messages as messages
from server.recognition import ModelCard
from server.wire import Final, Partial, WordEvent

MODEL = ModelCard("tiny", frozenset({"en"}), pack_version=3)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('{"type":"KeepAlive"}', messages.KeepAlive()),
        ('{"type":"Finalize"}', messages.Finalize()),
        ('{"type":"Finalize","channel":1,"new":2}', messages.Finalize(1)),
        ('{"type":"CloseStream"}', messages.CloseStream()),
        ('{"type":"Configure","keyterms":["a"],"features":{}}', messages.Configure(["a"])),
    ],
)
def test_a_message_is_read(frame, message):
    assert messages.decode_client_message(frame) == message


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{}",
        "[]",
        '{"type":"Other"}',
        '{"type":"Finalize","channel":-1}',
        '{"type":"Finalize","channel":"0"}',
        "[" * 5000,
        json.dumps({"type": "KeepAlive", "more": "x" * 20_000}),
        '{"type":"KeepAlive"\ud800}',
    ],
)
def test_what_is_no_message_is_none(frame):
    assert messages.decode_client_message(frame) is None


@pytest.mark.parametrize(
    ("written", "bare"),
    [("Fox,", "fox"), ("«O'Neil»", "o'neil"), ("co-op.", "co-op"), ("—", "—"), ("Ünal", "ünal")],
)
def test_a_word_is_looked_up_without_what_stands_around_it(written, bare):
    word = messages.word_of(WordEvent(written, 10, 250, 0.5))
    assert word == messages.Word(bare, 0.01, 0.25, 0.5, written)


def test_a_captions_words_lie_where_their_lengths_say():
    partial = Partial(0, 1, 1000, 2000, stable="to be", unstable=" or not")
    said = messages.alternative_of_partial(partial)
    assert said.transcript == "to be or not"
    assert [(word.start_s, word.end_s) for word in said.words] == [
        (1.0, 1.222),
        (1.222, 1.444),
        (1.444, 1.666),
        (1.666, 2.0),
    ]
    assert said.confidence == 0


def test_a_caption_without_words_has_none():
    assert messages.alternative_of_partial(Partial(0, 1, 0, 500, "", " ")).words == []


def test_languages_are_told_where_they_were_asked_for():
    final = Final(0, 0, 1000, "Ja.", "de", 0.9, [WordEvent("Ja.", 0, 900, 0.9)])
    told = messages.alternative_of_final(final, has_language=True)
    assert told.languages == ["de"]
    assert told.words[0].language == "de"
    assert messages.alternative_of_final(final, has_language=False).languages is None


def test_a_language_that_nobody_knows_is_not_told():
    final = Final(0, 0, 1000, "", None, 0.0, [])
    assert messages.alternative_of_final(final, has_language=True).languages is None


def test_what_is_not_there_is_left_out():
    encoded = json.loads(messages.encode(messages.SpeechStarted((0, 1), 1.5)))
    assert encoded == {"type": "SpeechStarted", "channel": [0, 1], "timestamp": 1.5}


def test_a_model_has_the_same_id_everywhere():
    assert messages.model_uuid(MODEL) == messages.model_uuid(ModelCard("tiny", frozenset()))
    assert messages.model_uuid(MODEL) != messages.model_uuid(ModelCard("small", frozenset()))
    assert messages.model_info(MODEL) == messages.ModelInfo("tiny", "3", "tiny")


def test_times_are_utc():
    assert messages.utc_text(1_750_000_000.1239) == "2025-06-15T15:06:40.123Z"
