"""Which of other people's APIs are spoken, and how their clients show who they are."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt

_LEAST_FRAME_BYTES, _MOST_FRAME_BYTES = 1 << 16, 1 << 24


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The first two keep the door as the native protocol does; the clients of the others can set no
    header, and show a ticket, so nobody speaks them unless it is wished.
    """

    openai: bool = True
    """`/v1/realtime`."""
    deepgram: bool = True
    """`/v1/listen`."""
    vosk: bool = False
    """`/v1/vosk`."""
    whisper_live: bool = False
    """`/v1/whisper-live`."""
    at_root: Literal["vosk", "whisper_live"] | None = None
    """Which of them answers at `/`, for clients that know no path."""
    frame_bytes: int = 4 << 20
    """Of one WebSocket message, for some send a whole recording at once. Twice as much may be held
    for each session.
    """
    token_in_address: bool = False
    """Whether a token may come as `?token=`: addresses are logged by whoever stands between. A
    ticket may always.
    """
    quiet_limit_s: Annotated[float, Gt(0)] = 600.0
    """Without a frame, where the original knows no such limit; a token may say less. As long, a
    client keeps its place that has gone without anybody noticing.
    """


def client_faults(settings: ClientSettings) -> list[str]:
    """A line for each, by key and rule, never by value."""
    spoken = {"vosk": settings.vosk, "whisper_live": settings.whisper_live, None: True}
    faults = [] if spoken[settings.at_root] else ["at_root: one that is switched on"]
    if not _LEAST_FRAME_BYTES <= settings.frame_bytes <= _MOST_FRAME_BYTES:
        faults.append(f"frame_bytes: {_LEAST_FRAME_BYTES} to {_MOST_FRAME_BYTES}")
    return faults
