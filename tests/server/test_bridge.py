"""A call that a session hears: audio to its place, events into the call's time."""

from dataclasses import replace

import pytest

from server import errors
from server.audio import AudioFormat, Encoding
from server.bridge_values import BridgeLimits
from server.dialects.values import (
    Audio,
    Ended,
    Flush,
    LanguageChanged,
    Opening,
    Reply,
    Said,
)
from server.wire import Partial, Quota, SpeechEnded, SpeechStarted
from tests.server.bridged import (
    BOTH,
    FRAME,
    OPENING,
    READY,
    Bridged,
    FakeDialect,
    final,
    opened,
)


def spoken(bridged, number, channel=0, at_ms=None, count=1):
    """Frames of 20 ms as they are spoken."""
    for index in range(count):
        at = None if at_ms is None else at_ms + index * 20
        bridged.move(0.02).hear(Audio(FRAME, channel, number and number + index, at))
    return bridged


def test_audio_goes_to_the_session_of_its_channel():
    bridged = opened(BOTH).hear(Audio(FRAME, 0), Audio(FRAME[:80], 1))
    assert bridged.audio == [(0, FRAME), (1, FRAME[:80])]


def test_interleaved_audio_goes_to_the_session_for_all_channels():
    assert opened(BOTH).hear(Audio(FRAME)).audio == [(None, FRAME)]


def test_audio_that_overtook_other_goes_on_in_order():
    bridged = opened()
    for number in (1, 3, 2):
        bridged.hear(Audio(bytes([number]) * 160, 0, number))
    assert [frame[0] for _, frame in bridged.audio] == [1, 2, 3]


def test_audio_that_waits_for_other_goes_on_after_a_while():
    bridged = opened().hear(Audio(FRAME, 0, 1)).hear(Audio(FRAME, 0, 3))
    assert len(bridged.audio) == 1
    bridged.move(0.1)
    assert len(bridged.audio) == 2
    assert bridged.bridge.losses.lost_frames == 1


def test_a_pause_without_frames_flushes_the_channel_that_had_spoken():
    bridged = spoken(opened(BOTH), None, channel=1).move(0.5)
    assert bridged.texts[1:] == [{"type": "flush", "channel": 1}]


def test_a_pause_of_interleaved_tracks_flushes_them_all():
    bridged = spoken(opened(BOTH), None, channel=None).move(0.5)
    assert bridged.texts[1:] == [{"type": "flush"}]


def test_a_flush_of_the_wire_is_one_of_every_channel():
    assert opened(BOTH).hear(Flush()).texts[1:] == [{"type": "flush"}]


def test_a_language_that_is_known_is_changed_to():
    bridged = opened().hear(LanguageChanged("de"))
    assert bridged.texts[1:] == [{"type": "change_language", "language": "de"}]


def test_a_language_that_is_not_known_ends_what_is_being_said_and_nothing_else():
    bridged = opened().hear(LanguageChanged("fr"))
    assert bridged.texts[1:] == [{"type": "flush"}]
    assert bridged.bridge.is_open


@pytest.mark.parametrize(("language", "told"), [(None, "change_language"), ("de", "flush")])
def test_no_language_is_one_to_be_found_out_only_where_the_call_began_so(language, told):
    bridged = opened(replace(OPENING, language=language)).hear(LanguageChanged(None))
    assert bridged.types[1:] == [told]


def test_a_session_without_audio_is_told_every_ten_seconds_that_its_call_goes_on():
    bridged = opened().move(9.9)
    assert bridged.types == ["start"]
    bridged.move(20.2)
    assert bridged.types == ["start", "keep_alive", "keep_alive", "keep_alive"]


def test_audio_says_that_the_call_goes_on():
    bridged = opened().move(9).hear(Audio(FRAME, 0)).move(9)
    assert "keep_alive" not in bridged.types


def test_a_wire_without_a_frame_for_an_hour_ends_with_its_last_words():
    bridged = opened().move(3599)
    assert bridged.bridge.is_open
    bridged.move(1)
    assert bridged.ends == [errors.IDLE]
    assert bridged.session_end().ended == [Ended(errors.IDLE)]


def test_any_frame_keeps_a_wire_from_being_idle():
    assert opened().move(200).frame().move(200).bridge.is_open


