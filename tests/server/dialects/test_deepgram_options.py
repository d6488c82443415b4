"""A query in, what to hear out."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import wire
from server.audio import AudioFormat, Encoding
from server.dialects.deepgram_options import OptionError, file_options, live_options

LANGUAGES = frozenset({"de", "en"})


def live(*pairs, **query):
    return live_options([*query.items(), *pairs], LANGUAGES)


def fault_of(*pairs, read=live_options, **query):
    with pytest.raises(OptionError) as error:
        read([*query.items(), *pairs], LANGUAGES)
    return error.value.name


def test_nothing_is_wished():
    options = live()
    assert options.audio_format is None
    assert (options.channels, options.end_of_speech_ms, options.utterance_end_ms) == (1, None, None)
    assert not options.has_interims
    assert not options.has_speech_events


@pytest.mark.parametrize("yes", ["true", "True", "1", "TRUE"])
def test_a_switch_may_be_written_as_any_language_does(yes):
    options = live(interim_results=yes, vad_events=yes)
    assert options.has_interims
    assert options.has_speech_events


@pytest.mark.parametrize("no", ["false", "False", "0"])
def test_what_is_switched_off_may_be_named(no):
    assert not live(interim_results=no).has_interims
    live(diarize=no, redact=no, profanity_filter=no, multichannel=no)


def test_what_is_neither_on_nor_off_is_refused():
    assert fault_of(interim_results="perhaps") == "interim_results"


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("linear16", Encoding.PCM_S16LE),
        ("mulaw", Encoding.MULAW),
        ("alaw", Encoding.ALAW),
        ("LINEAR16", Encoding.PCM_S16LE),
    ],
)
def test_samples_are_what_is_said(name, encoding):
    assert live(encoding=name, sample_rate="16000").audio_format == AudioFormat(encoding, 16_000)


def test_g711_is_of_telephones_where_no_rate_is_said():
    assert live(encoding="mulaw").audio_format == AudioFormat(Encoding.MULAW, 8_000)


@pytest.mark.parametrize("rate", ["", "0", "11025", "16000.0", "many", "9" * 30])
def test_linear_samples_need_a_rate_that_is_heard(rate):
    assert fault_of(encoding="linear16", sample_rate=rate) == "sample_rate"


@pytest.mark.parametrize("encoding", ["opus", "flac", "amr-nb", "speex", "g729", "linear32"])
def test_other_encodings_are_refused(encoding):
    assert fault_of(encoding=encoding, sample_rate="16000") == "encoding"


def test_two_channels_are_heard_apart_or_not_at_all():
    raw = {"encoding": "linear16", "sample_rate": "8000"}
    assert live(**raw, channels="2", multichannel="true").channels == 2
    assert live(**raw, channels="1", multichannel="true").channels == 1
    assert fault_of(**raw, channels="2") == "channels"
    assert fault_of(**raw, channels="3", multichannel="true") == "channels"


def test_a_container_says_itself_how_many_channels_it_has():
    assert live(channels="2").channels == 1


@pytest.mark.parametrize(
    ("value", "end_of_speech_ms"),
    [
        ("", None),
        ("true", None),
        ("false", 30_000),
        ("10", 200),
        ("300", 300),
        ("9000", 3_000),
        ("0", 200),
    ],
)
def test_endpointing_is_the_silence_that_ends_speech(value, end_of_speech_ms):
    assert live(endpointing=value).end_of_speech_ms == end_of_speech_ms


def test_endpointing_that_is_no_number_is_refused():
    assert fault_of(endpointing="soon") == "endpointing"
    assert fault_of(endpointing="-5") == "endpointing"


def test_an_utterances_end_needs_interim_results():
    assert fault_of(utterance_end_ms="1000") == "utterance_end_ms"
    assert live(utterance_end_ms="1000", interim_results="true").utterance_end_ms == 1000


@pytest.mark.parametrize("value", ["999", "60001", "a", "1e3"])
def test_an_utterances_end_has_a_range(value):
    assert fault_of(utterance_end_ms=value, interim_results="true") == "utterance_end_ms"


@pytest.mark.parametrize(
    ("tag", "language"), [("", None), ("multi", None), ("en", "en"), ("en-US", "en"), ("DE", "de")]
)
def test_a_language_is_known_by_its_first_part(tag, language):
    hearing = live(language=tag).hearing
    assert hearing.language == language
    assert hearing.has_languages == (tag == "multi")


@pytest.mark.parametrize("tag", ["fr", "english", "x"])
def test_a_language_that_the_model_does_not_know_is_refused(tag):
    assert fault_of(language=tag) == "language"


def test_terms_are_context():
    options = live(
        ("keyterm", "Earwitness"),
        ("keyterm", " tablet\n"),
        ("keyterm", "  "),
        ("keywords", "Xanthe:2.5"),
        ("keywords", "ratio:"),
        ("keywords", "at 10:30 sharp"),
    )
    assert options.hearing.context == "Earwitness, tablet, Xanthe, ratio:, at 10:30 sharp"


@pytest.mark.parametrize("read", [live_options, file_options])
@pytest.mark.parametrize("boost", ["-10", "-0.5", "0", "0.0", "-.5"])
def test_a_word_that_is_to_be_suppressed_is_no_hint_for_it(boost, read):
    query = [("keywords", f"Xanthe:{boost}"), ("keywords", "tablet:.5"), ("keywords", "a:+2 ")]
    assert read(query, LANGUAGES).hearing.context == "tablet, a"


def test_what_is_no_boost_is_of_the_word():
    options = live(("keywords", "a:--1"), ("keywords", "b:\u0663"), ("keywords", "c:."))
    assert options.hearing.context == "a:--1, b:\u0663, c:."


def test_terms_that_there_is_no_room_for_are_left_out():
    context = live(
        ("keyterm", "a" * 1800), ("keyterm", "b" * 200), ("keyterm", "c")
    ).hearing.context
    assert context == "a" * 1800 + ", c"


@pytest.mark.parametrize(
    "name",
    [
        *("callback", "detect_entities", "diarize", "diarize_model", "dictation"),
        *("profanity_filter", "redact", "replace", "search"),
    ],
)
def test_what_would_change_what_comes_back_is_refused_by_its_name(name):
    assert fault_of(**{name: "true"}) == name
    assert fault_of(**{name: "true"}, read=file_options) == name


@pytest.mark.parametrize("name", ["encoding", "intents", "sentiment", "summarize", "topics"])
def test_what_is_not_done_with_files_is_refused_by_its_name(name):
    assert fault_of(**{name: "v2"}, read=file_options) == name


def test_what_changes_nothing_is_ignored():
    live(
        model="nova-3",
        version="latest",
        punctuate="maybe",
        smart_format="true",
        numerals="true",
        filler_words="true",
        tag="a",
        extra="a:b",
        mip_opt_out="true",
        no_delay="true",
        nobody_knows="this",
    )


def test_an_option_with_one_value_has_not_two():
    assert fault_of(("encoding", "mulaw"), ("encoding", "alaw")) == "encoding"
    assert live(("encoding", "mulaw"), ("encoding", "mulaw")).audio_format is not None


def test_a_start_says_all_of_it():
    options = live(
        encoding="alaw",
        channels="2",
        multichannel="true",
        language="de",
        endpointing="300",
        interim_results="true",
        keyterm="Rhein",
    )
    assert options.start(options.audio_format, 2) == wire.Start(
        sample_rate_hz=8_000,
        encoding="alaw",
        channels=2,
        language="de",
        end_of_speech_ms=300,
        partials=True,
        context="Rhein",
    )


def test_a_file_may_be_asked_for_its_language():
    options = file_options([("detect_language", "true"), ("language", "en")], LANGUAGES)
    assert options.finds_language
    assert options.hearing.language is None
    assert file_options([("language", "en")], LANGUAGES).hearing.language == "en"


def test_a_file_is_told_in_channels_utterances_and_paragraphs():
    asked = [("utterances", "true"), ("paragraphs", "true"), ("multichannel", "true")]
    options = file_options(asked, LANGUAGES)
    assert options.is_multichannel
    assert options.has_utterances
    assert options.has_paragraphs


NAMES = st.sampled_from(
    [
        *("encoding", "sample_rate", "channels", "language", "endpointing", "keyterm"),
        *("utterance_end_ms", "interim_results", "multichannel", "keywords", "redact"),
    ]
)


@given(st.lists(st.tuples(NAMES, st.text(max_size=3000))))
def test_any_query_is_a_start_or_refused(query):
    try:
        options = live_options(query, LANGUAGES)
    except OptionError:
        return
    start = options.start(options.audio_format or AudioFormat(Encoding.PCM_S16LE, 8000), 1)
    encoded = wire.encode(start)
    assert len(encoded) <= wire.MAX_TEXT_BYTES
    assert msgspec.convert(msgspec.to_builtins(start), wire.Start) == start
