"""PCM and the server's frames in, frames to send and checked events out: our end of the protocol.

Nothing here awaits. Audio may be cut anywhere: half a sample is kept back until its other half
comes, so that every frame holds whole samples, and long buffers go out as several frames. Events
wait in a backlog for a reader who may be slow; there a newer caption of the same segment replaces
the older one, which it contains. A backlog that is full of anything else ends the session, as does
a frame that is no event of the protocol.
"""

from collections import deque
from enum import Enum, auto

from client.errors import (
    ClientError,
    ConnectionLostError,
    SessionError,
    UnusableError,
    clean_text,
)
from server import wire

MAX_AUDIO_FRAME_BYTES = 16_384
"""About half a second at 16 kHz; no server has to take messages longer than that."""
MAX_UNREAD_EVENTS = 4096
ABNORMAL_CLOSE = 1006
"""RFC 6455, section 7.1.5: the connection ended without a close frame."""

_SAMPLE_BYTES = 2


class Phase(Enum):
    """Where the conversation stands."""

    STARTING = auto()
    STREAMING = auto()
    STOPPING = auto()
    OVER = auto()


class Conversation:
    """One session seen from the client."""

    def __init__(self, start: wire.Start) -> None:
        self.start_frame = encode_start(start)
        self.ready: wire.Ready | None = None
        self._phase = Phase.STARTING
        self._half_sample = b""
        self._unread: deque[wire.ServerEvent] = deque()
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

    def encode_audio(self, pcm: bytes | bytearray | memoryview) -> list[bytes]:
        """The frames for more audio: whole samples, none of them long."""
        whole = self._half_sample + pcm
        end = len(whole) - len(whole) % _SAMPLE_BYTES
        self._half_sample = whole[end:]
        starts = range(0, end, MAX_AUDIO_FRAME_BYTES)
        return [whole[at : min(at + MAX_AUDIO_FRAME_BYTES, end)] for at in starts]

    def encode_stop(self) -> list[str]:
        """The frame that ends the audio, once. Half a sample left over is nothing to hear."""
        if self._phase is not Phase.STREAMING:
            return []
        self._phase = Phase.STOPPING
        return [wire.encode(wire.Stop())]

    def receive_frame(self, frame: str | bytes) -> None:
        """Take in one frame from the server."""
        if self.is_over:
            return
        try:
            event = wire.decode_server_event(_text(frame))
        except wire.WireError:
            self._finish(wrong_protocol())
            return
        if isinstance(event, wire.ErrorEvent):
            self._receive_error(event)
        if self._phase is Phase.STARTING:
            self._receive_answer(event)
        else:
            self._receive_event(event)

    def receive_close(self, close_code: int) -> None:
        """Take in the end of the connection; only `ended` makes it the end of a session."""
        if self.is_over:
            return
        message = f"The connection was lost (close code {close_code})."
        self._finish(self._failure or ConnectionLostError(message, close_code))

    def take_event(self) -> wire.ServerEvent | None:
        """The oldest event not taken yet."""
        return self._unread.popleft() if self._unread else None

    def _receive_error(self, event: wire.ErrorEvent) -> None:
        code, message = clean_text(event.code), clean_text(event.message)
        self._failure = SessionError(code, message, event.is_retryable)
        if self._phase is Phase.STREAMING:
            self._phase = Phase.STOPPING

    def _receive_answer(self, event: wire.ServerEvent) -> None:
        match event:
            case wire.Ready():
                self.ready = event
                self._phase = Phase.STREAMING
            case wire.ErrorEvent():
                pass
            case wire.Ended() if self._failure is not None:
                self._finish(self._failure)
            case _:
                self._finish(wrong_protocol())

    def _receive_event(self, event: wire.ServerEvent) -> None:
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
        if isinstance(event, wire.Ended):
            self._finish(self._failure or _error_of_end(event))

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


def encode_refresh(token: str) -> str:
    """The frame that shows a newer token. Raises UnusableError, which does not repeat it."""
    frame = wire.encode(wire.Refresh(token))
    try:
        wire.decode_client_message(frame)
    except wire.WireError:
        raise UnusableError("That is no token: it is too long.") from None
    return frame


def wrong_protocol() -> SessionError:
    """The error for a peer that says what `earwitness.v1` does not know."""
    return SessionError("wrong_protocol", f"The server does not speak {wire.PROTOCOL}.")


def _error_of_end(event: wire.Ended) -> SessionError | None:
    if event.reason == "stopped":
        return None
    return SessionError(clean_text(event.reason), "The server ended the session.")


def _text(frame: str | bytes) -> str:
    if isinstance(frame, bytes):
        raise wire.WireError("events are text frames")
    return frame
