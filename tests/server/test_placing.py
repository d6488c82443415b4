"""Where a track's frames lie in time."""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio import AudioFormat, Encoding
from server.decode import Decoder
from server.dialects.values import Audio
from server.placing import Cut, Placed, Placing, PlacingSettings, Sound

MULAW = AudioFormat(Encoding.MULAW, 8_000)
ALAW = AudioFormat(Encoding.ALAW, 8_000)
PCM = AudioFormat(Encoding.PCM_S16LE, 16_000)
FRAME_MS = 20
WORD = b"\x11" * 160
"""20 ms of mu-law that is not silent."""


BEGUN_S = 100.0
LOUDEST_SILENCE = 0.001
"""Of full scale: A-law has no nearer to zero."""


def placing_of(audio_format=MULAW, n_channels=1):
    return Placing(audio_format, n_channels, PlacingSettings(), BEGUN_S)


@dataclass
class Heard:
    """A placing on a clock, and what it gave out."""

    placing: Placing = field(default_factory=placing_of)
    now_s: float = BEGUN_S
    placed: list[Placed] = field(default_factory=list)

    def frame(self, payload=WORD, *, number=None, at_ms=None, after_s=0.0) -> list[Placed]:
        """One that comes so much later than the one before."""
        self.wait(after_s)
        taken = self.placing.receive(Audio(payload, None, number, at_ms), self.now_s)
        self.placed += taken
        return taken

    def wait(self, duration_s: float) -> None:
        """As a shell does: it ticks when asked to."""
        until_s = self.now_s + duration_s
        while (deadline_s := self.placing.next_deadline_s) is not None and deadline_s <= until_s:
            self.placed += self.placing.tick(deadline_s)
        self.now_s = until_s

    def stamped(self, *stamps_ms: int, number: int | None = None) -> None:
        for index, at_ms in enumerate(stamps_ms):
            self.frame(number=None if number is None else number + index, at_ms=at_ms, after_s=0.02)

    @property
    def audio(self) -> bytes:
        return b"".join(one.payload for one in self.placed if isinstance(one, Sound))

    @property
    def cuts(self) -> int:
        return self.placed.count(Cut())


# --- order ---


def test_frames_in_order_pass_at_once():
    heard = Heard()
    for number in range(1, 4):
        assert [type(one) for one in heard.frame(number=number, at_ms=number * 20)] == [Sound]


def test_a_late_frame_and_a_duplicate_are_dropped_and_counted():
    heard = Heard()
    for number in (1, 2, 2, 4, 5, 6, 7, 8, 9, 3):
        heard.frame(bytes([number]) * 160, number=number, at_ms=number * FRAME_MS)
    assert heard.audio.replace(b"\xff", b"") == b"".join(
        bytes([number]) * 160 for number in (1, 2, 4, 5, 6, 7, 8, 9)
    )
    assert (heard.placing.n_lost, heard.placing.n_late, heard.placing.n_duplicate) == (1, 1, 1)


def test_the_place_of_a_lost_frame_is_kept():
    heard = Heard()
    for number in (1, 2, 4, 5, 6, 7, 8, 9):
        heard.frame(number=number, at_ms=number * FRAME_MS)
    assert len(heard.audio) == pytest.approx(9 * 160, abs=160)


def test_what_is_held_comes_out_when_the_window_is_over_and_at_the_end():
    heard = Heard()
    heard.frame(number=1)
    heard.frame(number=3)
    heard.wait(0.11)
    assert len(heard.audio) == 2 * 160
    heard.frame(number=5)
    heard.placed += heard.placing.end()
    assert len(heard.audio) == 3 * 160
    assert heard.placing.next_deadline_s is None


# --- stamps ---


def test_stamps_that_are_rounded_or_jitter_insert_and_drop_nothing():
    heard = Heard()
    heard.stamped(5, 24, 45, 69, 85, 95, 125, 155, 165, 180)
    assert heard.audio == WORD * 10
    assert heard.cuts == heard.placing.gap_ms == 0


def test_a_short_gap_is_filled_with_silence_so_that_a_pause_is_heard():
    heard = Heard()
    heard.stamped(0, 20, 140)
    assert heard.audio == WORD * 2 + b"\xff" * 800 + WORD
    assert heard.cuts == 0
    assert heard.placing.gap_ms == 100


