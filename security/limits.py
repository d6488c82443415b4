"""How much somebody may: what a token says, what settings say, and what is granted of both."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What is allowed at most; None where nothing is said."""

    session_audio_s: int | None = None
    session_bytes: int | None = None
    session_s: int | None = None
    """By the clock on the wall, silence and waiting included."""
    idle_s: int | None = None
    pace_percent: int | None = None
    """Of real time: 125 is up to 1.25 times as fast as it is spoken."""
    concurrent_sessions: int | None = None
    audio_s_per_day: int | None = None
    starts_per_minute: int | None = None
