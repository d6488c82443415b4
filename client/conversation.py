"""PCM and the server's frames in, frames to send and checked events out: our end of the protocol.

Nothing here awaits. A conversation may go over several connections, one after another: `opening`
is the first frame on each, and nothing else is said until the server has answered it. Events that
the server numbers are counted as they come, so that each comes out once. They wait in a backlog
for a reader who may be slow; there a newer caption of the same segment replaces the older one,
which it contains. A backlog that is full of anything else ends the session, as does a frame that
is no event of the protocol.
"""

import re
from collections import deque
from enum import Enum, auto

import msgspec

from client.errors import (
    ClientError,
    ConnectionLostError,
    SessionError,
    SessionGoneError,
    UnusableError,
    clean_text,
)
from client.outgoing import CountError, Outgoing
from server import wire

MAX_UNREAD_EVENTS = 4096
MAX_UNREPORTED_EVENTS = 16
REPORT_INTERVAL_S = 1.0
"""How long the server may have to keep an event that has arrived."""
MAX_GRACE_S = 600.0
ABNORMAL_CLOSE = 1006
"""RFC 6455, section 7.1.5: the connection ended without a close frame."""
BREAK_CODES = (1001, 1005, ABNORMAL_CLOSE, 1012)
"""The connection went, or the server is about to come again: not the session's own end."""

_SESSION_GONE = "session_gone"
_SESSION_GONE_CLOSE = 4410
_KEY = re.compile(r"[\w-]{1,64}", re.ASCII)


class Phase(Enum):
    """Where the conversation stands."""

    STARTING = auto()
    STREAMING = auto()
    STOPPING = auto()
    OVER = auto()


