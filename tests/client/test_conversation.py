"""The client's end of the protocol, without a socket."""

import pytest

from client.conversation import (
    MAX_UNREAD_EVENTS,
    Conversation,
)
from client.errors import ConnectionLostError, SessionError, UnusableError
from server import wire
from tests.client.fake_server import READY, ended, final, partial

START = wire.Start(16_000)


def begun():
    conversation = Conversation(START)
    conversation.receive_frame(wire.encode(READY))
    return conversation


def hear(conversation, *events):
    for event in events:
        conversation.receive_frame(wire.encode(event))


def frames(conversation, now_s=0.0):
    return list(iter(lambda: conversation.take_frame(now_s), None))


def take_all(conversation):
    return list(iter(conversation.take_event, None))


@pytest.mark.parametrize(
    "start",
    [
        wire.Start(11_025),
        wire.Start(16_000, language="English"),
        wire.Start(16_000, end_of_speech_ms=10),
        wire.Start(object()),
    ],
)
def test_settings_the_protocol_does_not_know_are_refused(start):
    with pytest.raises(UnusableError):
        Conversation(start)


def test_the_answer_to_start_opens_the_session_for_audio():
    conversation = Conversation(START)
    assert not conversation.wants_audio
    hear(conversation, READY)
    assert conversation.ready == READY
    assert conversation.wants_audio
    assert take_all(conversation) == []


def test_events_come_out_once_in_order_after_a_good_end():
    conversation = begun()
    events = [wire.SpeechStarted(0, 5), partial(0, 0, "a"), final(0, "a b"), ended()]
    hear(conversation, *events)
    assert take_all(conversation) == events
    assert conversation.is_over
    assert conversation.failure is None


def test_an_unread_caption_is_replaced_by_a_newer_one_of_its_segment():
    conversation = begun()
    hear(conversation, partial(0, 0, "a"), partial(0, 1, "a b"), partial(1, 0, "c"))
    assert take_all(conversation) == [partial(0, 1, "a b"), partial(1, 0, "c")]


def test_a_backlog_nobody_reads_ends_the_session():
    conversation = begun()
    hear(conversation, *(final(segment, "a") for segment in range(MAX_UNREAD_EVENTS)))
    assert not conversation.is_over
    hear(conversation, final(MAX_UNREAD_EVENTS, "a"))
    assert conversation.failure.code == "unread_events"
    assert len(take_all(conversation)) == MAX_UNREAD_EVENTS


def test_an_error_ends_the_audio_at_once_and_the_session_when_all_was_told():
    conversation = begun()
    hear(conversation, wire.ErrorEvent("quota_audio", "Used up.", False))
    assert not conversation.wants_audio
    assert not conversation.is_over
    hear(conversation, final(0, "a"), ended("quota_audio"))
    assert conversation.is_over
    assert isinstance(conversation.failure, SessionError)
    assert conversation.failure.code == "quota_audio"
    assert len(take_all(conversation)) == 3


def test_an_error_before_the_session_and_then_the_end():
    conversation = Conversation(START)
    hear(conversation, wire.ErrorEvent("overloaded", "Full.", True), ended("overloaded"))
    assert conversation.failure.code == "overloaded"
    assert conversation.failure.is_retryable


def test_an_error_and_then_the_close_is_that_error():
    conversation = begun()
    hear(conversation, wire.ErrorEvent("internal", "Failed.", True))
    conversation.receive_close(1011)
    assert conversation.failure.code == "internal"


def test_an_end_for_another_reason_than_stop_is_an_error():
    conversation = begun()
    hear(conversation, ended("idle"))
    assert conversation.failure.code == "idle"


@pytest.mark.parametrize("close_code", [1000, 1006, 1012])
def test_a_close_without_an_end_is_a_lost_connection(close_code):
    conversation = begun()
    conversation.receive_close(close_code)
    assert isinstance(conversation.failure, ConnectionLostError)
    assert conversation.failure.close_code == close_code


def test_a_close_after_the_end_changes_nothing():
    conversation = begun()
    hear(conversation, ended())
    conversation.receive_close(1006)
    hear(conversation, final(0, "late"))
    assert conversation.failure is None
    assert take_all(conversation) == [ended()]


@pytest.mark.parametrize("frame", ["{}", "nonsense", '{"type":"hello"}', b"\x00\x01"])
def test_a_frame_that_is_no_event_ends_the_session(frame):
    conversation = begun()
    conversation.receive_frame(frame)
    assert conversation.failure.code == "wrong_protocol"


def test_another_answer_to_start_than_ready_ends_the_session():
    conversation = Conversation(START)
    hear(conversation, final(0, "a"))
    assert conversation.failure.code == "wrong_protocol"


def test_stop_is_said_once_and_ends_the_audio():
    conversation = begun()
    conversation.stop()
    conversation.stop()
    assert frames(conversation) == [wire.encode(wire.Stop())]
    assert not conversation.wants_audio


def test_what_the_server_wrote_is_cleaned_and_shortened():
    conversation = begun()
    hear(conversation, wire.ErrorEvent("bad\x1b[2J", "a\nb\x00" + "c" * 1000, False))
    assert conversation.failure.code == "bad [2J"
    assert conversation.failure.message.startswith("a b c")
    assert len(conversation.failure.message) == 200


def test_a_newer_token_is_shown_in_a_frame_of_its_own():
    conversation = begun()
    conversation.refresh("a.b.c")
    assert frames(conversation) == [wire.encode(wire.Refresh("a.b.c"))]
    with pytest.raises(UnusableError) as unusable:
        conversation.refresh("a" * 9000)
    assert "aaa" not in str(unusable.value)


@pytest.mark.parametrize("event", [READY, wire.Resumed(0)])
def test_an_answer_that_nobody_waits_for_ends_the_session(event):
    conversation = begun()
    hear(conversation, event)
    assert conversation.failure.code == "wrong_protocol"
