"""Files of four kinds, and what only looks like one."""

import contextlib
import io
import struct
import threading

import numpy as np
import pytest
import soundfile

from server.errors import RefusedError
from server.sound_file import SoundFile


def encoded(kind="WAV", subtype="PCM_16", rate_hz=16_000, channels=1, duration_s=1.0):
    times = np.arange(int(rate_hz * duration_s)) / rate_hz
    tone = np.repeat(0.4 * np.sin(2 * np.pi * 440 * times)[:, None], channels, 1)
    out = io.BytesIO()
    soundfile.write(out, tone, rate_hz, format=kind, subtype=subtype)
    return bytearray(out.getvalue())


def float_wav(*samples):
    out = io.BytesIO()
    soundfile.write(out, np.array(samples, np.float32), 16_000, format="WAV", subtype="FLOAT")
    return bytearray(out.getvalue())


def blocks_of(data, most_s=60):
    file = SoundFile(memoryview(data), most_s)
    blocks = []
    while block := file.read():
        blocks.append(np.frombuffer(block, "<i2"))
    assert file.read() == b""
    file.close()
    return blocks


def refusal(data, most_s=60):
    with pytest.raises(RefusedError) as refused:
        blocks_of(data, most_s)
    return refused.value.refusal.http_status, refused.value.reason


@pytest.mark.parametrize(
    ("kind", "subtype", "rate_hz", "channels"),
    [
        ("WAV", "PCM_U8", 16_000, 1),
        ("WAV", "PCM_24", 44_100, 2),
        ("WAV", "ULAW", 8_000, 1),
        ("WAV", "GSM610", 8_000, 1),
        ("WAV", "MS_ADPCM", 8_000, 2),
        ("WAVEX", "DOUBLE", 48_000, 6),
        ("FLAC", "PCM_16", 192_000, 8),
        ("FLAC", "PCM_24", 4_000, 1),
        ("OGG", "VORBIS", 44_100, 2),
        ("OGG", "OPUS", 48_000, 2),
        ("MP3", "MPEG_LAYER_III", 22_050, 1),
    ],
)
def test_whatever_is_inside_16_khz_mono_comes_out(kind, subtype, rate_hz, channels):
    pcm = np.concatenate(blocks_of(encoded(kind, subtype, rate_hz, channels))) / 32767
    assert len(pcm) == pytest.approx(16_000, abs=1_700)
    assert np.sqrt(np.mean(pcm[4_000:12_000] ** 2)) == pytest.approx(0.283, abs=0.02)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize(("kind", "subtype"), [("WAV", "PCM_16"), ("FLAC", "PCM_16")])
def test_two_channels_can_be_heard_apart(kind, subtype, rate_hz):
    tone = 0.4 * np.sin(2 * np.pi * 440 * np.arange(25 * rate_hz) / rate_hz)
    out = io.BytesIO()
    soundfile.write(
        out, np.stack([np.zeros_like(tone), tone], axis=1), rate_hz, format=kind, subtype=subtype
    )
    file = SoundFile(memoryview(out.getvalue()), 60, hears_apart=True)
    assert file.channels == 2
    pcm = np.frombuffer(b"".join(iter(file.read, b"")), "<i2").reshape(-1, 2) / 32767
    assert len(pcm) == pytest.approx(25 * 16_000, abs=2)
    assert not pcm[:, 0].any()
    assert np.sqrt(np.mean(pcm[:, 1] ** 2)) == pytest.approx(0.283, abs=0.02)


def test_one_channel_is_heard_as_it_is_and_three_are_not_heard_apart():
    file = SoundFile(memoryview(encoded()), 60, hears_apart=True)
    assert (file.channels, len(file.read())) == (1, 32_000)
    file.close()
    with pytest.raises(RefusedError) as refused:
        SoundFile(memoryview(encoded(channels=3)), 60, hears_apart=True)
    assert refused.value.reason == "audio_channels"


def test_a_long_file_comes_in_blocks_of_ten_seconds_at_most():
    sizes = [len(block) for block in blocks_of(encoded(duration_s=25))]
    assert sizes == [160_000, 160_000, 80_000]
    wide = blocks_of(encoded("FLAC", "PCM_16", 96_000, 8, duration_s=2))
    assert max(len(block) for block in wide) <= 11_000


def test_samples_that_are_no_numbers_or_too_loud_are_mended():
    pcm = np.concatenate(blocks_of(float_wav(np.nan, np.inf, -np.inf, 3e38, -7, 0.5)))
    assert list(pcm) == [0, 32767, -32767, 32767, -32767, 16384]


def test_a_file_without_a_sample_is_silence():
    assert blocks_of(float_wav()) == []


