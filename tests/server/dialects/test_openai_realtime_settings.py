"""What OpenAI's clients wish, and what they are told holds."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import wire
from server.dialects.hints import MOST_CONTEXT_CHARS
from server.dialects.openai_realtime_messages import MessageError, SessionUpdate
from server.dialects.openai_realtime_settings import (
    Wishes,
    flat_session,
    nested_session,
    wishes_after,
    wishes_kept,
    wishes_shortened,
)
from tests.server.dialects.openai_session import MODEL


def wished(before=None, **session):
    update = msgspec.convert(session, SessionUpdate)
    return wishes_after(before or Wishes(), update, MODEL)


def wished_of_input(before=None, **fields):
    return wished(before, audio={"input": fields})


def fault(**session):
    with pytest.raises(MessageError) as error:
        wished(**session)
    return error.value.code, error.value.param


def fault_of_input(**fields):
    return fault(audio={"input": fields})


@pytest.mark.parametrize(
    ("asked", "flat", "start"),
    [
        ({"type": "audio/pcm", "rate": 24_000}, "pcm16", wire.Start(24_000)),
        ({"type": "audio/pcm"}, "pcm16", wire.Start(24_000)),
        ({"type": "audio/pcmu"}, "g711_ulaw", wire.Start(8000, "mulaw")),
        ({"type": "audio/pcma", "rate": 8000}, "g711_alaw", wire.Start(8000, "alaw")),
        ("g711_alaw", "g711_alaw", wire.Start(8000, "alaw")),
    ],
)
def test_each_of_openais_formats_is_heard_in_either_form(asked, flat, start):
    for wishes in (wished_of_input(format=asked), wished(input_audio_format=flat)):
        began = wishes.start()
        assert (began.sample_rate_hz, began.encoding) == (start.sample_rate_hz, start.encoding)
    assert json.loads(flat_session(wishes, "s"))["input_audio_format"] == flat


@pytest.mark.parametrize(
    ("asked", "silence_ms"),
    [
        ({"type": "server_vad"}, 500),
        ({}, 500),
        ({"type": "server_vad", "silence_duration_ms": 350, "threshold": 0.9}, 350),
        ({"type": "server_vad", "silence_duration_ms": 0}, 200),
        ({"type": "server_vad", "silence_duration_ms": 60_000}, 3000),
        ({"type": "semantic_vad"}, 800),
        ({"type": "semantic_vad", "eagerness": "auto"}, 800),
        ({"type": "semantic_vad", "eagerness": "high"}, 400),
        ({"type": "semantic_vad", "eagerness": "low"}, 1500),
        (None, None),
    ],
)
def test_what_ends_a_turn_is_said_as_it_holds(asked, silence_ms):
    wishes = wished_of_input(turn_detection=asked)
    said = json.loads(nested_session(wishes, "s"))["audio"]["input"]["turn_detection"]
    assert said == (
        None if silence_ms is None else {"type": "server_vad", "silence_duration_ms": silence_ms}
    )
    assert wishes.start().end_of_speech_ms == (silence_ms or 30_000)
    assert wished(turn_detection=asked) == wishes


def test_models_in_which_openai_finds_no_turns_leave_them_to_the_client():
    wishes = wished_of_input(transcription={"model": "gpt-realtime-whisper"})
    assert wishes.silence_ms is None
    wishes = wished_of_input(wishes, turn_detection={"type": "server_vad"})
    assert wishes.silence_ms == 500


def test_what_is_absent_stays_and_null_turns_off():
    wishes = wished_of_input(transcription={"model": "whisper-1", "language": "de", "prompt": "x"})
    wishes = wished_of_input(wishes, transcription={"language": None})
    assert (wishes.model, wishes.language, wishes.prompt) == ("whisper-1", None, "x")
    assert wished_of_input(wishes, transcription={"prompt": None}).prompt is None
    logged = wished(wishes, include=["item.input_audio_transcription.logprobs", "x"])
    assert logged.has_logprobs
    assert wished(logged).has_logprobs
    assert not wished(logged, include=None).has_logprobs
    assert wished(wishes, audio={"input": {"format": None}, "output": {}}) == wishes
    cut = wished_of_input(turn_detection={"silence_duration_ms": 700})
    assert wished_of_input(cut, turn_detection={"type": "server_vad"}).silence_ms == 700


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ({"language": "de"}, "de"),
        ({"language": "de-CH"}, "de"),
        ({"language": ""}, None),
        ({"languages": ["de"]}, "de"),
        ({"languages": ["de", "en"]}, None),
        ({"languages": []}, None),
        ({"languages": None}, None),
        ({"language": "en", "languages": ["de"]}, "en"),
        ({"language": None, "languages": ["de"]}, "de"),
        ({"language": "", "languages": ["de-CH", "de"]}, "de"),
        ({"language": None, "languages": ["de", "en"]}, None),
        ({"language": None, "languages": None}, None),
    ],
)
def test_the_only_language_is_heard_and_of_several_the_model_finds_out(asked, language):
    assert wished_of_input(transcription=asked).language == language


def test_keywords_and_prompt_are_what_may_be_said():
    asked = {"keywords": ["Zaphod", "Trillian"], "prompt": "A call."}
    wishes = wished_of_input(transcription=asked)
    assert wishes.start().context == "Zaphod Trillian A call."
    assert "Zaphod" not in repr(wishes)


def test_a_long_prompt_fits_into_a_start():
    wishes = wished_of_input(transcription={"prompt": '"\\é' * 5000})
    wire.decode_client_message(wire.encode(wishes.start()))


@pytest.mark.parametrize(
    ("asked", "code", "param"),
    [
        ({"format": {"type": "audio/opus"}}, "invalid_value", "format.type"),
        ({"format": {"type": "audio/pcm", "rate": 16_000}}, "invalid_value", "format.rate"),
        ({"format": {"type": "audio/pcmu", "rate": 16_000}}, "invalid_value", "format.rate"),
        ({"transcription": None}, "invalid_value", "transcription"),
        ({"transcription": {"model": "gpt-5"}}, "model_not_found", "transcription.model"),
        (
            {"transcription": {"model": "gpt-4o-transcribe-diarize"}},
            "model_not_found",
            "transcription.model",
        ),
        ({"transcription": {"language": "fr"}}, "invalid_value", "transcription.language"),
        (
            {"transcription": {"language": None, "languages": ["de", "xx"]}},
            "invalid_value",
            "transcription.languages",
        ),
        ({"transcription": {"languages": ["fr"]}}, "invalid_value", "transcription.languages"),
        ({"transcription": {"language": "1"}}, "invalid_value", "transcription.language"),
        ({"turn_detection": {"type": "magic"}}, "invalid_value", "turn_detection.type"),
        (
            {"turn_detection": {"type": "semantic_vad", "eagerness": "so"}},
            "invalid_value",
            "turn_detection.eagerness",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_name(asked, code, param):
    assert fault_of_input(**asked) == (code, "session.audio.input." + param)


def test_the_flat_form_has_names_of_its_own():
    assert fault(input_audio_format="opus") == ("invalid_value", "session.input_audio_format")
    refused = fault(input_audio_transcription={"model": "x"})
    assert refused == ("model_not_found", "session.input_audio_transcription.model")
    assert fault(turn_detection={"type": "x"})[1] == "session.turn_detection.type"
    assert fault(type="realtime") == ("invalid_value", "session.type")


def test_what_is_told_has_openais_shape():
    wishes = wished_of_input(transcription={"model": "whisper-1", "language": "en"})
    assert json.loads(nested_session(wishes, "sess_1")) == {
        "id": "sess_1",
        "object": "realtime.transcription_session",
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24_000},
                "transcription": {"model": "whisper-1", "language": "en", "prompt": ""},
                "noise_reduction": None,
                "turn_detection": {"type": "server_vad", "silence_duration_ms": 500},
            }
        },
        "include": None,
    }


def test_hints_stay_as_they_were_when_the_session_started():
    started = wished_of_input(transcription={"prompt": "a"})
    later = wished_of_input(started, transcription={"prompt": "b", "keywords": ["c"]})
    kept = wishes_kept(started, later)
    assert (kept.prompt, kept.keywords) == ("a", ())


HINTS = (
    st.text(st.sampled_from("ab \né"), max_size=30).filter(str.strip).map(lambda text: text * 100)
)


@given(st.none() | HINTS, st.lists(HINTS, max_size=4))
def test_what_is_kept_of_hints_is_what_a_session_hears_of_them(prompt, keywords):
    wishes = Wishes(prompt=prompt, keywords=tuple(keywords))
    kept = wishes_shortened(wishes)
    assert kept.start() == wishes.start()
    assert len(kept.prompt or "") + sum(map(len, kept.keywords)) <= 2 * MOST_CONTEXT_CHARS
