"""Samples and milliseconds."""

from hypothesis import given
from hypothesis import strategies as st

from server.audio import (
    ACCEPTED_RATES_HZ,
    AudioFormat,
    Encoding,
    Span,
    ms_from_samples,
    samples_from_ms,
)


@given(st.integers(0, 10**9), st.sampled_from([8_000, 16_000, 24_000, 48_000]))
def test_milliseconds_survive_the_way_there_and_back(duration_ms, rate_hz):
    assert ms_from_samples(samples_from_ms(duration_ms, rate_hz), rate_hz) == duration_ms


def test_positions_are_16_khz_samples_unless_said_otherwise():
    assert (samples_from_ms(1000), ms_from_samples(16_000)) == (16_000, 1000)


def test_a_span_does_not_hold_its_end():
    assert Span(5, 8).length_samples == 3


def test_a_sample_of_pcm16_is_two_bytes():
    assert AudioFormat(Encoding.PCM_S16LE, ACCEPTED_RATES_HZ[0]).sample_bytes == 2
