"""Binary frames in, samples out."""

import hashlib

import pytest

from server.audio import AudioFormat, Encoding
from server.dialects.deepgram_audio import HeardAudio
from server.dialects.deepgram_options import live_options
from server.dialects.wav_stream import WavError
from tests.server.dialects.test_wav_stream import PLAIN, SAMPLES, chunk, form, wav

STEREO = wav(chunk(b"fmt ", form(channels=2)), chunk(b"data", SAMPLES))


def heard(**query):
    return HeardAudio(live_options(query.items(), frozenset({"en"})))


def test_samples_are_passed_on_and_counted():
    it = heard(encoding="linear16", sample_rate="8000", channels="2", multichannel="true")
    assert it.receive(b"\1\2" * 16) == b"\1\2" * 16
    assert it.heard_ms == 1
    assert it.sha256 == hashlib.sha256(b"\1\2" * 16).hexdigest()


def test_a_file_says_what_it_is():
    it = heard()
    assert (it.audio_format, it.heard_ms) == (None, 0)
    assert it.receive(PLAIN[:20]) == b""
    assert it.receive(PLAIN[20:]) == SAMPLES
    assert it.audio_format == AudioFormat(Encoding.PCM_S16LE, 16_000)
    assert it.heard_ms == 3
    assert it.sha256 == hashlib.sha256(PLAIN).hexdigest()


def test_a_file_of_two_channels_is_heard_if_they_may_be_told_apart():
    it = heard(multichannel="true")
    it.receive(STEREO)
    assert it.channels == 2
    with pytest.raises(WavError):
        heard().receive(STEREO)


def test_other_files_are_refused():
    with pytest.raises(WavError):
        heard().receive(b"OggS")
