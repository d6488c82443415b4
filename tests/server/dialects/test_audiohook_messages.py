"""Texts of AudioHook in, checked messages out."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors
from server.dialects.audiohook_messages import (
    MOST_TEXT_CHARS,
    NIL_ID,
    Disconnect,
    Media,
    Nothing,
    Opened,
    ServerMessage,
    decode_envelope,
    decode_open,
    decode_position_samples,
    decode_update,
    encode,
    encode_duration,
)
from server.errors import RefusedError
from server.wire import MAX_TOKEN_CHARS
from tests.server.dialects.audiohook_client import BOTH, CONVERSATION, SESSION, media

MESSAGE = {
    "version": "2",
    "type": "ping",
    "id": SESSION,
    "seq": 2,
    "serverseq": 1,
    "position": "PT1.5S",
    "parameters": {},
}
OPEN = {
    "organizationId": CONVERSATION,
    "conversationId": CONVERSATION,
    "participant": {"id": NIL_ID},
    "media": [BOTH],
}


def refusal_of(decode, value):
    with pytest.raises(RefusedError) as raised:
        decode(value)
    return raised.value.refusal, raised.value.reason


def raw(value):
    return msgspec.Raw(json.dumps(value).encode())


# --- every message ---


def test_a_message_is_read_and_what_is_not_known_of_it_passed_over():
    envelope = decode_envelope(json.dumps(MESSAGE | {"new": [1]}))
    assert (envelope.type, envelope.id, envelope.seq, envelope.serverseq) == ("ping", SESSION, 2, 1)
    assert envelope.position_text == "PT1.5S"
    assert bytes(envelope.parameters) == b"{}"


@pytest.mark.parametrize("key", list(MESSAGE))
def test_a_message_without_any_of_its_parts_is_refused(key):
    partial = {name: value for name, value in MESSAGE.items() if name != key}
    assert refusal_of(decode_envelope, json.dumps(partial)) == (
        errors.BAD_REQUEST,
        "audiohook_message_malformed",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"version": "1"},
        {"version": "3"},
        {"version": 2},
        {"id": "not-an-id"},
        {"id": SESSION + "\n"},
        {"seq": "2"},
        {"seq": 2.5},
        {"seq": -1},
        {"seq": 2**53 + 1},
        {"serverseq": None},
        {"position": 3},
        {"position": "P" * 65},
        {"type": "p" * 65},
    ],
)
def test_a_message_with_a_part_of_another_form_is_refused(wrong):
    _, reason = refusal_of(decode_envelope, json.dumps(MESSAGE | wrong))
    assert reason == "audiohook_message_malformed"


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '"', "\ud800", "[" * 60_000])
def test_a_text_that_is_no_message_is_refused(text):
    assert refusal_of(decode_envelope, text)[1] == "audiohook_message_malformed"


def test_a_text_is_as_long_as_the_protocol_allows_and_no_longer():
    text = json.dumps(MESSAGE)
    assert decode_envelope(text.ljust(MOST_TEXT_CHARS)).seq == 2
    assert refusal_of(decode_envelope, text.ljust(MOST_TEXT_CHARS + 1)) == (
        errors.MESSAGE_TOO_BIG,
        "audiohook_text_too_long",
    )


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_a_refusal(text):
    refusal_of(decode_envelope, text)


# --- parameters ---


def test_an_open_is_read_and_what_is_not_known_of_it_passed_over():
    opened = decode_open(raw(OPEN | {"continuedSessions": [], "customConfig": {"a": {"b": 1}}}))
    assert opened.media == [Media("audio", "PCMU", ["external", "internal"], 8000)]
    assert (opened.language, opened.supported_languages) == (None, False)
    assert (opened.custom_config.token, opened.custom_config.ticket) == (None, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"organizationId": "x"},
        {"conversationId": None},
        {"participant": {}},
        {"participant": {"id": NIL_ID, "ani": "1" * 513}},
        {"media": None},
        {"media": [BOTH] * 33},
        {"media": [media("external", rate="8000")]},
        {"media": [media(*["external"] * 17)]},
        {"language": "en"},
        {"language": "en-1234"},
        {"language": "en-US\n"},
        {"supportedLanguages": "yes"},
        {"customConfig": []},
        {"customConfig": {"token": 1}},
        {"customConfig": {"token": "x" * (MAX_TOKEN_CHARS + 1)}},
    ],
)
def test_an_open_of_another_form_is_refused(wrong):
    assert refusal_of(decode_open, raw(OPEN | wrong)) == (
        errors.BAD_REQUEST,
        "audiohook_open_malformed",
    )


@pytest.mark.parametrize("tag", ["en-US", "es-es", "yue-HK", "fil-PH"])
def test_an_update_names_a_language_with_its_region(tag):
    assert decode_update(raw({"language": tag})).language == tag


@pytest.mark.parametrize("parameters", [None, {}, {"language": "en"}, {"language": "EN-US"}])
def test_an_update_of_another_form_is_refused(parameters):
    assert refusal_of(decode_update, raw(parameters))[1] == "audiohook_update_malformed"


def test_what_a_client_says_of_people_is_in_no_representation():
    said = {"ani": "+1555", "dnis": "+1800", "id": CONVERSATION}
    opened = decode_open(raw(OPEN | {"participant": said, "customConfig": {"token": "a.b.c"}}))
    envelope = decode_envelope(json.dumps(MESSAGE | {"parameters": {"digit": "7"}}))
    shown = repr([opened, opened.participant, opened.custom_config, envelope])
    assert not any(secret in shown for secret in ("555", "800", "a.b.c", "digit", CONVERSATION))


@pytest.mark.parametrize(
    ("offered", "is_readable"),
    [
        (Media("audio", "PCMU", ["external", "internal"], 8000), True),
        (Media("audio", "L16", ["internal"], 8000), True),
        (Media("video", "PCMU", ["internal"], 8000), False),
        (Media("audio", "OPUS", ["internal"], 8000), False),
        (Media("audio", "PCMU", ["internal"], 16000), False),
        (Media("audio", "PCMU", [], 8000), False),
        (Media("audio", "PCMU", ["robot"], 8000), False),
        (Media("audio", "PCMU", ["external", "robot"], 8000), False),
        (Media("audio", "PCMU", ["external", "external"], 8000), False),
    ],
)
def test_media_are_read_that_the_protocol_has(offered, is_readable):
    assert offered.is_readable is is_readable


# --- durations ---


@pytest.mark.parametrize(
    ("text", "n_samples"),
    [("PT0S", 0), ("PT1S", 8000), ("PT1.5S", 12000), ("PT.5S", 4000), ("PT0.000125S", 1)],
)
def test_a_position_is_read_in_samples(text, n_samples):
    assert decode_position_samples(text) == n_samples


@pytest.mark.parametrize(
    "text", ["", "1.5", "PT", "PT1M", "PT-1S", "PT1S\n", "PT1.S", "PT1e3S", "PT1000001S", "PT٣S"]
)
def test_a_position_that_is_none_is_refused(text):
    assert refusal_of(decode_position_samples, text) == (
        errors.BAD_REQUEST,
        "audiohook_position_wrong",
    )


@given(st.integers(0, 10**8))
def test_a_duration_is_told_as_it_would_be_read(duration_ms):
    assert decode_position_samples(encode_duration(duration_ms)) == duration_ms * 8


# --- ours ---


def test_our_messages_carry_the_protocol_s_names_and_no_more():
    message = ServerMessage(SESSION, "closed", 7, 9, Nothing())
    assert json.loads(encode(message)) == {
        "version": "2",
        "type": "closed",
        "id": SESSION,
        "seq": 7,
        "clientseq": 9,
        "parameters": {},
    }


def test_opened_leaves_out_languages_that_were_not_asked_for():
    shown = json.loads(encode(ServerMessage(SESSION, "opened", 1, 1, Opened([]))))["parameters"]
    assert shown == {"media": [], "startPaused": False}
    opened = Opened([], ["en-US"])
    shown = json.loads(encode(ServerMessage(SESSION, "opened", 1, 1, opened)))["parameters"]
    assert shown["supportedLanguages"] == ["en-US"]


def test_a_disconnect_names_its_reason():
    message = ServerMessage(SESSION, "disconnect", 1, 1, Disconnect("error", "Try again."))
    shown = json.loads(encode(message))["parameters"]
    assert shown == {"reason": "error", "info": "Try again."}
