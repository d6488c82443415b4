"""Frames of Asterisk's external applications, AEAP, as its speech-to-text speaks it, in; a call's
opening, its audio and its language, and the answers that Asterisk waits for, out. Back go finals,
each as the results of a turn, which the dialplan reads as `SPEECH_TEXT(0)`.

Asterisk waits a second for the answer to each of its requests; that to `setup` is sent once the
bridge has admitted the call, so that no call is spoken into nothing. A call that is refused is
closed without an answer: Asterisk 22.10 was seen to crash, with all of its calls, at the close of a
connection whose `setup` had been answered with an error. A final without words is not told, for
results end the caller's turn, and noise must not. Asterisk calls linear samples `slin` at every
rate: where they are not 8 kHz, `@sample_rate_hz` in its aeap.conf says so. `@token` or `@ticket`
there say who calls, where the address does not, and `@language` what is spoken.

Refused: requests before `setup` and while it is not answered, a second one, audio before it, codecs
that are not G.711 or linear samples, whatever cannot be read. What Asterisk sets besides the
language is acknowledged and never read: among it are keys that a caller presses.
"""

from enum import Enum, auto
from typing import Annotated

import msgspec

from server import errors, wire
from server.audio import ACCEPTED_RATES_HZ, AudioFormat, Encoding
from server.dialects.values import (
    MOST_ID_CHARS,
    Admitted,
    Audio,
    Close,
    Ended,
    Fault,
    Frame,
    Heard,
    LanguageChanged,
    Opening,
    Reply,
    Said,
    Told,
    language_of,
)

SUBPROTOCOL = "speech_to_text"
"""What Asterisk offers, and is given back."""
TRACK = "inbound"
"""The one party that a connection is of; the wire has no name for it."""

Name = Annotated[str, msgspec.Meta(max_length=MOST_ID_CHARS)]
Credential = Annotated[str, msgspec.Meta(max_length=wire.MAX_TOKEN_CHARS)]

_MOST_NAMES = 32
"""In a list of codecs, or of parameters."""
_MOST_TEXT_CHARS = 4096
"""Of a result: Asterisk ends a connection whose message is past 32 KiB, and a character in JSON
takes up to six bytes.
"""
_NARROW_BAND_HZ = 8_000
_ENCODINGS = {"ulaw": Encoding.MULAW, "alaw": Encoding.ALAW, "slin": Encoding.PCM_S16LE}
_UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)


# --- what is on the wire; fields that are not named here are skipped ---


class _Frame(msgspec.Struct, frozen=True):
    request: Name | None = None
    """None: an answer to what was asked of Asterisk."""
    id: Name = ""
    codecs: msgspec.Raw = msgspec.Raw(b"[]")
    params: msgspec.Raw = msgspec.Raw(b"{}")


class _Codec(msgspec.Struct, frozen=True):
    name: Name


class _Parameters(msgspec.Struct, frozen=True):
    """Of `setup`, as they stand in aeap.conf."""

    token: Credential | None = None
    ticket: Credential | None = None
    language: Name | None = None
    sample_rate_hz: int = _NARROW_BAND_HZ
    """Of linear samples; read from a string, as all of them are."""


class _Setting(msgspec.Struct, frozen=True):
    language: Name | None = None


class _Result(msgspec.Struct, frozen=True):
    text: str
    score: int
    """0 to 100."""
    best: int = 0
    """Which of several readings it is."""
    grammar: str = ""


class _Results(msgspec.Struct, frozen=True):
    results: list[_Result]


class _Set(msgspec.Struct, frozen=True):
    id: str
    params: _Results
    request: str = "set"


class _Response(msgspec.Struct, frozen=True, omit_defaults=True):
    response: str
    id: str
    codecs: list[_Codec] = []
    params: _Results | None = None
    error_msg: str = ""


_frame_decoder = msgspec.json.Decoder(_Frame)
_codecs_decoder = msgspec.json.Decoder(
    Annotated[list[_Codec], msgspec.Meta(max_length=_MOST_NAMES)]
)
_parameters_decoder = msgspec.json.Decoder(_Parameters, strict=False)
_setting_decoder = msgspec.json.Decoder(_Setting)
_names_decoder = msgspec.json.Decoder(Annotated[list[Name], msgspec.Meta(max_length=_MOST_NAMES)])


class _State(Enum):
    CONNECTED = auto()
    OPENED = auto()
    """Who calls is being checked; audio is skipped, and `setup` waits for its answer."""
    ADMITTED = auto()
    OVER = auto()


