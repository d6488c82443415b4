"""OpenAI's fields and answers."""

import json

import pytest

from server import errors, wire
from server.dialects.openai_errors import error_body
from server.errors import RefusedError
from server.recognition import ModelCard
from server.transcriptions import (
    FieldError,
    answer,
    delta_event,
    done_event,
    error_event,
    error_status,
    models_body,
    options_from_fields,
)

MODEL = ModelCard("tiny.en", frozenset({"en", "zh"}))


def options(**given):
    names = {"granularities": "timestamp_granularities[]", "include": "include[]"}
    fields = {"model": ["tiny.en"]} | {
        names.get(name, name): value if isinstance(value, list) else [value]
        for name, value in given.items()
    }
    return options_from_fields(fields, MODEL)


def final(text, start_ms=0, language="en", words=()):
    events = [wire.WordEvent(*word) for word in words]
    return wire.Final(0, start_ms, start_ms + 900, text, language, 0.5, events)


HELLO = final("Hello,", 100, words=[("Hello,", 100, 500, 0.9)])
WORLD = final("world.", 2000, words=[("world.", 2000, 2500, 0.4)])


def answered(*finals, **given):
    body, media_type = answer(options(**given), finals, 3210)
    return (json.loads(body) if media_type == "application/json" else body.decode()), media_type


def test_a_form_with_nothing_but_the_model_asks_for_json():
    asked = options()
    assert (asked.response_format, asked.language, asked.context) == ("json", None, None)
    assert (asked.has_words, asked.has_segments, asked.is_streamed) == (False, True, False)


def test_what_is_asked_for_is_done():
    asked = options(
        model="whisper-1",
        language="zh",
        prompt=" Erlkönig\n",
        response_format="verbose_json",
        granularities=["word"],
        stream="False",
        temperature="0.7",
    )
    assert (asked.language, asked.context) == ("zh", "Erlkönig")
    assert (asked.has_words, asked.has_segments, asked.is_streamed) == (True, False, False)
    assert "Erlkönig" not in repr(asked)
    assert options(stream="true").is_streamed
    assert options(stream="1", response_format="text").is_streamed


@pytest.mark.parametrize("char", ['"', "\\", "\x00", "\x7f", "ü", "👑"])
def test_a_prompt_however_it_is_spelt_fits_into_a_start(char):
    context = options(prompt=char * 100_000 + "the end").context
    assert len(context) <= 1900
    assert context.endswith("the end")
    start = wire.encode(wire.Start(16_000, language="en", partials=False, context=context))
    assert wire.decode_client_message(start).context == context


@pytest.mark.parametrize(
    ("given", "status", "field"),
    [
        ({"model": []}, 400, "model"),
        ({"model": ""}, 400, "model"),
        ({"model": "gpt-4o"}, 404, "model"),
        ({"language": "xx"}, 400, "language"),
        ({"language": "english please"}, 400, "language"),
        ({"response_format": "diarized_json"}, 400, "response_format"),
        ({"stream": "perhaps"}, 400, "stream"),
        ({"stream": "true", "response_format": "vtt"}, 400, "stream"),
        ({"granularities": ["word"]}, 400, "timestamp_granularities[]"),
        (
            {"granularities": ["letter"], "response_format": "verbose_json"},
            400,
            "timestamp_granularities[]",
        ),
        ({"include": ["logprobs"]}, 400, "include[]"),
        ({"known_speaker_names[]": ["agent"]}, 400, "known_speaker_names[]"),
        ({"known_speaker_references[]": ["data:"]}, 400, "known_speaker_references[]"),
    ],
)
def test_what_cannot_be_done_is_refused_by_its_field(given, status, field):
    with pytest.raises(FieldError) as refused:
        options(**given)
    assert (refused.value.refusal.http_status, refused.value.field) == (status, field)
    assert isinstance(refused.value, RefusedError)
    assert "[]" not in refused.value.reason


