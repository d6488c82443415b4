"""The query of a request to Deepgram's `/v1/listen` in, what to hear and how to tell it out: for
live audio and for files.

What changes nothing that is heard is taken and ignored, as is what nobody knows: the model, for
there is one; formatting, which it always does; tags. What would change what comes back and is not
done here is refused by its name: who speaks, what is hidden, replaced or looked for, where else to
send it. A switch may be written as `true`, `True` or `1`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from server.audio import ACCEPTED_RATES_HZ, AudioFormat, Encoding
from server.dialects.hints import MOST_CONTEXT_CHARS
from server.dialects.values import language_of
from server.wire import ONLY_FLUSH_MS, Start

_LEAST_END_OF_SPEECH_MS, _MOST_END_OF_SPEECH_MS = 200, 3_000
_LEAST_UTTERANCE_END_MS, _MOST_UTTERANCE_END_MS = 1_000, 60_000
_MOST_DIGITS = 9
_G711_HZ = 8_000
_MULTI = "multi"
_BOOST = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)", re.ASCII)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_ENCODINGS = {
    "linear16": Encoding.PCM_S16LE,
    "mulaw": Encoding.MULAW,
    "alaw": Encoding.ALAW,
}
_UNDONE = {
    "callback": "callback is not supported: this server calls nobody.",
    "detect_entities": "detect_entities is not supported.",
    "diarize": "diarize is not supported: speakers are not told apart. Use multichannel.",
    "diarize_model": "diarize_model is not supported: speakers are not told apart.",
    "dictation": "dictation is not supported.",
    "profanity_filter": "profanity_filter is not supported: what is said is told.",
    "redact": "redact is not supported: what is said is told.",
    "replace": "replace is not supported.",
    "search": "search is not supported.",
}
_UNDONE_OF_FILES = _UNDONE | {
    "custom_intent": "custom_intent is not supported.",
    "custom_topic": "custom_topic is not supported.",
    "encoding": "encoding is of live audio: send a file that says what it holds.",
    "intents": "intents is not supported.",
    "sentiment": "sentiment is not supported.",
    "summarize": "summarize is not supported.",
    "topics": "topics is not supported.",
}
_OFF = {"", "false", "0"}


class OptionError(Exception):
    """An option that cannot be honoured; the text is a constant."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text


@dataclass(frozen=True, slots=True)
class Hearing:
    """What is the same for all audio."""

    language: str | None
    context: str | None = field(repr=False)
    has_languages: bool
    """Whether to tell the language of what was said."""


