"""Files to what they are, and to the channels that are in them."""

import random
from array import array

import miniaudio
import pytest

from client.errors import SourceError
from client.sound_file import SoundFile, are_two_speakers, until_damaged
from tests.client.audio_files import write_wav

RATE_HZ = 16_000


def noise(seconds, peak):
    draw = random.Random(1)  # noqa: S311 the same noise each time
    return [draw.randint(-peak, peak) for _ in range(int(seconds * RATE_HZ))]


def in_turn(quiet_peak=20):
    """One who talks and then listens, and the other."""
    talks, listens = noise(1, 8000), noise(1, quiet_peak)
    return talks + listens, listens + talks


def test_a_file_tells_its_rate_channels_and_length(tmp_path):
    file = SoundFile(write_wav(tmp_path / "a.wav", *in_turn()))
    assert (file.sample_rate_hz, file.n_channels, file.audio_ms) == (16_000, 2, 2000)


def test_each_channel_can_be_heard_alone_sample_for_sample(tmp_path):
    left, right = in_turn()
    file = SoundFile(write_wav(tmp_path / "a.wav", left, right))
    heard = [b"".join(file.open_pieces(channel)) for channel in (0, 1)]
    assert heard == [array("h", left).tobytes(), array("h", right).tobytes()]


def test_two_who_talk_in_turn_are_two_speakers(tmp_path):
    assert SoundFile(write_wav(tmp_path / "a.wav", *in_turn())).has_two_speakers()


def test_two_who_hear_each_other_faintly_are_two_speakers(tmp_path):
    call = in_turn(quiet_peak=2000)  # 12 dB below
    assert SoundFile(write_wav(tmp_path / "a.wav", *call)).has_two_speakers()


def test_the_same_on_both_sides_is_no_second_speaker(tmp_path):
    left, right = noise(2, 8000), [sample * 3 // 4 for sample in noise(2, 8000)]
    assert not SoundFile(write_wav(tmp_path / "a.wav", left, right)).has_two_speakers()


def test_a_voice_on_one_side_is_no_second_speaker(tmp_path):
    left = noise(2, 8000)
    assert not SoundFile(write_wav(tmp_path / "a.wav", left, [0] * len(left))).has_two_speakers()


def test_mono_and_silence_have_no_two_speakers(tmp_path):
    silence = [0] * RATE_HZ
    assert not SoundFile(write_wav(tmp_path / "a.wav", noise(1, 8000))).has_two_speakers()
    assert not SoundFile(write_wav(tmp_path / "b.wav", silence, silence)).has_two_speakers()
    assert not are_two_speakers([])


def test_one_who_hardly_says_a_word_is_a_speaker():
    assert are_two_speakers([(100, 1)] * 95 + [(1, 100)] * 5)
    assert not are_two_speakers([(100, 1)] * 99 + [(1, 100)])


@pytest.mark.parametrize("channels", [[[]], [[], []]])
def test_a_file_without_a_sample_is_an_error_before_it_is_sent(tmp_path, channels):
    file = SoundFile(write_wav(tmp_path / "a.wav", *channels))
    with pytest.raises(SourceError, match=r"a\.wav: there is no audio in it"):
        file.open_pieces()


def test_a_file_that_cannot_be_decoded_to_its_end_is_an_error():
    def break_off():
        yield array("h", [1] * 320)
        raise miniaudio.DecodeError

    pieces = until_damaged(break_off())
    assert len(next(pieces)) == 320
    with pytest.raises(SourceError, match="damaged"):
        next(pieces)
