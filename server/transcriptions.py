"""The fields of OpenAI's form for transcriptions in, what to do out; finals in, OpenAI's answers
and its refusals out.

What changes nothing that a caller could see is taken and ignored, as OpenAI does: a temperature,
fields nobody knows. What was asked for and cannot be given is refused, by its field: speakers,
log probabilities, times in a format that has none. The model is called by its own name, or by one
of OpenAI's that transcribe.
"""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import msgspec

from server import errors
from server.dialects.hints import context_of
from server.dialects.openai_asked import is_served
from server.dialects.openai_errors import fault_of
from server.errors import Refusal, RefusedError
from server.languages import language_name, word_separator
from server.recognition import ModelCard
from server.subtitles import cues_of, encode_srt, encode_vtt
from server.wire import Final

MODEL, LANGUAGE, PROMPT, RESPONSE_FORMAT, STREAM = (
    *("model", "language", "prompt", "response_format", "stream"),
)
GRANULARITIES, INCLUDE = "timestamp_granularities[]", "include[]"
_SPEAKERS = ("known_speaker_names[]", "known_speaker_references[]")
KNOWN_FIELDS = frozenset(
    {
        *(MODEL, LANGUAGE, PROMPT, RESPONSE_FORMAT, STREAM, GRANULARITIES, INCLUDE),
        *_SPEAKERS,
    }
)

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]
_FORMATS: Mapping[str, ResponseFormat] = {name: name for name in get_args(ResponseFormat)}
_MEDIA_TYPES: Mapping[ResponseFormat, str] = {
    "json": "application/json",
    "text": "text/plain; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "verbose_json": "application/json",
}
_STREAMED: tuple[ResponseFormat, ...] = ("json", "text")
_WORD, _SEGMENT = "word", "segment"
_TRUTHS = {"true": True, "1": True, "false": False, "0": False, "": False}
_BAD_AUDIO_STATUS = 400
"""What OpenAI says where others say 415."""