@dataclass(frozen=True, slots=True)
class LiveOptions:
    """Of one connection."""

    hearing: Hearing
    audio_format: AudioFormat | None
    """None: what comes says it."""
    channels: int
    """Of samples; a container says how many it has."""
    is_multichannel: bool
    has_interims: bool
    end_of_speech_ms: int | None
    """None: as the server does."""
    utterance_end_ms: int | None
    has_speech_events: bool

    def start(self, audio_format: AudioFormat, channels: int) -> Start:
        """The session's."""
        return Start(
            sample_rate_hz=audio_format.sample_rate_hz,  # type: ignore[arg-type]  # checked
            encoding=audio_format.encoding.value,
            channels=2 if channels == 2 else 1,
            language=self.hearing.language,
            end_of_speech_ms=self.end_of_speech_ms,
            partials=self.has_interims,
            context=self.hearing.context,
        )


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Of one file."""

    hearing: Hearing
    finds_language: bool
    is_multichannel: bool
    has_utterances: bool
    has_paragraphs: bool


def live_options(query: Iterable[tuple[str, str]], languages: frozenset[str]) -> LiveOptions:
    """Raises OptionError."""
    asked = _Asked(query)
    asked.check(_UNDONE)
    audio_format = _audio_format(asked)
    channels = (asked.number("channels", 1, 2) or 1) if audio_format else 1
    is_multichannel = asked.is_on("multichannel")
    if channels > 1 and not is_multichannel:
        raise OptionError("channels", "Two channels are heard apart: say multichannel=true.")
    has_interims = asked.is_on("interim_results")
    utterance_end_ms = asked.number(
        "utterance_end_ms", _LEAST_UTTERANCE_END_MS, _MOST_UTTERANCE_END_MS
    )
    if utterance_end_ms is not None and not has_interims:
        raise OptionError("utterance_end_ms", "utterance_end_ms needs interim_results=true.")
    return LiveOptions(
        hearing=_hearing(asked, languages),
        audio_format=audio_format,
        channels=channels,
        is_multichannel=is_multichannel,
        has_interims=has_interims,
        end_of_speech_ms=_end_of_speech_ms(asked),
        utterance_end_ms=utterance_end_ms,
        has_speech_events=asked.is_on("vad_events"),
    )


def file_options(query: Iterable[tuple[str, str]], languages: frozenset[str]) -> FileOptions:
    """Raises OptionError."""
    asked = _Asked(query)
    asked.check(_UNDONE_OF_FILES)
    hearing, finds_language = _hearing(asked, languages), asked.is_wished("detect_language")
    return FileOptions(
        hearing=replace(hearing, language=None) if finds_language else hearing,
        finds_language=finds_language,
        is_multichannel=asked.is_on("multichannel"),
        has_utterances=asked.is_on("utterances"),
        has_paragraphs=asked.is_on("paragraphs"),
    )


class _Asked:
    """A query."""

    def __init__(self, query: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in query:
            self._values.setdefault(name, []).append(value)

    def every(self, name: str) -> Sequence[str]:
        """All that were given."""
        return self._values.get(name, ())

    def single(self, name: str) -> str:
        """Empty: nothing was given. Raises OptionError for two that differ."""
        values = set(self.every(name))
        if len(values) > 1:
            raise OptionError(name, "An option that has one value was given several.")
        return values.pop() if values else ""

    def is_wished(self, name: str) -> bool:
        """Whether it is given, and not to switch it off."""
        return any(value.casefold() not in _OFF for value in self.every(name))

    def is_on(self, name: str) -> bool:
        """Raises OptionError for what is neither on nor off."""
        value = self.single(name)
        truth = _TRUTHS.get(value.casefold()) if value else False
        if truth is None:
            raise OptionError(name, f"{name} is true or false.")
        return truth

    def number(self, name: str, least: int, most: int) -> int | None:
        """None: none was given. Raises OptionError."""
        value = self.single(name)
        number = _number(value)
        if value and (number is None or not least <= number <= most):
            raise OptionError(name, f"{name} is a number from {least} to {most}.")
        return number

    def check(self, undone: Mapping[str, str]) -> None:
        """Raises OptionError for what is wished and not done."""
        for name, text in undone.items():
            if self.is_wished(name):
                raise OptionError(name, text)


def _number(text: str) -> int | None:
    is_number = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_number else None


def _hearing(asked: _Asked, languages: frozenset[str]) -> Hearing:
    tag = asked.single("language")
    is_multi = tag.casefold() == _MULTI
    language = None if is_multi or not tag else language_of(tag)
    if tag and not is_multi and language not in languages:
        raise OptionError("language", "The model does not understand this language.")
    terms = [term.strip() for term in asked.every("keyterm")]
    terms += [_wished(term).strip() for term in asked.every("keywords")]
    return Hearing(language, _context(terms), is_multi)


def _context(terms: Sequence[str]) -> str | None:
    """As many as there is room for."""
    context = ""
    for term in filter(None, terms):
        printable = "".join(char if char.isprintable() else " " for char in term)
        longer = f"{context}, {printable}" if context else printable
        if len(longer) <= MOST_CONTEXT_CHARS:
            context = longer
    return context or None


def _wished(term: str) -> str:
    """`name:2.5` → `name`; nothing of a boost that is none, or that is to make it rarer: a hint
    can only do the opposite.
    """
    text, colon, boost = term.rpartition(":")
    if not colon or not _BOOST.fullmatch(boost.strip()):
        return term
    return text if float(boost) > 0 else ""


def _audio_format(asked: _Asked) -> AudioFormat | None:
    name = asked.single("encoding")
    if not name:
        return None
    encoding = _ENCODINGS.get(name.casefold())
    if encoding is None:
        raise OptionError("encoding", "encoding is linear16, mulaw or alaw.")
    rate_hz = asked.number("sample_rate", ACCEPTED_RATES_HZ[0], ACCEPTED_RATES_HZ[-1])
    if rate_hz is None and encoding is not Encoding.PCM_S16LE:
        rate_hz = _G711_HZ
    if rate_hz not in ACCEPTED_RATES_HZ:
        raise OptionError("sample_rate", "sample_rate is missing, or none that is heard here.")
    return AudioFormat(encoding, rate_hz)


def _end_of_speech_ms(asked: _Asked) -> int | None:
    value = asked.single("endpointing").casefold()
    if value in {"", "true"}:
        return None
    if value == "false":
        return ONLY_FLUSH_MS
    number = _number(value)
    if number is None:
        raise OptionError("endpointing", "endpointing is false, or milliseconds.")
    return min(max(number, _LEAST_END_OF_SPEECH_MS), _MOST_END_OF_SPEECH_MS)
