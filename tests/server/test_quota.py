"""Budgets of one connection."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from server import errors
from server.audio import AudioFormat, Encoding
from server.quota import Quota
from tests.fakes import GRANT

FORMAT = AudioFormat(Encoding.PCM_S16LE, 16_000)


def test_no_limit_refuses_nothing():
    quota = Quota(GRANT)
    assert quota.receive_frame(10**12, FORMAT) is None


def test_the_last_byte_is_allowed_and_the_next_is_not():
    quota = Quota(replace(GRANT, bytes=100))
    assert quota.receive_frame(100, FORMAT) is None
    assert quota.receive_frame(1, FORMAT) is errors.QUOTA_BYTES


def test_audio_time_is_counted_from_bytes_and_rate():
    quota = Quota(replace(GRANT, audio_ms=1000))
    assert quota.receive_frame(32_000, FORMAT) is None
    assert quota.receive_frame(2, FORMAT) is errors.QUOTA_AUDIO


@given(
    st.integers(0, 5000),
    st.integers(0, 200),
    st.lists(st.integers(0, 2000), max_size=20),
    st.sampled_from([8_000, 44_100, 48_000]),
)
def test_nothing_is_ever_spent_beyond_a_limit(n_bytes, audio_ms, frames, rate_hz):
    quota = Quota(replace(GRANT, bytes=n_bytes, audio_ms=audio_ms))
    audio_format = AudioFormat(Encoding.PCM_S16LE, rate_hz)
    spent = 0
    for frame in frames:
        fits = spent + frame <= n_bytes and (spent + frame) * 1000 <= audio_ms * rate_hz * 2
        assert (quota.receive_frame(frame, audio_format) is None) == fits
        spent += frame if fits else 0
        assert quota.spent_bytes == spent
