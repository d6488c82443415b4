"""Budgets of one connection."""

import random

from hypothesis import given
from hypothesis import strategies as st

from security.limits import Limits
from server import errors
from server.audio import AudioFormat, Encoding
from server.quota import RESERVED_MS, Quota

FORMAT = AudioFormat(Encoding.PCM_S16LE, 16_000)


def quota_of(rate_hz=16_000, **limits):
    return Quota(Limits(**limits), AudioFormat(Encoding.PCM_S16LE, rate_hz))


def test_no_limit_refuses_nothing():
    quota = quota_of()
    assert quota.receive_frame(10**12) is None
    assert (quota.bytes_left, quota.audio_ms_left, quota.unspent_ms) == (None, None, 0)
    assert not quota.take_notice()


def test_the_last_byte_is_allowed_and_the_next_is_not():
    quota = quota_of(session_bytes=100)
    assert quota.receive_frame(100) is None
    assert quota.receive_frame(1) is errors.QUOTA_BYTES
    assert quota.bytes_left == 0


def test_audio_time_is_counted_from_bytes_and_rate():
    quota = quota_of(session_audio_s=1)
    assert quota.receive_frame(32_000) is None
    assert quota.receive_frame(2) is errors.QUOTA_AUDIO
    assert quota.audio_ms_left == 0


def test_of_two_budgets_the_tighter_is_named():
    assert quota_of(session_bytes=10, session_audio_s=1).receive_frame(40_000) is errors.QUOTA_BYTES
    tighter = quota_of(session_bytes=33_000, session_audio_s=1)
    assert tighter.receive_frame(40_000) is errors.QUOTA_AUDIO


def test_a_notice_is_due_at_each_mark_once():
    quota = quota_of(session_bytes=100)
    due = []
    for _ in range(100):
        quota.receive_frame(1)
        due.append(quota.take_notice())
    assert [index + 1 for index, is_due in enumerate(due) if is_due] == [80, 95]


def test_a_frame_that_passes_both_marks_is_one_notice():
    quota = quota_of(session_bytes=100)
    quota.receive_frame(96)
    assert [quota.take_notice(), quota.take_notice()] == [True, False]


def test_one_wish_at_a_time_and_none_after_the_last_of_the_day():
    quota = quota_of(audio_s_per_day=60)
    assert quota.take_wish_ms() == RESERVED_MS
    assert quota.take_wish_ms() == 0
    quota.receive_reserved(RESERVED_MS, RESERVED_MS - 1)
    quota.receive_frame(8 * 32_000)
    assert quota.take_wish_ms() == 0


@given(
    st.integers(0, 5000) | st.none(),
    st.integers(0, 3) | st.none(),
    st.lists(st.integers(0, 2000), max_size=200),
    st.sampled_from([8_000, 44_100, 48_000]),
)
def test_nothing_is_ever_spent_beyond_a_limit(n_bytes, audio_s, frames, rate_hz):
    quota = quota_of(rate_hz, session_bytes=n_bytes, session_audio_s=audio_s)
    spent = 0
    for frame in frames:
        fits = (n_bytes is None or spent + frame <= n_bytes) and (
            audio_s is None or spent + frame <= audio_s * rate_hz * 2
        )
        assert (quota.receive_frame(frame) is None) == fits
        spent += frame if fits else 0
        assert quota.spent_bytes == spent


def test_of_a_day_that_is_over_what_was_reserved_is_spent_to_the_last_byte():
    quota = Quota(Limits(audio_s_per_day=5), FORMAT)
    quota.receive_reserved(quota.take_wish_ms(), 1000)
    assert quota.receive_frame(32_000) is None
    assert quota.receive_frame(2) is errors.QUOTA_DAILY


def test_what_went_over_a_reservation_is_in_the_next():
    quota = Quota(Limits(audio_s_per_day=500), FORMAT)
    quota.receive_reserved(quota.take_wish_ms(), 10_000)
    assert quota.receive_frame(20 * 32_000) is None
    assert quota.take_wish_ms() == 20_000


class Oracle:
    """The same in fractions of seconds, with nothing remembered but what was spent."""

    def __init__(self, limits, rate_hz):
        self.limits, self.bytes_per_s = limits, rate_hz * 2
        self.spent = 0
        self.reserved_ms, self.is_over = 0, False

    def allows(self, n_bytes):
        total = self.spent + n_bytes
        audio_s = self.limits.session_audio_s
        fits_bytes = self.limits.session_bytes is None or total <= self.limits.session_bytes
        fits_audio = audio_s is None or total <= audio_s * self.bytes_per_s
        fits_day = not self.is_over or total * 1000 <= self.reserved_ms * self.bytes_per_s
        return fits_bytes and fits_audio and fits_day


def one_schedule(chance):
    """Frames of all sizes, and a store that answers sooner or later; says what was overspent."""
    rate_hz = chance.choice([8_000, 16_000, 48_000])
    limits = Limits(
        session_bytes=chance.choice([None, chance.randrange(2_000_000)]),
        session_audio_s=chance.choice([None, chance.randrange(40)]),
        audio_s_per_day=chance.choice([None, chance.randrange(40)]),
    )
    quota, oracle = Quota(limits, AudioFormat(Encoding.PCM_S16LE, rate_hz)), Oracle(limits, rate_hz)
    day_ms, wished_ms, longest = (limits.audio_s_per_day or 0) * 1000, 0, 0
    for _ in range(chance.randrange(1, 60)):
        if quota.wants_audio:  # if not, nobody reads
            n_bytes = chance.choice([0, 1, 2, 640, 3200, 64_000, 262_144])
            assert (quota.receive_frame(n_bytes) is None) == oracle.allows(n_bytes)
            if oracle.allows(n_bytes):
                oracle.spent += n_bytes
                longest = max(longest, n_bytes)
            assert quota.spent_bytes == oracle.spent
        if quota.has_news:
            quota.take_notice()
            wished_ms = quota.take_wish_ms() or wished_ms
        if wished_ms and (not quota.wants_audio or chance.random() < 0.5):
            got_ms = min(wished_ms, day_ms)
            quota.receive_reserved(wished_ms, got_ms)
            oracle.reserved_ms += got_ms
            oracle.is_over = got_ms < wished_ms
            day_ms, wished_ms = day_ms - got_ms, 0
    if limits.audio_s_per_day is not None:
        most = limits.audio_s_per_day * oracle.bytes_per_s
        assert quota.spent_bytes <= most + longest
        left_ms = day_ms + quota.unspent_ms
        assert quota.spent_bytes > most or left_ms >= 0


def test_ten_thousand_schedules_agree_with_an_oracle():
    chance = random.Random(6)  # noqa: S311 (the same every time)
    for _ in range(10_000):
        one_schedule(chance)
