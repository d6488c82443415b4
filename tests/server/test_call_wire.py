"""Events of a call as text: fields by name, one line each, roles as words."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import call_wire, wire
from server.call_values import Role

CALLS_PAGE = Path(__file__).parents[2] / "docs/calls.md"
ABOUT = (7, 1500, 1, Role.AGENT, 0)
WORD = wire.WordEvent("hi", 1000, 1200, 0.9)
FIELDS = {"seq": 7, "at_ms": 1500, "track": 1, "role": "agent"}
SPOKEN = {**FIELDS, "segment": 0}
EVENTS = [
    (
        call_wire.CallStarted(1, 0, "c-1"),
        {"type": "call_started", "seq": 1, "at_ms": 0, "call": "c-1"},
    ),
    (
        call_wire.TrackStarted(*ABOUT[:4], "outbound", "s-1"),
        {"type": "track_started", **FIELDS, "name": "outbound", "session_id": "s-1"},
    ),
    (
        call_wire.SpeechStarted(*ABOUT, 1000),
        {"type": "speech_started", **SPOKEN, "start_ms": 1000},
    ),
    (
        call_wire.Partial(*ABOUT, 2, 1000, 1200, "hi", " the"),
        {
            "type": "partial",
            **SPOKEN,
            "revision": 2,
            "start_ms": 1000,
            "end_ms": 1200,
            "stable": "hi",
            "unstable": " the",
        },
    ),
    (call_wire.SpeechEnded(*ABOUT, 1200), {"type": "speech_ended", **SPOKEN, "end_ms": 1200}),
    (
        call_wire.Final(*ABOUT, 1000, 1200, "hi", "en", 0.9, [WORD], "measured"),
        {
            "type": "final",
            **SPOKEN,
            "start_ms": 1000,
            "end_ms": 1200,
            "text": "hi",
            "language": "en",
            "confidence": 0.9,
            "word_times": "measured",
            "words": [{"text": "hi", "start_ms": 1000, "end_ms": 1200, "confidence": 0.9}],
        },
    ),
    (
        call_wire.TrackEnded(*ABOUT[:4], "stopped"),
        {"type": "track_ended", **FIELDS, "reason": "stopped"},
    ),
    (
        call_wire.CallEnded(9, 2000, "stopped"),
        {"type": "call_ended", "seq": 9, "at_ms": 2000, "reason": "stopped"},
    ),
    (call_wire.Skipped(5), {"type": "skipped", "seq": 5}),
]


@pytest.mark.parametrize(("event", "told"), EVENTS)
def test_an_event_is_its_type_and_its_fields(event, told):
    assert json.loads(call_wire.encode(event)) == told


@pytest.mark.parametrize(("event", "told"), EVENTS)
def test_what_is_told_can_be_read_again(event, told):
    assert msgspec.json.decode(call_wire.encode(event), type=call_wire.CallEvent) == event


def test_there_is_an_example_of_every_event():
    assert {type(event) for event, _ in EVENTS} == set(call_wire.CallEvent.__args__)


@given(st.text() | st.text("\r\n\x0b\x0c\x1c\x85\u2028\u2029\\u"))
def test_an_event_is_one_line_whatever_was_said(text):
    event = call_wire.Partial(*ABOUT, 0, 0, 0, text, "")
    told = call_wire.encode(event)
    assert len(told.splitlines()) == 1
    assert json.loads(told)["stable"] == text


def test_a_refusal_is_told_as_in_the_native_protocol():
    told = call_wire.encode(wire.ErrorEvent("revoked", "No.", is_retryable=False))
    assert json.loads(told) == {
        "type": "error",
        "code": "revoked",
        "message": "No.",
        "is_retryable": False,
    }


def test_the_documents_have_an_example_of_every_event():
    kind = call_wire.CallEvent | wire.ErrorEvent
    block = CALLS_PAGE.read_text().partition("## What is told")[2].split("```")[1]
    lines = [line for line in block.splitlines() if line.startswith("{")]
    events = [msgspec.json.decode(line, type=kind, strict=True) for line in lines]
    assert [call_wire.encode(event) for event in events] == lines
    assert {type(event) for event in events} == set(kind.__args__)
