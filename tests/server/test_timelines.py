"""Audio of one connection to its channels, and the time of what was heard in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio import AudioFormat, Encoding
from server.dialects.values import Audio
from server.placing import Cut, PlacingSettings, Sound
from server.timelines import MixedError, OfChannel, Timelines
from server.wire import Partial, SpeechEnded, SpeechStarted
from tests.server.bridged import FRAME, MULAW, final

LINEAR = AudioFormat(Encoding.PCM_S16LE, 8000)


def new(n_tracks=1, audio_format=MULAW):
    return Timelines(audio_format, n_tracks, PlacingSettings(), 0.0)


def sounds(parts):
    return [
        (part.channel, each.payload)
        for part in parts
        for each in part.placed
        if isinstance(each, Sound)
    ]


@pytest.mark.parametrize(
    ("n_tracks", "channel", "heard"), [(1, None, 0), (1, 0, 0), (2, 1, 1), (2, None, None)]
)
def test_audio_is_of_the_channel_that_it_came_for(n_tracks, channel, heard):
    placed = new(n_tracks).receive(Audio(FRAME, channel), 0.0)
    assert placed.channel == heard
    assert sounds([placed]) == [(heard, FRAME)]


@pytest.mark.parametrize("channels", [(None, 0), (0, None), (1, None)])
def test_audio_apart_and_interleaved_is_refused_whether_it_is_heard_or_not(channels):
    first, second = (Audio(FRAME, channel) for channel in channels)
    timelines = new(2)
    timelines.receive(first, 0.0)
    with pytest.raises(MixedError):
        timelines.receive(second, 0.0)
    with pytest.raises(MixedError):
        timelines.drop(second)


def test_one_track_comes_with_its_number_or_without():
    timelines = new()
    timelines.receive(Audio(FRAME, 0), 0.0)
    assert sounds([timelines.receive(Audio(FRAME), 0.02)]) == [(0, FRAME)]


def test_each_track_has_a_time_of_its_own():
    timelines = new(2)
    timelines.receive(Audio(FRAME, 0, 1, 0), 0.0)
    timelines.receive(Audio(FRAME, 1, 1, 3000), 3.0)
    starts = [timelines.in_call_time(SpeechStarted(0, 5, channel=channel)) for channel in (0, 1)]
    assert [start.start_ms for start in starts] == [5, 3005]


def test_interleaved_tracks_have_one_time():
    timelines = new(2)
    timelines.receive(Audio(FRAME, None, 1, 3000), 3.0)
    starts = [timelines.in_call_time(SpeechStarted(0, 5, channel=channel)) for channel in (0, 1)]
    assert [start.start_ms for start in starts] == [3005, 3005]


def test_every_time_of_an_event_is_put_into_the_calls():
    timelines = new()
    timelines.receive(Audio(FRAME, 0, 1, 1000), 1.0)
    moved = timelines.in_call_time
    assert moved(SpeechEnded(0, 20)).end_ms == 1020
    assert moved(Partial(0, 1, 5, 20, "a", "b")) == Partial(0, 1, 1005, 1020, "a", "b")
    assert moved(final(5, 20)) == final(1005, 1020)


def test_an_event_without_audio_is_as_it_was():
    assert new().in_call_time(final(5, 20)) == final(5, 20)


def test_a_pause_is_cut_in_the_channel_that_had_spoken():
    timelines = new(2)
    timelines.receive(Audio(FRAME, 1), 0.0)
    assert timelines.next_deadline_s == pytest.approx(0.4)
    assert timelines.tick(0.4) == [OfChannel([], 0), OfChannel([Cut()], 1)]
    assert timelines.next_deadline_s == float("inf")


def test_the_end_gives_what_was_held():
    timelines = new(2)
    for number in (1, 3):
        timelines.receive(Audio(FRAME, 0, number), 0.0)
    assert sounds(timelines.end()) == [(0, FRAME)]


def test_losses_are_those_of_all_tracks():
    timelines = new(2)
    for channel in (0, 1):
        for number in (1, 1, 3):
            timelines.receive(Audio(FRAME, channel, number), 0.0)
    timelines.tick(0.2)
    for channel in (0, 1):
        timelines.receive(Audio(FRAME, channel, 2), 0.2)
        timelines.drop(Audio(FRAME, channel, 4))
    losses = timelines.losses
    assert (losses.lost_frames, losses.late_frames, losses.duplicate_frames) == (2, 2, 2)
    assert losses.dropped_ms == 40


def test_what_is_let_go_before_anything_is_heard_says_how_the_tracks_come():
    timelines = new(2)
    timelines.drop(Audio(FRAME, 0))
    with pytest.raises(MixedError):
        timelines.receive(Audio(FRAME), 0.0)


@given(
    channels=st.sampled_from([1, 2]),
    cuts=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=12),
)
def test_audio_let_go_anywhere_never_shifts_what_follows(channels, cuts):
    timelines = new(channels, LINEAR)
    n_heard = 0
    step = bytes(range(1, 2 * channels + 1))
    stream = step * 200
    heard = b""
    for n_bytes, is_dropped in cuts:
        audio = Audio(stream[:n_bytes])
        stream = stream[n_bytes:]
        if is_dropped:
            timelines.drop(audio)
        else:
            n_heard += n_bytes
            heard += b"".join(part for _, part in sounds([timelines.receive(audio, 0.0)]))
    assert len(heard) <= n_heard
    for begin in range(0, len(heard), len(step)):
        # a sample whose end was let go is the only one that is put together of two
        assert heard[begin : begin + len(step)] == step
