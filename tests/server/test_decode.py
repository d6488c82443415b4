"""Bytes to samples."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from server.audio import AudioFormat, Encoding
from server.decode import Decoder

FORMAT = AudioFormat(Encoding.PCM_S16LE, 16_000)


def test_samples_are_signed_little_endian_and_stay_within_one():
    samples = Decoder(FORMAT).decode(b"\x00\x80\xff\x7f\x00\x00\x01\x00")
    assert samples.dtype == np.float32
    assert samples.tolist() == [-1.0, 32767 / 32768, 0.0, 1 / 32768]


@given(st.binary(max_size=64), st.lists(st.integers(0, 64), max_size=5))
def test_a_sample_may_be_cut_anywhere(data, cuts):
    decoder = Decoder(FORMAT)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [decoder.decode(data[a:b]) for a, b in itertools.pairwise(edges)]
    assert np.concatenate(parts).tolist() == Decoder(FORMAT).decode(data).tolist()
