"""MP3 files, whole and broken, read without a word in the log."""

import io

import numpy as np
import pytest
import soundfile

from server.mp3 import Mp3Error, Mp3File


@pytest.fixture(scope="module")
def tone_bytes():
    out = io.BytesIO()
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    soundfile.write(out, np.stack([tone, tone], 1), 44_100, format="MP3")
    return out.getvalue()


def read_all(data) -> list[np.ndarray]:
    file = Mp3File(memoryview(data))
    block = np.zeros((10_000, file.channels), np.float32)
    blocks = []
    while (read := file.read(block)).size:
        blocks.append(read.copy())
    file.close()
    return blocks


def test_a_tone_comes_back(tone_bytes):
    file = Mp3File(memoryview(tone_bytes))
    assert (file.samplerate, file.channels) == (44_100, 2)
    file.close()
    tone = np.concatenate(read_all(tone_bytes))
    assert len(tone) == pytest.approx(44_100, abs=4_000)  # with the encoder's padding
    assert np.sqrt(np.mean(tone[10_000:40_000] ** 2)) == pytest.approx(0.283, abs=0.01)


def test_what_is_broken_is_read_around_in_silence(tone_bytes, capfd):
    broken = bytearray(tone_bytes)
    broken[2000::501] = bytes(len(broken[2000::501]))
    read_all(broken)
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xfb", b"ID3" + bytes(5000), b"\xff\xfb" + bytes(5000)]
)
def test_what_is_no_mp3_is_refused(data):
    with pytest.raises(Mp3Error):
        Mp3File(memoryview(data))
