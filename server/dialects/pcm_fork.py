"""Frames of a telephone system that forks a call's samples over a WebSocket, one text frame first
where it sends any, in; a call's opening, its audio and its end out.

What all of them share is binary frames of bare samples, as they come. What differs is what the
first text says, and whether text may go back; that is the profile's: see `pcm_profiles`. Text in
the middle of a call is the telephone system's own business, such as keys that were pressed, and is
never looked at, but for a jambonz that stops. Interleaved samples keep their
place: a frame that ends in the middle of one is a fault, since every sample after it would be of
the other party; of one party a byte is carried over to the next frame.

Refused: audio before a first text that must come, codecs that are not G.711 or linear samples, and
a first text that is not what the profile says.
"""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from server import errors
from server.audio import AudioFormat
from server.dialects.values import (
    Admitted,
    Audio,
    Close,
    Ended,
    Fault,
    Frame,
    Heard,
    Opening,
    Said,
    Stopped,
    Told,
    Upgrade,
)


@dataclass(frozen=True, slots=True)
class PcmForkSettings:
    """What the wire does not say."""

    audio_format: AudioFormat
    tracks: tuple[str, ...]
    """The parties, one for each interleaved channel."""
    is_named: bool = False
    """Whether those are what whoever runs this calls them, whatever the wire does."""


class Profile(Protocol):
    """What is different about one telephone system."""

    def first(self, text: str | None, upgrade: Upgrade, settings: PcmForkSettings) -> Opening:
        """What the first text says; None: audio came first. Raises RefusedError, with a reason for
        the trail.
        """
        ...

    def is_end(self, text: str) -> bool:
        """Whether it says that no more audio comes."""
        ...

    def told(self, told: Said | Ended) -> list[str]:
        """How it is told; empty where text must not go back."""
        ...


class _State(Enum):
    CONNECTED = auto()
    OPENED = auto()
    """Who calls is being checked; audio is skipped."""
    ADMITTED = auto()
    OVER = auto()


class PcmFork:
    """One connection."""

    def __init__(self, profile: Profile, settings: PcmForkSettings, upgrade: Upgrade) -> None:
        self._profile = profile
        self._settings = settings
        self._upgrade = upgrade
        self._state = _State.CONNECTED
        self._sample_bytes = 1
        """Of all channels together."""
        self._n_channels = 1
        self._carried = b""

    def receive(self, frame: str | bytes) -> list[Heard]:
        """What a frame says."""
        match self._state:
            case _State.OVER:
                return []
            case _State.CONNECTED:
                return self._open(frame)
            case _ if isinstance(frame, str):
                return self._receive_text(frame)
            case _State.ADMITTED:
                return self._receive_audio(frame)
            case _:
                return []

    def tell(self, told: Told) -> list[Frame]:
        """What was said, where it may go back; and the end."""
        match told:
            case Admitted() if self._state is _State.OPENED:
                self._state = _State.ADMITTED
            case Said() if self._state is not _State.CONNECTED:
                return [*self._profile.told(told)]
            case Ended(refusal):
                self._state = _State.OVER
                close = Close(refusal.close_code if refusal else 1000)
                return [*self._profile.told(told), close]
            case _:
                pass
        return []

    def _open(self, frame: str | bytes) -> list[Heard]:
        text = frame if isinstance(frame, str) else None
        try:
            opening = self._profile.first(text, self._upgrade, self._settings)
        except errors.RefusedError as refused:
            return self._fail(refused.reason, refused.refusal)
        self._n_channels = len(opening.tracks)
        self._sample_bytes = opening.audio_format.sample_bytes * self._n_channels
        self._state = _State.OPENED
        return [opening]

    def _receive_text(self, text: str) -> list[Heard]:
        if not self._profile.is_end(text):
            return []
        self._state = _State.OVER
        return [Stopped()]

    def _receive_audio(self, frame: bytes) -> list[Heard]:
        payload = self._carried + frame
        n_over = len(payload) % self._sample_bytes
        if n_over and self._n_channels > 1:
            return self._fail("samples_cut")
        self._carried = payload[len(payload) - n_over :]
        payload = payload[: len(payload) - n_over]
        channel = 0 if self._n_channels == 1 else None
        return [Audio(payload, channel)] if payload else []

    def _fail(self, reason: str, refusal: errors.Refusal = errors.BAD_REQUEST) -> list[Heard]:
        self._state = _State.OVER
        return [Fault(refusal, reason)]