def test_json_has_the_text_and_what_was_used():
    assert answered(HELLO, WORLD) == (
        {"text": "Hello, world.", "usage": {"type": "duration", "seconds": 4}},
        "application/json",
    )
    assert answered()[0]["text"] == ""


def test_texts_of_a_script_without_spaces_follow_each_other():
    said = (final("你好", language="zh"), final("世界", language="zh"))
    assert answered(*said)[0]["text"] == "你好世界"


def test_text_is_a_line():
    assert answered(HELLO, WORLD, response_format="text") == (
        "Hello, world.\n",
        "text/plain; charset=utf-8",
    )


@pytest.mark.parametrize(("kind", "media_type"), [("srt", "x-subrip"), ("vtt", "vtt")])
def test_subtitles_have_their_media_type(kind, media_type):
    text, got = answered(HELLO, response_format=kind)
    assert media_type in got
    assert "00:00:00" in text


def test_verbose_json_has_what_was_asked_for():
    both, _ = answered(
        HELLO, WORLD, response_format="verbose_json", granularities=["word", "segment"]
    )
    assert (both["task"], both["language"], both["duration"]) == ("transcribe", "english", 3.21)
    assert both["words"][1] == {"word": "world.", "start": 2.0, "end": 2.5}
    assert [segment["id"] for segment in both["segments"]] == [0, 1]
    first = both["segments"][0]
    assert (first["start"], first["end"], first["seek"]) == (0.1, 1.0, 10)
    assert first["avg_logprob"] == pytest.approx(-0.105, abs=0.001)
    assert 0 < first["compression_ratio"] < 1
    segments, _ = answered(HELLO, response_format="verbose_json")
    assert "words" not in segments
    words, _ = answered(HELLO, response_format="verbose_json", granularities=["word"])
    assert "segments" not in words


def test_verbose_json_of_silence_or_of_words_without_times_is_whole():
    silence, _ = answered(response_format="verbose_json", language="zh")
    assert (silence["language"], silence["segments"]) == ("chinese", [])
    untimed, _ = answered(final("Hi", language=None), response_format="verbose_json")
    assert (untimed["language"], untimed["segments"][0]["avg_logprob"]) == ("unknown", 0.0)


def data_of(event):
    assert event.endswith(b"\n\n")
    return json.loads(event.partition(b"data: ")[2])


def test_events_are_those_of_openai():
    assert data_of(delta_event(" a\n")) == {"type": "transcript.text.delta", "delta": " a\n"}
    assert delta_event("a\nb").count(b"\n") == 2
    assert data_of(done_event([HELLO])) == {"type": "transcript.text.done", "text": "Hello,"}
    failed = error_event(errors.INTERNAL)
    assert failed.startswith(b"event: error\n")
    assert data_of(failed)["error"]["code"] == "internal"


@pytest.mark.parametrize(
    ("refusal", "status", "kind", "code"),
    [
        (errors.UNAUTHENTICATED, 401, "invalid_request_error", "invalid_api_key"),
        (errors.FORBIDDEN, 403, "permission_error", "forbidden"),
        (errors.QUOTA_AUDIO, 429, "insufficient_quota", "quota_audio"),
        (errors.TOO_MANY_SESSIONS, 429, "rate_limit_error", "too_many_sessions"),
        (errors.OVERLOADED, 503, "server_error", "overloaded"),
        (errors.AUDIO_UNREADABLE, 400, "invalid_request_error", "audio_unreadable"),
        (errors.MESSAGE_TOO_BIG, 413, "invalid_request_error", "message_too_big"),
    ],
)
def test_a_refusal_has_openais_form(refusal, status, kind, code):
    error = json.loads(error_body(refusal, "file"))["error"]
    assert error == {"message": refusal.text, "type": kind, "param": "file", "code": code}
    assert error_status(refusal) == status


def test_the_one_model_is_listed():
    listed = json.loads(models_body(MODEL))
    assert (listed["object"], [model["id"] for model in listed["data"]]) == ("list", ["tiny.en"])
