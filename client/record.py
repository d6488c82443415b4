"""`python -m client.record`: a device's name in; its raw PCM on standard output, until it is ended.

For machines whose only recorder is the Python package sounddevice. A program of its own, so that
every microphone is a command whose output is read, and PortAudio's threads and complaints stay out
of the process that has the connection.

    --device=NAME    instead of the default one
    --list           the names of all that can record
"""

import sys
from collections.abc import Sequence
from typing import Protocol

SAMPLE_RATE_HZ = 16_000
BLOCK_SAMPLES = 320


class _Device(Protocol):
    def __getitem__(self, key: str) -> str | int: ...


def main(arguments: Sequence[str]) -> int:
    """Record, or list; the result is the exit code."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: without PortAudio itself
        return _complain(str(error))
    try:
        if "--list" in arguments:
            for device in sounddevice.query_devices():
                _print_if_input(device)
            return 0
        names = [text.removeprefix("--device=") for text in arguments if text[:9] == "--device="]
        with sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE_HZ,
            channels=1,
            dtype="int16",
            device=names[0] if names else None,
        ) as stream:
            while True:
                block, _ = stream.read(BLOCK_SAMPLES)
                sys.stdout.buffer.write(block)
                sys.stdout.buffer.flush()
    except (sounddevice.PortAudioError, ValueError) as error:
        return _complain(str(error))
    except (BrokenPipeError, KeyboardInterrupt):
        return 0


def _print_if_input(device: _Device) -> None:
    if int(device["max_input_channels"]) > 0:
        sys.stdout.write(f"{device['name']}\n")


def _complain(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