class FieldError(RefusedError):
    """A field of the form that says what cannot be done; the refusal's text says what can."""

    def __init__(self, field: str, text: str, refusal: Refusal = errors.BAD_REQUEST) -> None:
        super().__init__(replace(refusal, text=text), f"field_{field.removesuffix('[]')}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be heard, and the answer given."""

    response_format: ResponseFormat
    language: str | None
    context: str | None = field(repr=False)
    has_words: bool
    has_segments: bool
    is_streamed: bool
    hears_apart: bool = False
    """Two channels of the file."""


def options_from_fields(fields: Mapping[str, Sequence[str]], model: ModelCard) -> Options:
    """Raises FieldError."""
    _check_model(_single(fields, MODEL), model)
    if fields.get(INCLUDE):
        raise FieldError(INCLUDE, "Log probabilities are not given: leave out include.")
    for name in _SPEAKERS:
        if fields.get(name):
            raise FieldError(name, "Speakers are not told apart: leave out what names them.")
    response_format = _FORMATS.get(_single(fields, RESPONSE_FORMAT) or "json")
    if response_format is None:
        raise FieldError(RESPONSE_FORMAT, "response_format is json, text, srt, vtt, verbose_json.")
    is_streamed = _TRUTHS.get((_single(fields, STREAM) or "").casefold())
    if is_streamed is None:
        raise FieldError(STREAM, "stream is true or false.")
    if is_streamed and response_format not in _STREAMED:
        raise FieldError(STREAM, "A stream has no times: response_format is json or text.")
    language = _single(fields, LANGUAGE) or None
    if language is not None and language not in model.languages:
        raise FieldError(LANGUAGE, errors.LANGUAGE_UNKNOWN.text, errors.LANGUAGE_UNKNOWN)
    granularities = _granularities(fields.get(GRANULARITIES, ()), response_format)
    return Options(
        response_format=response_format,
        language=language,
        context=context_of([_single(fields, PROMPT)]),
        has_words=_WORD in granularities,
        has_segments=_SEGMENT in granularities,
        is_streamed=is_streamed,
    )


def _single(fields: Mapping[str, Sequence[str]], name: str) -> str:
    values = fields.get(name, ())
    return values[0] if values else ""


def _check_model(asked: str, model: ModelCard) -> None:
    if not asked:
        raise FieldError(MODEL, "model is missing.")
    if not is_served(asked, model):
        raise FieldError(MODEL, errors.MODEL_UNKNOWN.text, errors.MODEL_UNKNOWN)


def _granularities(asked: Sequence[str], response_format: ResponseFormat) -> frozenset[str]:
    if not asked:
        return frozenset({_SEGMENT})
    if response_format != "verbose_json":
        raise FieldError(GRANULARITIES, "Times are given where response_format is verbose_json.")
    if not {_WORD, _SEGMENT}.issuperset(asked):
        raise FieldError(GRANULARITIES, "timestamp_granularities are word and segment.")
    return frozenset(asked)


# --- answers ---


def joined_text(finals: Sequence[Final]) -> str:
    """All that was said."""
    return "".join(delta(final, is_first=not index) for index, final in enumerate(finals))


def delta(final: Final, *, is_first: bool) -> str:
    """What a final adds to the text before it."""
    return final.text if is_first else word_separator(final.language) + final.text


def answer(options: Options, finals: Sequence[Final], audio_ms: int) -> tuple[bytes, str]:
    """The body and its media type."""
    return _body(options, finals, audio_ms), _MEDIA_TYPES[options.response_format]


def delta_event(text: str) -> bytes:
    """A server-sent event: more text."""
    return _event(type="transcript.text.delta", delta=text)


def done_event(finals: Sequence[Final]) -> bytes:
    """A server-sent event: the whole text."""
    return _event(type="transcript.text.done", text=joined_text(finals))


def error_event(refusal: Refusal) -> bytes:
    """A server-sent event: there will be no more text."""
    return b"event: error\n" + _event(type="error", error=fault_of(refusal))


def error_status(refusal: Refusal) -> int:
    """OpenAI's status for it."""
    return _BAD_AUDIO_STATUS if refusal == errors.AUDIO_UNREADABLE else refusal.http_status


def models_body(model: ModelCard) -> bytes:
    """The list of the one model."""
    entry = {"id": model.model_id, "object": "model", "created": 0, "owned_by": "earwitness"}
    return _json(object="list", data=[entry])


def _body(options: Options, finals: Sequence[Final], audio_ms: int) -> bytes:
    match options.response_format:
        case "json":
            return _json(text=joined_text(finals), usage=_usage(audio_ms))
        case "text":
            return (joined_text(finals) + "\n").encode()
        case "verbose_json":
            return _verbose(options, finals, audio_ms)
        case subtitles:
            encode = encode_srt if subtitles == "srt" else encode_vtt
            return encode(cues_of(finals)).encode()


def _verbose(options: Options, finals: Sequence[Final], audio_ms: int) -> bytes:
    heard = next((final.language for final in finals if final.language), None)
    answered: dict[str, object] = {
        "task": "transcribe",
        "language": language_name(options.language or heard),
        "duration": audio_ms / 1000,
        "text": joined_text(finals),
        "usage": _usage(audio_ms),
    }
    if options.has_words:
        answered["words"] = [
            {"word": word.text, "start": word.start_ms / 1000, "end": word.end_ms / 1000}
            for final in finals
            for word in final.words
        ]
    if options.has_segments:
        answered["segments"] = [_segment(index, final) for index, final in enumerate(finals)]
    return _json(**answered)


def _segment(index: int, final: Final) -> dict[str, object]:
    """Of OpenAI's figures those that a final has. Its words' probabilities stand for its tokens';
    that it was taken for silence is ruled out, or it would have no text.
    """
    spoken = final.text.encode()
    logs = [math.log(max(word.confidence, 1e-3)) for word in final.words]
    return {
        "id": index,
        "seek": final.start_ms // 10,
        "start": final.start_ms / 1000,
        "end": final.end_ms / 1000,
        "text": final.text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": round(sum(logs) / len(logs), 4) if logs else 0.0,
        "compression_ratio": round(len(spoken) / len(zlib.compress(spoken)), 3),
        "no_speech_prob": 0.0,
    }


def _usage(audio_ms: int) -> dict[str, object]:
    return {"type": "duration", "seconds": math.ceil(audio_ms / 1000)}


def _json(**values: object) -> bytes:
    return msgspec.json.encode(values)


def _event(**values: object) -> bytes:
    return b"data: " + _json(**values) + b"\n\n"
