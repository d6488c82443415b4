"""Files and pipes to blocks, and when a block is due."""

import os
import threading
import wave

import pytest

from client.errors import SourceError
from client.sources import FileSource, PacedBlocks, PipeSource, block_bytes, due_s

RAMP = bytes(range(256)) * 50


def write_wav(path, pcm, rate_hz, n_channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(n_channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm)
    return path


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 44_100, 48_000])
def test_a_wav_comes_sample_for_sample_in_blocks_of_20_ms(tmp_path, rate_hz):
    source = FileSource(write_wav(tmp_path / "a.wav", RAMP, rate_hz))
    blocks = list(source)
    assert source.sample_rate_hz == rate_hz
    assert b"".join(blocks) == RAMP
    assert {len(block) for block in blocks[:-1]} == {block_bytes(rate_hz)}


@pytest.mark.parametrize("rate_hz", [11_025, 22_050, 88_200])
def test_a_rate_the_protocol_lacks_becomes_16_khz(tmp_path, rate_hz):
    source = FileSource(write_wav(tmp_path / "a.wav", bytes(rate_hz * 2), rate_hz))
    assert source.sample_rate_hz == 16_000
    assert abs(sum(map(len, source)) - 32_000) <= block_bytes(16_000)


def test_stereo_becomes_mono(tmp_path):
    same_on_both = b"".join(RAMP[at : at + 2] * 2 for at in range(0, len(RAMP), 2))
    path = write_wav(tmp_path / "a.wav", same_on_both, 16_000, n_channels=2)
    assert b"".join(FileSource(path)) == RAMP


@pytest.mark.parametrize("name", ["a.flac", "a.mp3", "a.ogg", "no_ending"])
def test_compressed_files_are_known_by_their_content(tmp_path, name):
    soundfile = pytest.importorskip("soundfile")
    numpy = pytest.importorskip("numpy")
    samples = numpy.frombuffer(RAMP, "<i2")
    kind = {"a.mp3": "MP3", "a.ogg": "OGG"}.get(name, "FLAC")
    soundfile.write(tmp_path / name, samples, 24_000, format=kind)
    source = FileSource(tmp_path / name)
    pcm = b"".join(source)
    assert source.sample_rate_hz == 24_000
    assert len(pcm) >= len(RAMP)
    if kind == "FLAC":
        assert pcm == RAMP


def test_a_wav_without_samples_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no audio"):
        FileSource(write_wav(tmp_path / "a.wav", b"", 16_000))


@pytest.mark.parametrize(
    "content",
    [b"", b"RIFF", b"RIFF\x24\0\0\0WAVEfmt ", b"fLaC" + bytes(50), b"OggS", b"text " * 99],
)
def test_a_file_that_is_no_audio_is_refused(tmp_path, content):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"a\.wav: not a WAV, FLAC, MP3 or Ogg Vorbis file"):
        FileSource(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        FileSource(tmp_path / "none.wav")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(SourceError, match="directory"):
        FileSource(tmp_path)


def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SourceError, match="standard input"):
        FileSource(tmp_path / "pipe.wav")


def test_a_closed_file_ends_at_the_next_block(tmp_path):
    source = FileSource(write_wav(tmp_path / "a.wav", bytes(320_000), 16_000))
    blocks = iter(source)
    next(blocks)
    source.close()
    assert list(blocks) == []


def test_a_pipe_comes_in_blocks_however_it_was_written(pipe):
    reading, writing = pipe
    for start in range(0, len(RAMP), 999):
        os.write(writing, RAMP[start : start + 999])
    os.close(writing)
    blocks = list(PipeSource(reading, 16_000))
    assert b"".join(blocks) == RAMP
    assert {len(block) for block in blocks[:-1]} == {640}


def test_closing_a_silent_pipe_ends_it(pipe):
    reading, _ = pipe
    source = PipeSource(reading, 16_000)
    closer = threading.Timer(0.15, source.close)
    closer.start()
    assert list(source) == []
    closer.join()


class Blocks:
    """A source of n blocks."""

    sample_rate_hz = 16_000

    def __init__(self, n_blocks):
        self.n_blocks = n_blocks

    def __iter__(self):
        return iter([bytes(640)] * self.n_blocks)

    def close(self):
        pass


class ManualTime:
    """A clock that moves when somebody sleeps, and a little late."""

    def __init__(self, late_s=0.0):
        self.now_s = 100.0
        self.late_s = late_s
        self.n_sleeps = 0

    def clock(self):
        return self.now_s

    async def sleep(self, wait_s):
        assert wait_s > 0
        self.n_sleeps += 1
        self.now_s += wait_s + self.late_s


async def sent_at(time, n_blocks, is_real_time=True):
    paced = PacedBlocks(
        Blocks(n_blocks), is_real_time=is_real_time, clock=time.clock, sleep=time.sleep
    )
    return [time.now_s async for _ in paced]


async def test_in_real_time_block_i_goes_out_20_ms_times_i_after_the_first():
    assert await sent_at(ManualTime(), 500) == pytest.approx([due_s(100, i) for i in range(500)])


async def test_late_sleeps_do_not_add_up():
    assert (await sent_at(ManualTime(late_s=0.004), 500))[-1] <= due_s(100, 499) + 0.005


async def test_a_pause_is_caught_up_with():
    time = ManualTime()
    paced = PacedBlocks(Blocks(100), is_real_time=True, clock=time.clock, sleep=time.sleep)
    await anext(paced)
    time.now_s += 1
    for _ in range(50):
        await anext(paced)
    assert time.n_sleeps == 0
    await anext(paced)
    assert time.n_sleeps == 1


async def test_without_pace_nothing_waits():
    time = ManualTime()
    assert len(await sent_at(time, 100, is_real_time=False)) == 100
    assert time.n_sleeps == 0
