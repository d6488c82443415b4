"""Events in; how far a file has been heard, and how long the rest will take, out.

In real time the clock knows, because the audio goes out by it. Faster than that, what was sent says
little, since much of it waits in sockets; what the server has told about is what was heard. A file
whose head does not tell its length has no share.
"""

from collections.abc import Callable

from client.cells import clean
from server.wire import Ended, Final, Partial, ServerEvent, SpeechEnded, SpeechStarted

BAR_CELLS = 24
LEAST_SHARE = 0.02
"""Before that, how fast it goes is not known."""


class Progress:
    """Of one file, or of one microphone, which has no length."""

    def __init__(
        self,
        name: str,
        audio_ms: int,
        n_channels: int,
        *,
        is_real_time: bool,
        clock: Callable[[], float],
    ) -> None:
        self.name = clean(name)
        self._audio_ms = audio_ms
        """0 if it is not known."""
        self._n_channels = n_channels
        self._is_real_time = is_real_time
        self._clock = clock
        """Monotonic, in seconds."""
        self._started_s = clock()
        self._heard_ms: dict[str | None, int] = {}

    @property
    def elapsed_s(self) -> float:
        """Since it was made."""
        return self._clock() - self._started_s

    @property
    def share(self) -> float | None:
        """What was heard, 0 to 1."""
        if self._audio_ms <= 0:
            return None
        if self._is_real_time:
            heard_ms = self.elapsed_s * 1000
        else:
            heard_ms = sum(self._heard_ms.values()) / self._n_channels
        return min(heard_ms / self._audio_ms, 1.0)

    @property
    def left_s(self) -> float | None:
        """How long it will take from now."""
        share = self.share
        if share is None or share < LEAST_SHARE:
            return None
        return self.elapsed_s * (1 - share) / share

    def receive_event(self, channel: str | None, event: ServerEvent) -> None:
        """Take in what the server said."""
        match event:
            case SpeechStarted():
                heard_ms = event.start_ms
            case Partial() | SpeechEnded() | Final():
                heard_ms = event.end_ms
            case Ended():
                heard_ms = self._audio_ms
            case _:
                return
        heard_ms = min(heard_ms, self._audio_ms)
        self._heard_ms[channel] = max(heard_ms, self._heard_ms.get(channel, 0))

    def line(self) -> str:
        """For a terminal without rich."""
        share = self.share
        if share is None:
            return f"{self.name}  {spell_time(self.elapsed_s)}"
        n_full = round(share * BAR_CELLS)
        bar = "█" * n_full + "░" * (BAR_CELLS - n_full)
        return f"{self.name}  {bar} {share:4.0%}{self.spell_left()}"

    def spell_left(self) -> str:
        """As it stands behind the bar."""
        left_s = self.left_s
        return "" if left_s is None else f"  {spell_time(left_s)} left"


def spell_time(duration_s: float) -> str:
    """Minutes and seconds, and hours if there are any."""
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
