"""The bytes of a WAV, FLAC, OGG or MP3 file in memory in; blocks of 16 kHz PCM16 out, of all its
channels together or of two apart, interleaved.

They are read where they lie, forwards only, a block at a time: what a header claims costs nothing
until somebody asks for it, and a small file that unpacks to days ends where its limit is.
libsndfile, which reads all but MP3, knows two dozen formats more and guesses among them: only what
begins like one of ours gets to it. Refuses: what cannot be read, or only up to a fault in the
middle, odd rates and channel counts, and more audio than the limit; with `RefusedError`.
"""

import io
import re
import threading
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray
from typing_extensions import override

from server import errors
from server.audio import SAMPLE_RATE_HZ
from server.errors import RefusedError
from server.mp3 import Mp3Error, Mp3File
from server.resample import Resampler

LEAST_RATE_HZ, MOST_RATE_HZ = 4_000, 192_000
MOST_CHANNELS = 8
_MOST_APART = 2
PCM_BYTES = 2
_BLOCK_S = 10
_MOST_BLOCK_SAMPLES = 480_000
"""Of all channels together: 2 MB, however the file is made."""
_SUBTYPES = {
    **dict.fromkeys(
        ("WAV", "WAVEX"),
        frozenset({"PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"})
        | frozenset({"IMA_ADPCM", "MS_ADPCM", "GSM610"}),  # telephone systems write these
    ),
    "FLAC": frozenset({"PCM_S8", "PCM_16", "PCM_24"}),
    "OGG": frozenset({"VORBIS", "OPUS"}),
}
"""By format, what may be inside."""
_MPEG_IN_WAV = re.compile(rb"fmt .{4}[\x50\x55]\x00", re.DOTALL)
"""Would be read by mpg123: see `server.mp3`."""
_MPEG_IN_WAV_BYTES = 10
_SEARCHED_BYTES = 1 << 18


class SoundFile:
    """Reads one upload; `read` and `close` take turns, from any thread."""

    def __init__(self, data: memoryview, most_s: int, *, hears_apart: bool = False) -> None:
        """Opens it. Raises RefusedError; also for more channels than two that are to be heard
        apart.
        """
        self._most_samples = most_s * SAMPLE_RATE_HZ
        self._turn = threading.Lock()
        self._n_samples = 0
        file = _open(data)
        self._file: _Forwards | Mp3File | None = file
        if hears_apart and file.channels > _MOST_APART:
            file.close()
            raise RefusedError(errors.AUDIO_UNREADABLE, "audio_channels")
        self.channels: Literal[1, 2] = 2 if hears_apart and file.channels == _MOST_APART else 1
        """That are heard apart."""
        self._resamplers = [Resampler(file.samplerate) for _ in range(self.channels)]
        block_frames = min(_BLOCK_S * file.samplerate, _MOST_BLOCK_SAMPLES // file.channels)
        self._block = np.zeros((block_frames, file.channels), np.float32)

    def read(self) -> bytes:
        """The next block, about ten seconds; nothing at the end. Raises RefusedError."""
        with self._turn:
            while self._file is not None:
                samples = self._next_samples(self._file)
                self._n_samples += len(samples)
                if self._n_samples > self._most_samples:
                    raise RefusedError(errors.MESSAGE_TOO_BIG, "audio_too_long")
                if samples.size:
                    return _pcm16(samples)
            return b""

    def close(self) -> None:
        """Let go of the bytes, after the read that may be going on; may be called again."""
        with self._turn:
            self._end()

    def _next_samples(self, file: "_Forwards | Mp3File") -> NDArray[np.float32]:
        """(n_samples, channels)"""
        try:
            block = file.read(out=self._block)
        except soundfile.LibsndfileError:
            raise RefusedError(errors.AUDIO_UNREADABLE, "audio_broken") from None
        is_last = len(block) < len(self._block)
        if is_last:
            self._end()
        heard: NDArray[np.float32] = np.clip(np.nan_to_num(block), -1.0, 1.0)
        apart = heard.T if self.channels > 1 else [heard.mean(axis=1)]
        resampled = [
            resampler.resample(samples, is_last=is_last)
            for resampler, samples in zip(self._resamplers, apart, strict=True)
        ]
        return np.stack(resampled, axis=1)

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _Forwards(soundfile.SoundFile):  # type: ignore[misc]  # it has no types
    """Never seeks: libsndfile would find the place where it already is anew, for every block."""

    @override
    def seekable(self) -> bool:
        return False


class _Memory(io.RawIOBase):
    """A file over a buffer that stays where it is; nothing that is asked of it raises, since
    what asks is C.
    """

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data
        self._at_byte = 0

    @override
    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        part = self._data[self._at_byte :][: len(into)]
        into[: len(part)] = part
        self._at_byte += len(part)
        return len(part)

    @override
    def seek(self, offset_bytes: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at_byte}.get(whence, len(self._data))
        self._at_byte = min(max(start + offset_bytes, 0), len(self._data))
        return self._at_byte

    @override
    def tell(self) -> int:
        return self._at_byte


def _open(data: memoryview) -> _Forwards | Mp3File:
    file = _open_mp3(data) if _is_mp3(bytes(data[:3])) else _open_others(data)
    if (
        not LEAST_RATE_HZ <= file.samplerate <= MOST_RATE_HZ
        or not 1 <= file.channels <= MOST_CHANNELS
    ):
        file.close()
        raise RefusedError(errors.AUDIO_UNREADABLE, "audio_format")
    return file


def _open_mp3(data: memoryview) -> Mp3File:
    try:
        return Mp3File(data)
    except Mp3Error:
        raise RefusedError(errors.AUDIO_UNREADABLE, "audio_broken") from None


def _open_others(data: memoryview) -> _Forwards:
    head = bytes(data[:12])
    is_wav = head[:4] == b"RIFF" and head[8:] == b"WAVE"
    is_known = head[:4] in (b"fLaC", b"OggS") or (is_wav and not _is_mpeg_in_wav(data))
    if not is_known:
        raise RefusedError(errors.AUDIO_UNREADABLE, "audio_format")
    try:
        file = _Forwards(_Memory(data))
    except soundfile.LibsndfileError:
        raise RefusedError(errors.AUDIO_UNREADABLE, "audio_broken") from None
    if file.subtype not in _SUBTYPES.get(file.format, frozenset()):
        file.close()
        raise RefusedError(errors.AUDIO_UNREADABLE, "audio_format")
    return file


def _is_mpeg_in_wav(data: memoryview) -> bool:
    """A piece at a time: a search lets no other thread run, and so no session."""
    ends = range(_SEARCHED_BYTES, len(data) + _SEARCHED_BYTES, _SEARCHED_BYTES)
    starts = (end - _SEARCHED_BYTES for end in ends)
    return any(
        _MPEG_IN_WAV.search(data, start, end + _MPEG_IN_WAV_BYTES)
        for start, end in zip(starts, ends, strict=True)
    )


def _is_mp3(head: bytes) -> bool:
    """It begins with a tag, or with the eleven set bits of its first frame."""
    return head == b"ID3" or (head[:1] == b"\xff" and head[1:2] >= b"\xe0")


def _pcm16(samples: NDArray[np.float32]) -> bytes:
    pcm: NDArray[np.int16] = np.rint(np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2")
    return pcm.tobytes()