def test_audio_that_the_session_cannot_take_is_counted_and_let_go():
    bridged = opened()
    bridged.bridge.is_behind = True
    spoken(bridged, 1, at_ms=0, count=50)
    assert bridged.audio == []
    assert bridged.bridge.losses.dropped_ms == 1000
    bridged.bridge.is_behind = False
    spoken(bridged, 51, at_ms=1000)
    assert bridged.audio[-1] == (0, FRAME)


def test_a_session_that_is_behind_is_told_that_its_call_goes_on():
    bridged = opened()
    bridged.bridge.is_behind = True
    spoken(bridged, None, count=510)
    assert "keep_alive" in bridged.types


@pytest.mark.parametrize("is_behind", [False, True])
@pytest.mark.parametrize("channels", [(0, None), (None, 1)])
def test_tracks_that_come_apart_and_interleaved_on_one_wire_are_refused(channels, is_behind):
    bridged = opened(BOTH).hear(Audio(FRAME, channels[0]))
    bridged.bridge.is_behind = is_behind
    bridged.hear(Audio(FRAME, channels[1]))
    assert bridged.ends == [errors.BAD_MESSAGE]
    assert bridged.session_end().ended == [Ended(errors.BAD_MESSAGE)]


def test_events_are_told_to_the_call_and_to_the_wire():
    dialect = FakeDialect()
    dialect.answers[Said] = ["words"]
    bridged = opened(dialect=dialect)
    events = [
        SpeechStarted(0, 0),
        Partial(0, 1, 0, 10, "", "hel"),
        SpeechEnded(0, 20),
        final(0, 20),
    ]
    for event in events:
        bridged.event(event)
    assert bridged.said == [Said(0, event) for event in events]
    assert bridged.sent == ["words"] * 4


def test_events_of_another_kind_are_nobodys():
    assert len(opened().event(Quota(1, 1)).actions) == len(opened().actions)


def test_events_are_in_the_time_of_the_call_for_each_channel():
    bridged = spoken(opened(BOTH), 1, channel=0, at_ms=0, count=10)
    spoken(bridged, 1, channel=1, at_ms=5000, count=10)
    bridged.event(final(100, 150, channel=0)).event(final(100, 150, channel=1))
    first, second = (said.event for said in bridged.said)
    assert (first.start_ms, first.end_ms) == (100, 150)
    assert (second.start_ms, second.end_ms) == (5100, 5150)
    assert (second.words[0].start_ms, second.words[0].end_ms) == (5100, 5150)


def test_a_gap_in_the_stream_is_one_in_the_times_of_events():
    bridged = spoken(opened(), 1, at_ms=0, count=10)
    bridged.move(9.8)
    spoken(bridged, 11, at_ms=10_000, count=10)
    heard_ms = sum(len(frame) for _, frame in bridged.audio) // 8
    bridged.event(SpeechStarted(0, heard_ms - 200)).event(SpeechEnded(0, heard_ms))
    assert bridged.said[0].event.start_ms == 10_000
    assert bridged.said[1].event.end_ms == 10_200


def test_events_before_any_audio_keep_their_times():
    assert opened().event(final(1, 2)).said == [Said(0, final(1, 2))]


def test_a_reply_goes_before_what_is_told_later():
    assert opened().hear(Reply("pong")).sent == ["pong"]


def test_a_second_opening_changes_nothing():
    bridged = opened()
    n_actions = len(bridged.actions)
    assert len(bridged.hear(BOTH).actions) == n_actions


def test_limits_are_those_of_the_settings():
    bridged = Bridged(limits=BridgeLimits(opening_frames=1)).frame().frame()
    assert bridged.refusal == errors.UNAUTHENTICATED


def test_a_sample_of_which_a_part_was_let_go_is_let_go_whole():
    opening = Opening(("inbound",), AudioFormat(Encoding.PCM_S16LE, 8000))
    bridged = Bridged().hear(opening).admit().event(READY)
    bridged.bridge.is_behind = True
    bridged.hear(Audio(b"\x01" * 161, 0))
    bridged.bridge.is_behind = False
    bridged.hear(Audio(b"\x01" + b"\x02\x03" * 80, 0))
    assert bridged.audio == [(0, b"\x02\x03" * 80)]
