"""A call's audio in, what a telephone system of one kind sends for it out: messages, and when.

Each `Caller` speaks one wire as its vendor does, as far as a server can tell; sources: the vendors'
documentation, and for Asterisk its real frames. Audio is G.711 mu-law at 8 kHz, a string of bytes
for each party of equal length. AudioHook: `bench.audiohook_caller`.
"""

import base64
import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from server.audio import AudioFormat, Encoding
from server.decode import Decoder

RATE_HZ = 8_000
FRAME_MS = 20
SILENCE = b"\xff"


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls, and what is said."""

    token: str = field(repr=False)
    parties: tuple[bytes, ...] = field(repr=False)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Due:
    """To be sent, once so much of the call has been spoken."""

    at_s: float
    message: str | bytes = field(repr=False)


class Caller(Protocol):
    """One telephone system."""

    name: str
    """Of the bridge, `/v1/bridges/NAME`, too."""
    n_parties: int
    answer: str | None
    """What a message of the server's has in it before audio may be sent."""
    is_closed_by_server: bool
    """After the last message."""

    def query(self, call: Call) -> str:
        """Of the address."""
        ...

    def headers(self, call: Call, url: str, wall_s: float) -> dict[str, str]:
        """Of the upgrade."""
        ...

    def opening(self, call: Call) -> list[str]:
        """Before the answer."""
        ...

    def audio(self, call: Call) -> Iterator[Due]:
        """In order."""
        ...

    def closing(self, call: Call) -> list[str]:
        """After the last frame."""
        ...

    def hear(self, message: str) -> None:
        """Of the server's, if it sends any."""
        ...


@dataclass(frozen=True, slots=True)
class MediaStreams:
    """Media Streams as Twilio and Telnyx speak them: JSON, base64, a party a message; the token in
    Telnyx's header.
    """

    n_parties: int = 1
    name: str = "twilio"
    answer: str | None = None
    is_closed_by_server: bool = False

    def query(self, call: Call) -> str:
        """None: Twilio strips it."""
        return ""

    def headers(self, call: Call, url: str, wall_s: float) -> dict[str, str]:
        """See `Caller`."""
        return {"x-telnyx-streaming-auth-token": call.token}

    def opening(self, call: Call) -> list[str]:
        """See `Caller`."""
        start = {
            "accountSid": "AC0",
            "callSid": call.id,
            "tracks": self._tracks,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE_HZ, "channels": 1},
            "customParameters": {"language": "en-US"},
        }
        return [
            json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}),
            json.dumps(
                {"event": "start", "sequenceNumber": "1", "streamSid": "MZ0", "start": start}
            ),
        ]

    def audio(self, call: Call) -> Iterator[Due]:
        """See `Caller`."""
        number = 1
        for index, frames in enumerate(zip(*map(frames_of, call.parties), strict=True)):
            at_ms = index * FRAME_MS
            for track, frame in zip(self._tracks, frames, strict=True):
                number += 1
                media = {
                    "track": track,
                    "chunk": str(index + 1),
                    "timestamp": str(at_ms),
                    "payload": base64.b64encode(frame).decode(),
                }
                message = {"event": "media", "sequenceNumber": str(number), "media": media}
                yield Due((at_ms + FRAME_MS) / 1000, json.dumps({**message, "streamSid": "MZ0"}))

    def closing(self, call: Call) -> list[str]:
        """See `Caller`."""
        stop = {"accountSid": "AC0", "callSid": call.id}
        return [json.dumps({"event": "stop", "streamSid": "MZ0", "stop": stop})]

    def hear(self, message: str) -> None:
        """Nothing of it matters."""

    @property
    def _tracks(self) -> list[str]:
        return ["inbound", "outbound"][: self.n_parties]


@dataclass(frozen=True, slots=True)
class Asterisk:
    """Asterisk's chan_websocket: `MEDIA_START`, then frames without stamps, the token as the
    password.
    """

    name: str = "asterisk"
    n_parties: int = 1
    answer: str | None = None
    is_closed_by_server: bool = False

    def query(self, call: Call) -> str:
        """See `Caller`."""
        return f"?call={call.id}"

    def headers(self, call: Call, url: str, wall_s: float) -> dict[str, str]:
        """See `Caller`."""
        basic = base64.b64encode(f"jwt:{call.token}".encode()).decode()
        return {"Authorization": f"Basic {basic}"}

    def opening(self, call: Call) -> list[str]:
        """See `Caller`."""
        start = {
            "event": "MEDIA_START",
            "connection_id": "stt1",
            "channel": "WebSocket/stt1/0x7f",
            "channel_id": call.id,
            "format": "ulaw",
            "optimal_frame_size": 160,
            "ptime": FRAME_MS,
            "channel_variables": {},
        }
        return [json.dumps(start)]

    def audio(self, call: Call) -> Iterator[Due]:
        """See `Caller`."""
        for index, frame in enumerate(frames_of(call.parties[0])):
            yield Due((index + 1) * FRAME_MS / 1000, frame)

    def closing(self, call: Call) -> list[str]:
        """None: it closes."""
        return []

    def hear(self, message: str) -> None:
        """Nothing of it matters."""


@dataclass(frozen=True, slots=True)
class Jambonz:
    """The speech vendor's protocol of jambonz: linear samples after a `start`."""

    name: str = "jambonz"
    n_parties: int = 1
    answer: str | None = None
    is_closed_by_server: bool = True

    def query(self, call: Call) -> str:
        """See `Caller`."""
        return f"?call={call.id}"

    def headers(self, call: Call, url: str, wall_s: float) -> dict[str, str]:
        """See `Caller`."""
        return {"Authorization": f"Bearer {call.token}"}

    def opening(self, call: Call) -> list[str]:
        """See `Caller`."""
        start = {
            "type": "start",
            "language": "en-US",
            "format": "raw",
            "encoding": "LINEAR16",
            "interimResults": False,
            "sampleRateHz": RATE_HZ,
            "options": {},
        }
        return [json.dumps(start)]

    def audio(self, call: Call) -> Iterator[Due]:
        """See `Caller`."""
        decoder = Decoder(AudioFormat(Encoding.MULAW, RATE_HZ))
        for index, frame in enumerate(frames_of(call.parties[0])):
            pcm = (decoder.decode(frame) * 32768).astype("<i2").tobytes()
            yield Due((index + 1) * FRAME_MS / 1000, pcm)

    def closing(self, call: Call) -> list[str]:
        """See `Caller`."""
        return [json.dumps({"type": "stop"})]

    def hear(self, message: str) -> None:
        """Nothing of it matters."""


def frames_of(audio: bytes) -> Iterator[bytes]:
    """20 ms each; the last may be short."""
    n_bytes = FRAME_MS * RATE_HZ // 1000
    return (audio[start : start + n_bytes] for start in range(0, len(audio), n_bytes))
