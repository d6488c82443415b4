"""What is said on a call in, the text frames of a telephone provider that streams it out, each with
the time at which it is sent.

The provider's spelling is the flavour's; what goes wrong on the way is the call's options, and all
that is left to chance comes from its seed. Nothing here is shared with what is tested: samples are
encoded by the standard's own rule (ITU-T G.711), not by a table.
"""

import base64
import heapq
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from server.audio import Encoding

Flavour = Literal["twilio", "telnyx", "signalwire", "exotel"]
ENCODINGS = {
    "twilio": {Encoding.MULAW: "audio/x-mulaw"},
    "signalwire": {
        Encoding.MULAW: "audio/x-mulaw",
        Encoding.ALAW: "audio/x-alaw",
        Encoding.PCM_S16LE: "audio/x-l16",
    },
    "telnyx": {Encoding.MULAW: "PCMU", Encoding.ALAW: "PCMA", Encoding.PCM_S16BE: "L16"},
    "exotel": {Encoding.PCM_S16LE: "audio/x-raw", Encoding.MULAW: "audio/x-mulaw;rate=8000"},
}
"""What a flavour calls each that it has; the first is what it sends unless asked otherwise."""
CHUNK_MS = {"twilio": 20, "telnyx": 20, "signalwire": 20, "exotel": 100}
_QUIET = 32
"""Largest sample of what a provider takes for silence."""
_STREAM_ID = "MZ" + "5" * 32
_ACCOUNT_ID = "AC" + "6" * 32
CALLER, CALLEE = "+15550100", "+15550199"


@dataclass(frozen=True, slots=True)
class SimulatedCall:
    """One call, as its provider streams it."""

    flavour: Flavour = "twilio"
    encoding: Encoding | None = None
    """None: the flavour's own."""
    rate_hz: int = 8_000
    call_id: str = "CA" + "7" * 32
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What the start carries for us, such as a token; an expired one is made by the test."""
    connected_token: str | None = None
    """Telnyx: repeated in the first frame."""
    start_late_ms: int = 0
    """How long after the connection the call starts."""
    most_overtaking_chunks: int = 0
    """How many of its track a frame may overtake."""
    drop_share: float = 0.0
    duplicate_share: float = 0.0
    burst_ms: int = 0
    """Frames are held back and sent together, so often."""
    is_silence_sent: bool = True
    is_number_text: bool = True
    """Whether numbers are strings."""
    has_unknown_events: bool = False
    digits: str = ""
    """Keys that the caller presses, before the first word."""
    is_stop_sent: bool = True
    is_hung_up: bool = True
    """Whether the provider closes the connection."""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """Sent at `at_ms` from the connection's begin; None for text: the provider hangs up."""

    at_ms: float
    text: str | None


@dataclass(frozen=True, slots=True)
class _Chunk:
    track: str
    number: int
    begin_ms: int
    payload: bytes
    at_ms: float = 0.0


def frames_of(call: SimulatedCall, parties: Mapping[str, bytes]) -> list[TimedFrame]:
    """The whole call; `parties` is each track's PCM16, little-endian, at the call's rate."""
    random = np.random.default_rng(call.seed)
    begin_ms = float(call.start_late_ms)
    sent = [
        (0.0, _connected(call)),
        (begin_ms, _start(call, list(parties))),
        *((begin_ms, _event(call, "dtmf", {"digit": digit})) for digit in call.digits),
    ]
    tracks = [
        _on_the_way(list(_chunks(call, track, pcm)), call, random) for track, pcm in parties.items()
    ]
    for chunk in heapq.merge(*tracks, key=lambda chunk: chunk.at_ms):
        sent.append((chunk.at_ms, _media(call, chunk)))
        if call.has_unknown_events and random.random() < 0.2:
            sent.append((chunk.at_ms, _event(call, "weather", {"media": 1, "start": ["rain"]})))
    end_ms = sent[-1][0]
    if call.is_stop_sent:
        sent.append((end_ms, _event(call, "stop", _names(call))))
    frames = [
        TimedFrame(at_ms, json.dumps(_numbered(call, number, message), separators=(",", ":")))
        for number, (at_ms, message) in enumerate(sent)
    ]
    return [*frames, TimedFrame(end_ms, None)] if call.is_hung_up else frames


def texts_of(call: SimulatedCall, parties: Mapping[str, bytes]) -> list[str]:
    """The same without times, and without the end of the connection."""
    return [frame.text for frame in frames_of(call, parties) if frame.text is not None]


def encoding_of(call: SimulatedCall) -> Encoding:
    """How the call's samples are sent."""
    return call.encoding or next(iter(ENCODINGS[call.flavour]))


def encode(pcm: bytes, encoding: Encoding) -> bytes:
    """PCM16, little-endian, in another encoding."""
    samples = np.frombuffer(pcm, "<i2").astype(np.int32)
    match encoding:
        case Encoding.PCM_S16LE:
            return pcm
        case Encoding.PCM_S16BE:
            return samples.astype(">i2").tobytes()
        case Encoding.MULAW:
            magnitudes = np.minimum(np.abs(samples), 32635) + 0x84
            codes = ~(np.where(samples < 0, 0x80, 0) | _exponent_and_mantissa(magnitudes))
            return (codes & 0xFF).astype(np.uint8).tobytes()
        case Encoding.ALAW:
            magnitudes = np.where(samples < 0, ~samples, samples)
            codes = np.where(magnitudes < 256, magnitudes >> 4, _exponent_and_mantissa(magnitudes))
            return ((codes | np.where(samples < 0, 0, 0x80)) ^ 0x55).astype(np.uint8).tobytes()


