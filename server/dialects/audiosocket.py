"""Bytes of Asterisk's AudioSocket, a wire of its own over TCP, in; a call's opening, its audio and
its end out.

A message is its kind, the length of its payload and the payload. The first one holds a UUID: the
wire has nothing else to say who calls, so the UUID is the ticket, and what call it is, the ticket
knows. Only the kind of the audio says its rate, and Asterisk sends none for a party that says
nothing, so the call opens with the first message of audio and not with the UUID. Bytes are taken as
they come: no message is ever held whole, the most that is held are the bytes of the UUID. Audio is
heard from the first message that begins after the bridge has admitted the call, so that it begins
with a whole sample. No words go down this wire: Asterisk ends a call for a message that it does not
know.

Refused: anything before the UUID, a second UUID, another rate in the middle of a call, half
samples. Kinds that nobody here knows are skipped. Keys that a caller presses are never read.
"""

from enum import Enum, auto
from uuid import UUID

from server import errors
from server.audio import AudioFormat, Encoding
from server.dialects.values import (
    Admitted,
    Audio,
    Close,
    Ended,
    Fault,
    Frame,
    Heard,
    Opening,
    Stopped,
    Told,
)

TRACK = "inbound"
"""The one party that a connection is of; the wire has no name for it."""
KEEP_ALIVE = b"\x10\x01\x40" + bytes(320)
"""20 ms of silence. The dialplan's `AudioSocket` gives a call up after 2 s in which nothing went
either way.
"""
KEEP_ALIVE_S = 1.0
"""How often it has to be sent, from the connection on: before anybody has been admitted, too."""

_HEADER_BYTES = 3
_HANGUP, _UUID, _ERROR = 0x00, 0x01, 0xFF
_END = bytes(_HEADER_BYTES)
"""A hang-up without payload: the dialplan goes on."""
_UUID_BYTES = 16
_RATES_HZ = dict(
    enumerate((8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000), start=0x10)
)
"""By the kind of the audio."""
_SAMPLE_BYTES = 2


class _State(Enum):
    CONNECTED = auto()
    NAMED = auto()
    """The UUID is known, or on its way."""
    OPENED = auto()
    """Who calls is being checked; audio is skipped."""
    ADMITTED = auto()
    OVER = auto()


class AudioSocket:
    """One connection: one party of one call."""

    def __init__(self) -> None:
        self._state = _State.CONNECTED
        self._held = b""
        """Of a header, or of the UUID, what has come."""
        self._kind = _HANGUP
        self._left_bytes = 0
        """Of the payload, what is still to come."""
        self._is_heard = False
        """Whether the payload is audio that began after the admission."""
        self._ticket: str | None = None
        self._rate_hz: int | None = None

    def receive(self, frame: str | bytes) -> list[Heard]:
        """What the next bytes say."""
        if self._state is _State.OVER:
            return []
        if isinstance(frame, str):
            return self._fail("text_frame")
        return self._receive_bytes(frame)

    def tell(self, told: Told) -> list[Frame]:
        """Nothing but the end: this wire carries no text."""
        match told:
            case Admitted() if self._state is _State.OPENED:
                self._state = _State.ADMITTED
            case Ended(refusal):
                self._state = _State.OVER
                return [_END, Close(refusal.close_code if refusal else 1000)]
            case _:
                pass
        return []

    def _receive_bytes(self, frame: bytes) -> list[Heard]:
        heard: list[Heard] = []
        sound: list[bytes] = []
        start = 0
        while start < len(frame) and self._state is not _State.OVER:
            n_wanted = self._left_bytes or _HEADER_BYTES - len(self._held)
            piece = frame[start : start + n_wanted]
            start += len(piece)
            if not self._left_bytes:
                heard += self._receive_header(piece)
                continue
            self._left_bytes -= len(piece)
            if self._is_heard:
                sound.append(piece)
            elif self._kind == _UUID:
                self._receive_uuid(piece)
        # Audio of a call that is admitted comes before its end, and after nothing else.
        return [Audio(b"".join(sound), 0), *heard] if sound else heard

    def _receive_header(self, piece: bytes) -> list[Heard]:
        self._held += piece
        if len(self._held) < _HEADER_BYTES:
            return []
        self._kind = self._held[0]
        self._left_bytes = int.from_bytes(self._held[1:], "big")
        self._held = b""
        self._is_heard = self._state is _State.ADMITTED and self._kind in _RATES_HZ
        if self._state is _State.CONNECTED:
            if (self._kind, self._left_bytes) != (_UUID, _UUID_BYTES):
                return self._fail("uuid_missing")
            self._state = _State.NAMED
            return []
        return self._begin()

    def _receive_uuid(self, piece: bytes) -> None:
        self._held += piece
        if not self._left_bytes:
            self._ticket = str(UUID(bytes=self._held))
            self._held = b""

    def _begin(self) -> list[Heard]:
        """A message after the first begins."""
        if self._kind in {_HANGUP, _ERROR}:
            self._state = _State.OVER
            return [Stopped()]
        if self._kind == _UUID:
            return self._fail("second_uuid")
        rate_hz = _RATES_HZ.get(self._kind)
        if rate_hz is None:
            return []
        if self._left_bytes % _SAMPLE_BYTES:
            return self._fail("audio_malformed")
        if self._rate_hz is None:
            return [self._open(rate_hz)]
        return [] if rate_hz == self._rate_hz else self._fail("rate_changed")

    def _open(self, rate_hz: int) -> Opening:
        self._state, self._rate_hz = _State.OPENED, rate_hz
        ticket, self._ticket = self._ticket, None
        return Opening((TRACK,), AudioFormat(Encoding.PCM_S16LE, rate_hz), ticket=ticket)

    def _fail(self, reason: str) -> list[Heard]:
        self._state = _State.OVER
        return [Fault(errors.BAD_REQUEST, reason)]
