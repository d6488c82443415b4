"""The audio of one connection in, what its session is to hear out; and the session's events, put
into the call's time.

Tracks that come apart have a place in time each, those that are interleaved one together. Which it
is, the first audio says; both on one wire is refused.
"""

from dataclasses import dataclass, replace
from typing import TypeVar

import msgspec

from server.audio import AudioFormat
from server.dialects.values import Audio
from server.placing import Placed, Placing, PlacingSettings
from server.wire import Final, Partial, SpeechEnded, SpeechStarted, WordEvent

CallEvent = SpeechStarted | Partial | SpeechEnded | Final


_Spanning = TypeVar("_Spanning", Partial, Final, WordEvent)


class MixedError(Exception):
    """Audio of one track on a wire that interleaves them, or the other way round."""


@dataclass(frozen=True, slots=True)
class OfChannel:
    """What was placed, and of which channel; None: of all, interleaved."""

    placed: list[Placed]
    channel: int | None


@dataclass(frozen=True, slots=True)
class Losses:
    """What of a connection's audio was not heard as it came."""

    late_frames: int
    duplicate_frames: int
    lost_frames: int
    gap_ms: int
    dropped_ms: int


class Timelines:
    """Of one connection. Sans-I/O."""

    def __init__(
        self, audio_format: AudioFormat, n_tracks: int, settings: PlacingSettings, begun_s: float
    ) -> None:
        """`begun_s`: when the stream did, where no stamp says so."""
        self._begun_s = begun_s
        self._format = audio_format
        self._n_tracks = n_tracks
        self._settings = settings
        self._placings: list[Placing] = []
        self._is_apart = False
        self._dropped_bytes = 0
        self._step_bytes = audio_format.sample_bytes
        """Of what a placing takes at one time: a sample, or one of each channel."""
        self._severed_bytes: list[int] = []
        """Of each placing, what is still to come of a sample whose beginning was dropped."""

    @property
    def next_deadline_s(self) -> float:
        """When `tick` has something to do."""
        deadlines_s = [placing.next_deadline_s for placing in self._placings]
        return min((each for each in deadlines_s if each is not None), default=float("inf"))

    @property
    def losses(self) -> Losses:
        """So far."""
        bytes_per_s = self._format.sample_bytes * self._format.sample_rate_hz
        return Losses(
            late_frames=sum(placing.n_late for placing in self._placings),
            duplicate_frames=sum(placing.n_duplicate for placing in self._placings),
            lost_frames=sum(placing.n_lost for placing in self._placings),
            gap_ms=sum(placing.gap_ms for placing in self._placings),
            dropped_ms=self._dropped_bytes * 1000 // bytes_per_s,
        )

    def receive(self, audio: Audio, now_s: float) -> OfChannel:
        """Take audio that came at `now_s`. Raises MixedError."""
        index = self._index_of(audio)
        if self._severed_bytes[index]:
            audio = self._without_severed(audio, index)
        return OfChannel(self._placings[index].receive(audio, now_s), self._channel_of(index))

    def drop(self, audio: Audio) -> None:
        """Count audio that nobody can hear now; what follows finds a gap. Raises MixedError."""
        index = self._index_of(audio)
        n_bytes = len(audio.payload)
        self._dropped_bytes += n_bytes
        self._severed_bytes[index] = (self._severed_bytes[index] - n_bytes) % self._step_bytes

    def tick(self, now_s: float) -> list[OfChannel]:
        """Let time pass."""
        return [
            OfChannel(placing.tick(now_s), self._channel_of(index))
            for index, placing in enumerate(self._placings)
        ]

    def end(self) -> list[OfChannel]:
        """What is still held: nothing follows."""
        return [
            OfChannel(placing.end(), self._channel_of(index))
            for index, placing in enumerate(self._placings)
        ]

    def in_call_time(self, event: CallEvent) -> CallEvent:
        """The event, as the wire tells the time."""
        if not self._placings:
            return event
        placing = self._placings[event.channel if self._is_apart else 0]
        match event:
            case SpeechStarted(start_ms=start_ms):
                return msgspec.structs.replace(event, start_ms=placing.call_ms(start_ms))
            case SpeechEnded(end_ms=end_ms):
                return msgspec.structs.replace(event, end_ms=placing.call_ms(end_ms, is_end=True))
            case Partial():
                return _moved(event, placing)
            case Final(words=words):
                return msgspec.structs.replace(
                    _moved(event, placing), words=[_moved(word, placing) for word in words]
                )

    def _index_of(self, audio: Audio) -> int:
        if not self._placings:
            self._is_apart = audio.channel is not None or self._n_tracks == 1
            n_placings, n_channels = (self._n_tracks, 1) if self._is_apart else (1, self._n_tracks)
            self._placings = [
                Placing(self._format, n_channels, self._settings, self._begun_s)
                for _ in range(n_placings)
            ]
            self._severed_bytes = [0] * n_placings
            self._step_bytes *= n_channels
        if self._n_tracks > 1 and self._is_apart is (audio.channel is None):
            raise MixedError
        return audio.channel or 0

    def _without_severed(self, audio: Audio, index: int) -> Audio:
        n_bytes = min(self._severed_bytes[index], len(audio.payload))
        self._severed_bytes[index] -= n_bytes
        return replace(audio, payload=audio.payload[n_bytes:])

    def _channel_of(self, index: int) -> int | None:
        return index if self._is_apart else None


def _moved(event: _Spanning, placing: Placing) -> _Spanning:
    return msgspec.structs.replace(
        event,
        start_ms=placing.call_ms(event.start_ms),
        end_ms=placing.call_ms(event.end_ms, is_end=True),
    )
