"""The finals of a file in, Deepgram's answer out."""

import json

from server.dialects.deepgram_files import HeardChannel, HeardFile, answer
from server.dialects.deepgram_options import file_options
from server.recognition import ModelCard
from server.wire import Final, WordEvent

MODEL = ModelCard("tiny", frozenset({"en", "zh"}), pack_version=2)
HEARD = HeardFile("an-id", MODEL, "abc", 1_750_000_000.0, 4_000)


def final(text, start_ms=0, language="en", channel=0):
    words = [
        WordEvent(word, start_ms + 100 * index, start_ms + 100 * index + 90, 0.5 + index / 10)
        for index, word in enumerate(text.split() if " " in text else list(text))
    ]
    return Final(0, start_ms, start_ms + 1000, text, language, 0.5, words, channel=channel)


def told(*finals, n_channels=1, **query):
    options = file_options(query.items(), MODEL.languages)
    by_channel = [[each for each in finals if each.channel == n] for n in range(n_channels)]
    channels = [HeardChannel(said, " ".join(f.text for f in said)) for said in by_channel]
    return json.loads(answer(HEARD, options, channels))


def alternative_of(told):
    return told["results"]["channels"][0]["alternatives"][0]


def test_a_file_is_told_as_one_channel():
    it = told(final("To be."), final("Or not."))
    said = alternative_of(it)
    assert said["transcript"] == "To be. Or not."
    assert [word["word"] for word in said["words"]] == ["to", "be", "or", "not"]
    assert said["confidence"] == 0.55
    assert set(said) == {"transcript", "confidence", "words"}
    assert set(it["results"]) == {"channels"}


def test_two_channels_are_told_apart_and_their_utterances_in_turn():
    it = told(
        *(final("To be.", 2000), final("Hello?", channel=1), final("Or not.", 5000)),
        n_channels=2,
        utterances="true",
    )
    said = [channel["alternatives"][0]["transcript"] for channel in it["results"]["channels"]]
    assert said == ["To be. Or not.", "Hello?"]
    turns = [(each["channel"], each["start"]) for each in it["results"]["utterances"]]
    assert turns == [(1, 0.0), (0, 2.0), (0, 5.0)]
    assert it["metadata"]["channels"] == 2


def test_what_the_file_was_is_told():
    metadata = told()["metadata"]
    [model] = metadata["models"]
    assert metadata == {
        "transaction_key": "deprecated",
        "request_id": "an-id",
        "sha256": "abc",
        "created": "2025-06-15T15:06:40.000Z",
        "duration": 4.0,
        "channels": 1,
        "models": [model],
        "model_info": {model: {"name": "tiny", "version": "2", "arch": "tiny"}},
    }


def test_a_file_without_words_has_none():
    assert alternative_of(told()) == {"transcript": "", "confidence": 0.0, "words": []}


def test_utterances_are_told():
    [first, second] = told(final("To be."), final("Or not.", 2000), utterances="true")["results"][
        "utterances"
    ]
    assert (first["start"], first["end"], first["channel"]) == (0.0, 1.0, 0)
    assert (second["start"], second["transcript"]) == (2.0, "Or not.")
    assert first["id"] != second["id"]


def test_paragraphs_are_told_in_sentences():
    said = alternative_of(
        told(final("To be. Or not"), final("是。不是。", 2000, "zh"), paragraphs="1")
    )
    first, second = said["paragraphs"]["paragraphs"]
    assert [each["text"] for each in first["sentences"]] == ["To be.", "Or not"]
    assert [each["text"] for each in second["sentences"]] == ["是。", "不是。"]
    assert (first["num_words"], second["start"], second["end"]) == (4, 2.0, 3.0)
    assert said["paragraphs"]["transcript"] == "\nTo be. Or not\n\n是。不是。\n"


def test_the_language_is_told_where_it_is_asked_for():
    spoken = final("To be."), final("是。", 2000, "zh")
    assert (
        told(*spoken, detect_language="true")["results"]["channels"][0]["detected_language"] == "en"
    )
    assert alternative_of(told(*spoken, language="multi"))["languages"] == ["en", "zh"]
    assert "detected_language" not in told(detect_language="true")["results"]["channels"][0]


def test_the_language_of_a_file_is_that_in_which_most_words_were_said():
    opening, greeting = final("Oh well"), final("Guten Tag wir beginnen", 1000, "de")
    spoken = opening, greeting, final("So be it", 2000), final("Vielen Dank", 3000, "de")
    [channel] = told(*spoken, detect_language="true")["results"]["channels"]
    assert channel["detected_language"] == "de"
    assert alternative_of(told(*spoken, language="multi"))["languages"] == ["de", "en"]


def test_of_languages_in_which_as_many_words_were_said_the_first_is_told_first():
    spoken = final("", 0, None), final("不是", 500, "zh"), final("Is it", 1000)
    assert alternative_of(told(*spoken, language="multi"))["languages"] == ["zh", "en"]
