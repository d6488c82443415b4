"""This machine in; the command that records from its microphone, and its devices, out.

The system's own recorders come first: parec (PulseAudio, PipeWire), arecord (ALSA); then the Python
package sounddevice, where it is installed (client.record makes a recorder of it); then ffmpeg,
which knows no default device everywhere. All of them write 16-bit mono PCM of 16 kHz to standard
output, so that whoever reads it does not care which one it is.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from client.errors import SourceError
from server.wire import SampleRateHz

SAMPLE_RATE_HZ: SampleRateHz = 16_000
LISTING_TIMEOUT_S = 10.0
NO_RECORDER = (
    "There is no recorder: install parec (pulseaudio-utils), arecord (alsa-utils) or ffmpeg, or "
    "the Python package sounddevice."
)

_RATE = str(SAMPLE_RATE_HZ)
_FFMPEG_INPUT, _FFMPEG_DEVICE = (
    ("avfoundation", ":default") if sys.platform == "darwin" else ("pulse", "default")
)


@dataclass(frozen=True, slots=True)
class Recorder:
    """A command that writes PCM until it is ended."""

    name: str
    command: tuple[str, ...]
    device_option: str
    """What the name of a device follows; it ends with "=" if nothing stands between."""
    default_device: str = ""
    """Said where none is asked for; empty if the recorder knows it by itself."""
    last: tuple[str, ...] = ()
    """What stands behind the device."""
    listing: tuple[str, ...] = ()
    """The command that lists devices; empty if there is none."""
    device_of: Callable[[str], str | None] = lambda line: line or None
    """The device in a line of that list."""

    def command_for(self, device: str | None) -> list[str]:
        """Program and arguments."""
        name = device or self.default_device
        if not name:
            chosen = []
        elif self.device_option.endswith("="):
            chosen = [self.device_option + name]
        else:
            chosen = [self.device_option, name]
        return [*self.command, *chosen, *self.last]


def _device_of_pactl(line: str) -> str | None:
    columns = line.split("\t")
    return columns[1] if len(columns) > 1 and not columns[1].endswith(".monitor") else None


def _device_of_arecord(line: str) -> str | None:
    return line if line and not line[0].isspace() and line != "null" else None


_OWN = (sys.executable, "-m", "client.record")
RECORDERS = (
    Recorder(
        name="parec",
        command=(
            *("parec", "--raw", "--format=s16le", f"--rate={_RATE}", "--channels=1"),
            "--latency-msec=20",
        ),
        device_option="--device=",
        listing=("pactl", "list", "short", "sources"),
        device_of=_device_of_pactl,
    ),
    Recorder(
        name="arecord",
        command=(
            *("arecord", "--quiet", "--file-type=raw", "--format=S16_LE", f"--rate={_RATE}"),
            "--channels=1",
        ),
        device_option="--device=",
        listing=("arecord", "--list-pcms"),
        device_of=_device_of_arecord,
    ),
    Recorder(
        name="sounddevice",
        command=_OWN,
        device_option="--device=",
        listing=(*_OWN, "--list"),
    ),
    Recorder(
        name="ffmpeg",
        command=("ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-f", _FFMPEG_INPUT),
        device_option="-i",
        default_device=_FFMPEG_DEVICE,
        last=("-ac", "1", "-ar", _RATE, "-f", "s16le", "-"),
    ),
)


def find_recorder() -> Recorder:
    """The first that is installed. Raises SourceError."""
    found = next(_installed(), None)
    if found is None:
        raise SourceError(NO_RECORDER)
    return found


def list_devices(recorder: Recorder) -> list[str]:
    """What `--device` understands; nothing if the recorder cannot tell. Raises SourceError."""
    if not recorder.listing:
        return []
    try:
        listed = subprocess.run(  # noqa: S603 a known program, and no shell
            recorder.listing,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LISTING_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        raise SourceError(f"{recorder.listing[0]} could not list the devices.") from None
    lines = listed.stdout.decode(errors="replace").splitlines()
    return [device for line in lines if (device := recorder.device_of(line))]


def _installed() -> Iterator[Recorder]:
    for recorder in RECORDERS:
        if recorder.command[0] == sys.executable:
            if importlib.util.find_spec(recorder.name) is not None:
                yield recorder
        elif shutil.which(recorder.command[0]) is not None:
            yield recorder
