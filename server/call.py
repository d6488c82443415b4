"""What the connections of one call hear in; its events, numbered and kept for whoever reads them,
out.

Readers have no queues here: each asks for what comes after the number that it has. A caption that
a newer one or the final has replaced is taken out, so that who reads slowly gets the latest one,
and who comes late the finals and no noise. What is kept has a bound in events and in bytes; who
asks for what was beyond it is told so. A call is over when its last connection has left and none
has joined for a while: the second party's socket may come after the first one's has gone.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated

from annotated_types import Ge, Gt

from server import call_wire, wire
from server.call_values import CallTrack, Role


@dataclass(frozen=True, slots=True)
class CallsSettings:
    """How many calls and readers there may be, how much is kept of a call, and for how long."""

    most_calls: Annotated[int, Ge(1)] = 1000
    """Those that are over and still kept too, as long as there is room for them."""
    most_kept_events: Annotated[int, Ge(16)] = 8192
    """Of one call."""
    most_kept_bytes: Annotated[int, Ge(65_536)] = 2 << 20
    """Of one call: what two people say in more than an hour."""
    rejoin_s: Annotated[float, Ge(0)] = 5.0
    """How long a call without connections waits for another."""
    kept_s: Annotated[float, Ge(0)] = 30.0
    """How long its words can be read after its end."""
    wait_s: Annotated[float, Ge(0)] = 30.0
    """How long who asks for a call that has not begun waits for it."""
    most_readers: Annotated[int, Ge(1)] = 512
    most_readers_of_subject: Annotated[int, Ge(1)] = 64
    most_readers_of_call: Annotated[int, Ge(1)] = 16
    outbox_events: Annotated[int, Ge(16)] = 512
    """That may come while a reader reads nothing; then it is closed, and may come back for them."""
    write_limit_s: Annotated[float, Gt(0)] = 20.0
    """For one event to get onto the wire of a WebSocket."""
    keep_alive_s: Annotated[float, Gt(0)] = 15.0
    """Between two signs of life on a stream of events."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An event, as it is told."""

    seq: int
    text: str = field(repr=False)
    """JSON, on one line."""

    @property
    def n_bytes(self) -> int:
        """On the wire: a character may be four."""
        return len(self.text.encode())


@dataclass(frozen=True, slots=True)
class _Place:
    """Of a track in the call."""

    number: int
    track: CallTrack


