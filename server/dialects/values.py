"""What telephone systems say and are told, whatever their wire: the values between a dialect and
the bridge that joins it to a session.

A dialect is a synchronous codec of one connection: frames in, what was heard out; what is to be
told in, frames out. It knows no clock, no token's claims, no quota and no other dialect; it only
hands on the credentials that it saw. What a peer may not do is a `Fault`, never an exception.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from server import wire
from server.audio import AudioFormat
from server.errors import Refusal


@dataclass(frozen=True, slots=True)
class Upgrade:
    """The request that opens the connection."""

    target: str = field(repr=False)
    """Path and query, exactly as sent."""
    headers: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """Names in lower case."""
    query: Sequence[tuple[str, str]] = field(default=(), repr=False)
    """Decoded."""
    subprotocols: Sequence[str] = field(default=(), repr=False)

    def header(self, name: str) -> str | None:
        """The only one of that name; None for none or several: who says a thing twice says
        nothing.
        """
        values = [value for key, value in self.headers if key == name]
        return values[0] if len(values) == 1 else None

    def parameter(self, name: str) -> str | None:
        """The same of the query."""
        values = [value for key, value in self.query if key == name]
        return values[0] if len(values) == 1 else None


# --- heard ---


@dataclass(frozen=True, slots=True)
class Opening:
    """A call begins on this wire; none of its audio came before. Once for each connection."""

    tracks: tuple[str, ...]
    """The parties' audio as the wire calls it, such as `inbound`: one channel each, in the order in
    which they are interleaved where they are.
    """
    audio_format: AudioFormat
    call_id: str | None = field(default=None, repr=False)
    """The telephone system's; at most `MOST_ID_CHARS`, printable."""
    language: str | None = None
    """ISO 639 code, in lower case and without a region."""
    token: str | None = field(default=None, repr=False)
    ticket: str | None = field(default=None, repr=False)
    caller: str | None = field(default=None, repr=False)
    """Number or address."""
    callee: str | None = field(default=None, repr=False)
    is_probe: bool = False
    """Nobody calls: the system looks whether we are there."""


@dataclass(frozen=True, slots=True)
class Audio:
    """Audio of the format that the opening named, cut anywhere."""

    payload: bytes = field(repr=False)
    channel: int | None = None
    """Index into the opening's tracks; None: of all, interleaved."""
    number: int | None = None
    """Of the frame, where the wire numbers those of a track: it may overtake others."""
    at_ms: int | None = None
    """Where it begins, from the start of the stream, where the wire says so."""


@dataclass(frozen=True, slots=True)
class Flush:
    """What is being said ends here, as far as the wire can tell: a pause, a change of language."""


@dataclass(frozen=True, slots=True)
class LanguageChanged:
    """What follows is spoken in this language, ISO 639 as in `Opening`."""

    language: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """To be sent at once, before anything else is."""

    frame: str | bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stopped:
    """The peer sends no more audio and waits for the last words, or has gone."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The peer did what its protocol, or this server, does not allow; nothing more is heard."""

    refusal: Refusal
    reason: str
    """For the trail: a constant, in snake_case."""


Heard = Opening | Audio | Flush | LanguageChanged | Reply | Stopped | Fault

# --- told ---


@dataclass(frozen=True, slots=True)
class Admitted:
    """The answer to `Opening`: who it is has been checked, and a session listens."""

    languages: frozenset[str]
    """That the model and the token allow; ISO 639."""
    language: str | None
    """That is being heard; None: found out by the model."""


@dataclass(frozen=True, slots=True)
class Said:
    """Somebody speaks, or spoke. Times are milliseconds from the start of the stream, as the wire
    tells it: pauses and gaps included.
    """

    channel: int
    event: wire.SpeechStarted | wire.Partial | wire.SpeechEnded | wire.Final


@dataclass(frozen=True, slots=True)
class Ended:
    """The last words have been told; nothing follows. Also the answer to an `Opening` that was
    refused, and to a `Fault`.
    """

    refusal: Refusal | None = None
    """None: as the peer wished."""


Told = Admitted | Said | Ended


@dataclass(frozen=True, slots=True)
class Close:
    """The end of the connection, after the frames before it. A dialect whose peer closes itself
    leaves it out, and is closed after a while if that does not happen.
    """

    code: int = 1000


Frame = str | bytes | Close


class Dialect(Protocol):
    """Of one connection."""

    def receive(self, frame: str | bytes) -> list[Heard]:
        """What a text or binary frame says; of a TCP wire, bytes as they come. Raises nothing."""
        ...

    def tell(self, told: Told) -> list[Frame]:
        """How the wire says it; empty if it cannot."""
        ...


MOST_ID_CHARS = 128
_MODELS_CODES = {
    "cmn": "zh", "in": "id", "iw": "he", "ji": "yi", "jv": "jw", "nb": "no",
}  # fmt: skip
"""Former and narrower codes that telephone systems and browsers still say, by those of models."""


def is_id(text: str) -> bool:
    """Whether it can be the name of a call: printable ASCII, neither empty nor long."""
    return 0 < len(text) <= MOST_ID_CHARS and text.isascii() and text.isprintable()


def language_of(tag: str | None) -> str | None:
    """ISO 639 of a tag such as `en-US`, as models name the language; None for what is no tag."""
    primary = (tag or "").partition("-")[0].partition("_")[0].lower()
    is_code = 2 <= len(primary) <= 3 and primary.isascii() and primary.isalpha()
    return _MODELS_CODES.get(primary, primary) if is_code else None
