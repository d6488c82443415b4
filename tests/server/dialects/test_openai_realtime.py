"""One connection of OpenAI's Realtime API: when it starts, what may change, what is refused."""

import base64
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.dialects.openai_realtime import OpenAiApi
from server.dialects.openai_realtime_settings import Wishes
from server.dialects.translation import DeclinedError
from tests.server.dialects.openai_session import (
    BY_CLIENT,
    SECOND,
    Client,
    error,
    final,
    host,
    spoken,
    started,
    types,
    upgrade,
)

API = OpenAiApi()


def test_the_server_speaks_first():
    client = Client()
    assert [event["type"] for event in client.events] == ["session.created"]
    assert client.session["type"] == "transcription"


def test_what_is_understood_keeps_the_session_alive_and_what_is_not_does_not():
    client = Client()
    client.update()
    client.clear()
    client.append(b"")
    assert (client.said, client.n_kept_alive) == ([], 3)
    client.send("response.create")
    client.send_frame("{")
    client.commit()
    assert client.n_kept_alive == 3
    client.append()
    client.commit()
    assert client.n_kept_alive == 3, "said otherwise"


def test_audio_that_waits_keeps_the_session_alive():
    client = Client()
    client.append(b"ab")
    assert (client.said, client.n_kept_alive) == ([], 1)


def test_a_session_is_what_was_wished_for_its_key_and_waits_for_no_update():
    client = Client(carried=Wishes(language="de"))
    assert client.session["audio"]["input"]["transcription"]["language"] == "de"
    client.append(b"ab")
    assert client.start.language == "de"


def test_what_was_wished_of_another_api_says_nothing_here():
    assert Client(carried="de").session["audio"]["input"]["transcription"] is None


def test_the_session_starts_with_the_first_audio_by_what_was_wished_until_then():
    client = Client()
    client.update_input(transcription={"model": "whisper-1", "language": "de", "prompt": "Anna"})
    client.update_input(turn_detection={"type": "server_vad", "silence_duration_ms": 800})
    assert client.said == []
    client.append()
    assert client.said == [wire.Start(24_000, language="de", end_of_speech_ms=800, context="Anna")]
    assert client.audio == SECOND


def test_audio_that_overtakes_the_first_update_waits_for_it():
    client = Client()
    assert client.append() == []
    assert client.said == []
    [updated] = client.update(**BY_CLIENT)
    assert updated["type"] == "session.updated"
    assert client.start.end_of_speech_ms == 30_000
    assert client.audio == SECOND


def test_who_never_updates_is_heard_by_the_defaults_after_two_seconds():
    client = Client()
    client.append(SECOND * 2)
    assert client.said == []
    client.append(b"ab")
    assert client.said == [wire.Start(24_000, end_of_speech_ms=500)]
    assert client.audio == SECOND * 2 + b"ab"


def test_a_commit_starts_it_too():
    client = Client()
    client.append(b"ab")
    client.commit()
    assert client.said[1:] == [wire.Flush(answer=True)]
    assert client.audio == b"ab"


def test_another_language_is_changed_to():
    client = Client()
    client.update_input(transcription={"language": "en"})
    client.append()
    client.update_input(transcription={"language": "en-GB", "prompt": "x"})
    client.update_input(transcription={"language": "de"})
    client.update_input(transcription={"language": None})
    assert client.said[1:] == [wire.ChangeLanguage("de"), wire.ChangeLanguage(None)]


def test_what_cannot_change_any_more_is_an_error_and_nothing_is_lost():
    client = Client()
    client.update(**BY_CLIENT)
    client.append()
    [fault] = client.update_input(format={"type": "audio/pcmu"})
    assert fault["error"]["param"] == "session.audio.input.format"
    [fault] = client.update_input(turn_detection={"type": "server_vad"})
    assert fault["error"]["param"] == "session.audio.input.turn_detection"
    client.append(b"ab")
    assert client.audio == SECOND + b"ab"


