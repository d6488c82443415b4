"""The bytes of an MP3 file in memory in, blocks of float32 samples out, by miniaudio's dr_mp3.

libsndfile reads MP3 too, by mpg123, which writes a line to the server's log for every frame that it
does not like, and counts the whole file before the first one; dr_mp3 does neither. Refuses: what
has no frame of MP3 at its beginning, with `Mp3Error`. A file that was cut ends where it was cut.
"""

import miniaudio
import numpy as np

from server.recognition import Samples


class Mp3Error(Exception):
    """Not an MP3 file."""


class Mp3File:
    """Reads forwards; the buffer must stay as long as this is open."""

    def __init__(self, data: memoryview) -> None:
        """Opens it. Raises Mp3Error."""
        self._data = miniaudio.ffi.from_buffer(data)
        self._decoder = miniaudio.ffi.new("ma_dr_mp3 *")
        none = miniaudio.ffi.NULL
        if not miniaudio.lib.ma_dr_mp3_init_memory(self._decoder, self._data, len(data), none):
            raise Mp3Error("no MP3 file")
        self.samplerate: int = self._decoder.sampleRate
        self.channels: int = self._decoder.channels

    def read(self, out: Samples) -> Samples:
        """The next frames, as many as fit into `out`, (n_frames, n_channels); fewer at the end."""
        pointer = miniaudio.ffi.from_buffer("float *", out)
        n_frames = miniaudio.lib.ma_dr_mp3_read_pcm_frames_f32(self._decoder, len(out), pointer)
        return np.asarray(out[:n_frames])

    def close(self) -> None:
        """Once, after the last `read`."""
        miniaudio.lib.ma_dr_mp3_uninit(self._decoder)
        miniaudio.ffi.release(self._data)
