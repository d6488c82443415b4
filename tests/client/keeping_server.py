"""A server of `earwitness.v1` that keeps its session when the connection breaks.

It knows what it has received and what it has said, and what it says about what it hears follows
from the bytes alone: an undisturbed client gets the same events as one whose line breaks all the
time. Anything that the protocol does not allow is an AssertionError.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from server import wire
from tests.client.fake_server import READY, Script, Session, ended, final, partial

KEY = "k" * 22
GRACE_S = 30
FINAL_BYTES = 1000
"""So much audio is a segment."""

Frame = str | bytes


def ready(grace_s=GRACE_S):
    return wire.Ready(
        READY.session_id,
        READY.model,
        READY.language,
        READY.end_of_speech_ms,
        READY.limits,
        wire.Resumption(KEY, grace_s),
    )


@dataclass
class KeptSession:
    """What the server has of one client. `receive` a frame, send what it returns."""

    audio: bytearray = field(default_factory=bytearray)
    flushes: list[int] = field(default_factory=list)
    """Where each stood; the same place twice says nothing."""
    tokens: list[str] = field(default_factory=list)
    starts: list[wire.Start] = field(default_factory=list)
    resumes: list[wire.Resume] = field(default_factory=list)
    events: list[wire.ServerEvent] = field(default_factory=list)
    """All that are numbered."""
    n_received: int = 0
    """Events that the client has."""
    is_open: bool = False
    owner: Session | None = None
    """The newest socket: what another still brings does not count."""
    is_stopped: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether the client has told that it knows how it ended."""
        return self.is_stopped and self.n_received == len(self.events)

    def break_off(self) -> None:
        self.is_open = False

    def receive(self, frame: Frame) -> list[wire.ServerEvent]:
        message = frame if isinstance(frame, bytes) else wire.decode_client_message(frame)
        if not self.is_open:
            return self._open(message)
        n_events = len(self.events)
        match message:
            case bytes():
                assert not self.is_stopped
                self._hear(message)
                return [*self.events[n_events:], wire.AudioReceived(len(self.audio))]
            case wire.Flush():
                assert not self.is_stopped
                if len(self.audio) not in self.flushes:
                    self.flushes.append(len(self.audio))
                    self.events.append(final(len(self.events), f"flushed at {len(self.audio)}"))
            case wire.Refresh():
                if message.token not in self.tokens:
                    self.tokens.append(message.token)
                    self.events.append(wire.TokenRefreshed(len(self.tokens)))
            case wire.Stop() if not self.is_stopped:
                self.is_stopped = True
                self.events += [final(len(self.events), "last words"), ended()]
            case wire.EventsReceived():
                assert self.n_received <= message.events <= len(self.events)
                self.n_received = message.events
        return self.events[n_events:]

    def _open(self, message) -> list[wire.ServerEvent]:
        self.is_open = True
        match message:
            case wire.Start():
                assert message.resumable
                assert not self.audio
                self.starts.append(message)
                return [ready()]
            case wire.Resume():
                assert self.n_received <= message.events <= len(self.events)
                self.resumes.append(message)
                self.n_received = message.events
                return [wire.Resumed(len(self.audio)), *self.events[message.events :]]
        raise AssertionError(message)

    def _hear(self, pcm: bytes) -> None:
        before = len(self.audio) // FINAL_BYTES
        self.audio += pcm
        for segment in range(before, len(self.audio) // FINAL_BYTES):
            heard = bytes(self.audio[segment * FINAL_BYTES : (segment + 1) * FINAL_BYTES])
            self.events += [
                wire.SpeechStarted(segment, segment),
                partial(segment, 0, str(heard[0])),
                wire.SpeechEnded(segment, segment + 1),
                final(segment, str(sum(heard))),
            ]


Cut = Callable[[KeptSession, wire.ServerEvent | None], bool]
"""Asked after each frame (None) and before each event: whether the line breaks now."""


def before(*kinds: type) -> Cut:
    return lambda kept, event: isinstance(event, kinds)


def at_bytes(n_bytes: int) -> Cut:
    return lambda kept, event: len(kept.audio) >= n_bytes


def at_events(n_events: int) -> Cut:
    return lambda kept, event: len(kept.events) >= n_events


def after_stop(kept: KeptSession, event: wire.ServerEvent | None) -> bool:
    return kept.is_stopped


def never(kept: KeptSession, event: wire.ServerEvent | None) -> bool:
    return False


def keeps(kept: KeptSession, *cuts: Cut, in_mid_frame: bool = False) -> Script:
    """Goes on with one session on every socket; each cut is for a socket, those after are whole."""
    left = list(cuts)

    async def script(session: Session) -> None:
        cut = left.pop(0) if left else never
        if kept.owner is not None:
            kept.break_off()
        kept.owner = session
        async for frame in session.socket:
            if kept.owner is not session:
                return
            events = kept.receive(frame)
            for event in (None, *events):
                if cut(kept, event):
                    kept.break_off()
                    if in_mid_frame and event is not None:
                        session.socket.transport.write(
                            b"\x81\x7e\x02\x00" + wire.encode(event)[:5].encode()
                        )
                    session.socket.transport.abort()
                    return
                if event is not None:
                    await session.say(event)
            if kept.is_settled:
                return

    return script
