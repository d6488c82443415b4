"""The native protocol's text frames."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import wire

EVENTS = [
    wire.Ready("s", "tiny.en", None, 500, wire.Limits(None, 5, 60)),
    wire.SpeechStarted(0, 120),
    wire.Partial(0, 1, 0, 900, "the quick", " brown"),
    wire.SpeechEnded(0, 2000),
    wire.Final(0, 0, 2000, "Hi.", "en", 0.9, [wire.WordEvent("Hi.", 100, 400, 0.9)]),
    wire.Quota(5, None),
    wire.TokenExpiring(60),
    wire.Flushed(1200, 1),
    wire.TokenRefreshed(900),
    wire.RefreshRefused("forbidden", "No."),
    wire.ErrorEvent("idle", "Nothing was received.", is_retryable=False),
    wire.Ended("stopped", wire.Usage(1, 2, 3, 4)),
]
MESSAGES = [
    wire.Start(16_000),
    wire.Start(8_000, language="en", end_of_speech_ms=300, partials=False),
    wire.Start(16_000, context="Braun, Dr. Ó Súilleabháin"),
    wire.Flush(),
    wire.Flush(1, answer=True),
    wire.KeepAlive(),
    wire.Stop(),
    wire.Refresh("a" * 8192),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_come_back_as_they_were(event):
    assert wire.decode_server_event(wire.encode(event)) == event


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_messages_come_back_as_they_were(message):
    assert wire.decode_client_message(wire.encode(message)) == message


def test_that_a_segment_was_cut_is_told_only_where_it_was():
    assert "is_cut" not in wire.encode(wire.SpeechEnded(0, 2000))
    cut = wire.SpeechEnded(0, 2000, is_cut=True)
    assert '"is_cut":true' in wire.encode(cut)
    assert wire.decode_server_event(wire.encode(cut)) == cut


def test_a_field_that_a_newer_server_adds_is_ignored():
    frame = '{"type":"speech_ended","segment":1,"end_ms":5,"mood":"calm"}'
    assert wire.decode_server_event(frame) == wire.SpeechEnded(1, 5)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "secret",
        "[]",
        '{"type":"secret"}',
        '{"type":"start"}',
        '{"type":"start","sample_rate_hz":"16000"}',
        '{"type":"start","sample_rate_hz":11025}',
        '{"type":"start","sample_rate_hz":16000,"secret":1}',
        '{"type":"start","sample_rate_hz":16000,"encoding":"secret"}',
        '{"type":"start","sample_rate_hz":16000,"language":"secret"}',
        '{"type":"start","sample_rate_hz":16000,"end_of_speech_ms":100}',
        '{"type":"start","sample_rate_hz":16000,"end_of_speech_ms":1e3}',
        '{"type":"start","sample_rate_hz":16000,"context":["secret"]}',
        '{"type":"start","sample_rate_hz":16000,"context":"' + "secret " * 286 + '"}',
        '{"type":"stop","secret":true}',
        "[" * 4096,
        '{"a":' * 800,
        " " * 4097,
        "\ud800",
    ],
)
def test_what_is_not_the_protocol_is_refused_with_a_text_that_never_repeats_it(frame):
    with pytest.raises(wire.WireError) as refused:
        wire.decode_client_message(frame)
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_no_frame_raises_anything_but_a_wire_error(frame):
    for decode in (wire.decode_server_event, wire.decode_client_message):
        with contextlib.suppress(wire.WireError):
            decode(frame)


def test_messages_cannot_be_changed():
    with pytest.raises(AttributeError):
        wire.Stop().type = "start"
    assert msgspec.structs.asdict(wire.Stop()) == {}


def test_only_a_token_may_be_long():
    with pytest.raises(wire.WireError):
        wire.decode_client_message('{"type":"refresh","token":"' + "a" * 8193 + '"}')
    with pytest.raises(wire.WireError):
        wire.decode_client_message('{"type":"stop"' + " " * 5000 + "}")


def test_a_token_is_not_shown():
    assert "secret" not in repr(wire.Refresh("secret"))
