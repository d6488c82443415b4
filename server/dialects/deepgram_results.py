"""What a session hears in one channel in; Deepgram's messages about it out.

Every final's range begins where the one before it ended, so that silence is part of what follows it
and there are no gaps. The answer to `Finalize` is the last final of what was said before it, or one
without words: there is always exactly one that says `from_finalize`. A final waits for the next
word of the session in its channel to know whether it is the answer, whoever speaks by then. An
utterance has ended by audio time: when so much came after its last word, and enough beyond to know
that nobody had begun to speak. So has speech whose last segment was cut for its length: its end is
told without words, when so much came after it as silence ends speech. It knows no audio, only how
much came.
"""

from dataclasses import dataclass, replace

from server import wire
from server.dialects import deepgram_messages as messages
from server.dialects.deepgram_options import LiveOptions

_NOTICED_MS = 250
"""Audio after which speech that has begun is known to have begun."""

Speech = wire.SpeechStarted | wire.Partial | wire.SpeechEnded | wire.Final
Told = list[messages.ServerMessage]


@dataclass(frozen=True, slots=True)
class _Begun:
    """A segment whose final has not come."""

    range_start_ms: int
    """Of its messages."""
    is_cut: bool = False
    """It has ended only for its length."""


class ChannelResults:
    """Of one channel of one connection."""

    def __init__(
        self, place: tuple[int, int], options: LiveOptions, metadata: messages.ResultsMetadata
    ) -> None:
        """`place`: which of how many."""
        self._place = place
        self._options = options
        self._metadata = metadata
        self._begun: dict[int, _Begun] = {}
        self._ended_ms = 0
        """Where the ranges so far end."""
        self._n_flushes = 0
        """That were asked for and are not answered."""
        self._held: tuple[wire.Final, _Begun] | None = None
        """It may be the answer."""
        self._is_utterance_open = False
        """Words were told, and not that they are all."""
        self._last_word_ms: int | None = None
        """Where it ends, until somebody speaks again or it was told that nobody does."""
        self._cut_ms: int | None = None
        """Where a segment was cut, as long for."""
        self._end_of_speech_ms = wire.ONLY_FLUSH_MS
        self._is_stopped = False

    def ready(self, end_of_speech_ms: int) -> None:
        """So much silence ends speech."""
        self._end_of_speech_ms = end_of_speech_ms

    def finalize(self) -> None:
        """An answer will come."""
        self._n_flushes += 1

    def stop(self) -> None:
        """No more audio will come."""
        self._is_stopped = True

    def tell(self, event: Speech, heard_ms: int) -> Told:
        """`heard_ms`: audio that has come so far."""
        match event:
            case wire.SpeechStarted(number, start_ms):
                self._begun[number] = _Begun(self._ended_ms)
                told = self.release(heard_ms)
                self._last_word_ms = self._cut_ms = None
                if self._options.has_speech_events:
                    told.append(messages.SpeechStarted(self._place, start_ms / 1000))
                return told
            case wire.Partial(number):
                begun = self._begun_of(number)
                said = messages.alternative_of_partial(event)
                interim = self._results(begun.range_start_ms, event.end_ms, said, is_final=False)
                return [*self.release(heard_ms), interim]
            case wire.SpeechEnded(number, end_ms):
                begun = self._begun_of(number)
                self._begun[number] = replace(begun, is_cut=event.is_cut is True)
                self._ended_ms = max(self._ended_ms, end_ms)
                return []
            case _:
                return self._tell_final(event, heard_ms)

    def tell_flushed(self, at_ms: int, heard_ms: int) -> Told:
        """The session has said all that came before a `Finalize`."""
        self._n_flushes -= 1
        return self.release(heard_ms, is_answer=True) or [self.nothing(at_ms)]

    def nothing(self, at_ms: int) -> messages.Results:
        """The answer to a `Finalize` before which nothing was left to say."""
        start_ms, self._ended_ms = self._ended_ms, max(self._ended_ms, at_ms)
        is_end = self._is_utterance_open or self._cut_ms is not None
        self._is_utterance_open, self._cut_ms = False, None
        said = messages.NOTHING_SAID
        return self._results(start_ms, self._ended_ms, said, is_end=is_end, is_answer=True)

    def release(self, heard_ms: int, *, is_answer: bool = False) -> Told:
        """The final that is held, if any is."""
        if self._held is None:
            return []
        (final, begun), self._held = self._held, None
        is_end = is_answer or self._is_end(begun)
        self._is_utterance_open = not is_end and (self._is_utterance_open or bool(final.text))
        self._ended_ms = max(self._ended_ms, final.end_ms)
        self._cut_ms = final.end_ms if begun.is_cut and not is_end and not self._begun else None
        if final.words:
            self._last_word_ms = final.words[-1].end_ms
        has_language = self._options.hearing.has_languages
        said = messages.alternative_of_final(final, has_language=has_language)
        start_ms = begun.range_start_ms
        told = self._results(start_ms, final.end_ms, said, is_end=is_end, is_answer=is_answer)
        return [told, *self.ends(heard_ms)]

    def end(self, heard_ms: int) -> Told:
        """The session has said all."""
        return [*self.release(heard_ms), *self._end_of_speech()]

    def ends(self, heard_ms: int) -> Told:
        """Of speech that was cut and of an utterance, each once, if it is time."""
        return [*self._end_of_cut_speech(heard_ms), *self._utterance_end(heard_ms)]

    def _end_of_cut_speech(self, heard_ms: int) -> Told:
        """Where no more audio will come, the end of the stream tells it."""
        wait_ms = self._end_of_speech_ms
        if self._cut_ms is None or self._begun or self._held:
            return []
        if self._is_stopped or wait_ms == wire.ONLY_FLUSH_MS or heard_ms < self._cut_ms + wait_ms:
            return []
        return self._end_of_speech()

    def _end_of_speech(self) -> Told:
        """If it is not told yet."""
        if self._cut_ms is None:
            return []
        self._is_utterance_open, self._cut_ms = False, None
        return [self._results(self._ended_ms, self._ended_ms, messages.NOTHING_SAID, is_end=True)]

    def _utterance_end(self, heard_ms: int) -> list[messages.UtteranceEnd]:
        wait_ms, last_word_ms = self._options.utterance_end_ms, self._last_word_ms
        if wait_ms is None or last_word_ms is None or self._begun or self._held:
            return []
        if heard_ms < last_word_ms + wait_ms + _NOTICED_MS:
            return []
        self._last_word_ms = None
        return [messages.UtteranceEnd(self._place, last_word_ms / 1000)]

    def _tell_final(self, final: wire.Final, heard_ms: int) -> Told:
        told = self.release(heard_ms)
        begun = self._begun_of(final.segment)
        self._begun.pop(final.segment, None)
        self._held = final, begun
        may_be_answer = self._n_flushes > 0
        return told if may_be_answer else told + self.release(heard_ms)

    def _begun_of(self, number: int) -> _Begun:
        return self._begun.get(number, _Begun(self._ended_ms))

    def _is_end(self, begun: _Begun) -> bool:
        """Whether the speaker has stopped."""
        has_limit = self._options.end_of_speech_ms != wire.ONLY_FLUSH_MS
        return not begun.is_cut and (has_limit or self._is_stopped)

    def _results(
        self,
        start_ms: int,
        end_ms: int,
        said: messages.Alternative,
        *,
        is_final: bool = True,
        is_end: bool = False,
        is_answer: bool = False,
    ) -> messages.Results:
        return messages.Results(
            channel_index=self._place,
            start_s=start_ms / 1000,
            duration_s=(end_ms - start_ms) / 1000,
            is_final=is_final,
            speech_final=is_end,
            channel=messages.Channel([said]),
            metadata=self._metadata,
            from_finalize=is_answer,
        )