@pytest.mark.parametrize("encoding", Encoding)
def test_every_encoding_has_a_silence_that_is_heard_as_one(encoding):
    audio_format = AudioFormat(encoding, 8_000)
    heard = Heard(placing_of(audio_format))
    frame = bytes(160 * audio_format.sample_bytes)
    heard.frame(frame, at_ms=0)
    heard.frame(frame, at_ms=120)
    filled = heard.audio[len(frame) : -len(frame)]
    assert len(filled) == 800 * audio_format.sample_bytes
    assert np.abs(Decoder(audio_format).decode(filled)).max() < LOUDEST_SILENCE


def test_each_encoding_and_channel_has_its_own_silence():
    for audio_format, silence in ((MULAW, b"\xff\xff"), (ALAW, b"\xd5\xd5"), (PCM, bytes(4))):
        heard = Heard(placing_of(audio_format, 2))
        frame = b"\x11" * (audio_format.sample_rate_hz // 50 * audio_format.sample_bytes * 2)
        heard.frame(frame, at_ms=0)
        heard.frame(frame, at_ms=120)
        filled = silence * (audio_format.sample_rate_hz // 10)
        assert heard.audio == frame + filled + frame


def test_a_longer_gap_cuts_what_is_said_and_the_map_jumps():
    heard = Heard()
    heard.stamped(0, 20, 10_040)
    assert heard.cuts == 1
    assert heard.audio == WORD * 2 + b"\xff" * 4800 + WORD  # 600 ms of the gap's 10 s
    assert heard.placing.call_ms(20) == 20
    assert heard.placing.call_ms(40, is_end=True) == 40
    assert heard.placing.call_ms(40) == 9440
    assert heard.placing.call_ms(640) == 10_040
    assert heard.placing.gap_ms == 10_000


def test_a_gap_little_longer_than_what_is_filled_is_silence_and_a_cut():
    heard = Heard()
    heard.stamped(0, 20, 340)
    assert heard.cuts == 1
    assert heard.audio == WORD * 2 + b"\xff" * 2400 + WORD
    assert heard.placing.call_ms(340) == 340


def test_a_track_that_begins_later_than_the_stream_has_its_place_in_it():
    heard = Heard()
    heard.stamped(12_000, 12_020)
    assert heard.audio == WORD * 2
    assert heard.cuts == heard.placing.gap_ms == 0
    assert heard.placing.call_ms(0) == 12_000
    assert heard.placing.call_ms(20) == 12_020


def test_two_tracks_end_at_different_times_and_each_keeps_its_own():
    caller, agent = Heard(), Heard()
    caller.stamped(*range(0, 200, 20))
    agent.stamped(*range(0, 100, 20), *range(5_000, 5_100, 20))
    assert caller.placing.call_ms(200, is_end=True) == 200
    assert agent.placing.call_ms(len(agent.audio) // 8, is_end=True) == 5_100


def test_a_burst_after_a_stall_is_placed_by_its_stamps():
    heard = Heard()
    heard.stamped(0, 20)
    heard.wait(3.0)
    assert heard.cuts == 1  # the clock ended what was said
    for at_ms in range(40, 3_040, 20):
        heard.frame(at_ms=at_ms)
    assert heard.audio == WORD * 152
    assert heard.cuts == 1
    assert heard.placing.call_ms(3_000) == 3_000


def test_a_stamp_that_lies_a_little_back_costs_no_audio():
    heard = Heard()
    heard.stamped(0, 20, 40, 20, 30, 40)
    assert heard.audio == WORD * 6


def test_stamps_that_begin_again_go_on_where_the_clock_is():
    heard = Heard()
    heard.stamped(*range(0, 2_000, 20))
    heard.frame(at_ms=0, after_s=5.0)
    heard.stamped(20, 40, 160)
    assert heard.cuts == 1
    assert heard.placing.call_ms(len(heard.audio) // 8, is_end=True) == 2_000 + 4_980 + 180
    assert heard.audio.endswith(WORD * 3 + b"\xff" * 800 + WORD)


def test_numbers_that_begin_again_are_a_new_run_and_nothing_of_it_is_late():
    heard = Heard()
    heard.stamped(*range(0, 2_000, 20), number=1)
    heard.stamped(*range(0, 100, 20), number=1)
    assert heard.audio == WORD * 105
    assert heard.placing.n_late == heard.placing.n_duplicate == 0


def test_a_map_of_very_many_jumps_forgets_the_oldest():
    heard = Heard()
    heard.stamped(*range(0, 5_000_000, 1_000))
    end_ms = len(heard.audio) // 8
    assert heard.placing.call_ms(end_ms, is_end=True) == 4_999_020
    assert heard.placing.call_ms(0) >= 0


# --- the clock ---


def test_without_stamps_what_comes_a_little_late_is_contiguous():
    heard = Heard()
    for after_s in (0.02, 0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.02, 0.19):
        heard.frame(after_s=after_s)
    assert heard.audio == WORD * 10
    assert heard.cuts == 0
    assert heard.placing.call_ms(200, is_end=True) == 200


def test_without_stamps_a_short_stop_moves_the_map_alone():
    heard = Heard()
    heard.frame()
    heard.frame(after_s=0.32)
    assert heard.audio == WORD * 2
    assert heard.cuts == 0
    assert heard.placing.call_ms(20) == 320
    assert heard.placing.gap_ms == 300


def test_without_stamps_a_long_stop_cuts_and_the_map_jumps():
    heard = Heard()
    heard.frame()
    heard.frame(after_s=5.02)
    assert heard.cuts == 1
    assert heard.audio == WORD + b"\xff" * 4800 + WORD
    assert heard.placing.call_ms(620) == 5_020


def test_without_stamps_a_burst_after_a_stall_is_contiguous_after_all():
    heard = Heard()
    heard.frame()
    heard.frame(after_s=3.02)
    assert heard.placing.call_ms(620) == 3_020
    for _ in range(150):
        heard.frame()
    heard.frame(after_s=0.02)
    end_ms = len(heard.audio) // 8
    assert heard.placing.call_ms(end_ms, is_end=True) == 153 * 20
    assert [heard.placing.call_ms(ms) for ms in (19, 20, 600, 620)] == [19, 20, 20, 20]
    assert heard.placing.gap_ms == 0


def test_a_peer_that_is_faster_than_time_is_contiguous():
    heard = Heard()
    for _ in range(500):
        heard.frame(after_s=0.001)
    assert heard.audio == WORD * 500
    assert heard.placing.call_ms(9_999) == 9_999


def test_no_frame_for_a_while_ends_what_is_said_once():
    heard = Heard()
    assert heard.placing.next_deadline_s is None
    heard.frame()
    assert heard.placing.next_deadline_s == pytest.approx(100.4)
    assert heard.placing.tick(100.39) == []
    heard.wait(10.0)
    assert heard.placed == [heard.placed[0], Cut()]
    assert heard.placing.next_deadline_s is None


def test_long_frames_that_come_seldom_do_not_end_what_is_said():
    heard = Heard()
    for _ in range(3):
        heard.frame(WORD * 50, after_s=1.0)
    heard.wait(1.9)
    assert heard.cuts == 0
    heard.wait(0.2)
    assert heard.cuts == 1


def test_a_cut_by_the_clock_is_not_cut_again_when_a_stamp_shows_the_gap():
    heard = Heard()
    heard.frame(at_ms=0)
    heard.frame(at_ms=5_000, after_s=5.0)
    assert heard.cuts == 1
    assert heard.placing.call_ms(620) == 5_000


def test_frames_without_sound_in_them_keep_nobody_speaking():
    heard = Heard()
    heard.frame()
    for _ in range(30):
        heard.frame(b"", after_s=0.02)
    assert heard.cuts == 1


# --- bytes ---


def test_a_sample_that_is_cut_in_two_is_put_together_across_silence():
    heard = Heard(placing_of(PCM, 2))
    heard.frame(b"abcd" * 320 + b"abc", at_ms=0)
    heard.frame(b"d" + b"abcd" * 320, at_ms=120)
    assert heard.audio == b"abcd" * 320 + bytes(4 * 1600) + b"abcd" * 321


@given(
    content=st.binary(max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=20),
    n_channels=st.integers(1, 3),
)
def test_bytes_cut_anywhere_come_out_in_whole_samples(content, cuts, n_channels):
    heard = Heard(placing_of(PCM, n_channels))
    bounds = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    for start, end in pairwise(bounds):
        heard.frame(content[start:end])
    step_bytes = 2 * n_channels
    assert heard.audio == content[: len(content) // step_bytes * step_bytes]
    assert all(len(one.payload) % step_bytes == 0 for one in heard.placed)


@pytest.mark.parametrize(("stalled_s", "burst_s"), [(2, 0.1), (5, 0.3), (5, 1.0), (20, 2.0)])
def test_without_stamps_a_stall_is_taken_back_however_long_its_burst_takes(stalled_s, burst_s):
    heard = Heard()
    heard.frame(after_s=0.02)
    n_held_up = round((stalled_s + burst_s) * 1000 / FRAME_MS)
    heard.wait(stalled_s)
    for _ in range(n_held_up):
        heard.frame(after_s=burst_s / n_held_up)
    for _ in range(500):
        heard.frame(after_s=0.02)
    session_ms = len(heard.audio) // 8
    told_ms = heard.placing.call_ms(session_ms, is_end=True)
    assert told_ms == pytest.approx((heard.now_s - BEGUN_S) * 1000, abs=FRAME_MS)
    assert heard.placing.gap_ms <= FRAME_MS


# --- the beginning ---


def test_who_is_silent_at_first_speaks_when_it_was():
    heard = Heard()
    heard.frame(after_s=8.0)
    assert heard.audio == WORD
    assert heard.placing.call_ms(0) == 8000 - FRAME_MS
    assert heard.placing.gap_ms == 0


def test_the_clock_of_a_stream_counts_from_its_beginning_after_that_too():
    heard = Heard()
    heard.frame(after_s=8.0)
    heard.frame(after_s=2.0)
    session_ms = len(heard.audio) // 8
    assert heard.placing.call_ms(session_ms, is_end=True) == 10_000


def test_a_moment_before_the_first_frame_is_none():
    heard = Heard()
    heard.frame(after_s=0.2)
    assert heard.placing.call_ms(0) == 0


def test_stamps_say_when_a_stream_began_whenever_they_come():
    heard = Heard()
    heard.frame(at_ms=500, after_s=8.0)
    assert heard.placing.call_ms(0) == 500


# --- always ---


@given(
    delays=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    jitter_ms=st.lists(st.integers(-10, 10), min_size=60, max_size=60),
    again=st.lists(st.integers(0, 59), max_size=20),
    is_stamped=st.booleans(),
)
def test_a_shuffle_within_the_window_gives_the_sorted_frames_once(
    delays, jitter_ms, again, is_stamped
):
    order = sorted(range(1, len(delays) + 1), key=lambda number: number + delays[number - 1])
    for at in again:
        order += order[at : at + 1]
    heard = Heard()
    for number in order:
        stamp_ms = 1_000 + number * FRAME_MS + jitter_ms[number - 1]
        heard.frame(bytes([number]) * 160, number=number, at_ms=stamp_ms if is_stamped else None)
    heard.placed += heard.placing.end()
    assert heard.audio == b"".join(bytes([number]) * 160 for number in range(1, len(delays) + 1))
    assert heard.cuts == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 1500), st.integers(-10, 10), st.floats(0, 1.0)),
        min_size=1,
        max_size=40,
    )
)
def test_payload_silence_and_jumps_add_up_to_the_streams_time(steps):
    heard, true_ms = Heard(), 500
    for pause_ms, jitter_ms, after_s in steps:
        true_ms += pause_ms
        heard.frame(at_ms=true_ms + jitter_ms, after_s=after_s)
        true_ms += FRAME_MS
        end_ms = len(heard.audio) // 8
        place_ms = heard.placing.call_ms(end_ms, is_end=True)
        assert abs(place_ms - true_ms) <= FRAME_MS + 10


@given(
    st.lists(
        st.tuples(
            st.integers(1, 70),
            st.one_of(st.none(), st.integers(0, 20_000)),
            st.floats(0, 3.0),
            st.integers(0, 400),
        ),
        max_size=60,
    )
)
def test_whatever_comes_the_map_goes_forward_and_nothing_that_is_said_is_lost(steps):
    heard = Heard()
    for number, at_ms, after_s, n_bytes in steps:
        heard.frame(b"\x11" * n_bytes, number=number, at_ms=at_ms, after_s=after_s)
        deadline_s = heard.placing.next_deadline_s
        assert deadline_s is None or deadline_s > heard.now_s
    heard.placed += heard.placing.end()
    placing, end_ms = heard.placing, len(heard.audio) // 8
    mapped = [placing.call_ms(ms) for ms in range(0, end_ms + 1, 7)]
    assert mapped == sorted(mapped)
    assert all(
        placing.call_ms(ms, is_end=True) <= placing.call_ms(ms) for ms in range(0, end_ms + 1, 7)
    )
    assert (Cut(), Cut()) not in set(pairwise(heard.placed))
