"""Spans of a stream that is forgotten as it goes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.audio import Span
from server.buffer import SampleBuffer


@given(st.lists(st.tuples(st.integers(0, 40_000), st.integers(0, 60_000)), max_size=12))
def test_what_is_still_held_is_what_was_appended(steps):
    buffer, stream, kept_from = SampleBuffer(), np.zeros(0, np.float32), 0
    for n_appended, lag in steps:
        added = np.arange(stream.size, stream.size + n_appended, dtype=np.float32)
        buffer.append(added)
        stream = np.concatenate([stream, added])
        kept_from = max(kept_from, stream.size - lag)
        buffer.drop_before(kept_from)
        assert buffer.end_sample == stream.size
        span = Span(kept_from, stream.size)
        np.testing.assert_array_equal(buffer.read(span), stream[kept_from:])


def test_a_span_is_a_copy():
    buffer = SampleBuffer()
    buffer.append(np.ones(10, np.float32))
    buffer.read(Span(0, 10))[:] = 5
    assert buffer.read(Span(0, 10)).tolist() == [1.0] * 10


def test_an_hour_of_dropped_audio_takes_no_more_room_than_a_minute():
    buffer = SampleBuffer()
    for _ in range(3600):
        buffer.append(np.zeros(16_000, np.float32))
        buffer.drop_before(buffer.end_sample - 8_000)
    assert buffer._held.size <= 1 << 16