class Call:
    """One; times are monotonic seconds, all by one clock."""

    def __init__(
        self,
        call_id: str,
        settings: CallsSettings,
        now_s: float,
        tell: Callable[[], None],
        first_seq: int = 1,
    ) -> None:
        """`tell` is called when there is something new to read."""
        self._settings = settings
        self._started_s = now_s
        self._tell = tell
        self._next_seq = first_seq
        self._kept: list[Kept] = []
        self._kept_bytes = 0
        self._forgotten_seq = 0
        """Of the newest event that had to go for want of room."""
        self._partials: dict[tuple[int, int], int] = {}
        """By track and segment: the number of the caption that no other has replaced yet."""
        self._n_tracks = self._n_seats = 0
        self._reason = ""
        self._vacant_s = now_s
        self.over_s: float | None = None
        """When it was over; None: it is not."""
        self._keep(call_wire.CallStarted(self._next_seq, 0, call_id))

    @property
    def last_seq(self) -> int:
        """Of the newest event."""
        return self._next_seq - 1

    @property
    def is_vacant(self) -> bool:
        """Whether nobody is connected."""
        return self._n_seats == 0

    def join(self, session_id: str, tracks: Sequence[CallTrack], now_s: float) -> "CallSeat":
        """A connection takes part, with these channels, from now on; the call is not over."""
        places = [_Place(self._n_tracks + index, track) for index, track in enumerate(tracks)]
        self._n_tracks += len(places)
        self._n_seats += 1
        at_ms = self.at_ms(now_s)
        for place in places:
            about = (self._next_seq, at_ms, place.number, place.track.role)
            self._keep(call_wire.TrackStarted(*about, place.track.name, session_id))
        return CallSeat(self, places, at_ms)

    def tick(self, now_s: float, rejoin_s: float) -> None:
        """Let time pass: who left may have been the last, unless somebody joins within so long."""
        if self.over_s is None and self.is_vacant and now_s >= self._vacant_s + rejoin_s:
            self.over_s = now_s
            self._keep(call_wire.CallEnded(self._next_seq, self.at_ms(now_s), self._reason))

    def next_after(self, seq: int) -> Kept | None:
        """What to read next by who has everything up to a number; None: nothing yet, and nothing
        more if it is over.
        """
        if seq < self._forgotten_seq:
            skipped = call_wire.Skipped(self._forgotten_seq)
            return Kept(self._forgotten_seq, call_wire.encode(skipped))
        at = self._at_after(seq)
        return self._kept[at] if at < len(self._kept) else None

    def count_after(self, seq: int) -> int:
        """How many events there are to read for who has everything up to a number."""
        return len(self._kept) - self._at_after(seq)

    # --- for seats ---

    def at_ms(self, now_s: float) -> int:
        """By the call's own clock."""
        return max(0, round((now_s - self._started_s) * 1000))

    def receive(self, place: _Place, offset_ms: int, event: call_wire.Spoken, now_s: float) -> None:
        """A session says this of a track; its own clock began so long after the call's."""
        about = (self._next_seq, self.at_ms(now_s), place.number, place.track.role, event.segment)
        told = _told(about, offset_ms, event)
        key = (place.number, event.segment)
        if isinstance(event, wire.Partial | wire.Final):
            self._take_out(self._partials.pop(key, None))
        if isinstance(event, wire.Partial):
            self._partials[key] = told.seq
        self._keep(told)

    def receive_left(self, places: Sequence[_Place], reason: str, now_s: float) -> None:
        """A connection takes part no more."""
        at_ms = self.at_ms(now_s)
        for place in places:
            about = (self._next_seq, at_ms, place.number, place.track.role)
            self._keep(call_wire.TrackEnded(*about, reason))
            self._forget_captions(place.number)
        self._n_seats -= 1
        self._vacant_s, self._reason = now_s, reason

    def _forget_captions(self, track: int) -> None:
        """Of segments that will have no final: the last caption stays what is known of them."""
        self._partials = {key: seq for key, seq in self._partials.items() if key[0] != track}

    def _keep(self, event: call_wire.CallEvent) -> None:
        kept = Kept(self._next_seq, call_wire.encode(event))
        self._next_seq += 1
        self._kept.append(kept)
        self._kept_bytes += kept.n_bytes
        most = self._settings
        while len(self._kept) > most.most_kept_events or self._kept_bytes > most.most_kept_bytes:
            oldest = self._kept.pop(0)
            self._kept_bytes -= oldest.n_bytes
            self._forgotten_seq = oldest.seq
        self._tell()

    def _take_out(self, seq: int | None) -> None:
        """Of a caption that has been replaced, unless it had to go before."""
        if seq is None or seq <= self._forgotten_seq:
            return
        at = self._at_after(seq) - 1
        self._kept_bytes -= self._kept.pop(at).n_bytes

    def _at_after(self, seq: int) -> int:
        return bisect_right(self._kept, seq, key=attrgetter("seq"))


class CallSeat:
    """Of one connection, whose channels are tracks of the call."""

    def __init__(self, call: Call, places: Sequence[_Place], offset_ms: int) -> None:
        self._call = call
        self._places = places
        self._offset_ms = offset_ms
        self._has_left = False

    def say(self, channel: int, event: call_wire.Spoken, now_s: float) -> None:
        """What the session said of a channel. Nothing is heard of who has left."""
        if not self._has_left:
            self._call.receive(self._places[channel], self._offset_ms, event, now_s)

    def leave(self, reason: str, now_s: float) -> None:
        """After the last words; `reason`: a constant, as in the session's end. Once is enough."""
        if not self._has_left:
            self._has_left = True
            self._call.receive_left(self._places, reason, now_s)


_About = tuple[int, int, int, Role, int]


def _told(
    about: _About, offset_ms: int, event: call_wire.Spoken
) -> call_wire.SpeechStarted | call_wire.Partial | call_wire.SpeechEnded | call_wire.Final:
    """By the call's clock."""
    match event:
        case wire.SpeechStarted():
            return call_wire.SpeechStarted(*about, event.start_ms + offset_ms)
        case wire.SpeechEnded():
            return call_wire.SpeechEnded(*about, event.end_ms + offset_ms)
        case wire.Partial():
            span = (event.start_ms + offset_ms, event.end_ms + offset_ms)
            return call_wire.Partial(*about, event.revision, *span, event.stable, event.unstable)
        case wire.Final():
            return call_wire.Final(
                *about,
                event.start_ms + offset_ms,
                event.end_ms + offset_ms,
                event.text,
                event.language,
                event.confidence,
                [_moved(word, offset_ms) for word in event.words],
                event.word_times,
            )


def _moved(word: wire.WordEvent, offset_ms: int) -> wire.WordEvent:
    span = (word.start_ms + offset_ms, word.end_ms + offset_ms)
    return wire.WordEvent(word.text, *span, word.confidence)
