"""Frames of Asterisk's external applications in, calls and their audio out, and finals back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.audio import AudioFormat, Encoding
from server.dialects.aeap import SUBPROTOCOL, TRACK, Aeap
from server.dialects.values import (
    Admitted,
    Audio,
    Close,
    Ended,
    Fault,
    LanguageChanged,
    Opening,
    Reply,
    Said,
)

ADMITTED = Admitted(frozenset({"en"}), None)
ID = "6085ff46-0d3b-4d2b-9d0e-5f5ef9f3a0c1"
CREDENTIAL = "a.secret.b"
# As Asterisk 22 sends it.
SETUP = (
    '{"request":"setup","version":"0.1.0","codecs":[{"name":"ulaw"}],'
    f'"params":{{"token":"{CREDENTIAL}","language":"en-US"}},"id":"{ID}"}}'
)
SET_DTMF = f'{{"request":"set","params":{{"dtmf":"5"}},"id":"{ID}"}}'
GET_RESULTS = f'{{"request":"get","params":["results"],"id":"{ID}"}}'
AUDIO = b"\xff" * 160
STARTED = wire.SpeechStarted(1, 0)


def setup(codecs=("ulaw",), **params):
    named = {"request": "setup", "version": "0.1.0", "id": ID, "params": params}
    return json.dumps(named | {"codecs": [{"name": name} for name in codecs]})


def request(name, params):
    return json.dumps({"request": name, "id": ID, "params": params})


def final(text, confidence=0.93):
    return Said(0, wire.Final(1, 0, 100, text, "en", confidence, []))


def partial(stable, unstable):
    return Said(0, wire.Partial(1, 1, 0, 100, stable, unstable))


def opening_of(frame):
    (opening,) = Aeap().receive(frame)
    assert isinstance(opening, Opening)
    return opening


def admitted(frame=SETUP):
    dialect = Aeap()
    assert isinstance(dialect.receive(frame)[0], Opening)
    dialect.tell(ADMITTED)
    return dialect


def replied(dialect, frame):
    """The answer to a request, and what else was heard of it."""
    reply, *heard = dialect.receive(frame)
    assert isinstance(reply, Reply)
    return json.loads(reply.frame), heard


def told(dialect, each):
    (frame,) = dialect.tell(each)
    return json.loads(frame)


# --- a call ---


def test_a_setup_opens_a_call_with_its_credentials_and_its_language():
    assert opening_of(SETUP) == Opening(
        (TRACK,), AudioFormat(Encoding.MULAW, 8000), language="en", token=CREDENTIAL
    )
    assert opening_of(setup(ticket="t")).ticket == "t"


def test_a_setup_without_parameters_opens_a_call_that_its_address_has_to_vouch_for():
    opening = opening_of('{"request":"setup","codecs":[{"name":"alaw"}],"id":"1"}')
    assert opening == Opening((TRACK,), AudioFormat(Encoding.ALAW, 8000))


def test_a_setup_is_answered_once_with_its_codec_when_the_call_is_admitted():
    dialect = Aeap()
    dialect.receive(SETUP)
    answer = {"response": "setup", "id": ID, "codecs": [{"name": "ulaw"}]}
    assert told(dialect, ADMITTED) == answer
    assert dialect.tell(ADMITTED) == []


def test_the_audio_of_an_admitted_call_is_heard():
    dialect = admitted()
    assert dialect.receive(AUDIO) == [Audio(AUDIO, 0)]
    assert dialect.receive(b"") == []


@pytest.mark.parametrize(
    ("codecs", "params", "audio_format"),
    [
        (["slin"], {}, AudioFormat(Encoding.PCM_S16LE, 8_000)),
        (["slin"], {"sample_rate_hz": "16000"}, AudioFormat(Encoding.PCM_S16LE, 16_000)),
        (["ulaw"], {"sample_rate_hz": "16000"}, AudioFormat(Encoding.MULAW, 8_000)),
        (["opus", "alaw", "ulaw"], {}, AudioFormat(Encoding.ALAW, 8_000)),
    ],
)
def test_the_first_codec_that_is_known_is_taken(codecs, params, audio_format):
    frame = setup(codecs, **params)
    assert opening_of(frame).audio_format == audio_format
    dialect = Aeap()
    dialect.receive(frame)
    taken = next(name for name in codecs if name != "opus")
    assert told(dialect, ADMITTED)["codecs"] == [{"name": taken}]


# --- results ---


def test_a_final_is_set_as_the_results_of_a_turn():
    dialect = admitted()
    result = {"text": "hello from our server", "score": 93, "best": 0, "grammar": ""}
    message = told(dialect, final("hello from our server"))
    assert message == {"request": "set", "id": message["id"], "params": {"results": [result]}}
    assert told(dialect, final("again"))["id"] != message["id"]


def test_a_final_without_words_does_not_end_a_turn():
    assert admitted().tell(final("")) == []


def test_a_result_is_no_longer_than_asterisk_can_take():
    (frame,) = admitted().tell(final("\x01" * 100_000))
    assert len(frame.encode()) < 32_768


def test_speech_that_begins_and_changes_is_not_told():
    dialect = admitted()
    assert dialect.tell(Said(0, STARTED)) == dialect.tell(partial("hello", " wor")) == []


def test_who_asks_for_results_gets_what_is_being_said():
    dialect = admitted()
    answer = {"response": "get", "id": ID, "params": {"results": []}}
    assert replied(dialect, GET_RESULTS) == (answer, [])
    dialect.tell(partial("hello", " wor"))
    result = {"text": "hello wor", "score": 0, "best": 0, "grammar": ""}
    answer["params"]["results"] = [result]
    assert replied(dialect, GET_RESULTS) == (answer, [])
    dialect.tell(final("hello world"))
    assert replied(dialect, GET_RESULTS)[0]["params"]["results"] == []


def test_the_answers_of_asterisk_are_not_answered():
    dialect = admitted()
    assert dialect.receive('{"response":"set","id":"results-1"}') == []
    assert dialect.receive('{"response":"set","id":"results-1","error_msg":"no"}') == []


# --- settings ---


def test_pressed_keys_are_acknowledged_and_not_kept():
    dialect = admitted()
    before = repr(vars(dialect))
    assert replied(dialect, SET_DTMF) == ({"response": "set", "id": ID}, [])
    assert repr(vars(dialect)) == before


@pytest.mark.parametrize(
    ("params", "heard"),
    [
        ({"language": "de-DE"}, [LanguageChanged("de")]),
        ({"language": "no language"}, []),
        ({"results_type": "nbest"}, []),
    ],
)
def test_a_language_that_is_set_is_spoken_from_there_on(params, heard):
    assert replied(admitted(), request("set", params)) == ({"response": "set", "id": ID}, heard)


@pytest.mark.parametrize(
    "frame",
    [
        request("get", ["grammar"]),
        request("get", {"results": 1}),
        request("set", {"language": 5}),
        request("set", []),
        request("set", {"language": "e" * 129}),
        request("dance", {}),
    ],
)
def test_a_request_that_cannot_be_met_is_answered_by_an_error_and_the_call_goes_on(frame):
    dialect = admitted()
    answer, heard = replied(dialect, frame)
    assert answer == {
        "response": json.loads(frame)["request"],
        "id": ID,
        "error_msg": answer["error_msg"],
    }
    assert heard == []
    assert dialect.receive(AUDIO) == [Audio(AUDIO, 0)]


# --- before it is known who calls ---


def test_audio_before_the_admission_is_not_kept():
    dialect = Aeap()
    dialect.receive(SETUP)
    assert dialect.receive(AUDIO) == []
    dialect.tell(ADMITTED)
    assert dialect.receive(b"\1") == [Audio(b"\1", 0)]


@pytest.mark.parametrize(
    ("frames", "reason", "refusal"),
    [
        ([AUDIO], "audio_early", errors.BAD_REQUEST),
        ([SET_DTMF], "request_early", errors.BAD_REQUEST),
        ([SETUP, SETUP], "request_early", errors.BAD_REQUEST),
        ([SETUP, GET_RESULTS], "request_early", errors.BAD_REQUEST),
        (["{"], "frame_malformed", errors.BAD_REQUEST),
        (["[" * 5000], "frame_malformed", errors.BAD_REQUEST),
        (["\ud800"], "frame_malformed", errors.BAD_REQUEST),
        (['{"request":5}'], "frame_malformed", errors.BAD_REQUEST),
        ([SETUP.replace(ID, "i" * 129)], "frame_malformed", errors.BAD_REQUEST),
        ([SETUP.replace(CREDENTIAL, "t" * 8193)], "setup_malformed", errors.BAD_REQUEST),
        ([setup(["opus"] * 33)], "setup_malformed", errors.BAD_REQUEST),
        ([setup(language=5)], "setup_malformed", errors.BAD_REQUEST),
        ([setup(sample_rate_hz="fast")], "setup_malformed", errors.BAD_REQUEST),
        ([setup(["slin"], sample_rate_hz="11025")], "rate_unsupported", errors.AUDIO_UNREADABLE),
        ([setup(["opus"])], "codec_unsupported", errors.AUDIO_UNREADABLE),
        ([setup([])], "codec_unsupported", errors.AUDIO_UNREADABLE),
    ],
)
def test_what_opens_no_call_is_refused(frames, reason, refusal):
    dialect = Aeap()
    heard = [each for frame in frames for each in dialect.receive(frame)]
    assert heard[-1] == Fault(refusal, reason)
    assert dialect.receive(SETUP) == dialect.receive(AUDIO) == []


@pytest.mark.parametrize(
    ("frame", "reason"), [(SETUP, "second_setup"), ("nonsense", "frame_malformed")]
)
def test_a_call_that_breaks_the_protocol_ends_and_its_last_words_are_told(frame, reason):
    dialect = admitted()
    assert dialect.receive(frame) == [Fault(errors.BAD_REQUEST, reason)]
    assert dialect.receive(AUDIO) == []
    assert told(dialect, final("hello"))["params"]["results"][0]["text"] == "hello"


# --- the end ---


def test_a_call_that_is_refused_is_closed_without_an_answer_that_would_crash_asterisk():
    dialect = Aeap()
    dialect.receive(SETUP)
    assert dialect.tell(Ended(errors.UNAUTHENTICATED)) == [Close(4401)]
    assert dialect.receive(SETUP) == dialect.tell(ADMITTED) == []


@pytest.mark.parametrize(("refusal", "code"), [(None, 1000), (errors.SHUTTING_DOWN, 1012)])
def test_a_call_that_was_heard_ends_without_a_word(refusal, code):
    assert admitted().tell(Ended(refusal)) == [Close(code)]
    assert Aeap().tell(Ended(refusal)) == [Close(code)]


def test_an_admission_without_an_opening_says_nothing():
    assert Aeap().tell(ADMITTED) == []


def test_no_secret_is_shown_by_what_was_heard():
    assert CREDENTIAL not in repr(opening_of(SETUP))
    assert SUBPROTOCOL == "speech_to_text"


# --- any frames ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "token", "language", "results", "x"]), inner)
    ),
    max_leaves=6,
)
FRAMES = st.one_of(
    st.fixed_dictionaries(
        {"request": st.sampled_from(["setup", "get", "set", "x"]) | JSON},
        optional={"id": st.text(max_size=5) | JSON, "codecs": JSON, "params": JSON},
    ).map(json.dumps),
    st.sampled_from([SETUP, SET_DTMF, GET_RESULTS, setup(["slin"], sample_rate_hz="16000")]),
    st.text(),
    st.binary(),
)


@given(st.lists(FRAMES | st.just(ADMITTED), max_size=12))
def test_no_frames_raise_and_nothing_is_heard_before_the_admission_or_after_the_end(steps):
    dialect, heard, is_admitted = Aeap(), [], False
    for step in steps:
        if step is ADMITTED:
            is_admitted |= any(isinstance(value, Opening) for value in heard)
            dialect.tell(step)
            continue
        values = dialect.receive(step)
        assert is_admitted or all(isinstance(value, Opening | Fault) for value in values)
        assert not values or not any(isinstance(value, Fault) for value in heard)
        heard += values
    assert sum(isinstance(value, Opening) for value in heard) <= 1
