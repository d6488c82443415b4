"""What is sent, kept, forgotten and sent again."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.outgoing import (
    MAX_AUDIO_FRAME_BYTES,
    MAX_KEPT_BYTES,
    MAX_UNSENT_BYTES,
    CountError,
    Outgoing,
)
from server import wire

FLUSH, KEEP_ALIVE, STOP = wire.Flush(), wire.KeepAlive(), wire.Stop()


def kept(pcm=b"", *marks):
    outgoing = Outgoing()
    outgoing.is_kept = True
    outgoing.add_audio(pcm)
    for mark in marks:
        outgoing.add(mark)
    return outgoing


def take_all(outgoing):
    frames = list(iter(outgoing.take_frame, None))
    return [wire.decode_client_message(f) if isinstance(f, str) else f for f in frames]


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_audio_cut_anywhere_is_the_same_whole_samples(pcm, cuts, is_kept):
    edges = [0, *sorted(min(cut, len(pcm)) for cut in cuts), len(pcm)]
    outgoing = Outgoing()
    outgoing.is_kept = is_kept
    frames = []
    for start, end in pairwise(edges):
        outgoing.add_audio(pcm[start:end])
        frames += take_all(outgoing)
    assert b"".join(frames) == pcm[: len(pcm) // 2 * 2]
    assert all(frame and len(frame) % 2 == 0 for frame in frames)


def test_long_audio_goes_out_in_several_frames():
    pcm = bytes(range(256)) * 200
    frames = take_all(kept(pcm))
    assert b"".join(frames) == pcm
    assert max(len(frame) for frame in frames) == MAX_AUDIO_FRAME_BYTES


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_audio_may_be_any_kind_of_bytes(kind):
    assert take_all(kept(kind(b"\x01\x02\x03\x04"))) == [b"\x01\x02\x03\x04"]


def test_what_is_said_stands_at_its_place_in_the_audio():
    outgoing = kept(b"abc", FLUSH)
    outgoing.add_audio(b"def")
    outgoing.add(STOP)
    assert take_all(outgoing) == [b"ab", FLUSH, b"cdef", STOP]


@pytest.mark.parametrize("to_bytes", range(7))
def test_audio_is_sent_again_from_exactly_the_byte_that_is_asked_for(to_bytes):
    outgoing = kept(b"abcdef")
    take_all(outgoing)
    outgoing.go_back(to_bytes)
    assert b"".join(take_all(outgoing)) == b"abcdef"[to_bytes:]
    assert outgoing.acknowledged_bytes == to_bytes


def test_a_flush_is_said_again_unless_the_audio_behind_it_has_arrived():
    for to_bytes, again in ((2, [FLUSH, b"cd", FLUSH]), (3, [b"d", FLUSH]), (4, [FLUSH])):
        outgoing = kept(b"ab", FLUSH)
        outgoing.add_audio(b"cd")
        outgoing.add(FLUSH)
        take_all(outgoing)
        outgoing.go_back(to_bytes)
        assert take_all(outgoing) == again


def test_a_stop_is_said_again_each_time_and_a_sign_of_life_never():
    outgoing = kept(b"ab", KEEP_ALIVE, STOP)
    for _ in range(3):
        assert take_all(outgoing)[-1] == STOP
        outgoing.acknowledge(2)
        outgoing.go_back(2)
    assert take_all(outgoing) == [STOP]


def test_a_sign_of_life_that_was_not_sent_is_not_sent_late():
    outgoing = kept(b"ab", KEEP_ALIVE)
    outgoing.go_back(0)
    assert take_all(outgoing) == [b"ab"]


def test_a_token_is_shown_again_until_it_is_answered():
    outgoing = kept(b"ab", wire.Refresh("first"))
    take_all(outgoing)
    outgoing.add_audio(b"cd")
    take_all(outgoing)
    outgoing.go_back(4)
    assert take_all(outgoing) == [wire.Refresh("first")]
    outgoing.answer_refresh()
    outgoing.go_back(4)
    assert take_all(outgoing) == []


def test_of_several_tokens_the_newest_is_shown():
    outgoing = kept(b"", wire.Refresh("first"))
    take_all(outgoing)
    outgoing.add(wire.Refresh("second"))
    outgoing.add(wire.Refresh("third"))
    outgoing.go_back(0)
    assert take_all(outgoing) == [wire.Refresh("third")]


def test_what_is_acknowledged_is_forgotten():
    outgoing = kept(bytes(1000), FLUSH)
    outgoing.add_audio(bytes(1000))
    take_all(outgoing)
    assert outgoing.is_unacknowledged
    outgoing.acknowledge(1500)
    assert outgoing.kept_bytes == 500
    outgoing.acknowledge(1200)
    assert outgoing.kept_bytes == 500
    outgoing.acknowledge(2000)
    assert outgoing.kept_bytes == 0
    assert not outgoing.is_unacknowledged


def test_for_a_server_that_keeps_no_session_nothing_is_kept():
    outgoing = Outgoing()
    outgoing.add_audio(bytes(100))
    for mark in (FLUSH, KEEP_ALIVE, wire.Refresh("a"), STOP):
        outgoing.add(mark)
    assert len(take_all(outgoing)) == 5
    assert outgoing.kept_bytes == 0
    assert not outgoing.is_unacknowledged


@pytest.mark.parametrize("n_bytes", [5, 1 << 53])
def test_the_server_cannot_have_more_than_was_sent(n_bytes):
    outgoing = kept(b"abcd")
    take_all(outgoing)
    outgoing.add_audio(b"ef")
    for count in (outgoing.acknowledge, outgoing.go_back):
        with pytest.raises(CountError):
            count(n_bytes)


def test_the_server_cannot_want_what_it_has():
    outgoing = kept(b"abcd")
    take_all(outgoing)
    outgoing.acknowledge(4)
    with pytest.raises(CountError):
        outgoing.go_back(2)


def test_a_count_of_the_connection_before_may_come_after_it_went_back():
    outgoing = kept(b"abcdef")
    take_all(outgoing)
    outgoing.go_back(2)
    outgoing.acknowledge(4)
    assert take_all(outgoing) == [b"ef"]


def test_there_is_room_for_so_much_and_no_more():
    outgoing = kept(bytes(MAX_KEPT_BYTES - 10))
    assert outgoing.has_room(10)
    assert not outgoing.has_room(11)
    outgoing.is_kept = False
    assert not outgoing.has_room(0)
    take_all(outgoing)
    assert outgoing.has_room(MAX_UNSENT_BYTES)


def test_what_is_said_without_audio_takes_no_more_room_however_often():
    outgoing = kept(b"ab")
    for _ in range(1000):
        outgoing.add(FLUSH)
        outgoing.add(KEEP_ALIVE)
        outgoing.add(wire.Refresh("a"))
        take_all(outgoing)
    assert outgoing.kept_bytes < 2000
    for at in range(MAX_KEPT_BYTES):
        if not outgoing.has_room(256):
            break
        outgoing.add_audio(b"ab")
        outgoing.add(FLUSH)
        assert at < 50_000