def _exponent_and_mantissa(magnitudes):
    exponents = np.maximum(np.frexp(magnitudes)[1] - 8, 0)
    return exponents << 4 | (magnitudes >> exponents + 3) & 0x0F


def _chunks(call: SimulatedCall, track: str, pcm: bytes) -> Iterator[_Chunk]:
    """Silence that is left out has no number; the last chunk may be short."""
    chunk_ms, number = CHUNK_MS[call.flavour], 0
    step_bytes = call.rate_hz * chunk_ms // 1000 * 2
    for index, begin in enumerate(range(0, len(pcm), step_bytes)):
        part = pcm[begin : begin + step_bytes]
        loudest = np.abs(np.frombuffer(part, "<i2").astype(np.int32)).max()
        if call.is_silence_sent or loudest > _QUIET:
            number += 1
            yield _Chunk(track, number, index * chunk_ms, encode(part, encoding_of(call)))


def _on_the_way(chunks: list[_Chunk], call: SimulatedCall, random) -> Sequence[_Chunk]:
    """What arrives of a track, in the order and at the times in which it does."""
    kept = [chunk for chunk in chunks if random.random() >= call.drop_share]
    doubled = [
        chunk for chunk in kept for _ in range(2 if random.random() < call.duplicate_share else 1)
    ]
    places = [
        chunk.number + random.random() * (call.most_overtaking_chunks + 1) * 0.999
        if call.most_overtaking_chunks
        else chunk.number
        for chunk in doubled
    ]
    order = sorted(range(len(doubled)), key=places.__getitem__)
    return [
        replace(doubled[index], at_ms=_arrival_ms(call, in_turn.begin_ms))
        for index, in_turn in zip(order, doubled, strict=True)
    ]


def _arrival_ms(call: SimulatedCall, begin_ms: int) -> float:
    """A chunk is sent when it has been spoken, or with the burst after that."""
    spoken_ms = begin_ms + CHUNK_MS[call.flavour]
    if call.burst_ms:
        spoken_ms = math.ceil(spoken_ms / call.burst_ms) * call.burst_ms
    return float(call.start_late_ms + spoken_ms)


# --- messages ---


def _spelt(call: SimulatedCall, name: str) -> str:
    """A name in snake_case as the flavour spells it."""
    if call.flavour in {"telnyx", "exotel"}:
        return name
    first, *others = name.split("_")
    return first + "".join(other.title() for other in others)


def _number(call: SimulatedCall, number: int) -> int | str:
    return str(number) if call.is_number_text else number


def _names(call: SimulatedCall) -> dict[str, object]:
    if call.flavour == "telnyx":
        return {
            "user_id": _ACCOUNT_ID,
            "call_control_id": "v2:" + call.call_id,
            "call_session_id": call.call_id,
        }
    return {_spelt(call, "account_sid"): _ACCOUNT_ID, _spelt(call, "call_sid"): call.call_id}


def _numbered(call: SimulatedCall, number: int, message: dict[str, object]) -> dict[str, object]:
    """The first frame of a connection bears neither a number nor the stream's name."""
    if number == 0:
        return message
    numbers = {_spelt(call, "sequence_number"): _number(call, number), **_stream(call)}
    return {"event": message["event"], **numbers, **message}


def _stream(call: SimulatedCall) -> dict[str, object]:
    return {"stream_id" if call.flavour == "telnyx" else _spelt(call, "stream_sid"): _STREAM_ID}


def _event(call: SimulatedCall, event: str, content: dict[str, object]) -> dict[str, object]:
    return {"event": event, event: content}


def _connected(call: SimulatedCall) -> dict[str, object]:
    match call.flavour:
        case "exotel":
            return {"event": "connected"}
        case "telnyx":
            named = {"x-telnyx-streaming-auth-token": call.connected_token}
            return {"event": "connected", "version": "1.0.0"} | (
                named if call.connected_token else {}
            )
    return {"event": "connected", "protocol": "Call", "version": "1.0.0"}


def _start(call: SimulatedCall, tracks: Sequence[str]) -> dict[str, object]:
    names = _names(call) | ({} if call.flavour == "telnyx" else _stream(call))
    media_format: dict[str, object] = {
        "encoding": ENCODINGS[call.flavour][encoding_of(call)],
        _spelt(call, "sample_rate"): _number(call, call.rate_hz),
    }
    if call.flavour == "exotel":
        media_format["bit_rate"] = "16"
    else:
        media_format["channels"] = 1
    if call.flavour in {"twilio", "signalwire"}:
        names["tracks"] = list(tracks)
    else:
        names |= {"from": CALLER, "to": CALLEE}
    names[_spelt(call, "custom_parameters")] = {"agent": "42", **call.parameters}
    return _event(call, "start", {**names, _spelt(call, "media_format"): media_format})


def _media(call: SimulatedCall, chunk: _Chunk) -> dict[str, object]:
    """Exotel names no track."""
    media: dict[str, object] = {} if call.flavour == "exotel" else {"track": chunk.track}
    media["chunk"] = _number(call, chunk.number)
    media["timestamp"] = _number(call, chunk.begin_ms)
    media["payload"] = base64.b64encode(chunk.payload).decode()
    return _event(call, "media", media)
