"""A WAV, FLAC, MP3 or Ogg Vorbis file in; what it is, and its PCM in small pieces, out.

A file keeps its own rate where the protocol has it, because the server resamples better than a
decoder does; any other rate becomes 16 kHz. Channels are mixed, or one is taken alone. What is no
audio, or a file without a sample, is refused with one `SourceError`.

Whether the channels of a stereo file are two speakers is measured: in every 100 ms of sound, one
channel is at least 10 dB louder than the other where only its own speaker talks. Where that is so
in more than half of them, and both channels have their turn, the file is a call; music, a room
with two microphones, and a voice on one side are not, and splitting those would give the same
words twice, or a transcript of nothing.
"""

from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import get_args

import miniaudio

from client.errors import SourceError
from server.wire import SampleRateHz

FALLBACK_RATE_HZ: SampleRateHz = 16_000
PIECES_PER_S = 50

COMPARED_PIECES_PER_S = 10
COMPARED_SAMPLES_PER_S = 4_000
"""Of each channel, taken evenly: enough to tell how loud it is, without the work of resampling."""
LOUDER = 3.16
"""Times; 10 dB."""
SILENCE_SHARE = 0.1
"""Of the mean loudness of the file: what is less loud counts as silence."""
LEAST_SPLIT_SHARE = 0.5
"""Of all that is no silence, said on one channel alone."""
LEAST_TURN_SHARE = 0.02
"""Of all that is no silence, said on the channel that says less."""

_READERS_OF_INFO = {
    b"RIFF": miniaudio.wav_get_file_info,
    b"fLaC": miniaudio.flac_get_file_info,
    b"OggS": miniaudio.vorbis_get_file_info,
}


class SoundFile:
    """What a file says of itself. Holds nothing open."""

    def __init__(self, path: Path) -> None:
        """Read its head. Raises SourceError."""
        self._path = path
        self.sample_rate_hz: SampleRateHz = FALLBACK_RATE_HZ
        """As its PCM comes out."""
        self.n_channels = 1
        self.audio_ms = 0
        """0 if it is not known."""
        info = _read_info(path)
        if info is not None:
            rates_hz: tuple[SampleRateHz, ...] = get_args(SampleRateHz)
            own = (rate for rate in rates_hz if rate == info.sample_rate)
            self.sample_rate_hz = next(own, FALLBACK_RATE_HZ)
            self.n_channels = info.nchannels
            self.audio_ms = round(info.duration * 1000)

    def open_pieces(self, channel: int | None = None) -> Iterator[bytes]:
        """16-bit little-endian PCM of all channels mixed, or of one from 0. Raises SourceError."""
        n_channels = 1 if channel is None else self.n_channels
        pieces = self._decode(n_channels, self.sample_rate_hz, PIECES_PER_S)
        return (piece[channel or 0 :: n_channels].tobytes() for piece in pieces)

    def has_two_speakers(self) -> bool:
        """Whether it is stereo with a speaker on each side. Reads all of it. Raises SourceError."""
        if self.n_channels != 2:
            return False
        pieces = self._decode(2, self.sample_rate_hz, COMPARED_PIECES_PER_S)
        step = 2 * (self.sample_rate_hz // COMPARED_SAMPLES_PER_S)
        return are_two_speakers([(_loudness(p[0::step]), _loudness(p[1::step])) for p in pieces])

    def _decode(
        self, n_channels: int, sample_rate_hz: int, pieces_per_s: int
    ) -> Iterator["array[int]"]:
        """Opens the file at once, so that what holds no audio is refused before it is sent."""
        try:
            pieces = miniaudio.stream_file(
                str(self._path),
                output_format=miniaudio.SampleFormat.SIGNED16,
                nchannels=n_channels,
                sample_rate=sample_rate_hz,
                frames_to_read=sample_rate_hz // pieces_per_s,
            )
        except miniaudio.MiniaudioError:
            raise SourceError(f"{self._path}: not a WAV, FLAC, MP3 or Ogg Vorbis file") from None
        whole = until_damaged(pieces)
        first = next(whole, None)
        if not first:
            raise SourceError(f"{self._path}: there is no audio in it")
        return chain([first], whole)


def until_damaged(pieces: Iterator["array[int]"]) -> Iterator["array[int]"]:
    """The same pieces. Raises SourceError where they break off."""
    try:
        yield from pieces
    except miniaudio.MiniaudioError:
        raise SourceError("The audio file is damaged.") from None


def are_two_speakers(loudnesses: list[tuple[float, float]]) -> bool:
    """Whether left and right, in each 100 ms, are two who talk in turn."""
    if not loudnesses:
        return False
    silence = SILENCE_SHARE * sum(max(pair) for pair in loudnesses) / len(loudnesses)
    sounds = [pair for pair in loudnesses if max(pair) > silence]
    n_left = sum(left > LOUDER * right for left, right in sounds)
    n_right = sum(right > LOUDER * left for left, right in sounds)
    return n_left + n_right > LEAST_SPLIT_SHARE * len(sounds) and min(
        n_left, n_right
    ) > LEAST_TURN_SHARE * len(sounds)


def _loudness(samples: "array[int]") -> float:
    """Mean of the absolute samples."""
    return sum(map(abs, samples)) / max(len(samples), 1)


def _read_info(path: Path) -> miniaudio.SoundFileInfo | None:
    """None where only the decoder knows more. Raises SourceError if it cannot be read."""
    if path.is_fifo():
        raise SourceError(f"{path}: a pipe; pass its bytes on standard input")
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        return _READERS_OF_INFO.get(magic, miniaudio.mp3_get_file_info)(str(path))
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror or 'cannot be read'}") from None
    except (miniaudio.MiniaudioError, ZeroDivisionError):
        return None