def test_the_silence_that_holds_is_what_the_session_started_with():
    client = Client()
    client.update_input(turn_detection={"type": "server_vad", "silence_duration_ms": 700})
    client.append()
    client.update_input(turn_detection={"type": "server_vad", "silence_duration_ms": 900})
    assert client.session["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 700


def test_who_began_with_silence_may_end_turns_and_go_back():
    client = Client()
    client.update_input(turn_detection={"type": "server_vad"})
    client.append()
    client.update(**BY_CLIENT)
    assert client.tell(started(0)) == []
    events = client.update_input(turn_detection={"type": "server_vad"})
    assert types(events) == ["committed", "added", "done", "updated"]
    assert client.said[1:] == [wire.Flush(answer=True)]
    client.tell(final(0, "so"), wire.Flushed(1000))
    assert client.of_type("completed")[0]["transcript"] == "so"
    client.append()
    assert types(client.tell(started(1, 1500))) == ["speech_started"]


def test_the_flat_form_is_answered_in_the_flat_form():
    client = Client()
    session = {
        "input_audio_format": "g711_alaw",
        "input_audio_transcription": {"model": "whisper-1"},
        "turn_detection": {"type": "server_vad"},
    }
    [updated] = client.send("transcription_session.update", session=session)
    assert updated["type"] == "transcription_session.updated"
    assert updated["session"]["input_audio_format"] == "g711_alaw"
    client.append(b"a")
    assert (client.start.encoding, client.start.sample_rate_hz) == ("alaw", 8000)
    client.commit()
    assert types(client.events[2:]) == []
    assert "created" in types(client.tell(*spoken(0, "so")))


@pytest.mark.parametrize(
    "shown",
    [
        upgrade(headers=[("openai-beta", "realtime=v1")]),
        upgrade(subprotocols=["realtime", "openai-beta.realtime-v1"]),
    ],
)
def test_who_comes_from_the_beta_is_greeted_in_its_form(shown):
    assert Client(shown).events[0]["type"] == "transcription_session.created"


# --- faults ---


@pytest.mark.parametrize(
    ("frame", "code", "param"),
    [
        ("{", "invalid_event", None),
        ("[]", "invalid_event", None),
        ('"x"', "invalid_event", None),
        ("[" * 5000, "invalid_event", None),
        ('{"type":7}', "invalid_event", None),
        ("{}", "missing_required_parameter", "type"),
        ('{"type":"response.create","event_id":"evt_1"}', "invalid_value", "type"),
        ('{"type":"conversation.item.create"}', "invalid_value", "type"),
        ('{"type":"session.update"}', "invalid_value", None),
        ('{"type":"session.update","session":{"include":"all"}}', "invalid_value", None),
        ('{"type":"input_audio_buffer.append","audio":"YQ"}', "invalid_value", "audio"),
        ('{"type":"input_audio_buffer.append","audio":"Y Q="}', "invalid_value", "audio"),
        ('{"type":"input_audio_buffer.append","audio":"\u00e9"}', "invalid_value", "audio"),
        ('{"type":"input_audio_buffer.append","audio":"\\ud800"}', "invalid_event", None),
        ('{"type":"input_audio_buffer.append"}', "invalid_value", None),
        ('{"type":"input_audio_buffer.commit"}', "input_audio_buffer_commit_empty", None),
        (
            '{"type":"session.update","session":{"type":"realtime"}}',
            "invalid_value",
            "session.type",
        ),
        (b"\0\0", "invalid_event", None),
    ],
)
def test_a_frame_that_is_not_understood_is_an_error_and_no_more(frame, code, param):
    client = Client()
    [event] = client.send_frame(frame)
    fault = event["error"]
    assert (event["type"], fault["type"]) == ("error", "invalid_request_error")
    assert (fault["code"], fault["param"]) == (code, param)
    assert not client.is_broken


def test_an_error_names_the_clients_event():
    [event] = Client().commit()
    assert event["error"]["event_id"] == "evt_c"


def test_too_many_errors_in_a_row_end_the_session():
    client = Client()
    for _ in range(19):
        client.send_frame("{")
    client.append()
    for _ in range(19):
        client.send_frame("{")
    assert not client.is_broken
    client.send_frame("{")
    assert client.is_broken
    [event] = client.tell(error(errors.BAD_MESSAGE))
    assert event["error"]["code"] == "invalid_event"


def test_turns_that_wait_for_their_words_have_a_bound():
    client = Client()
    client.update(**BY_CLIENT)
    for _ in range(100):
        client.append(b"ab")
        assert types(client.commit())[0] == "committed"
    client.append(b"ab")
    [event] = client.commit()
    assert event["error"]["code"] == "rate_limit_exceeded"
    client.tell(wire.Flushed(0))
    assert types(client.commit())[0] == "committed"


def test_a_frame_without_audio_is_no_error():
    client = Client()
    client.update(**BY_CLIENT)
    assert client.append(b"") == []
    assert client.said == []


# --- ends ---


@pytest.mark.parametrize(
    ("refusal", "kind", "code", "close_code"),
    [
        (errors.QUOTA_AUDIO, "insufficient_quota", "insufficient_quota", 1008),
        (errors.QUOTA_DAILY, "insufficient_quota", "insufficient_quota", 1008),
        (errors.QUOTA_BYTES, "insufficient_quota", "insufficient_quota", 1008),
        (errors.TOO_FAST, "rate_limit_error", "rate_limit_exceeded", 1008),
        (errors.TOKEN_EXPIRED, "invalid_request_error", "session_expired", 1008),
        (errors.SESSION_TOO_LONG, "invalid_request_error", "session_expired", 1008),
        (errors.REVOKED, "invalid_request_error", "invalid_api_key", 1008),
        (errors.FORBIDDEN, "permission_error", "forbidden", 1008),
        (errors.ENDED_BY_ADMINISTRATOR, "permission_error", "ended_by_administrator", 1008),
    ],
)
def test_an_end_that_will_come_again_is_an_error_after_which_nobody_comes_again(
    refusal, kind, code, close_code
):
    client = Client()
    client.append()
    [event] = client.tell(error(refusal))
    fault = event["error"]
    assert (fault["type"], fault["code"], fault["message"]) == (kind, code, refusal.text)
    assert client.dialect.close_code(refusal.close_code) == close_code


@pytest.mark.parametrize(
    ("refusal", "close_code"),
    [
        (errors.SHUTTING_DOWN, 1012),
        (errors.LEASE_LOST, 1012),
        (errors.INTERNAL, 1011),
        (errors.OVERLOADED, 1013),
        (errors.IDLE, 1000),
        (errors.START_LATE, 1000),
    ],
)
def test_an_end_after_which_coming_again_helps_is_no_error(refusal, close_code):
    client = Client()
    client.append()
    assert client.tell(error(refusal)) == []
    assert client.dialect.close_code(refusal.close_code) == close_code


def test_what_is_no_turns_is_not_told():
    client = Client()
    limits = wire.Limits(None, None, 60)
    usage = wire.Usage(0, 0, 0, 0)
    events = [
        *(wire.Ready("s", "m", None, 500, limits), wire.Quota(1, 1), wire.TokenExpiring(5)),
        *(wire.Ended("stopped", usage), wire.AudioReceived(1), wire.Resumed(1)),
    ]
    assert client.tell(*events) == []


# --- the handshake ---


def declined(**query):
    with pytest.raises(DeclinedError) as error:
        API.new_dialect(upgrade(list(query.items())), host())
    answer = error.value.answer
    return answer.status, json.loads(answer.body)["error"]


def test_another_intent_and_another_model_are_declined_before_anything_is_accepted():
    status, fault = declined(intent="conversation")
    assert (status, fault["param"]) == (400, "intent")
    status, fault = declined(intent="transcription", model="gpt-realtime")
    assert (status, fault["code"], fault["param"]) == (404, "model_not_found", "model")
    assert declined(model="gpt-4o-transcribe-diarize")[0] == 404


@pytest.mark.parametrize("name", ["tiny.en", "whisper-1", "gpt-4o-transcribe", ""])
def test_our_model_is_known_by_the_names_of_openais(name):
    assert Client(upgrade([("model", name)]))


def test_a_page_brings_its_key_as_a_subprotocol_which_is_not_echoed():
    shown = upgrade(subprotocols=["realtime", "openai-insecure-api-key.a.b.c"])
    assert API.keys(shown) == ["a.b.c"]
    assert API.subprotocol(shown) == "realtime"
    assert API.subprotocol(upgrade(subprotocols=["openai-insecure-api-key.a"])) is None
    assert API.keys(upgrade()) == []
    assert API.headers(Client(shown).dialect) == ()


def test_who_is_refused_is_told_so_as_openai_does():
    answer = API.refuse(errors.UNAUTHENTICATED)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (401, "invalid_api_key")
    assert dict(answer.headers) == {"x-should-retry": "false", "www-authenticate": "Bearer"}
    answer = API.refuse(errors.TOO_MANY_SESSIONS)
    assert json.loads(answer.body)["error"]["type"] == "rate_limit_error"
    assert dict(answer.headers) == {"x-should-retry": "true", "retry-after": "5"}


# --- any order ---

FRAMES = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=30),
    st.sampled_from(
        [
            '{"type":"input_audio_buffer.commit"}',
            '{"type":"input_audio_buffer.clear"}',
            '{"type":"session.update","session":{"audio":{"input":{"turn_detection":null}}}}',
            '{"type":"session.update","session":{"turn_detection":{"type":"server_vad"}}}',
            '{"type":"session.update","session":{"input_audio_format":"g711_ulaw"}}',
        ]
    ),
    st.binary(max_size=2000).map(
        lambda pcm: json.dumps(
            {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
        )
    ),
)


@given(st.lists(FRAMES, max_size=30))
def test_no_frames_raise_and_the_session_starts_once_and_first(frames):
    client = Client()
    for frame in frames:
        client.send_frame(frame)
    starts = [message for message in client.said if isinstance(message, wire.Start)]
    assert len(starts) <= 1
    assert client.said[:1] == starts
    ids = [event["event_id"] for event in client.events]
    assert len(set(ids)) == len(ids)


@given(st.binary(max_size=3000), st.lists(st.integers(0, 3000), max_size=8))
def test_audio_comes_through_however_it_is_cut(pcm, cuts):
    client = Client()
    client.update(**BY_CLIENT)
    bounds = [0, *sorted(cuts), len(pcm)]
    for start, end in itertools.pairwise(bounds):
        client.append(pcm[start:end])
    assert client.audio == pcm
