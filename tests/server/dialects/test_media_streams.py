"""Frames of telephone providers in, calls and their audio out."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import errors, wire
from server.audio import AudioFormat, Encoding
from server.decode import Decoder
from server.dialects.media_streams import MediaStreams, MediaStreamsSettings
from server.dialects.values import Admitted, Audio, Close, Ended, Fault, Opening, Said, Stopped
from tests.fakes import silence, speech
from tests.server.dialects.media_simulator import (
    CALLEE,
    CALLER,
    ENCODINGS,
    SimulatedCall,
    encode,
    encoding_of,
    frames_of,
    texts_of,
)

ADMITTED = Admitted(frozenset({"en"}), None)
FLAVOURS = list(ENCODINGS)
INBOUND = {"inbound": speech(200, 8000)}
BOTH = {"inbound": speech(400, 8000), "outbound": speech(300, 8000, 0.2)}
CONNECTED = '{"event":"connected","protocol":"Call","version":"1.0.0"}'
MEDIA = '{"event":"media","media":{"track":"inbound","chunk":"1","timestamp":"0","payload":"//8="}}'
EARLY, LATE = "a.early.b", "a.late.b"
STOP = '{"event":"stop"}'


def new(*, tracks=None, is_l16_big_endian=False):
    return MediaStreams(MediaStreamsSettings(tracks, is_l16_big_endian))


def start(**fields):
    named = {"callSid": "CA1", "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000}}
    return json.dumps({"event": "start", "start": named | fields})


def media(payload="//8=", **fields):
    return json.dumps({"event": "media", "media": {"payload": payload} | fields})


def hear(dialect, frames):
    """All that is heard, of a call that is admitted as soon as it opens."""
    heard = []
    for frame in frames:
        values = dialect.receive(frame)
        heard += values
        if any(isinstance(value, Opening) for value in values):
            assert dialect.tell(ADMITTED) == []
    return heard


def admitted(*frames, **settings):
    """A dialect whose call is admitted."""
    dialect = new(**settings)
    assert isinstance(hear(dialect, frames or (start(),))[-1], Opening)
    return dialect


def opening_of(*frames, **settings):
    (opening,) = hear(new(**settings), frames)
    assert isinstance(opening, Opening)
    return opening


def fault_of(dialect, *frames):
    *_, fault = hear(dialect, frames)
    assert isinstance(fault, Fault)
    assert dialect.receive(MEDIA) == dialect.receive(start()) == dialect.receive(STOP) == []
    return fault


def audio_of(heard, channel=0):
    return [value for value in heard if isinstance(value, Audio) and value.channel == channel]


# --- whole calls ---


@pytest.mark.parametrize("is_number_text", [True, False])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_call_of_each_provider_opens_is_heard_and_stops(flavour, is_number_text):
    call = SimulatedCall(flavour, is_number_text=is_number_text)
    opening, *heard, stopped = hear(new(), texts_of(call, INBOUND))
    assert opening.tracks == ("inbound",)
    assert opening.audio_format == AudioFormat(encoding_of(call), 8000)
    assert opening.call_id == call.call_id
    assert stopped == Stopped()
    assert b"".join(audio.payload for audio in heard) == encode(
        INBOUND["inbound"], encoding_of(call)
    )
    assert [audio.number for audio in heard] == list(range(1, len(heard) + 1))
    assert heard[1].at_ms == (100 if flavour == "exotel" else 20)


@pytest.mark.parametrize(
    ("flavour", "encoding"), [(f, encoding) for f in FLAVOURS for encoding in ENCODINGS[f]]
)
def test_what_is_heard_of_each_encoding_is_what_was_said(flavour, encoding):
    call = SimulatedCall(flavour, encoding)
    dialect = new(is_l16_big_endian=encoding is Encoding.PCM_S16BE)
    opening, *heard, _ = hear(dialect, texts_of(call, INBOUND))
    samples = Decoder(opening.audio_format).decode(b"".join(audio.payload for audio in heard))
    said = np.frombuffer(INBOUND["inbound"], "<i2") / 32768
    assert np.abs(samples - said).max() < (0.03 if opening.audio_format.sample_bytes == 1 else 1e-6)


@pytest.mark.parametrize("encoding", [Encoding.MULAW, Encoding.ALAW])
def test_the_simulator_encodes_what_each_code_stands_for_as_that_code(encoding):
    codes = bytes(code for code in range(256) if (encoding, code) != (Encoding.MULAW, 0x7F))
    pcm = Decoder(AudioFormat(encoding, 8000)).decode(codes) * 32768
    assert encode(pcm.astype("<i2").tobytes(), encoding) == codes


def test_two_parties_are_two_channels_in_the_order_of_the_start():
    opening, *heard, _ = hear(new(), texts_of(SimulatedCall(), BOTH))
    assert opening.tracks == ("inbound", "outbound")
    for channel, pcm in enumerate(BOTH.values()):
        payloads = [audio.payload for audio in audio_of(heard, channel)]
        assert b"".join(payloads) == encode(pcm, Encoding.MULAW)


def test_telnyx_names_no_tracks_so_the_settings_do():
    texts = texts_of(SimulatedCall("telnyx"), BOTH)
    assert hear(new(), texts)[0].tracks == ("inbound",)
    opening, *heard, _ = hear(new(tracks=("outbound", "inbound")), texts)
    assert opening.tracks == ("outbound", "inbound")
    assert len(audio_of(heard, 0)) == 15
    assert len(audio_of(heard, 1)) == 20


def test_pitfall_6_numbers_pass_through_shuffles_gaps_and_doubles_as_they_came():
    call = SimulatedCall(
        most_overtaking_chunks=3, drop_share=0.1, duplicate_share=0.1, seed=7, burst_ms=200
    )
    texts = texts_of(call, {"inbound": speech(4000, 8000)})
    sent = [json.loads(text)["media"] for text in texts if '"payload"' in text]
    heard = audio_of(hear(new(), texts))
    assert [audio.number for audio in heard] == [int(part["chunk"]) for part in sent]
    assert [audio.at_ms for audio in heard] == [int(part["timestamp"]) for part in sent]
    numbers = [audio.number for audio in heard]
    assert numbers != sorted(numbers)
    assert len(set(numbers)) < len(numbers)
    assert set(numbers) < set(range(1, 201))


def test_silence_that_is_left_out_is_a_gap_in_the_times_and_none_in_the_numbers():
    pcm = speech(100, 8000) + silence(1000, 8000) + speech(100, 8000)
    heard = audio_of(hear(new(), texts_of(SimulatedCall(is_silence_sent=False), {"inbound": pcm})))
    assert [audio.number for audio in heard] == list(range(1, 11))
    assert [audio.at_ms for audio in heard][4:6] == [80, 1100]


def test_a_call_without_a_stop_is_heard_to_its_last_frame():
    *_, last = hear(new(), texts_of(SimulatedCall(is_stop_sent=False), INBOUND))
    assert isinstance(last, Audio)


def test_a_call_is_simulated_the_same_from_the_same_seed_and_in_time():
    call = SimulatedCall(
        most_overtaking_chunks=3, drop_share=0.2, has_unknown_events=True, start_late_ms=6000
    )
    frames = frames_of(call, BOTH)
    assert frames == frames_of(call, BOTH) != frames_of(replace(call, seed=1), BOTH)
    times_ms = [frame.at_ms for frame in frames]
    assert times_ms == sorted(times_ms)
    assert times_ms[:2] == [0, 6000]
    assert frames[-1].text is None
    assert frames_of(replace(call, is_hung_up=False), BOTH) == frames[:-1]


# --- the opening ---


def test_a_token_a_ticket_and_a_language_come_with_the_start():
    named = {"token": "a.b.c", "ticket": "t1", "language": "de-AT", "agent": "42"}
    for opening in (
        opening_of(CONNECTED, start(customParameters=named)),
        opening_of(start(custom_parameters=named)),
    ):
        assert (opening.token, opening.ticket, opening.language) == ("a.b.c", "t1", "de")


@pytest.mark.parametrize("parameters", [{}, "", None])
def test_a_start_without_parameters_brings_no_token(parameters):
    opening = opening_of(start(custom_parameters=parameters))
    assert (opening.token, opening.ticket, opening.language) == (None, None, None)


def test_telnyx_brings_its_token_before_the_start_and_the_start_s_own_goes_first():
    call = SimulatedCall("telnyx", connected_token=EARLY)
    assert opening_of(*texts_of(call, INBOUND)[:2]).token == EARLY
    late = replace(call, parameters={"token": LATE})
    assert opening_of(*texts_of(late, INBOUND)[:2]).token == LATE


def test_caller_and_callee_are_told_where_the_start_names_them():
    opening = opening_of(*texts_of(SimulatedCall("exotel"), INBOUND)[:2])
    assert (opening.caller, opening.callee) == (CALLER, CALLEE)
    opening = opening_of(start(**{"from": "x" * 200, "to": ""}))
    assert (opening.caller, opening.callee) == (None, None)


@pytest.mark.parametrize(
    ("fields", "call_id"),
    [
        ({"call_sid": "B"}, "B"),
        ({"call_session_id": "C", "call_control_id": "v2:D"}, "C"),
        ({"call_control_id": "v2:D"}, "v2:D"),
        ({}, None),
    ],
)
def test_the_call_has_the_name_that_the_provider_gives_the_whole_of_it(fields, call_id):
    assert opening_of(start(callSid=None, **fields)).call_id == call_id


@pytest.mark.parametrize(
    ("media_format", "expected"),
    [
        ({"encoding": "audio/x-mulaw"}, AudioFormat(Encoding.MULAW, 8000)),
        ({"encoding": "PCMA", "sample_rate": "8000"}, AudioFormat(Encoding.ALAW, 8000)),
        ({"encoding": "audio/x-alaw", "channels": 1}, AudioFormat(Encoding.ALAW, 8000)),
        ({"encoding": "L16", "sampleRate": 16000}, AudioFormat(Encoding.PCM_S16LE, 16000)),
        ({"encoding": "audio/x-raw", "bit_rate": "16"}, AudioFormat(Encoding.PCM_S16LE, 8000)),
        ({"encoding": "base64", "sample_rate": "8000"}, AudioFormat(Encoding.PCM_S16LE, 8000)),
        ({"encoding": "audio/L16;rate=24000"}, AudioFormat(Encoding.PCM_S16LE, 24000)),
        ({"encoding": "audio/L16;rate=²"}, AudioFormat(Encoding.PCM_S16LE, 8000)),
        ({"encoding": "audio/L16; rate=x"}, AudioFormat(Encoding.PCM_S16LE, 8000)),
    ],
)
def test_pitfall_12_codecs_are_known_by_all_their_names(media_format, expected):
    assert opening_of(start(mediaFormat=media_format)).audio_format == expected
    assert opening_of(start(mediaFormat=None, media_format=media_format)).audio_format == expected


@pytest.mark.parametrize(
    ("media_format", "reason"),
    [
        ({"encoding": "OPUS", "sample_rate": 16000}, "codec_unsupported"),
        ({"encoding": "AMR-WB", "sample_rate": 16000}, "codec_unsupported"),
        ({"encoding": "G722"}, "codec_unsupported"),
        ({}, "codec_unsupported"),
        (None, "codec_unsupported"),
        ({"encoding": "L16", "sample_rate": 11025}, "rate_unsupported"),
        ({"encoding": "audio/L16;rate=1"}, "rate_unsupported"),
        ({"encoding": "audio/L16;rate=" + "9" * 100}, "rate_unsupported"),
        ({"encoding": "PCMU", "channels": 2}, "channels_unsupported"),
    ],
)
def test_pitfall_12_audio_that_cannot_be_read_is_refused_at_the_start(media_format, reason):
    fault = fault_of(new(), CONNECTED, start(mediaFormat=media_format))
    assert fault == Fault(errors.AUDIO_UNREADABLE, reason)


def test_pitfall_5_the_byte_order_of_l16_is_the_settings_and_no_other_codec_s():
    l16 = start(mediaFormat={"encoding": "L16", "sampleRate": 8000})
    assert opening_of(l16, is_l16_big_endian=True).audio_format.encoding is Encoding.PCM_S16BE
    assert opening_of(start(), is_l16_big_endian=True).audio_format.encoding is Encoding.MULAW


# --- tracks ---


def test_pitfall_9_a_track_that_is_switched_off_is_not_heard():
    opening, *heard, _ = hear(new(tracks=("outbound",)), texts_of(SimulatedCall(), BOTH))
    assert opening.tracks == ("outbound",)
    assert b"".join(audio.payload for audio in heard) == encode(BOTH["outbound"], Encoding.MULAW)


def test_a_track_that_the_start_does_not_have_is_no_channel():
    opening = opening_of(start(tracks=["inbound"]), tracks=("outbound", "inbound"))
    assert opening.tracks == ("inbound",)
    fault = fault_of(new(tracks=("outbound",)), start(tracks=["inbound"]))
    assert fault == Fault(errors.BAD_REQUEST, "no_track_heard")


def test_tracks_have_their_names_with_and_without_what_signalwire_adds():
    dialect = admitted(start(tracks=["inbound_track", "outbound_track", "inbound"]))
    channels = [
        audio.channel
        for track in ("outbound", "outbound_track", "inbound_track", None)
        for audio in dialect.receive(media(track=track))
    ]
    assert channels == [1, 1, 0, 0]


def test_audio_of_no_track_or_of_an_unknown_one_is_left_out_where_it_is_not_heard():
    dialect = admitted(start(tracks=["outbound"]))
    assert dialect.receive(media()) == dialect.receive(media(track="music")) == []


# --- before and after the call ---


def test_pitfall_10_nothing_is_decoded_before_the_call_is_admitted():
    dialect = new()
    assert isinstance(dialect.receive(start())[0], Opening)
    assert dialect.receive(media("this is no base64")) == dialect.receive(MEDIA) == []
    dialect.tell(ADMITTED)
    assert dialect.receive(MEDIA) == [Audio(b"\xff\xff", 0, 1, 0)]


def test_pitfall_10_audio_before_the_start_is_refused_undecoded():
    fault = fault_of(new(), CONNECTED, media("this is no base64"))
    assert fault == Fault(errors.BAD_REQUEST, "media_before_start")


def test_empty_audio_is_left_out():
    assert admitted().receive(media("")) == []


def test_pitfall_11_a_payload_of_any_size_passes_but_no_text_that_would_be_kept():
    assert len(admitted().receive(media("AAAA" * 20_000))[0].payload) == 60_000
    long = "x" * 8193
    for fields in (
        {"customParameters": {"token": long}},
        {"customParameters": {"ticket": long}},
        {"customParameters": {"language": "x" * 129}},
        {"callSid": "x" * 129},
        {"tracks": ["x" * 129]},
        {"tracks": ["a", "b", "c", "d", "e"]},
    ):
        assert fault_of(new(), start(**fields)).reason == "start_malformed"
    assert fault_of(new(), json.dumps({"event": "x", "x-telnyx-streaming-auth-token": long}))


def test_a_second_start_is_refused():
    for dialect in (admitted(), new()):
        fault = fault_of(dialect, start(), start())
        assert fault == Fault(errors.BAD_REQUEST, "second_start")


def test_admission_before_the_start_means_nothing():
    dialect = new()
    assert dialect.tell(ADMITTED) == []
    assert dialect.receive(MEDIA) == [Fault(errors.BAD_REQUEST, "media_before_start")]


def test_a_stop_may_come_at_any_time_and_nothing_follows_it():
    for frames in ([], [CONNECTED], [start()], [start(), MEDIA]):
        dialect = new()
        assert hear(dialect, [*frames, STOP])[-1] == Stopped()
        assert dialect.receive(MEDIA) == dialect.receive(b"") == []


@pytest.mark.parametrize("dialect_of", [new, admitted])
@pytest.mark.parametrize(
    "frame",
    [
        '{"event":"mark","mark":{"name":"x"}}',
        '{"event":"error","stream_id":"1","payload":{"code":100003,"title":"malformed_frame"}}',
        '{"event":"weather","media":{"payload":7},"start":[1]}',
        CONNECTED,
    ],
)
def test_pitfall_12_events_that_are_not_for_us_are_ignored(dialect_of, frame):
    assert dialect_of().receive(frame) == []


def test_unknown_events_between_the_others_change_nothing():
    call = SimulatedCall(has_unknown_events=True)
    texts = texts_of(call, BOTH)
    assert any("weather" in text for text in texts)
    assert hear(new(), texts) == hear(
        new(), texts_of(replace(call, has_unknown_events=False), BOTH)
    )


def test_pitfall_15_keys_that_a_caller_presses_are_in_no_value():
    call = SimulatedCall(digits="4111", parameters={"token": LATE})
    dialect = new()
    heard = hear(dialect, texts_of(call, INBOUND))
    assert len([text for text in texts_of(call, INBOUND) if "dtmf" in text]) == 4
    assert heard == hear(new(), texts_of(replace(call, digits=""), INBOUND))
    assert "dtmf" not in repr(vars(dialect))


def test_pitfall_15_no_value_shows_a_token_a_number_or_audio():
    call = SimulatedCall("telnyx", parameters={"token": LATE}, connected_token=EARLY)
    dialect = new()
    shown = repr(hear(dialect, texts_of(call, INBOUND))) + repr(vars(dialect))
    assert not [kept for kept in (EARLY, LATE, CALLER, CALLEE, "\\x") if kept in shown]


# --- faults ---


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "hello",
        "null",
        "[]",
        "{}",
        '{"event":5}',
        '{"event":"media"',
        '{"event":"\ud800"}',
        '{"x":' * 100_000,
    ],
)
def test_text_that_is_no_frame_is_refused(frame):
    for dialect in (new(), admitted()):
        assert fault_of(dialect, frame) == Fault(errors.BAD_REQUEST, "frame_malformed")


def test_binary_frames_are_refused():
    for dialect in (new(), admitted()):
        assert fault_of(dialect, b"\xff") == Fault(errors.BAD_REQUEST, "binary_frame")


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": "no base64"},
        {"payload": "//8"},
        {"payload": "__8="},
        {"payload": 5},
        {"payload": None},
        {"track": 5},
        {"chunk": "one"},
        {"chunk": True},
        {"chunk": -1},
        {"chunk": "-1"},
        {"chunk": "9" * 30},
        {"timestamp": 1 << 60},
        {"timestamp": "9" * 10_000},
        {"timestamp": 0.5},
        {"timestamp": []},
    ],
)
def test_audio_of_the_wrong_form_is_refused(fields):
    assert fault_of(admitted(), media(**fields)) == Fault(errors.BAD_REQUEST, "media_malformed")


@pytest.mark.parametrize("content", [None, 5, "x", {}])
def test_a_media_frame_without_its_payload_is_refused(content):
    frame = json.dumps({"event": "media", "media": content})
    assert fault_of(admitted(), frame).reason == "media_malformed"
    assert fault_of(admitted(), '{"event":"media"}').reason == "media_malformed"


@pytest.mark.parametrize(
    "fields",
    [
        {"callSid": 5},
        {"callSid": "naïve"},
        {"tracks": "inbound"},
        {"tracks": [""]},
        {"tracks": ["a\nb"]},
        {"from": {}},
        {"mediaFormat": "audio/x-mulaw"},
        {"mediaFormat": {"encoding": "PCMU", "sampleRate": -8000}},
        {"customParameters": {"token": 5}},
        {"customParameters": []},
    ],
)
def test_a_start_of_the_wrong_form_is_refused(fields):
    assert fault_of(new(), start(**fields)) == Fault(errors.BAD_REQUEST, "start_malformed")


def test_a_start_that_says_nothing_is_refused():
    assert fault_of(new(), '{"event":"start"}').reason == "codec_unsupported"
    assert fault_of(new(), '{"event":"start","start":5}').reason == "start_malformed"


# --- told ---


def test_no_text_ever_goes_down_the_wire():
    dialect = admitted()
    for event in (wire.SpeechStarted(0, 0), wire.Partial(0, 0, 0, 9, "a", "b")):
        assert dialect.tell(Said(0, event)) == []


def test_the_end_closes_the_connection_and_ends_the_hearing():
    dialect = admitted()
    assert dialect.tell(Ended()) == [Close(1000)]
    assert dialect.receive(MEDIA) == []


def test_a_refusal_closes_with_its_code():
    assert new().tell(Ended(errors.UNAUTHENTICATED)) == [Close(4401)]


# --- anything ---

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
JSON = st.recursive(
    LEAVES | st.sampled_from(["inbound", "//8=", "12"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["payload", "track", "chunk", "tracks"]), inner)
    ),
    max_leaves=6,
)
FRAMES = st.one_of(
    st.sampled_from([CONNECTED, start(), MEDIA, STOP, media(), media("x")]),
    st.builds(
        lambda event, content: json.dumps({"event": event, event: content}),
        st.sampled_from(["connected", "start", "media", "dtmf", "stop", "mark"]),
        JSON,
    ),
    st.builds(
        lambda fields: start(**fields),
        st.dictionaries(
            st.sampled_from(["callSid", "tracks", "mediaFormat", "customParameters", "from"]), JSON
        ),
    ),
    st.text(),
    st.binary(),
)


@given(st.lists(FRAMES | st.just(ADMITTED), max_size=12))
def test_no_frames_raise_and_no_audio_comes_before_the_admission_or_after_the_end(steps):
    dialect, heard, is_admitted = new(), [], False
    for step in steps:
        if step is ADMITTED:
            is_admitted |= any(isinstance(value, Opening) for value in heard)
            assert dialect.tell(step) == []
            continue
        values = dialect.receive(step)
        assert is_admitted or not any(isinstance(value, Audio) for value in values)
        assert not values or not any(isinstance(value, Fault | Stopped) for value in heard)
        heard += values
    assert sum(isinstance(value, Opening) for value in heard) <= 1