class Conversation:
    """One session seen from the client."""

    def __init__(self, start: wire.Start) -> None:
        self.ready: wire.Ready | None = None
        """Without the key to go on with, which is nobody else's."""
        self.resumption: wire.Resumption | None = None
        """How to go on after a break; None where the server keeps no session."""
        self.outgoing = Outgoing()
        self.is_answered = False
        """Whether the server has answered the opening of this connection."""
        self.shown_token: str | None = None
        """By `refresh`, and not refused so far."""
        self._start_frame = encode_start(start)
        self._is_resumable = start.resumable
        self._phase = Phase.STARTING
        self._unread: deque[wire.ServerEvent] = deque()
        self._n_events = self._n_reported = 0
        self._report_due_s: float | None = None
        self._failure: ClientError | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be heard from the server."""
        return self._phase is Phase.OVER

    @property
    def failure(self) -> ClientError | None:
        """What went wrong, as soon as it is known; None where all was told."""
        return self._failure

    @property
    def wants_audio(self) -> bool:
        """Whether audio may still be sent."""
        return self._phase is Phase.STREAMING

    @property
    def progress(self) -> int:
        """Grows when either side has got something from the other."""
        return self._n_events + self.outgoing.acknowledged_bytes

    def opening(self) -> str:
        """The first frame on a connection."""
        self.is_answered = False
        if self.ready is None:
            return self._start_frame
        return wire.encode(wire.Resume(self._n_events))

    def stop(self) -> None:
        """End the audio, once. Half a sample left over is nothing to hear."""
        if self._phase is Phase.STREAMING:
            self._phase = Phase.STOPPING
            self.outgoing.add(wire.Stop())

    def refresh(self, token: str) -> None:
        """Show a newer token. Raises UnusableError, which does not repeat it."""
        refresh = wire.Refresh(token)
        try:
            wire.decode_client_message(wire.encode(refresh))
        except wire.WireError:
            raise UnusableError("That is no token: it is too long.") from None
        self.shown_token = token
        self.outgoing.add(refresh)

    def take_frame(self, now_s: float) -> bytes | str | None:
        """The next frame to send, if there is one and it is our turn."""
        if not self.is_answered:
            return None
        return self._take_report(now_s) or self.outgoing.take_frame()

    def take_last_report(self) -> str | None:
        """After the last event: the count that lets the server forget the session."""
        return self._take_report(float("inf"))

    def receive_frame(self, frame: str | bytes) -> None:
        """Take in one frame from the server."""
        if self.is_over:
            return
        try:
            event = wire.decode_server_event(_text(frame))
            if isinstance(event, wire.ErrorEvent):
                self._receive_error(event)
            if self.is_answered:
                self._receive_event(event)
            else:
                self._receive_answer(event)
        except (wire.WireError, CountError):
            self._finish(wrong_protocol())

    def receive_close(self, close_code: int) -> None:
        """Take in the end of the connection; only `ended` makes it the end of a session."""
        if self.is_over:
            return
        self.is_answered = False
        can_begin_anew = self._is_resumable and self.ready is None and self._failure is None
        if close_code in BREAK_CODES and (can_begin_anew or self.resumption):
            return
        if close_code == _SESSION_GONE_CLOSE:
            self.give_up(SessionGoneError())
        else:
            message = f"The connection was lost (close code {close_code})."
            self.give_up(ConnectionLostError(message, close_code))

    def give_up(self, error: ClientError) -> None:
        """There will be no other connection; what the server said went wrong comes first."""
        if not self.is_over:
            self._finish(self._failure or error)

    def take_event(self) -> wire.ServerEvent | None:
        """The oldest event not taken yet."""
        return self._unread.popleft() if self._unread else None

    def _take_report(self, now_s: float) -> str | None:
        """How many events have come, when it is time to say so."""
        n_unreported = self._n_events - self._n_reported
        if not n_unreported or self.resumption is None:
            return None
        if self._report_due_s is None:
            self._report_due_s = now_s + REPORT_INTERVAL_S
        if n_unreported < MAX_UNREPORTED_EVENTS and now_s < self._report_due_s:
            return None
        self._n_reported = self._n_events
        self._report_due_s = None
        return wire.encode(wire.EventsReceived(self._n_events))

    def _receive_error(self, event: wire.ErrorEvent) -> None:
        code, message = clean_text(event.code), clean_text(event.message)
        self._failure = SessionError(code, message, event.is_retryable)
        if self.ready is not None and not self.is_answered and event.code == _SESSION_GONE:
            self._failure = SessionGoneError()
        if self._phase is Phase.STREAMING:
            self._phase = Phase.STOPPING

    def _receive_answer(self, event: wire.ServerEvent) -> None:
        match event:
            case wire.Ready() if self.ready is None:
                self.ready = msgspec.structs.replace(event, resume=None)
                if self._is_resumable and _is_kept(event.resume):
                    self.resumption = event.resume
                    self.outgoing.is_kept = True
                self._phase = Phase.STREAMING
                self.is_answered = True
            case wire.Resumed() if self.ready is not None:
                self.outgoing.go_back(event.bytes)
                self._n_reported = self._n_events
                self.is_answered = True
            case wire.ErrorEvent():
                pass
            case wire.Ended() if self._failure is not None:
                self._finish(self._failure)
            case _:
                self._finish(wrong_protocol())

    def _receive_event(self, event: wire.ServerEvent) -> None:
        match event:
            case wire.AudioReceived():
                if self.outgoing.is_kept:
                    self.outgoing.acknowledge(event.bytes)
                return
            case wire.Ready() | wire.Resumed():
                self._finish(wrong_protocol())
                return
            case wire.TokenRefreshed():
                self.outgoing.answer_refresh()
            case wire.RefreshRefused():
                self.outgoing.answer_refresh()
                self.shown_token = None
            case _:
                pass
        self._n_events += 1
        self._keep_event(event)
        if isinstance(event, wire.Ended):
            self._finish(self._failure or _error_of_end(event))

    def _keep_event(self, event: wire.ServerEvent) -> None:
        newest = self._unread[-1] if self._unread else None
        is_newer_caption = (
            isinstance(event, wire.Partial)
            and isinstance(newest, wire.Partial)
            and newest.segment == event.segment
        )
        if is_newer_caption:
            self._unread.pop()
        if len(self._unread) >= MAX_UNREAD_EVENTS:
            self._finish(SessionError("unread_events", "Too many events were left unread."))
            return
        self._unread.append(event)

    def _finish(self, error: ClientError | None) -> None:
        self._phase = Phase.OVER
        self._failure = error


def encode_start(start: wire.Start) -> str:
    """The first frame. Raises UnusableError on settings the protocol does not know."""
    try:
        frame = wire.encode(start)
        wire.decode_client_message(frame)
    except (wire.WireError, TypeError):
        raise UnusableError(
            "Those settings are not possible: the rate is one of 8000, 16000, 24000, 44100 and "
            "48000 Hz, the language a code such as en, the end of speech 200 to 3000 ms, the "
            "context at most 2000 characters."
        ) from None
    return frame


def wrong_protocol() -> SessionError:
    """The error for a peer that says what `earwitness.v1` does not know."""
    return SessionError("wrong_protocol", f"The server does not speak {wire.PROTOCOL}.")


def _is_kept(resume: wire.Resumption | None) -> bool:
    return resume is not None and resume.grace_s > 0 and _KEY.fullmatch(resume.key) is not None


def _error_of_end(event: wire.Ended) -> SessionError | None:
    if event.reason == "stopped":
        return None
    return SessionError(clean_text(event.reason), "The server ended the session.")


def _text(frame: str | bytes) -> str:
    if isinstance(frame, bytes):
        raise wire.WireError("events are text frames")
    return frame
