"""vosk-server's clients: every binary frame has one answer, and no final is lost."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.dialects.translation import Broken, Hear, Say
from server.dialects.values import Reply, Upgrade
from server.dialects.vosk import Vosk, VoskApi
from tests.server.dialects.vectors import host_of

CONFIG = '{ "config" : { "sample_rate" : 16000 } }'
EOF, RESET = '{"eof" : 1}', '{"reset" : 1}'
UPGRADE = Upgrade("/")
USAGE = wire.Usage(0, 0, 0, 0)
STOPPED = wire.Ended("stopped", USAGE)
FLUSHED = wire.Flushed(0)
PCM = bytes(320)


def word(text, start_ms=0, end_ms=100, confidence=0.9):
    return wire.WordEvent(text, start_ms, end_ms, confidence)


def final(text, segment=0):
    words = [word(each) for each in text.split()]
    return wire.Final(segment, 0, 1000, text, "en", 0.9, words)


def partial(stable, unstable="", segment=0):
    return wire.Partial(segment, 0, 0, 1000, stable, unstable)


def answers(translated):
    return [json.loads(each.frame) for each in translated if isinstance(each, Reply)]


def told(dialect, *events):
    return [json.loads(frame) for event in events for frame in dialect.tell(event)]


def said(translated):
    return [each.message for each in translated if isinstance(each, Say)]


def opened(*frames):
    dialect = Vosk()
    assert dialect.open() == []
    for frame in frames:
        dialect.receive(frame)
    return dialect


# --- what begins a session ---


def test_a_config_starts_the_session_and_is_not_answered():
    assert opened().receive(CONFIG) == [Say(wire.Start(16_000))]


def test_without_a_config_the_first_audio_starts_a_session_of_a_telephone():
    [start, heard, answer] = opened().receive(PCM)
    assert (start, heard) == (Say(wire.Start(8_000)), Hear(PCM))
    assert answers([answer]) == [{"partial": ""}]


@pytest.mark.parametrize("rate", ["16000", "16000.0", "16000.000000", '"16000"', '"16000.0"'])
def test_a_rate_may_be_spelt_in_many_ways(rate):
    config = f'{{"config":{{"sample_rate":{rate}}}}}'
    assert said(opened().receive(config)) == [wire.Start(16_000)]


@pytest.mark.parametrize("rate", ["22050", "11025", "0", "-1", '"nan"', '"fast"', "1e400", "[]"])
def test_a_rate_that_is_not_heard_here_breaks_the_protocol(rate):
    dialect = opened()
    assert dialect.receive(f'{{"config":{{"sample_rate":{rate}}}}}') == [Broken()]
    assert dialect.receive(PCM) == []


def test_a_rate_that_changes_breaks_the_protocol():
    assert opened(CONFIG).receive('{"config":{"sample_rate":8000}}') == [Broken()]
    assert opened(PCM).receive(CONFIG) == [Broken()]


def test_the_same_rate_again_says_nothing():
    assert opened(CONFIG, PCM).receive(CONFIG) == []


def test_a_config_without_a_rate_waits_for_one():
    dialect = opened()
    assert dialect.receive('{"config":{"words":0}}') == []
    assert said(dialect.receive(CONFIG)) == [wire.Start(16_000)]


def test_what_the_original_does_not_know_or_is_not_the_clients_to_say_is_ignored():
    phrases = ["yes", "no way", "[unk]"]
    config = {"sample_rate": 8000, "model": "/models/en", "phrase_list": phrases, "other": {}}
    text = json.dumps({"config": config, "more": None})
    assert said(opened().receive(text)) == [wire.Start(8_000)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "eof",
        "[]",
        "null",
        "{}",
        '{"eof":0}',
        '{"eof":"x"}',
        '{"config":null}',
        '{"config":{"words":"perhaps"}}',
        '{"config":{"max_alternatives":"many"}}',
        "[" * 60_000,
        '{"config":{"model":"' + "x" * 70_000 + '"}}',
    ],
)
def test_a_text_that_is_none_of_the_protocol_breaks_it(text):
    dialect = opened(CONFIG)
    assert dialect.receive(text) == [Broken()]
    assert [dialect.receive(frame) for frame in (PCM, EOF, CONFIG)] == [[], [], []]


# --- one answer to each frame ---


def test_a_frame_is_answered_with_what_is_said_so_far():
    dialect = opened(CONFIG)
    assert told(dialect, wire.SpeechStarted(0, 0), partial("Hello", " wor")) == []
    for _ in range(2):
        assert answers(dialect.receive(PCM)) == [{"partial": "hello wor"}]


def test_a_final_that_is_ready_is_told_once_and_before_what_is_said_so_far():
    dialect = opened(CONFIG)
    assert told(dialect, partial("Hello"), final("Hello there."), partial("And", segment=1)) == []
    assert answers(dialect.receive(PCM)) == [
        {
            "result": [
                {"conf": 0.9, "end": 0.1, "start": 0.0, "word": "hello"},
                {"conf": 0.9, "end": 0.1, "start": 0.0, "word": "there"},
            ],
            "text": "hello there",
        }
    ]
    assert answers(dialect.receive(PCM)) == [{"partial": "and"}]


def test_keys_stand_in_the_order_of_the_original():
    dialect = opened(CONFIG)
    dialect.tell(wire.Final(0, 870, 1110, "hello", "en", 1.0, [word("hello", 870, 1110, 1.0)]))
    [reply] = [each.frame for each in dialect.receive(PCM) if isinstance(each, Reply)]
    assert reply == (
        '{"result":[{"conf":1.0,"end":1.11,"start":0.87,"word":"hello"}],"text":"hello"}'
    )


def test_of_several_finals_each_is_an_answer_of_its_own():
    dialect = opened(CONFIG)
    told(dialect, final("one"), final("two", 1))
    texts = [answers(dialect.receive(PCM))[0] for _ in range(3)]
    assert [each.get("text") for each in texts] == ["one", "two", None]


def test_of_very_many_finals_several_are_one_answer():
    dialect = opened(CONFIG)
    told(dialect, *(final(str(n), n) for n in range(20)))
    [first] = answers(dialect.receive(PCM))
    assert first["text"] == "0 1 2 3 4"
    [second] = answers(dialect.receive(PCM))
    assert second["text"] == "5"


def test_a_segment_whose_final_is_late_stays_in_sight():
    dialect = opened(CONFIG)
    told(dialect, partial("one", segment=0), partial("two", segment=1))
    assert answers(dialect.receive(PCM)) == [{"partial": "one two"}]


def test_a_final_without_words_takes_back_what_was_said_and_is_not_told():
    dialect = opened(CONFIG)
    told(dialect, partial("uh"), final(""))
    assert answers(dialect.receive(PCM)) == [{"partial": ""}]


def test_an_empty_frame_is_answered_too():
    translated = opened(CONFIG).receive(b"")
    assert answers(translated) == [{"partial": ""}]
    assert len(translated) == 1


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Hello, World!", "hello world"),
        ("Don't — well-known “Words”…", "don't well-known words"),
        ("3.5% of U.S. R&D", "3.5% of u.s r&d"),
        ("¿Qué? ÜBER", "qué über"),
        ("नमस्ते।", "नमस्ते"),
        ("你好。", "你好"),
        ("...", ""),
    ],
)
def test_words_are_in_lower_case_and_without_punctuation(text, plain):
    dialect = opened(CONFIG)
    told(dialect, partial(text))
    assert answers(dialect.receive(PCM)) == [{"partial": plain}]


def test_words_with_times_are_told_unless_they_are_not_wanted():
    dialect = opened('{"config":{"sample_rate":8000,"words":0}}')
    told(dialect, final("Hello"))
    assert answers(dialect.receive(PCM)) == [{"text": "hello"}]
    dialect.receive('{"config":{"words":true}}')
    told(dialect, final("Hello"))
    assert "result" in answers(dialect.receive(PCM))[0]


def test_one_alternative_is_told_to_who_wants_several():
    dialect = opened('{"config":{"sample_rate":8000,"max_alternatives":3}}')
    told(dialect, final("Hello there"))
    words = [{"end": 0.1, "start": 0.0, "word": each} for each in ("hello", "there")]
    assert answers(dialect.receive(PCM)) == [
        {"alternatives": [{"confidence": 0.9, "result": words, "text": "hello there"}]}
    ]
    dialect.receive(EOF)
    assert told(dialect, STOPPED) == [{"alternatives": [{"confidence": 1.0, "text": ""}]}]


# --- the end, and a new beginning ---


def test_the_end_has_one_answer_with_all_that_was_not_told():
    dialect = opened(CONFIG, PCM)
    told(dialect, final("One."))
    assert dialect.receive(EOF) == [Say(wire.Stop())]
    assert told(dialect, final("Two.", 1)) == []
    [last] = told(dialect, STOPPED)
    assert last["text"] == "one two"
    assert [each["word"] for each in last["result"]] == ["one", "two"]


def test_the_end_is_answered_though_nothing_was_said_or_sent():
    dialect = opened()
    assert said(dialect.receive('{"eof":1}')) == [wire.Start(8_000), wire.Stop()]
    assert told(dialect, STOPPED) == [{"text": ""}]


def test_nothing_is_heard_after_the_end():
    dialect = opened(CONFIG, EOF)
    assert [dialect.receive(frame) for frame in (PCM, EOF, RESET, "x")] == [[], [], [], []]


def test_a_reset_is_answered_with_all_that_was_said_before_it():
    dialect = opened(CONFIG, PCM)
    assert dialect.receive(RESET) == [Say(wire.Flush(answer=True))]
    assert told(dialect, final("One.")) == []
    assert told(dialect, FLUSHED)[0]["text"] == "one"
    assert answers(dialect.receive(PCM)) == [{"partial": ""}]


def test_answers_to_frames_behind_a_reset_wait_for_its_own():
    dialect = opened(CONFIG, RESET)
    assert dialect.receive(PCM) == [Hear(PCM)]
    dialect.receive(PCM)
    dialect.receive(RESET)
    dialect.receive(PCM)
    told(dialect, final("One"))
    [first, *rest] = told(dialect, FLUSHED)
    assert first["text"] == "one"
    assert rest == [{"partial": ""}, {"partial": ""}]
    assert told(dialect, FLUSHED) == [{"text": ""}, {"partial": ""}]


def test_a_reset_that_is_not_answered_by_the_end_is_answered_then():
    dialect = opened(CONFIG, RESET, PCM, EOF)
    told(dialect, final("One"))
    assert [each.get("text") for each in told(dialect, STOPPED)] == ["one", None, ""]


def test_resets_that_wait_have_a_bound():
    dialect = opened(CONFIG, *[RESET] * 16)
    assert dialect.receive(RESET) == [Broken()]


def test_answers_that_wait_have_a_bound():
    dialect = opened(CONFIG, RESET, *[b""] * 10_000)
    assert dialect.receive(PCM) == [Broken()]


def test_a_flush_of_somebody_else_is_not_answered():
    assert told(opened(CONFIG), FLUSHED) == []


def test_an_error_has_no_word_but_the_close_code_and_loses_no_final():
    dialect = opened(CONFIG, PCM)
    told(dialect, final("One"))
    error = wire.ErrorEvent("quota_audio", "used up", is_retryable=False)
    assert told(dialect, error) == []
    assert told(dialect, wire.Ended("quota_audio", USAGE))[0]["text"] == "one"
    assert dialect.close_code(4413) == 4413


def test_an_error_is_not_taken_for_the_answer_to_the_end():
    """Which would be the whole of what was said."""
    dialect = opened(CONFIG, PCM, RESET, EOF)
    told(dialect, final("One"))
    assert told(dialect, wire.Ended("quota_audio", USAGE)) == []


def test_what_breaks_the_protocol_loses_no_final():
    dialect = opened(CONFIG, PCM, "nonsense")
    told(dialect, final("One"))
    assert told(dialect, wire.Ended("bad_message", USAGE))[0]["text"] == "one"


# --- whatever comes ---

FRAMES = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([CONFIG, EOF, RESET, '{"config":{"max_alternatives":1}}']),
)
EVENTS = st.sampled_from(["partial", "final", "empty"])


@given(st.lists(st.one_of(st.text(), st.binary(max_size=8), FRAMES)))
def test_nothing_raises(frames):
    dialect = opened(*frames)
    dialect.receive(EOF)
    told(dialect, STOPPED)


@given(st.lists(st.tuples(FRAMES.filter(lambda frame: frame != EOF), st.lists(EVENTS))))
def test_every_frame_and_reset_has_one_answer_and_every_final_is_told_once(steps):
    dialect, n_wanted, texts, got = opened(CONFIG), 0, [], []
    n_flushes = 0
    for frame, events in steps:
        translated = dialect.receive(frame)
        got += answers(translated)
        n_flushes += sum(isinstance(each, wire.Flush) for each in said(translated))
        n_wanted += isinstance(frame, bytes) or frame == RESET
        for event in events:
            text = f"w{len(texts)}"
            if event == "final":
                texts.append(text)
            by_kind = {"partial": partial(text), "final": final(text), "empty": final("")}
            got += told(dialect, by_kind[event])
        if n_flushes and events:
            n_flushes -= 1
            got += told(dialect, FLUSHED)
    dialect.receive(EOF)
    got += told(dialect, STOPPED)
    if n_flushes <= 16:
        assert len(got) == n_wanted + 1
    finals = [each.get("text") or each.get("alternatives", [{}])[0].get("text") for each in got]
    assert " ".join(filter(None, finals)).split() == texts


# --- the connection ---


def test_its_clients_know_no_path():
    assert VoskApi(is_at_root=False).paths == ("/v1/vosk",)
    assert VoskApi(is_at_root=True).paths == ("/v1/vosk", "/")


def test_it_has_no_key_no_subprotocol_and_no_header_of_its_own():
    api = VoskApi(is_at_root=False)
    upgrade = Upgrade("/", subprotocols=["vosk"])
    dialect = api.new_dialect(upgrade, host_of({}))
    assert (api.keys(upgrade), api.subprotocol(upgrade), api.headers(dialect)) == ([], None, ())


def test_who_is_not_let_in_gets_a_line():
    answer = VoskApi(is_at_root=False).refuse(errors.FORBIDDEN)
    assert (answer.status, answer.media_type) == (403, "text/plain")
