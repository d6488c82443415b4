"""PCM and words for the server in; frames to send, again from any byte the server asks for, out.

Audio is one run of bytes counted from `start`; what else is said stands at its place in that run.
Nothing is kept by frames: after a break the run is cut anew from the byte that the server names.
What the server has acknowledged is forgotten. A server that keeps no session acknowledges nothing;
for it, what has been sent is forgotten at once.

It refuses a count that cannot be: more than was ever sent, or less than was acknowledged.
"""

from collections import deque
from dataclasses import dataclass

from server import wire

MAX_AUDIO_FRAME_BYTES = 3_200
"""A tenth of a second at 16 kHz: a quota refuses a frame that goes over it whole."""
MAX_KEPT_BYTES = 8_388_608
"""Not acknowledged: over four minutes at 16 kHz."""
MAX_UNSENT_BYTES = 10 * MAX_AUDIO_FRAME_BYTES
"""For a server that keeps no session."""
MARK_BYTES = 256
"""What anything but audio counts for, so that it is bounded, too."""

_SAMPLE_BYTES = 2

Mark = wire.Flush | wire.KeepAlive | wire.Refresh | wire.Stop


class CountError(Exception):
    """The server counted bytes that it cannot have, or wants some that it said it had."""


@dataclass(frozen=True, slots=True)
class _Placed:
    """Something said after so many bytes of audio."""

    at_bytes: int
    mark: Mark


class Outgoing:
    """All that is on its way to the server."""

    def __init__(self) -> None:
        self.is_kept = False
        """Whether the server acknowledges audio, and may ask for it again."""
        self._audio = bytearray()
        """From `_first_bytes` on; half a sample at its end waits for its other half."""
        self._first_bytes = 0
        self._sent_bytes = 0
        self._most_sent_bytes = 0
        """Ever: after a break `_sent_bytes` goes back."""
        self._sent: deque[_Placed] = deque()
        """To be said again after a break, unless the audio behind it has arrived."""
        self._unsent: deque[_Placed] = deque()

    @property
    def acknowledged_bytes(self) -> int:
        """Audio that need not be sent again."""
        return self._first_bytes

    @property
    def kept_bytes(self) -> int:
        """What is held, marks included."""
        return len(self._audio) + MARK_BYTES * (len(self._sent) + len(self._unsent))

    @property
    def is_unacknowledged(self) -> bool:
        """Whether audio was sent that the server has not acknowledged."""
        return self.is_kept and self._sent_bytes > self._first_bytes

    def has_room(self, n_bytes: int) -> bool:
        """Whether so many more may be added."""
        most = MAX_KEPT_BYTES if self.is_kept else MAX_UNSENT_BYTES
        return self.kept_bytes + n_bytes <= most

    def add_audio(self, pcm: bytes | bytearray | memoryview) -> None:
        """More audio, cut anywhere."""
        self._audio += pcm

    def add(self, mark: Mark) -> None:
        """Something to say behind the audio so far; a second `flush` there says nothing more.

        Of several tokens only the newest is kept.
        """
        placed = _Placed(self._whole_bytes, mark)
        match mark:
            case wire.Refresh():
                self._forget_refresh()
            case wire.Flush() | wire.KeepAlive():
                for said in (self._sent, self._unsent):
                    if said and said[-1].at_bytes == placed.at_bytes and placed in said:
                        said.remove(placed)
            case wire.Stop():
                pass
        self._unsent.append(placed)

    def take_frame(self) -> bytes | str | None:
        """The next frame, if there is anything to send."""
        limit_bytes = self._whole_bytes
        if self._unsent:
            first = self._unsent[0]
            if first.at_bytes <= self._sent_bytes:
                return self._take_mark()
            limit_bytes = first.at_bytes
        if self._sent_bytes >= limit_bytes:
            return None
        end_bytes = min(self._sent_bytes + MAX_AUDIO_FRAME_BYTES, limit_bytes)
        end_bytes -= end_bytes % _SAMPLE_BYTES
        start = self._sent_bytes - self._first_bytes
        frame = bytes(self._audio[start : end_bytes - self._first_bytes])
        self._sent_bytes = end_bytes
        self._most_sent_bytes = max(self._most_sent_bytes, end_bytes)
        if not self.is_kept:
            self._forget_audio(end_bytes)
        return frame

    def acknowledge(self, n_bytes: int) -> None:
        """The server has so many bytes. Raises CountError."""
        if n_bytes > self._most_sent_bytes:
            raise CountError
        if n_bytes > self._first_bytes:
            self._forget_audio(n_bytes)
            self._sent_bytes = max(self._sent_bytes, n_bytes)
            self._sent = self._due_from(n_bytes)

    def answer_refresh(self) -> None:
        """The server has judged the token."""
        self._sent = deque(said for said in self._sent if not isinstance(said.mark, wire.Refresh))

    def go_back(self, to_bytes: int) -> None:
        """Send again from there, on another connection. Raises CountError."""
        if not self._first_bytes <= to_bytes <= self._most_sent_bytes:
            raise CountError
        self.acknowledge(to_bytes)
        self._sent_bytes = to_bytes
        again = self._due_from(to_bytes)
        again.extend(said for said in self._unsent if not isinstance(said.mark, wire.KeepAlive))
        self._sent, self._unsent = deque(), again

    @property
    def _whole_bytes(self) -> int:
        """Where the last whole sample ends."""
        end_bytes = self._first_bytes + len(self._audio)
        return end_bytes - end_bytes % _SAMPLE_BYTES

    def _take_mark(self) -> str:
        placed = self._unsent.popleft()
        if self.is_kept and not isinstance(placed.mark, wire.KeepAlive):
            self._sent.append(placed)
        return wire.encode(placed.mark)

    def _due_from(self, n_bytes: int) -> deque[_Placed]:
        """What was sent and is to be said again if the server has only so many bytes."""
        return deque(
            said
            for said in self._sent
            if said.at_bytes >= n_bytes or not isinstance(said.mark, wire.Flush)
        )

    def _forget_audio(self, until_bytes: int) -> None:
        del self._audio[: until_bytes - self._first_bytes]
        self._first_bytes = until_bytes

    def _forget_refresh(self) -> None:
        self._sent, self._unsent = (
            deque(said for said in many if not isinstance(said.mark, wire.Refresh))
            for many in (self._sent, self._unsent)
        )