def test_more_audio_than_the_limit_ends_it_there_however_small_the_file():
    out = io.BytesIO()
    soundfile.write(out, np.zeros(16_000 * 3600, np.int16), 16_000, format="FLAC")
    assert len(out.getvalue()) < 300_000
    file = SoundFile(memoryview(out.getvalue()), 60)
    n_bytes = sum(len(file.read()) for _ in range(6))
    with pytest.raises(RefusedError) as refused:
        file.read()
    assert (refused.value.refusal.http_status, refused.value.reason) == (413, "audio_too_long")
    assert n_bytes == 60 * 32_000
    file.close()


def test_a_header_that_claims_more_than_there_is_gives_what_there_is():
    data = encoded()
    data[40:44] = b"\xff\xff\xff\xff"  # bytes of samples
    data[4:8] = b"\xff\xff\xff\x7f"
    assert sum(len(block) for block in blocks_of(data)) == 16_000


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(b"", "audio_format", id="empty"),
        pytest.param(b"hello, world", "audio_format", id="text"),
        pytest.param(encoded("AIFF"), "audio_format", id="another kind"),
        pytest.param(encoded("RF64"), "audio_format", id="a relative"),
        pytest.param(encoded("WAV", "NMS_ADPCM_16", 8_000), "audio_format", id="odd inside"),
        pytest.param(encoded("WAV", "PCM_16", 3_999), "audio_format", id="slow"),
        pytest.param(encoded("WAV", "PCM_16", 192_001), "audio_format", id="fast"),
        pytest.param(encoded("WAV", "PCM_16", 8_000, 9), "audio_format", id="nine channels"),
        pytest.param(b"RIFF\0\0\0\0WAVE", "audio_broken", id="no WAV"),
        pytest.param(b"fLaC" + bytes(100), "audio_broken", id="no FLAC"),
        pytest.param(b"OggS" + bytes(100), "audio_broken", id="no OGG"),
        pytest.param(b"\xff\xfb" + bytes(100), "audio_broken", id="no MP3"),
        pytest.param(b"\xff\xd8\xff\xe0", "audio_format", id="a picture"),
        pytest.param(encoded("FLAC", duration_s=3)[:-9_000], "audio_broken", id="cut FLAC"),
    ],
)
def test_what_cannot_be_read_is_refused(data, reason):
    assert refusal(data) == (415, reason)


def test_an_mpeg_stream_dressed_as_wav_is_refused_in_silence(capfd):
    fmt = struct.pack(
        "<4sIHHIIHHHHIHHH", b"fmt ", 30, 0x55, 1, 16_000, 4_000, 1, 0, 12, 1, 2, 9, 1, 0
    )
    data = b"RIFF\0\0\0\0WAVE" + fmt + b"data\xff\xff\0\0" + b"\xff\xfb\x90\x64garbage" * 500
    assert refusal(bytearray(data)) == (415, "audio_format")
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("before_bytes", [(1 << 18) - 12 - n for n in (8, 12, 17, 18, 20)])
def test_mpeg_is_found_wherever_a_header_hides_it(before_bytes, capfd):
    filler = b"LIST" + struct.pack("<I", before_bytes - 8) + bytes(before_bytes - 8)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 0x50, 1, 16_000, 4_000, 1, 0)
    data = b"RIFF\0\0\0\0WAVE" + filler + fmt + b"data\xff\xff\0\0" + b"\xff\xfb\x90\x64" * 500
    assert refusal(data) == (415, "audio_format")
    assert "".join(capfd.readouterr()) == ""


def test_closing_lets_go_of_the_bytes():
    for kind, subtype in (("WAV", "PCM_16"), ("MP3", "MPEG_LAYER_III")):
        data = encoded(kind, subtype)
        file = SoundFile(memoryview(data), 60)
        file.read()
        file.close()
        file.close()
        data.clear()  # a buffer that somebody looks at cannot change its length
    garbage = bytearray(b"garbage")
    with pytest.raises(RefusedError):
        SoundFile(memoryview(garbage), 60)
    garbage.clear()


def test_closing_waits_for_the_read_that_goes_on():
    file = SoundFile(memoryview(encoded("FLAC", duration_s=30)), 60)
    reader = threading.Thread(target=lambda: [file.read() for _ in range(5)])
    reader.start()
    file.close()
    reader.join(20)
    assert file.read() == b""


def test_the_places_that_a_broken_header_points_to_raise_nothing(capfd):
    for kind, subtype in (("WAV", "MS_ADPCM"), ("FLAC", "PCM_16"), ("OGG", "OPUS")):
        whole = encoded(kind, subtype, 8_000, duration_s=0.1)
        for at in range(4, 80):
            data = bytearray(whole)
            data[at : at + 4] = b"\xff\xff\xff\xff"
            with contextlib.suppress(RefusedError):
                blocks_of(data)
    assert "".join(capfd.readouterr()) == ""
