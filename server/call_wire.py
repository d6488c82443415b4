"""Events of one call, for those who follow it as it is spoken: the messages of
`earwitness.calls.v1`, and their text.

`seq` goes up with the events of a call, from any number, and has gaps: a caption that a newer one,
or the final, has replaced is not told to who comes later. Times are milliseconds of the call's
clock, which begins with its first connection; `at_ms` is when an event was told. `track` counts the
tracks of the call from 0, over all its connections, and `segment` the stretches of speech of one
session: the two together name one. Of one track the events come in the order in which it was
spoken; what two said at the same time comes as it was understood.
"""

from typing import Literal

import msgspec

from server import wire
from server.call_values import Role

PROTOCOL = "earwitness.calls.v1"
"""The WebSocket subprotocol."""


class CallStarted(msgspec.Struct, frozen=True, tag_field="type", tag="call_started"):
    """The first connection has joined."""

    seq: int
    at_ms: int
    call: str
    """The telephone system's name for it."""


class TrackStarted(msgspec.Struct, frozen=True, tag_field="type", tag="track_started"):
    """A party's audio begins."""

    seq: int
    at_ms: int
    track: int
    role: Role
    name: str
    """As the telephone system calls it."""
    session_id: str
    """As in the trail."""


class SpeechStarted(msgspec.Struct, frozen=True, tag_field="type", tag="speech_started"):
    """Somebody began to speak."""

    seq: int
    at_ms: int
    track: int
    role: Role
    segment: int
    start_ms: int


class Partial(msgspec.Struct, frozen=True, tag_field="type", tag="partial"):
    """The open segment so far: `stable + unstable`; see `server.wire`."""

    seq: int
    at_ms: int
    track: int
    role: Role
    segment: int
    revision: int
    start_ms: int
    end_ms: int
    stable: str
    unstable: str


class SpeechEnded(msgspec.Struct, frozen=True, tag_field="type", tag="speech_ended"):
    """The segment is closed; its final follows."""

    seq: int
    at_ms: int
    track: int
    role: Role
    segment: int
    end_ms: int


class Final(msgspec.Struct, frozen=True, tag_field="type", tag="final"):
    """The text of a segment; it never changes again. Empty when no words were in it."""

    seq: int
    at_ms: int
    track: int
    role: Role
    segment: int
    start_ms: int
    end_ms: int
    text: str
    language: str | None
    confidence: float
    words: list[wire.WordEvent]
    word_times: Literal["measured", "estimated"]


class TrackEnded(msgspec.Struct, frozen=True, tag_field="type", tag="track_ended"):
    """No more of this party's audio; its last final was told."""

    seq: int
    at_ms: int
    track: int
    role: Role
    reason: str
    """As a session's end: `stopped`, or the code of what ended it."""


class CallEnded(msgspec.Struct, frozen=True, tag_field="type", tag="call_ended"):
    """The last event."""

    seq: int
    at_ms: int
    reason: str
    """Of the connection that left last."""


class Skipped(msgspec.Struct, frozen=True, tag_field="type", tag="skipped"):
    """What came up to this number is not kept any more."""

    seq: int


CallEvent = (
    CallStarted
    | TrackStarted
    | SpeechStarted
    | Partial
    | SpeechEnded
    | Final
    | TrackEnded
    | CallEnded
    | Skipped
)
Spoken = wire.SpeechStarted | wire.Partial | wire.SpeechEnded | wire.Final
"""What a session says of its audio."""

_encoder = msgspec.json.Encoder()
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""Beyond those that JSON escapes; readers that split text by Unicode's rules end a line there."""


def encode(event: CallEvent | wire.ErrorEvent) -> str:
    """Its JSON, on one line, whatever a reader takes for a line's end."""
    return _encoder.encode(event).decode().translate(_LINE_ENDS)
