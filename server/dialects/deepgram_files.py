"""The finals of a file in; the answer of Deepgram's API for files out.

An utterance, and a paragraph where they are asked for, is what was said between two pauses; a
sentence ends with a word that ends one. Channels of a file are heard together, so there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from server.dialects import deepgram_messages as messages
from server.dialects.deepgram_options import FileOptions
from server.recognition import ModelCard
from server.wire import Final, WordEvent

_SENTENCE_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")


class _Metadata(msgspec.Struct, frozen=True):
    transaction_key: str
    request_id: str
    sha256: str
    created: str
    duration_s: float = msgspec.field(name="duration")
    channels: int
    models: list[str]
    model_info: dict[str, messages.ModelInfo]


class _Sentence(msgspec.Struct, frozen=True):
    text: str
    start_s: float = msgspec.field(name="start")
    end_s: float = msgspec.field(name="end")


class _Paragraph(msgspec.Struct, frozen=True):
    sentences: list[_Sentence]
    num_words: int
    start_s: float = msgspec.field(name="start")
    end_s: float = msgspec.field(name="end")


class _Paragraphs(msgspec.Struct, frozen=True):
    transcript: str
    paragraphs: list[_Paragraph]


class _Alternative(msgspec.Struct, frozen=True, omit_defaults=True):
    transcript: str
    confidence: float
    words: list[messages.Word]
    languages: list[str] | None = None
    paragraphs: _Paragraphs | None = None


class _Channel(msgspec.Struct, frozen=True, omit_defaults=True):
    alternatives: list[_Alternative]
    detected_language: str | None = None


class _Utterance(msgspec.Struct, frozen=True):
    start_s: float = msgspec.field(name="start")
    end_s: float = msgspec.field(name="end")
    confidence: float
    channel: int
    transcript: str
    words: list[messages.Word]
    id: str


class _Results(msgspec.Struct, frozen=True, omit_defaults=True):
    channels: list[_Channel]
    utterances: list[_Utterance] | None = None


class _Answer(msgspec.Struct, frozen=True):
    metadata: _Metadata
    results: _Results


@dataclass(frozen=True, slots=True)
class HeardFile:
    """What is known of a file beside its words."""

    request_id: str
    model: ModelCard
    sha256: str
    wall_s: float
    """Unix time at which it came."""
    audio_ms: int


def answer(
    heard: HeardFile, options: FileOptions, finals: Sequence[Final], transcript: str
) -> bytes:
    """The body; `transcript` is what the finals say together."""
    has_languages = options.hearing.has_languages
    words = [word for final in finals for word in final.words]
    languages = list(dict.fromkeys(final.language for final in finals if final.language))
    alternative = _Alternative(
        transcript=transcript,
        confidence=_confidence(words),
        words=[
            word
            for final in finals
            for word in messages.words_of(final, has_language=has_languages)
        ],
        languages=languages if has_languages else None,
        paragraphs=_paragraphs(finals) if options.has_paragraphs else None,
    )
    found = languages[0] if options.finds_language and languages else None
    utterances = [_utterance(heard.request_id, index, final) for index, final in enumerate(finals)]
    results = _Results(
        [_Channel([alternative], found)], utterances if options.has_utterances else None
    )
    return msgspec.json.encode(_Answer(_metadata(heard), results))


def _metadata(heard: HeardFile) -> _Metadata:
    name = messages.model_uuid(heard.model)
    return _Metadata(
        transaction_key="deprecated",
        request_id=heard.request_id,
        sha256=heard.sha256,
        created=messages.utc_text(heard.wall_s),
        duration_s=heard.audio_ms / 1000,
        channels=1,
        models=[name],
        model_info={name: messages.model_info(heard.model)},
    )


def _utterance(request_id: str, index: int, final: Final) -> _Utterance:
    return _Utterance(
        start_s=final.start_ms / 1000,
        end_s=final.end_ms / 1000,
        confidence=final.confidence,
        channel=0,
        transcript=final.text,
        words=messages.words_of(final, has_language=False),
        id=f"{request_id}-{index}",
    )


def _paragraphs(finals: Sequence[Final]) -> _Paragraphs:
    paragraphs = [
        _Paragraph(_sentences(final), len(final.words), final.start_ms / 1000, final.end_ms / 1000)
        for final in finals
    ]
    return _Paragraphs("".join(f"\n{final.text}\n" for final in finals), paragraphs)


def _sentences(final: Final) -> list[_Sentence]:
    separator = " " if " " in final.text else ""
    sentences: list[list[WordEvent]] = [[]]
    for word in final.words:
        sentences[-1].append(word)
        if word.text.endswith(_SENTENCE_ENDS):
            sentences.append([])
    return [
        _Sentence(
            separator.join(word.text for word in words),
            words[0].start_ms / 1000,
            words[-1].end_ms / 1000,
        )
        for words in sentences
        if words
    ]


def _confidence(words: Sequence[WordEvent]) -> float:
    if not words:
        return 0.0
    return round(sum(word.confidence for word in words) / len(words), 3)
