"""A text frame of Deepgram's live clients in, a checked message out; Deepgram's messages, and what
they say of a final or a caption, as structs.

Times are seconds from the first sample of the stream. Fields that a client's message has beyond
these are passed over, as Deepgram does. Refused: frames that are none of the client's messages, and
those that are long.
"""

from datetime import UTC, datetime
from typing import Annotated
from uuid import NAMESPACE_OID, uuid5

import msgspec

from server.recognition import ModelCard
from server.wire import Final, Partial, WordEvent

_MOST_CLIENT_CHARS = 16_384


# --- client to server ---


class KeepAlive(msgspec.Struct, frozen=True, tag_field="type", tag="KeepAlive"):
    """Still here."""


class Finalize(msgspec.Struct, frozen=True, tag_field="type", tag="Finalize"):
    """Answer with the final of what was sent so far."""

    channel: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    """None: of every one."""


class CloseStream(msgspec.Struct, frozen=True, tag_field="type", tag="CloseStream"):
    """No more audio."""


class Configure(msgspec.Struct, frozen=True, tag_field="type", tag="Configure"):
    """Other options from now on."""

    keyterms: list[str] | None = None


ClientMessage = KeepAlive | Finalize | CloseStream | Configure
_client_decoder = msgspec.json.Decoder(ClientMessage)


def decode_client_message(frame: str) -> ClientMessage | None:
    """None: it is none."""
    if len(frame) > _MOST_CLIENT_CHARS:
        return None
    try:
        message: ClientMessage = _client_decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return message


# --- server to client ---


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """One word: as it is looked up, and as it is written."""

    word: str
    start_s: float = msgspec.field(name="start")
    end_s: float = msgspec.field(name="end")
    confidence: float
    punctuated_word: str
    language: str | None = None


class Alternative(msgspec.Struct, frozen=True, omit_defaults=True):
    """The only one."""

    transcript: str
    confidence: float
    words: list[Word]
    languages: list[str] | None = None


class ModelInfo(msgspec.Struct, frozen=True):
    """Of the model that hears."""

    name: str
    version: str
    arch: str


class ResultsMetadata(msgspec.Struct, frozen=True):
    """The same in every message of a connection."""

    request_id: str
    model_info: ModelInfo
    model_uuid: str


class Channel(msgspec.Struct, frozen=True):
    """What was heard in one."""

    alternatives: list[Alternative]


class Results(msgspec.Struct, frozen=True, tag_field="type", tag="Results"):
    """What was heard in a stretch of one channel; what comes next begins where it ends."""

    channel_index: tuple[int, int]
    """Which of how many."""
    duration_s: float = msgspec.field(name="duration")
    start_s: float = msgspec.field(name="start")
    is_final: bool
    speech_final: bool
    channel: Channel
    metadata: ResultsMetadata
    from_finalize: bool


class SpeechStarted(msgspec.Struct, frozen=True, tag_field="type", tag="SpeechStarted"):
    """Somebody began to speak."""

    channel: tuple[int, int]
    timestamp: float


class UtteranceEnd(msgspec.Struct, frozen=True, tag_field="type", tag="UtteranceEnd"):
    """No word came for a while."""

    channel: tuple[int, int]
    last_word_end: float


class Metadata(msgspec.Struct, frozen=True, tag_field="type", tag="Metadata"):
    """The last message."""

    transaction_key: str
    request_id: str
    sha256: str
    """Of all audio."""
    created: str
    duration_s: float = msgspec.field(name="duration")
    channels: int


class Error(msgspec.Struct, frozen=True, tag_field="type", tag="Error"):
    """Something is wrong with the connection or with a message."""

    variant: str
    description: str


class ConfigureSuccess(msgspec.Struct, frozen=True, tag_field="type", tag="ConfigureSuccess"):
    """It was taken."""

    request_id: str


class ConfigureFailure(msgspec.Struct, frozen=True, tag_field="type", tag="ConfigureFailure"):
    """It was not."""

    request_id: str
    code: str
    description: str


ServerMessage = (
    Results | SpeechStarted | UtteranceEnd | Metadata | Error | ConfigureSuccess | ConfigureFailure
)
_encoder = msgspec.json.Encoder()


def encode(message: ServerMessage) -> str:
    """The text frame."""
    return _encoder.encode(message).decode()


# --- what is said ---


def words_of(final: Final, *, has_language: bool) -> list[Word]:
    """Those of a final."""
    language = final.language if has_language else None
    return [word_of(word, language) for word in final.words]


def word_of(word: WordEvent, language: str | None = None) -> Word:
    """One of them."""
    return Word(
        word=_bare(word.text),
        start_s=word.start_ms / 1000,
        end_s=word.end_ms / 1000,
        confidence=word.confidence,
        punctuated_word=word.text,
        language=language,
    )


def alternative_of_final(final: Final, *, has_language: bool) -> Alternative:
    """What a final says."""
    languages = [final.language] if has_language and final.language else None
    words = words_of(final, has_language=has_language)
    return Alternative(final.text, final.confidence, words, languages)


def alternative_of_partial(partial: Partial) -> Alternative:
    """What a caption says: where its words lie is told from their lengths, and how sure they are is
    not known yet.
    """
    text = partial.stable + partial.unstable
    parts = text.split()
    n_chars = sum(map(len, parts))
    length_ms = partial.end_ms - partial.start_ms
    words, n_before = [], 0
    for part in parts:
        start_ms = partial.start_ms + length_ms * n_before // n_chars
        n_before += len(part)
        end_ms = partial.start_ms + length_ms * n_before // n_chars
        words.append(word_of(WordEvent(part, start_ms, end_ms, 0.0)))
    return Alternative(text, 0.0, words)


NOTHING_SAID = Alternative("", 0.0, [])


def _bare(text: str) -> str:
    """In small letters, without what stands around it."""
    ends = [index for index, char in enumerate(text) if char.isalnum()]
    return (text[ends[0] : ends[-1] + 1] if ends else text).lower()


# --- of both APIs ---


def model_uuid(model: ModelCard) -> str:
    """The same for the same model, wherever it runs."""
    return str(uuid5(NAMESPACE_OID, model.model_id))


def model_info(model: ModelCard) -> ModelInfo:
    """As far as Deepgram's words fit."""
    return ModelInfo(model.model_id, str(model.pack_version or 0), model.model_id)


def utc_text(wall_s: float) -> str:
    """ISO 8601, to the millisecond."""
    at = datetime.fromtimestamp(wall_s, UTC).isoformat(timespec="milliseconds")
    return at.replace("+00:00", "Z")
