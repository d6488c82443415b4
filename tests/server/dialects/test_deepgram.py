"""Frames of Deepgram's live clients in, what the session is told and they are told out."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.dialects.deepgram import DeepgramApi
from server.dialects.translation import Broken, DeclinedError, Hear, Host, Say
from server.dialects.values import Reply, Upgrade
from server.recognition import ModelCard
from tests.server.dialects.test_deepgram_results import began, caption, ended, final
from tests.server.dialects.test_wav_stream import PLAIN, SAMPLES, chunk, form, wav

API = DeepgramApi(lambda: "refused-id")
HOST = Host(ModelCard("tiny", frozenset({"en"})), lambda: "an-id", 1_750_000_000.0)
RAW = {"encoding": "linear16", "sample_rate": "16000"}
START = wire.Start(sample_rate_hz=16_000, partials=False)
USAGE = wire.Usage(0, 0, 0, 0)
STILL_HERE = Say(wire.KeepAlive())
FINALIZE, CLOSE_STREAM = '{"type":"Finalize"}', '{"type":"CloseStream"}'


def upgrade(*subprotocols, **query):
    return Upgrade("/v1/listen", query=list(query.items()), subprotocols=subprotocols)


def live(**query):
    return API.new_dialect(upgrade(**query), HOST)


def opened(**query):
    it = live(**RAW, **query)
    it.open()
    return it


def told(it, *events):
    return [json.loads(frame) for event in events for frame in it.tell(event)]


def replies(translated):
    return [json.loads(each.frame) for each in translated if isinstance(each, Reply)]


def ending(refusal):
    error = wire.ErrorEvent(refusal.code, refusal.text, refusal.is_retryable)
    return error, wire.Ended(refusal.code, USAGE)


def test_the_session_starts_with_the_connection_if_it_is_said_what_comes():
    assert live(**RAW).open() == [Say(START)]
    assert live().open() == []


def test_samples_are_heard():
    assert opened().receive(SAMPLES) == [Hear(SAMPLES)]


def test_the_session_starts_with_the_header_of_a_file():
    it = live()
    assert it.receive(PLAIN[:44]) == [Say(START), STILL_HERE]
    assert it.receive(PLAIN[44:]) == [Hear(SAMPLES)]


def test_a_header_and_samples_may_come_together():
    assert live().receive(PLAIN) == [Say(START), Hear(SAMPLES)]


def test_a_part_of_a_header_says_nothing_yet():
    assert live().receive(PLAIN[:10]) == [STILL_HERE]


def test_audio_that_cannot_be_read_breaks_the_connection():
    it = live()
    assert it.receive(b"\x1aE\xdf\xa3 webm") == [Broken()]
    assert it.receive(PLAIN) == []
    [error] = told(it, *ending(errors.BAD_MESSAGE))
    assert (error["type"], error["variant"]) == ("Error", "DATA-0000")
    assert it.close_code(errors.BAD_MESSAGE.close_code) == 1008


def test_two_channels_of_a_file_are_heard_if_they_may_be_told_apart():
    stereo = wav(chunk(b"fmt ", form(channels=2)), chunk(b"data", SAMPLES))
    assert live().receive(stereo) == [Broken()]
    it = live(multichannel="true")
    [start, _] = it.receive(stereo)
    assert start.message.channels == 2
    assert told(it, wire.Flushed(10, 1))[0]["channel_index"] == [1, 2]


def test_somebody_who_has_nothing_to_say_is_still_here():
    assert opened().receive('{"type":"KeepAlive"}') == [STILL_HERE]


@pytest.mark.parametrize("frame", ['{"type":"KeepAlive"}', '{"type":"Configure"}', FINALIZE])
def test_who_speaks_before_it_is_known_what_the_audio_is_is_there(frame):
    assert live().receive(frame)[0] == STILL_HERE


def test_who_sends_more_than_the_file_holds_is_there():
    it = live()
    it.receive(PLAIN)
    assert it.receive(b"what follows the samples") == [STILL_HERE]


def test_finalize_is_a_flush_that_is_answered():
    it = opened()
    assert it.receive(FINALIZE) == [Say(wire.Flush(answer=True))]
    [answer] = told(it, wire.Flushed(500))
    assert answer["from_finalize"]


def test_finalize_may_be_of_one_channel():
    it = opened(channels="2", multichannel="true")
    frame = '{"type":"Finalize","channel":1}'
    assert it.receive(frame) == [Say(wire.Flush(channel=1, answer=True))]


def test_finalize_of_a_channel_that_there_is_not_is_told_so():
    [error] = replies(opened().receive('{"type":"Finalize","channel":1}'))
    assert (error["type"], error["variant"]) == ("Error", "SchemaError")


def test_finalize_before_any_audio_is_answered_at_once():
    [answer] = replies(live().receive(FINALIZE))
    assert (answer["from_finalize"], answer["duration"]) == (True, 0.0)


@pytest.mark.parametrize("frame", [CLOSE_STREAM, b""])
def test_the_end_of_the_stream_is_the_end_of_the_session(frame):
    it = opened()
    it.receive(SAMPLES)
    assert it.receive(frame) == [Say(wire.Stop())]
    assert it.receive(SAMPLES) == it.receive(FINALIZE) == []
    [last] = told(it, wire.Ended("stopped", USAGE))
    assert last == {
        "type": "Metadata",
        "transaction_key": "deprecated",
        "request_id": "an-id",
        "sha256": "bce0aff19cf5aa6a7469a30d61d04e4376e4bbf6381052ee9e7f33925c954d52",
        "created": "2025-06-15T15:06:40.000Z",
        "duration": 0.003,
        "channels": 1,
    }
    assert it.close_code(1000) == 1000


def test_a_text_that_is_no_message_gets_an_error_and_the_session_goes_on():
    it = opened()
    [error] = replies(it.receive("hello"))
    assert error["variant"] == "SchemaError"
    assert it.receive(SAMPLES) == [Hear(SAMPLES)]


def test_other_terms_are_not_taken_once_it_has_begun():
    it = opened()
    [alive, reply] = it.receive('{"type":"Configure","keyterms":["a"]}')
    assert alive == STILL_HERE
    assert json.loads(reply.frame)["code"] == "CONFIGURE_KEYTERMS_NOT_SUPPORTED"
    [success] = replies(it.receive('{"type":"Configure","features":{"numerals":true}}'))
    assert success == {"type": "ConfigureSuccess", "request_id": "an-id"}


def test_what_is_heard_is_told_in_its_channel():
    it = opened(channels="2", multichannel="true", interim_results="true", vad_events="true")
    second = [
        wire.SpeechStarted(0, 0, 1),
        wire.Partial(0, 1, 0, 700, "to", " be", 1),
        wire.SpeechEnded(0, 1000, 1),
        wire.Final(0, 0, 1000, "To be.", "en", 0.9, [], channel=1),
    ]
    start, interim, last = told(it, *second)
    assert start["channel"] == interim["channel_index"] == last["channel_index"] == [1, 2]
    assert last["metadata"]["request_id"] == "an-id"


def test_an_utterance_may_end_while_audio_comes():
    it = opened(utterance_end_ms="1000", interim_results="true")
    told(it, began(), ended(), final())
    assert replies(it.receive(bytes(32 * 2000))) == []
    [end] = replies(it.receive(bytes(32 * 200)))
    assert end == {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 0.9}


def test_what_only_our_own_clients_know_is_not_told():
    limits = wire.Limits(None, None, 600)
    ready = wire.Ready("id", "tiny", "en", 500, limits)
    assert told(opened(), ready, wire.Quota(10, None), wire.TokenExpiring(60)) == []


def test_a_final_that_waited_to_be_an_answer_is_told_before_the_end():
    it = opened()
    it.receive(FINALIZE)
    assert told(it, began(), ended(), final()) == []
    results, last = told(it, wire.Ended("stopped", USAGE))
    assert results["channel"]["alternatives"][0]["transcript"] == "To be."
    assert last["type"] == "Metadata"


def test_an_error_is_the_last_that_is_told():
    it = opened()
    it.receive(FINALIZE)
    told(it, began(), ended(), final())
    results, error = told(it, *ending(errors.QUOTA_AUDIO))
    assert results["type"] == "Results"
    assert error == {
        "type": "Error",
        "variant": "ASR_PAYMENT_REQUIRED",
        "description": errors.QUOTA_AUDIO.text,
    }
    assert it.receive(SAMPLES) == []


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (errors.QUOTA_AUDIO, 1000),
        (errors.TOKEN_EXPIRED, 1000),
        (errors.TOO_FAST, 1000),
        (errors.IDLE, 1011),
        (errors.INTERNAL, 1011),
        (errors.SHUTTING_DOWN, 1012),
        (errors.LEASE_LOST, 1012),
        (errors.MESSAGE_TOO_BIG, 1000),
    ],
)
def test_who_would_be_refused_again_is_not_made_to_come_again(refusal, code):
    assert opened().close_code(refusal.close_code) == code


# --- the handshake ---


@pytest.mark.parametrize(
    ("offered", "keys", "echoed"),
    [
        ((), [], None),
        (("token", "key"), ["key"], "token"),
        (("bearer", "a.b.c", "x-deepgram-session-id", "1"), ["a.b.c"], "bearer"),
        (("token",), [], "token"),
        (("other", "token", "key"), ["key"], "token"),
        (("token", "one", "bearer", "two"), ["one", "two"], "token"),
    ],
)
def test_a_pages_key_follows_its_word_and_only_the_word_is_echoed(offered, keys, echoed):
    assert API.keys(upgrade(*offered)) == keys
    assert API.subprotocol(upgrade(*offered)) == echoed


def test_both_sides_know_the_connection_by_its_id():
    it = live(**RAW)
    assert API.headers(it) == [("dg-request-id", "an-id")]


def test_options_that_are_not_done_here_are_declined():
    with pytest.raises(DeclinedError) as declined:
        live(diarize="true")
    answer = declined.value.answer
    assert answer.status == 400
    assert json.loads(answer.body)["request_id"] == "an-id"


def test_who_was_not_let_in_is_told_so():
    answer = API.refuse(errors.UNAUTHENTICATED)
    assert json.loads(answer.body) == {
        "err_code": "INVALID_AUTH",
        "err_msg": "Invalid credentials.",
        "request_id": "refused-id",
    }


# --- whatever comes ---

FRAMES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=40),
        st.sampled_from([FINALIZE, CLOSE_STREAM, '{"type":"KeepAlive"}', PLAIN]),
        st.sampled_from([began(), caption(), ended(), final(), wire.Flushed(5)]),
        st.sampled_from(ending(errors.IDLE)),
    )
)


@given(FRAMES, st.booleans())
def test_whatever_comes_nothing_is_raised_and_a_start_is_first(frames, is_raw):
    it = live(**(RAW if is_raw else {}))
    said = list(it.open())
    for frame in frames:
        if isinstance(frame, str | bytes):
            said += it.receive(frame)
        else:
            told(it, frame)
    messages = [each.message for each in said if isinstance(each, Say)]
    starts = [index for index, each in enumerate(messages) if isinstance(each, wire.Start)]
    assert len(starts) <= 1
    needs_start = [index for index, each in enumerate(messages) if isinstance(each, wire.Flush)]
    assert not needs_start or starts[0] < needs_start[0]
    hears = [index for index, each in enumerate(said) if isinstance(each, Hear)]
    begins = [
        i for i, e in enumerate(said) if isinstance(e, Say) and isinstance(e.message, wire.Start)
    ]
    assert not hears or begins[0] < hears[0]


@given(st.integers(1, 60))
def test_wherever_a_file_is_cut_the_same_is_heard(step):
    it = live()
    said = [each for at in range(0, len(PLAIN), step) for each in it.receive(PLAIN[at : at + step])]
    said = [each for each in said if each != STILL_HERE]
    assert said[0] == Say(START)
    assert b"".join(each.payload for each in said[1:]) == SAMPLES
