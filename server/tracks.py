"""One session's bytes in, of one channel or of several interleaved; of each channel its windows to
score, segments to transcribe and events out.

Every channel is a track of its own, with its own resampler and segments; segments are numbered
across all of them, so that an answer finds its way by its segment's number. A frame may also be of
one channel alone, where a wire brings the parties apart. Not both on one wire: a channel's bytes
must come in order.
"""

from itertools import count

from server.audio import AudioFormat
from server.decode import Deinterleaver
from server.recognition import Hypothesis
from server.track import Track, TrackAction, TrackSettings, TrackStart


class Tracks:
    """Sans-I/O; as `Track`, for all channels."""

    def __init__(
        self, audio_format: AudioFormat, n_channels: int, settings: TrackSettings, start: TrackStart
    ) -> None:
        self._deinterleaver = Deinterleaver(audio_format, n_channels)
        numbers = count()
        self._tracks = [
            Track(audio_format, settings, start, channel, numbers) for channel in range(n_channels)
        ]

    @property
    def n_channels(self) -> int:
        """How many there are."""
        return len(self._tracks)

    @property
    def segments(self) -> int:
        """How many were opened."""
        return sum(track.segments for track in self._tracks)

    @property
    def speech_samples(self) -> int:
        """In closed segments, pre-roll included."""
        return sum(track.speech_samples for track in self._tracks)

    @property
    def unscored_ms(self) -> int:
        """Audio that waits for its scores."""
        return sum(track.unscored_ms for track in self._tracks)

    @property
    def unfinished_ms(self) -> int:
        """Speech in closed segments whose finals have not come."""
        return sum(track.unfinished_ms for track in self._tracks)

    @property
    def is_settled(self) -> bool:
        """After `end`: whether every score and every final has come."""
        return all(track.is_settled for track in self._tracks)

    def actions(self) -> list[TrackAction]:
        """What has to happen, once."""
        return [action for track in self._tracks for action in track.actions()]

    def receive_audio(self, data: bytes, channel: int | None) -> None:
        """Take bytes of the declared format, cut anywhere: of one channel, or of all."""
        if channel is not None:
            self._tracks[channel].receive_audio(data)
            return
        for track, part in zip(self._tracks, self._deinterleaver.split(data), strict=True):
            track.receive_audio(part)

    def flush(self, channel: int | None = None, *, is_answered: bool = False) -> None:
        """Close the open segments where the audio received so far ends."""
        for track in self._tracks if channel is None else [self._tracks[channel]]:
            track.flush(is_answered=is_answered)

    def change_language(self, language: str | None) -> None:
        """What begins from here on is heard in this one."""
        for track in self._tracks:
            track.change_language(language)

    def end(self) -> None:
        """No more audio: everything said must come out."""
        for track in self._tracks:
            track.end()

    def receive_scores(self, probabilities: list[float], channel: int) -> None:
        """The answer to the oldest `Score` of the channel that has none."""
        self._tracks[channel].receive_scores(probabilities)

    def receive_hypothesis(self, segment: int, revision: int, hypothesis: Hypothesis) -> bool:
        """Take a result; False when it fits nothing that is open any more."""
        return any(
            track.receive_hypothesis(segment, revision, hypothesis) for track in self._tracks
        )

    def receive_failure(self, segment: int, revision: int) -> bool:
        """Take the news that a request gave nothing; False when that loses somebody's words."""
        return all(track.receive_failure(segment, revision) for track in self._tracks)
