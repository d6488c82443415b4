"""Recordings that tests make."""

import wave
from array import array


def write_wav(path, *channels, rate_hz=16_000):
    """One list of samples for each channel."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(array("h", [s for frame in zip(*channels, strict=True) for s in frame]))
    return path


def write_call(path):
    """Two who talk in turn, the left one first: 0.4 s."""
    loud, quiet = [9000, -9000] * 1600, [1] * 3200
    return write_wav(path, loud + quiet, quiet + loud)
