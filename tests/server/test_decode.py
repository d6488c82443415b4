"""Bytes to samples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio import AudioFormat, Encoding
from server.decode import Decoder, Deinterleaver

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


def test_mulaw_has_its_ends_and_its_two_zeros():
    decoder = Decoder(AudioFormat(Encoding.MULAW, 8_000))
    samples = decoder.decode(b"\x00\x80\x7f\xff") * 32768
    assert samples.tolist() == [-32124, 32124, 0, 0]


def test_alaw_has_its_ends_and_no_zero():
    decoder = Decoder(AudioFormat(Encoding.ALAW, 8_000))
    samples = decoder.decode(b"\xd5\x55\xaa\x2a") * 32768
    assert samples.tolist() == [8, -8, 32256, -32256]


def test_big_endian_samples_are_those_of_rtp():
    decoder = Decoder(AudioFormat(Encoding.PCM_S16BE, 8_000))
    assert (decoder.decode(b"\x01\x00\xff") * 32768).tolist() == [256]
    assert (decoder.decode(b"\xfe") * 32768).tolist() == [-2]


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 4, 7, 4096])
def test_floating_samples_come_as_they_were_however_they_are_cut(n_bytes):
    samples = np.arange(-32_768, 32_768, 17, "<f4") / 32_768
    data, decoder = samples.tobytes(), Decoder(AudioFormat(Encoding.PCM_F32LE, 16_000))
    parts = [decoder.decode(data[at : at + n_bytes]) for at in range(0, len(data), n_bytes)]
    assert np.array_equal(np.concatenate(parts), samples)


def test_floating_samples_beyond_full_scale_or_that_are_no_numbers_do_no_harm():
    floats = np.array([1, -1, 2, -9e37, np.inf, -np.inf, np.nan, 1e-40], "<f4")
    decoded = Decoder(AudioFormat(Encoding.PCM_F32LE, 16_000)).decode(floats.tobytes())
    below = np.nextafter(np.float32(1), np.float32(0))
    assert list(decoded) == [below, -1, below, -1, below, -1, 0, np.float32(1e-40)]


@given(st.binary(max_size=64), st.lists(st.integers(0, 64), max_size=5), st.sampled_from(Encoding))
def test_channels_may_be_cut_anywhere(data, cuts, encoding):
    audio_format = AudioFormat(encoding, 8_000)
    deinterleaver = Deinterleaver(audio_format, 2)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [deinterleaver.split(data[a:b]) for a, b in itertools.pairwise(edges)]
    joined = [b"".join(channel) for channel in zip(*parts, strict=True)]
    assert joined == Deinterleaver(audio_format, 2).split(data)
    step_bytes = 2 * audio_format.sample_bytes
    assert {len(channel) for channel in joined} == {len(data) // step_bytes * step_bytes // 2}
