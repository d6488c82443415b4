"""WhisperLive's clients: what they are told is for them, never empty, and keeps its order."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.dialects.translation import Broken, Hear, Say
from server.dialects.values import Upgrade
from server.dialects.whisper_live import WhisperLive, WhisperLiveApi
from tests.server.dialects.vectors import host_of

UID = "0b5cc9e7-1e5c-4b5e-8e4e-0a2b1c3d4e5f"
USAGE = wire.Usage(0, 0, 0, 0)
END = b"END_OF_AUDIO"
READY = wire.Ready("s-1", "fake", None, 600, wire.Limits(None, None, 3600))


def options(**wished):
    return json.dumps({"uid": UID, "language": "en", "task": "transcribe", **wished})


def opened(**wished):
    dialect = WhisperLive()
    assert dialect.open() == []
    [said] = dialect.receive(options(**wished))
    assert isinstance(said, Say)
    dialect.tell(READY)
    return dialect


def told(dialect, *events):
    return [json.loads(frame) for event in events for frame in dialect.tell(event)]


def error(refusal):
    return wire.ErrorEvent(refusal.code, refusal.text, refusal.is_retryable)


def partial(text, segment=0, start_ms=0, end_ms=500):
    return wire.Partial(segment, 0, start_ms, end_ms, text[:2], text[2:])


def final(text, segment=0, start_ms=0, end_ms=1000, language="en"):
    words = [wire.WordEvent(each, start_ms, end_ms, 0.98765) for each in text.split()]
    return wire.Final(segment, start_ms, end_ms, text, language, 0.9, words)


def segment(start, end, text, *, completed):
    return {"start": start, "end": end, "text": text, "completed": completed}


def segments_of(message):
    assert message["uid"] == UID
    return [(each["text"], each["completed"]) for each in message["segments"]]


# --- who comes ---


def test_the_options_start_the_session_and_the_server_is_ready_when_that_is():
    dialect = WhisperLive()
    assert dialect.receive(options()) == [Say(wire.Start(16_000, "pcm_f32le", language="en"))]
    assert dialect.tell(READY) == [
        f'{{"uid":"{UID}","message":"SERVER_READY","backend":"faster_whisper"}}'
    ]


def test_options_may_come_as_bytes():
    assert WhisperLive().receive(options().encode()) == [
        Say(wire.Start(16_000, "pcm_f32le", language="en"))
    ]


def test_what_the_client_hopes_to_hear_is_context():
    [said] = WhisperLive().receive(options(initial_prompt="Names:", hotwords="Ada, Grace"))
    assert said.message.context == "Names: Ada, Grace"


@pytest.mark.parametrize(
    ("wished", "language"),
    [
        ({"language": "de"}, "de"),
        ({"language": "DE"}, "de"),
        ({"language": None}, None),
        ({"language": ""}, None),
        ({"language": None, "model": "small"}, None),
        ({"language": None, "model": "tiny.en"}, "en"),
        ({"language": "de", "model": "tiny.en"}, "en"),
    ],
)
def test_the_language_is_the_clients_or_that_of_an_english_model(wished, language):
    [said] = WhisperLive().receive(options(**wished))
    assert said.message.language == language


def test_what_is_for_the_original_alone_is_ignored():
    ignored = {
        "use_vad": False,
        "no_speech_thresh": 0.45,
        "clip_audio": True,
        "same_output_threshold": 10,
        "enable_translation": False,
        "target_language": "fr",
        "enable_diarization": False,
        "max_speakers": 10,
        "known_speakers": [],
        "vad_parameters": {"threshold": 0.5},
        "other": {"x": [1]},
    }
    assert WhisperLive().receive(options(**ignored)) == [
        Say(wire.Start(16_000, "pcm_f32le", language="en"))
    ]


@pytest.mark.parametrize(
    "wished",
    [
        {"task": "translate"},
        {"task": "sing"},
        {"enable_translation": True},
        {"enable_diarization": True},
        {"known_speakers": [{"name": "Ada", "audio_base64": "UklGRg=="}]},
        {"language": "english"},
        {"audio_format": "opus"},
    ],
)
def test_what_cannot_be_done_is_refused_in_the_words_of_the_protocol(wished):
    dialect = WhisperLive()
    assert dialect.receive(options(**wished)) == [Broken()]
    [refused] = told(dialect, error(errors.BAD_MESSAGE), wire.Ended("bad_message", USAGE))
    assert (refused["uid"], refused["status"]) == (UID, "ERROR")
    assert refused["message"].endswith(".")
    assert "earwitness" not in refused["message"]
    assert dialect.receive(b"more") == []


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{}",
        "[]",
        "hello",
        b"\x00" * 16,
        '{"uid":""}',
        '{"uid":7}',
        json.dumps({"uid": "x" * 129}),
        "[" * 60_000,
        json.dumps({"uid": UID, "x": "x" * (1 << 18)}),
    ],
)
def test_who_does_not_say_who_it_is_is_told_nothing(frame):
    dialect = WhisperLive()
    assert dialect.receive(frame) == [Broken()]
    assert told(dialect, error(errors.BAD_MESSAGE), wire.Ended("bad_message", USAGE)) == []
    assert dialect.close_code(4400) == 1008, "it is no clean end"


def test_who_says_who_it_is_and_is_not_understood_is_told_so():
    dialect = WhisperLive()
    assert dialect.receive(json.dumps({"uid": UID, "language": 5})) == [Broken()]
    [refused] = told(dialect, error(errors.BAD_MESSAGE))
    assert (refused["uid"], refused["status"]) == (UID, "ERROR")
    assert dialect.close_code(4400) == 1000


# --- what is heard ---


def heard(dialect, *frames):
    translated = [each for frame in frames for each in dialect.receive(frame)]
    return b"".join(each.payload for each in translated if isinstance(each, Hear))


def test_samples_of_the_clients_are_heard_as_they_come():
    floats = np.array([0.25, -1, 2], "<f4").tobytes()
    assert heard(opened(), floats[:5], floats[5:]) == floats


def test_samples_may_be_of_sixteen_bits_or_of_eight_without_a_sign():
    assert heard(opened(audio_format="int16"), b"\x01", b"\x02\x03\x04") == b"\x01\x02\x03\x04"
    pcm = np.frombuffer(heard(opened(audio_format="uint8"), bytes([0, 128, 255])), "<i2")
    assert list(pcm) == [-32_768, 0, 32_512]


def test_an_empty_frame_is_nothing():
    assert opened().receive(b"") == []


@pytest.mark.parametrize("end", [END, END.decode()], ids=["bytes", "text"])
def test_the_end_of_the_audio_stops_the_session(end):
    dialect = opened()
    assert dialect.receive(end) == [Say(wire.Stop())]
    assert [dialect.receive(frame) for frame in (END, b"1234", "x")] == [[], [], []]


def test_another_text_breaks_the_protocol():
    dialect = opened()
    assert dialect.receive('{"uid":"again"}') == [Broken()]
    [refused] = told(dialect, error(errors.BAD_MESSAGE))
    assert refused["status"] == "ERROR"


# --- what is told ---


def test_what_is_said_so_far_is_the_only_open_segment():
    dialect = opened()
    assert told(dialect, wire.SpeechStarted(0, 0), partial("Hello")) == [
        {"uid": UID, "segments": [segment("0.000", "0.500", " Hello", completed=False)]}
    ]


def test_a_final_is_told_as_the_open_segment_and_then_as_completed():
    """The client keeps the last open one, and adds it to its transcript where its text differs."""
    dialect = opened()
    told(dialect, partial("Hello wor"))
    assert told(dialect, final("Hello world.", start_ms=5, end_ms=1234)) == [
        {"uid": UID, "segments": [segment("0.005", "1.234", " Hello world.", completed=False)]},
        {"uid": UID, "segments": [segment("0.005", "1.234", " Hello world.", completed=True)]},
    ]


def test_the_last_completed_segments_stand_before_the_open_one():
    dialect = opened(send_last_n_segments=2)
    for n in range(3):
        told(dialect, final(f"s{n}", n, n * 1000, n * 1000 + 900))
    [message] = told(dialect, partial("open", 3, 3000, 3500))
    assert segments_of(message) == [(" s1", True), (" s2", True), (" open", False)]


def test_a_final_that_is_late_leaves_the_open_segment_open():
    dialect = opened()
    told(dialect, partial("one", 0), partial("two", 1, 1000, 1500))
    [message] = told(dialect, final("One.", 0))
    assert segments_of(message) == [(" One.", True), (" two", False)]
    assert told(dialect, partial("one", 0)) == []


@pytest.mark.parametrize(("wished", "n_told"), [(None, 10), (1, 1), (0, 100), (999, 100)])
def test_the_client_says_how_many_completed_segments_it_wants(wished, n_told):
    dialect = opened(send_last_n_segments=wished)
    for n in range(120):
        last = told(dialect, final(f"s{n}", n, n * 1000, n * 1000 + 900))[-1]
    assert len(last["segments"]) == n_told


def test_no_segment_begins_before_the_one_before_it_ends():
    dialect = opened()
    told(dialect, final("One.", 0, 0, 1500))
    [message] = told(dialect, partial("two", 1, 1200, 1400))
    assert message["segments"][-1] == segment("1.500", "1.501", " two", completed=False)
    message = told(dialect, final("Two.", 1, 1200, 2000))[-1]
    assert message["segments"][-1]["start"] == "1.500"


def test_a_final_without_words_takes_back_what_was_said_where_something_is_left_to_tell():
    dialect = opened()
    told(dialect, partial("uh"))
    assert told(dialect, final("")) == []
    told(dialect, final("One.", 1), partial("uh", 2, 2000, 2500))
    [message] = told(dialect, final("", 2, 2000, 2500))
    assert segments_of(message) == [(" One.", True)]


def test_a_partial_without_words_is_not_told():
    assert told(opened(), partial("")) == []


def test_words_are_told_to_who_wants_them():
    dialect = opened(word_timestamps=True)
    [_, message] = told(dialect, final("Hello", start_ms=100))
    [only] = message["segments"]
    assert list(only) == ["start", "end", "text", "completed", "words"]
    assert only["words"] == [
        {"word": " Hello", "start": "0.100", "end": "1.000", "probability": 0.9877}
    ]


def test_a_language_that_was_found_out_is_told_once_and_only_to_who_did_not_name_it():
    dialect = opened(language=None)
    assert told(dialect, final("", language="nn")) == []
    messages = told(dialect, final("Hallo", language="de"), final("Hello", 1, language="en"))
    assert messages[0] == {"uid": UID, "language": "de"}
    assert sum("language" in each for each in messages) == 1
    assert not any("language" in each for each in told(opened(), final("Hello")))


def test_a_language_that_is_known_from_the_beginning_is_told_after_the_server_is_ready():
    dialect = WhisperLive()
    dialect.receive(options(language=None))
    ready = wire.Ready("s-1", "fake", "en", 600, wire.Limits(None, None, 3600))
    assert [list(each)[1] for each in told(dialect, ready)] == ["message", "language"]


@pytest.mark.parametrize(
    "refusal",
    [
        errors.QUOTA_AUDIO,
        errors.QUOTA_BYTES,
        errors.QUOTA_DAILY,
        errors.SESSION_TOO_LONG,
        errors.TOKEN_EXPIRED,
    ],
)
def test_who_has_had_its_time_is_disconnected(refusal):
    assert told(opened(), error(refusal)) == [{"uid": UID, "message": "DISCONNECT"}]


def test_who_may_come_again_is_told_in_how_many_minutes():
    assert told(opened(), error(errors.SHUTTING_DOWN)) == [
        {"uid": UID, "status": "WAIT", "message": 5 / 60}
    ]


def test_any_other_end_is_an_error_with_its_text():
    assert told(opened(), error(errors.TOO_FAST)) == [
        {"uid": UID, "status": "ERROR", "message": errors.TOO_FAST.text}
    ]


@pytest.mark.parametrize(("code", "wire_code"), [(1000, 1000), (4413, 1000), (1011, 1011)])
def test_a_close_is_normal_unless_we_failed(code, wire_code):
    assert WhisperLive().close_code(code) == wire_code


# --- whatever comes ---


@given(st.lists(st.one_of(st.text(), st.binary(max_size=9), st.sampled_from([options(), END]))))
def test_nothing_raises(frames):
    dialect = WhisperLive()
    for frame in frames:
        dialect.receive(frame)
    told(dialect, READY, partial("a"), final("a"), error(errors.BAD_MESSAGE))


def transcript_of(messages):
    """As the Python client of 0.10.0 keeps it."""
    transcript, last_segment = [], None
    for message in messages:
        text, segments = [], message["segments"]
        for index, each in enumerate(segments):
            if text and text[-1] == each["text"]:
                continue
            text.append(each["text"].strip())
            if index == len(segments) - 1 and not each["completed"]:
                last_segment = each
            elif each["completed"] and (
                not transcript or float(each["start"]) >= float(transcript[-1]["end"])
            ):
                transcript.append(each)
    if last_segment and transcript and transcript[-1]["text"] != last_segment["text"]:
        transcript.append(last_segment)
    return [each["text"].strip() for each in transcript]


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["uh", "yes", "no"]), max_size=3),
            st.sampled_from(["yes", "yes.", "no"]),
            st.integers(-400, 400),
            st.integers(0, 900),
        ),
        min_size=1,
    )
)
def test_the_client_keeps_every_final_once_and_nothing_else(spoken):
    dialect, messages = opened(), []
    for number, (partials, text, early_ms, length_ms) in enumerate(spoken):
        start_ms = max(0, number * 1000 + early_ms)
        span = {"segment": number, "start_ms": start_ms, "end_ms": start_ms + length_ms}
        for each in partials:
            messages += told(dialect, partial(each, **span))
        messages += told(dialect, final(text, **span))
    assert all(message["segments"] for message in messages)
    assert transcript_of(messages) == [text for _, text, _, _ in spoken]


# --- the connection ---


def test_its_clients_know_no_path():
    assert WhisperLiveApi(is_at_root=False).paths == ("/v1/whisper-live",)
    assert WhisperLiveApi(is_at_root=True).paths == ("/v1/whisper-live", "/")


def test_it_has_no_key_no_subprotocol_and_no_header_of_its_own():
    api = WhisperLiveApi(is_at_root=False)
    upgrade = Upgrade("/", subprotocols=["live"])
    dialect = api.new_dialect(upgrade, host_of({}))
    assert (api.keys(upgrade), api.subprotocol(upgrade), api.headers(dialect)) == ([], None, ())


def test_who_is_not_let_in_gets_a_line():
    answer = WhisperLiveApi(is_at_root=False).refuse(errors.TOO_MANY_SESSIONS)
    assert (answer.status, answer.media_type) == (429, "text/plain")
