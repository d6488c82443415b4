"""WAV files as they come in; their samples out."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.audio import AudioFormat, Encoding
from server.dialects.wav_stream import MOST_HEADER_BYTES, WavError, WavHeader, WavStream

SAMPLES = bytes(range(100))


def chunk(name, body, n_bytes=None):
    size = len(body) if n_bytes is None else n_bytes
    return name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2)


def form(tag=1, channels=1, rate_hz=16_000, n_bits=16, extra=b""):
    return struct.pack("<HHIIHH", tag, channels, rate_hz, 0, 0, n_bits) + extra


def wav(*chunks):
    return b"RIFF\xff\xff\xff\xffWAVE" + b"".join(chunks)


PLAIN = wav(chunk(b"fmt ", form()), chunk(b"data", SAMPLES))


def read(data, step=None):
    stream = WavStream()
    parts = [data[at : at + step] for at in range(0, len(data), step)] if step else [data]
    return stream, b"".join(stream.receive(part) for part in parts)


@pytest.mark.parametrize(
    ("described", "encoding", "channels"),
    [
        (form(), Encoding.PCM_S16LE, 1),
        (form(channels=2), Encoding.PCM_S16LE, 2),
        (form(tag=6, n_bits=8), Encoding.ALAW, 1),
        (form(tag=7, n_bits=8, extra=b"\0\0"), Encoding.MULAW, 1),
        (form(tag=0xFFFE, extra=b"\x16\0\x10\0\4\0\0\0\1\0" + b"\0" * 14), Encoding.PCM_S16LE, 1),
    ],
)
def test_the_header_says_what_the_samples_are(described, encoding, channels):
    stream, samples = read(wav(chunk(b"fmt ", described), chunk(b"data", SAMPLES)))
    assert stream.header == WavHeader(AudioFormat(encoding, 16_000), channels, len(SAMPLES))
    assert samples == SAMPLES


@given(st.integers(1, 200))
def test_wherever_it_is_cut_the_samples_are_the_same(step):
    data = wav(chunk(b"JUNK", b"abc"), chunk(b"fmt ", form()), chunk(b"data", SAMPLES))
    assert read(data, step)[1] == SAMPLES


def test_what_follows_the_samples_is_passed_over():
    assert read(PLAIN + chunk(b"LIST", b"who made it"), 7)[1] == SAMPLES


@pytest.mark.parametrize("n_bytes", [0, 0xFFFF_FFFF, 0x7FFF_FFFF])
def test_a_file_that_does_not_know_its_length_goes_on(n_bytes):
    data = wav(chunk(b"fmt ", form()), chunk(b"data", SAMPLES, n_bytes))
    assert read(data + SAMPLES, 9)[1] == SAMPLES + SAMPLES


@pytest.mark.parametrize(
    "data",
    [
        b"OggS",
        b"RIFF\0\0\0\0AVI ",
        b"\x1aE\xdf\xa3",
        wav(chunk(b"data", SAMPLES)),
        wav(chunk(b"fmt ", b"short")),
        wav(chunk(b"fmt ", form(n_bits=24))),
        wav(chunk(b"fmt ", form(tag=3, n_bits=32))),
        wav(chunk(b"fmt ", form(rate_hz=11_025))),
        wav(chunk(b"fmt ", form(channels=3))),
        wav(chunk(b"fmt ", form(channels=0))),
        wav(chunk(b"LIST", b"", MOST_HEADER_BYTES)),
    ],
)
@pytest.mark.parametrize("step", [None, 1])
def test_what_cannot_be_heard_is_refused(data, step):
    with pytest.raises(WavError):
        read(data, step)


def test_a_header_that_is_not_over_is_waited_for():
    stream, samples = read(PLAIN[:30])
    assert (stream.header, samples) == (None, b"")


@given(st.lists(st.binary(max_size=60)))
def test_any_bytes_are_samples_or_refused(parts):
    stream = WavStream()
    try:
        for part in parts:
            assert isinstance(stream.receive(part), bytes)
    except WavError:
        pass
