"""Events of a session in, what its present connection has to write next out, in order.

An event is forgotten when it is written; where the session outlives its connections, not before
the peer has said that it has it, so that the next connection can go on from there. Numbers count
the events after `ready`. What is about one connection has no number, is written first and is never
kept: `ready`, `resumed`, and the newest `audio_received`. Knows no socket and no clock.
"""

from collections import deque

from server import wire


class Outbox:
    """Of one session."""

    def __init__(self, most_waiting: int, most_kept: int) -> None:
        """`most_kept`: of written events whose receipt is not told; with more the session ends with
        its connection.
        """
        self._most_waiting = most_waiting
        self._most_kept = most_kept
        self._answer: wire.ServerEvent | None = None
        self._audio_bytes: int | None = None
        self._events: deque[wire.ServerEvent] = deque()
        self._n_forgotten = 0
        self._n_written = 0
        """Numbered ones, on the present connection or known to be received."""
        self.is_keeping = False
        """Whether written events are kept."""

    @property
    def n_events(self) -> int:
        """Numbered ones, since the beginning."""
        return self._n_forgotten + len(self._events)

    @property
    def is_full(self) -> bool:
        """Whether more would have to wait."""
        return self.n_events - self._n_written >= self._most_waiting

    @property
    def is_delivered(self) -> bool:
        """Whether all is written, and received as far as that is told."""
        return not self._events and self._answer is None

    def keep(self) -> None:
        """The peer tells what it has received, from the beginning."""
        self.is_keeping = True

    def put(self, event: wire.ServerEvent) -> None:
        """Add what the session says."""
        if isinstance(event, wire.Ready):
            self._answer = event
        else:
            self._events.append(event)

    def tell_audio(self, received_bytes: int) -> None:
        """Tell how much audio there is, with the next write."""
        self._audio_bytes = received_bytes

    def next_event(self) -> wire.ServerEvent | None:
        """What is to be written, until `receive_written`."""
        if self._answer is not None:
            return self._answer
        if self._audio_bytes is not None:
            return wire.AudioReceived(self._audio_bytes)
        if self._n_written < self.n_events:
            return self._events[self._n_written - self._n_forgotten]
        return None

    def receive_written(self, event: wire.ServerEvent) -> None:
        """The next event is on the wire."""
        if event is self._answer:
            self._answer = None
        elif isinstance(event, wire.AudioReceived):
            if self._audio_bytes == event.bytes:
                self._audio_bytes = None
        else:
            self._n_written += 1
            n_kept = self._n_written - self._n_forgotten
            if not self.is_keeping or n_kept > self._most_kept:
                self.is_keeping = False
                self._forget(self._n_written)

    def receive_count(self, n_received: int) -> bool:
        """The peer has so many numbered events; False when it cannot."""
        if n_received > self._n_written:
            return False
        if self.is_keeping:
            self._forget(n_received)
        return True

    def go_on(self, n_received: int, received_bytes: int) -> bool:
        """Another connection, to a peer that has so many; False when it cannot, or when what it has
        not is no longer here.
        """
        is_here = self._n_forgotten <= n_received <= self.n_events
        if not self.is_keeping or not is_here:
            return False
        self._forget(n_received)
        self._n_written = n_received
        self._answer = wire.Resumed(received_bytes)
        self._audio_bytes = None
        return True

    def _forget(self, n_events: int) -> None:
        while self._n_forgotten < n_events:
            self._events.popleft()
            self._n_forgotten += 1
