"""The finals of a file in; the answer of Deepgram's API for files out.

An utterance, and a paragraph where they are asked for, is what was said between two pauses; a
sentence ends with a word that ends one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class HeardChannel:
    """What was said in one."""

    finals: Sequence[Final]
    transcript: str = field(repr=False)
    """What the finals say together."""


def answer(heard: HeardFile, options: FileOptions, channels: Sequence[HeardChannel]) -> bytes:
    """The body."""
    utterances = None
    if options.has_utterances:
        finals = [final for channel in channels for final in channel.finals]
        finals.sort(key=lambda final: final.start_ms)
        utterances = [_utterance(heard.request_id, *each) for each in enumerate(finals)]
    results = _Results([_channel(channel, options) for channel in channels], utterances)
    return msgspec.json.encode(_Answer(_metadata(heard, len(channels)), results))


def _channel(channel: HeardChannel, options: FileOptions) -> _Channel:
    has_languages, finals = options.hearing.has_languages, channel.finals
    languages = _languages(finals)
    alternative = _Alternative(
        transcript=channel.transcript,
        confidence=_confidence([word for final in finals for word in final.words]),
        words=[
            word
            for final in finals
            for word in messages.words_of(final, has_language=has_languages)
        ],
        languages=languages if has_languages else None,
        paragraphs=_paragraphs(finals) if options.has_paragraphs else None,
    )
    return _Channel([alternative], languages[0] if options.finds_language and languages else None)


def _languages(finals: Sequence[Final]) -> list[str]:
    """That in which most words were said first."""
    n_words: Counter[str] = Counter()
    for final in finals:
        if final.language:
            n_words[final.language] += len(final.words)
    return [language for language, _ in n_words.most_common()]


def _metadata(heard: HeardFile, n_channels: int) -> _Metadata:
    name = messages.model_uuid(heard.model)
    return _Metadata(
        transaction_key="deprecated",
        request_id=heard.request_id,
        sha256=heard.sha256,
        created=messages.utc_text(heard.wall_s),
        duration_s=heard.audio_ms / 1000,
        channels=n_channels,
        models=[name],
        model_info={name: messages.model_info(heard.model)},
    )


def _utterance(request_id: str, index: int, final: Final) -> _Utterance:
    return _Utterance(
        start_s=final.start_ms / 1000,
        end_s=final.end_ms / 1000,
        confidence=final.confidence,
        channel=final.channel,
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
