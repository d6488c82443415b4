"""What a client of OpenAI's Realtime API wishes of its session in, what holds out: for the `start`
of a native session, and in the client's own form.

The server says what holds and not what was wished: silence is kept within what is heard well here,
`semantic_vad` becomes silence by its eagerness, as nothing here guesses whether a sentence is over,
and what cannot be set is left out. Once the session has started, its format stays, and so does its
silence; a client that began by ending turns itself goes on doing so. Hints are passed over that
change nothing: noise reduction, threshold, padding, delay. Refused are another kind of session,
models and languages that are not served, formats that are not OpenAI's.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from server import wire
from server.dialects.hints import context_of
from server.dialects.openai_asked import is_cut_by_client, is_served
from server.dialects.openai_realtime_messages import (
    LOGPROBS,
    Format,
    MessageError,
    SessionUpdate,
    Transcription,
    TurnDetection,
)
from server.dialects.values import language_of
from server.recognition import ModelCard

_DEFAULT_SILENCE_MS = 500
_LEAST_SILENCE_MS, _MOST_SILENCE_MS = 200, 3_000
_EAGERNESS_MS = {"low": 1_500, "medium": 800, "auto": 800, "high": 400}

_Encoding = Literal["pcm_s16le", "mulaw", "alaw"]
_FORMATS: dict[str, _Encoding] = {
    "audio/pcm": "pcm_s16le",
    "audio/pcmu": "mulaw",
    "audio/pcma": "alaw",
}
_FLAT_FORMATS = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
_PCM_HZ: Literal[24_000] = 24_000
_G711_HZ: Literal[8_000] = 8_000
_NESTED = "session.audio.input."
_FLAT = "session.input_audio_"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What holds for a session, as far as its client has a say."""

    format: str = "audio/pcm"
    """As the nested form calls it."""
    model: str | None = None
    language: str | None = None
    prompt: str | None = field(default=None, repr=False)
    keywords: tuple[str, ...] = field(default=(), repr=False)
    turn_silence_ms: int | UnsetType | None = UNSET
    """None: the client ends its turns itself; UNSET: as its model would have it."""
    has_logprobs: bool = False

    @property
    def silence_ms(self) -> int | None:
        """That ends a turn; None: the client does."""
        if self.turn_silence_ms is not UNSET:
            return self.turn_silence_ms
        return None if is_cut_by_client(self.model or "") else _DEFAULT_SILENCE_MS

    @property
    def bytes_per_s(self) -> int:
        """Of its audio."""
        return 2 * _PCM_HZ if _FORMATS[self.format] == "pcm_s16le" else _G711_HZ

    def start(self) -> wire.Start:
        """Of the native session."""
        silence_ms = self.silence_ms
        return wire.Start(
            sample_rate_hz=_PCM_HZ if _FORMATS[self.format] == "pcm_s16le" else _G711_HZ,
            encoding=_FORMATS[self.format],
            language=self.language,
            end_of_speech_ms=wire.ONLY_FLUSH_MS if silence_ms is None else silence_ms,
            context=context_of([*self.keywords, self.prompt]),
        )


def wishes_after(before: Wishes, update: SessionUpdate, model: ModelCard) -> Wishes:
    """What is absent stays as it was. Raises MessageError."""
    if update.type != "transcription":
        raise MessageError(
            "invalid_value", "Sessions here transcribe and do nothing else.", "session.type"
        )
    after = before
    nested = update.audio.input if update.audio else None
    if nested is not None:
        after = _formatted(after, nested.format)
        after = _transcribed(after, nested.transcription, _NESTED + "transcription", model)
        after = _cut(after, nested.turn_detection, _NESTED + "turn_detection")
    after = _formatted(after, _unflattened(update.input_audio_format))
    after = _transcribed(after, update.input_audio_transcription, _FLAT + "transcription", model)
    after = _cut(after, update.turn_detection, "session.turn_detection")
    if update.include is not UNSET:
        after = replace(after, has_logprobs=LOGPROBS in (update.include or ()))
    return after


def wishes_shortened(wishes: Wishes) -> Wishes:
    """As they are, with no more of the hints than a session hears: for those that have to be kept
    in memory before there is one.
    """
    keywords = context_of(wishes.keywords)
    prompt = context_of([wishes.prompt])
    return replace(wishes, prompt=prompt, keywords=(keywords,) if keywords else ())


def wishes_kept(started: Wishes, wished: Wishes) -> Wishes:
    """What holds in a session that has `started`. Raises MessageError."""
    if wished.format != started.format:
        raise MessageError("invalid_value", "Audio has come: its format stays.", _NESTED + "format")
    if started.silence_ms is None and wished.silence_ms is not None:
        raise MessageError(
            "invalid_value",
            "Audio has come: the client goes on ending its turns itself.",
            _NESTED + "turn_detection",
        )
    silence_ms = None if wished.silence_ms is None else started.silence_ms
    kept = replace(wished, turn_silence_ms=silence_ms)
    return replace(kept, prompt=started.prompt, keywords=started.keywords)


def nested_session(wishes: Wishes, session_id: str) -> bytes:
    """As JSON, in the form of today."""
    asked = {"format": _format_of(wishes), "transcription": _transcription_of(wishes)}
    cut = {"noise_reduction": None, "turn_detection": _turn_detection_of(wishes)}
    return msgspec.json.encode(
        {
            "id": session_id,
            "object": "realtime.transcription_session",
            "type": "transcription",
            "audio": {"input": {**asked, **cut}},
            "include": _include_of(wishes),
        }
    )