class Aeap:
    """One connection: one party of one call, for as long as its dialplan wants to understand it."""

    def __init__(self) -> None:
        self._state = _State.CONNECTED
        self._setup_id = ""
        self._codecs: list[_Codec] = []
        """The one that is taken."""
        self._n_sets = 0
        self._so_far = ""
        """What is being said: a dialplan may ask for it when its time is over."""

    def receive(self, frame: str | bytes) -> list[Heard]:
        """What a frame says."""
        if self._state is _State.OVER:
            return []
        if isinstance(frame, bytes):
            return self._receive_audio(frame)
        try:
            decoded = _frame_decoder.decode(frame)
        except _UNREADABLE:
            return self._fail("frame_malformed")
        return self._receive_request(decoded, decoded.request) if decoded.request else []

    def tell(self, told: Told) -> list[Frame]:
        """The answer to `setup`, finals as results, and the end."""
        match told:
            case Admitted() if self._state is _State.OPENED:
                self._state = _State.ADMITTED
                return [_text(_Response("setup", self._setup_id, self._codecs))]
            case Said(event=wire.Partial(stable=stable, unstable=unstable)):
                self._so_far = stable + unstable
            case Said(event=wire.Final(text=text, confidence=confidence)):
                self._so_far = ""
                return self._set_results(text, confidence)
            case Ended(refusal):
                self._state = _State.OVER
                return [Close(refusal.close_code if refusal else 1000)]
            case _:
                pass
        return []

    def _receive_audio(self, payload: bytes) -> list[Heard]:
        if self._state is _State.CONNECTED:
            return self._fail("audio_early")
        is_heard = payload and self._state is _State.ADMITTED
        return [Audio(payload, 0)] if is_heard else []

    def _receive_request(self, frame: _Frame, request: str) -> list[Heard]:
        if self._state is _State.ADMITTED:
            return self._answer(frame, request)
        if self._state is _State.OPENED or request != "setup":
            return self._fail("request_early")
        return self._open(frame)

    def _open(self, frame: _Frame) -> list[Heard]:
        try:
            codecs = _codecs_decoder.decode(frame.codecs)
            parameters = _parameters_decoder.decode(frame.params)
        except _UNREADABLE:
            return self._fail("setup_malformed")
        codec = next((codec for codec in codecs if codec.name in _ENCODINGS), None)
        if codec is None:
            return self._fail("codec_unsupported", errors.AUDIO_UNREADABLE)
        encoding = _ENCODINGS[codec.name]
        is_linear = encoding is Encoding.PCM_S16LE
        rate_hz = parameters.sample_rate_hz if is_linear else _NARROW_BAND_HZ
        if rate_hz not in ACCEPTED_RATES_HZ:
            return self._fail("rate_unsupported", errors.AUDIO_UNREADABLE)
        self._state = _State.OPENED
        self._setup_id, self._codecs = frame.id, [codec]
        return [
            Opening(
                tracks=(TRACK,),
                audio_format=AudioFormat(encoding, rate_hz),
                language=language_of(parameters.language),
                token=parameters.token,
                ticket=parameters.ticket,
            )
        ]

    def _answer(self, frame: _Frame, request: str) -> list[Heard]:
        """A request of a call that is admitted."""
        try:
            match request:
                case "setup":
                    return self._fail("second_setup")
                case "set":
                    language = language_of(_setting_decoder.decode(frame.params).language)
                    answer = _Response(request, frame.id)
                    return [_reply(answer), *([LanguageChanged(language)] if language else [])]
                case "get" if "results" in _names_decoder.decode(frame.params):
                    results = [_result(self._so_far, 0.0)] if self._so_far else []
                    return [_reply(_Response(request, frame.id, params=_Results(results)))]
                case _:
                    return [_reply(_Response(request, frame.id, error_msg="Not known here."))]
        except _UNREADABLE:
            return [_reply(_Response(request, frame.id, error_msg="Malformed parameters."))]

    def _set_results(self, text: str, confidence: float) -> list[Frame]:
        if not text:
            return []
        self._n_sets += 1
        # Asterisk looks its own requests up by their ids, which are UUIDs: ours never are.
        message_id = f"results-{self._n_sets}"
        return [_text(_Set(message_id, _Results([_result(text, confidence)])))]

    def _fail(self, reason: str, refusal: errors.Refusal = errors.BAD_REQUEST) -> list[Heard]:
        self._state = _State.OVER
        return [Fault(refusal, reason)]


def _result(text: str, confidence: float) -> _Result:
    return _Result(text[:_MOST_TEXT_CHARS], round(100 * confidence))


def _text(message: _Response | _Set) -> str:
    return msgspec.json.encode(message).decode()


def _reply(response: _Response) -> Reply:
    return Reply(_text(response))