def flat_session(wishes: Wishes, session_id: str) -> bytes:
    """As JSON, in the form of the beta."""
    names = {general: flat for flat, general in _FLAT_FORMATS.items()}
    return msgspec.json.encode(
        {
            "id": session_id,
            "object": "realtime.transcription_session",
            "input_audio_format": names[wishes.format],
            "input_audio_transcription": _transcription_of(wishes),
            "input_audio_noise_reduction": None,
            "turn_detection": _turn_detection_of(wishes),
            "include": _include_of(wishes),
        }
    )


# --- asked ---


def _unflattened(asked: str | UnsetType | None) -> Format | UnsetType | None:
    if not isinstance(asked, str):
        return asked
    name = _FLAT_FORMATS.get(asked)
    if name is None:
        raise MessageError(
            "invalid_value", "Formats are pcm16, g711_ulaw and g711_alaw.", _FLAT + "format"
        )
    return Format(name)


def _formatted(before: Wishes, asked: Format | str | UnsetType | None) -> Wishes:
    if asked is UNSET or asked is None:
        return before
    if isinstance(asked, str):
        return _formatted(before, _unflattened(asked))
    if asked.type not in _FORMATS:
        raise MessageError(
            "invalid_value",
            "Formats are audio/pcm, audio/pcmu and audio/pcma.",
            _NESTED + "format.type",
        )
    rate_hz = _PCM_HZ if _FORMATS[asked.type] == "pcm_s16le" else _G711_HZ
    if asked.rate_hz not in (None, rate_hz):
        raise MessageError(
            "invalid_value", "audio/pcm has 24000 Hz, G.711 8000.", _NESTED + "format.rate"
        )
    return replace(before, format=asked.type)


def _transcribed(
    before: Wishes, asked: Transcription | UnsetType | None, param: str, model: ModelCard
) -> Wishes:
    if asked is UNSET:
        return before
    if asked is None:
        raise MessageError("invalid_value", "Transcription cannot be turned off here.", param)
    after = before
    if isinstance(asked.model, str):
        if not is_served(asked.model, model):
            text = "This model is not served. /v1/models names the one that is."
            raise MessageError("model_not_found", text, param + ".model")
        after = replace(after, model=asked.model)
    if asked.language or isinstance(asked.languages, list):
        after = replace(after, language=_only_language(asked, param, model))
    elif asked.language is not UNSET:
        after = replace(after, language=None)
    if asked.prompt is not UNSET:
        after = replace(after, prompt=asked.prompt or None)
    if asked.keywords is not UNSET:
        after = replace(after, keywords=tuple(asked.keywords or ()))
    return after


def _only_language(asked: Transcription, param: str, model: ModelCard) -> str | None:
    """None: it is to be found out."""
    if asked.language:
        return _language(asked.language, param + ".language", model)
    listed = [each for each in asked.languages or () if each]
    languages = {_language(each, param + ".languages", model) for each in listed}
    return languages.pop() if len(languages) == 1 else None


def _language(asked: str, param: str, model: ModelCard) -> str:
    language = language_of(asked)
    if language not in model.languages:
        raise MessageError("invalid_value", "The model does not understand this language.", param)
    return language


def _cut(before: Wishes, asked: TurnDetection | UnsetType | None, param: str) -> Wishes:
    if asked is UNSET:
        return before
    if asked is None:
        return replace(before, turn_silence_ms=None)
    match asked.type:
        case "server_vad":
            wished_ms = asked.silence_ms
            if wished_ms is None:
                wished_ms = before.silence_ms or _DEFAULT_SILENCE_MS
        case "semantic_vad" if (asked.eagerness or "auto") in _EAGERNESS_MS:
            wished_ms = _EAGERNESS_MS[asked.eagerness or "auto"]
        case "semantic_vad":
            text = "Eagerness is low, medium, high or auto."
            raise MessageError("invalid_value", text, param + ".eagerness")
        case _:
            text = "Turns are found by server_vad or semantic_vad, or by the client: null."
            raise MessageError("invalid_value", text, param + ".type")
    silence_ms = min(max(wished_ms, _LEAST_SILENCE_MS), _MOST_SILENCE_MS)
    return replace(before, turn_silence_ms=silence_ms)


# --- said ---


def _format_of(wishes: Wishes) -> dict[str, object]:
    rate = {"rate": _PCM_HZ} if _FORMATS[wishes.format] == "pcm_s16le" else {}
    return {"type": wishes.format, **rate}


def _transcription_of(wishes: Wishes) -> dict[str, object] | None:
    if wishes.model is None and wishes.language is None and wishes.prompt is None:
        return None
    said: dict[str, object] = {"model": wishes.model, "language": wishes.language}
    return said | {"prompt": wishes.prompt or ""}


def _turn_detection_of(wishes: Wishes) -> dict[str, object] | None:
    if wishes.silence_ms is None:
        return None
    return {"type": "server_vad", "silence_duration_ms": wishes.silence_ms}


def _include_of(wishes: Wishes) -> list[str] | None:
    return [LOGPROBS] if wishes.has_logprobs else None
