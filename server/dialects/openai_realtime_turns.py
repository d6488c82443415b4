"""Events of a native session in, what OpenAI's Realtime API says of its turns out.

A turn is what OpenAI calls an item. Where silence ends turns, each segment is one. Where the client
ends them, a turn is all that was said until its commit, however many segments that were: it is
complete when the session has said `flushed`, and its words are the finals, joined. What is said
after a commit can be told before that; a segment belongs to the turn in whose audio it begins.
Deltas are only ever added to: they follow what is stable, and stop where a final contradicts them.
Every turn that was committed is completed, if with no words, or has failed. Refuses nothing.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from server import wire
from server.dialects.openai_realtime_messages import (
    DurationUsage,
    Fault,
    Item,
    LogProb,
    ServerEvent,
)
from server.languages import word_separator

_HELD_BACK_MS = 40
"""As much of the audio before a flush may be heard with what follows it."""
_LEAST_CONFIDENCE = 1e-3
_TRANSCRIPTION = "conversation.item.input_audio_transcription."
_LOST = Fault("server_error", "server_error", "The words of this turn were lost. Say them again.")


class _Fate(Enum):
    """What becomes of a turn when its flush is answered."""

    COMPLETED = auto()
    FORGOTTEN = auto()
    CUT = auto()
    """A commit where silence ends turns: something has to come of it, if only an empty turn where
    no segment in its audio becomes one.
    """


@dataclass(slots=True, eq=False)
class _Turn:
    item_id: str
    since_ms: int
    segments: list[int] = field(default_factory=list)
    """Whose finals have not come, oldest first."""
    text: str = ""
    """Of its finals."""
    language: str | None = None
    """Of the last of them."""
    until_ms: int = 0
    logprobs: list[LogProb] = field(default_factory=list)
    said: str = ""
    """The deltas."""
    is_own: bool = False
    """Of one segment alone."""
    is_told: bool = True
    is_committed: bool = False


@dataclass(slots=True, eq=False)
class _Flush:
    turn: _Turn
    fate: _Fate
    until_ms: int
    is_met: bool = False
    """Since it was asked for, a segment in its audio has become a turn."""


class Turns:
    """Of one session."""

    def __init__(self, new_id: Callable[[], str], *, is_flat: bool) -> None:
        self._new_id = new_id
        self.is_flat = is_flat
        """Whether the client speaks as in the beta."""
        self.are_cut_by_silence = True
        self.has_logprobs = False
        self._turn_of: dict[int, _Turn] = {}
        """By segment, until its final."""
        self._open: _Turn | None = None
        """That the client has not ended."""
        self._flushes: deque[_Flush] = deque()
        self._since_ms = 0
        self._last_item_id: str | None = None

    def event(self, kind: str) -> ServerEvent:
        """With an id of its own."""
        return ServerEvent(kind, self._id("event_"))

    def commit(self, until_ms: int) -> list[ServerEvent]:
        """The client says that a turn ends here; the session is being told to flush."""
        if self.are_cut_by_silence:
            self._flush(_Turn("", self._since_ms), _Fate.CUT, until_ms)
            return []
        turn = self._open or self._new_turn()
        self._flush(turn, _Fate.COMPLETED, until_ms)
        return self._commit(turn)

    def clear(self, until_ms: int) -> list[ServerEvent]:
        """The client says that what it has not committed is to be forgotten; the same."""
        for turn in self._turn_of.values():
            if turn.is_own and not turn.is_committed and self._flush_of(turn.since_ms) is None:
                turn.is_told = False
        self._flush(self._open or self._new_turn(), _Fate.FORGOTTEN, until_ms)
        return [self.event("input_audio_buffer.cleared")]

    def has_open_turn(self) -> bool:
        """Whether something was said that the client has not ended yet, as it said it would."""
        return self._open is not None

    @property
    def n_waiting(self) -> int:
        """Turns that the client has ended and the session has not."""
        return len(self._flushes)

    def receive(self, told: wire.ServerEvent) -> list[ServerEvent]:
        """How OpenAI would say it; of what is no turn's, nothing."""
        events: list[ServerEvent] = []
        match told:
            case wire.SpeechStarted():
                events = self._start(told)
            case wire.Partial():
                events = self._add_to(told)
            case wire.SpeechEnded():
                events = self._stop(told)
            case wire.Final():
                events = self._finish(told)
            case wire.Flushed():
                events = self._settle()
            case wire.ErrorEvent():
                events = self._end()
            case _:
                pass
        return events

    # --- what the session says ---

    def _start(self, told: wire.SpeechStarted) -> list[ServerEvent]:
        flush = self._flush_of(told.start_ms)
        is_forgotten = flush is not None and flush.fate is _Fate.FORGOTTEN
        is_cut = self.are_cut_by_silence if flush is None else flush.fate is _Fate.CUT
        if is_forgotten or not is_cut:
            turn = flush.turn if flush else self._open or self._new_turn()
            if flush is None:
                self._open = turn
        else:
            turn = _Turn(self._id("item_"), told.start_ms, is_own=True)
        turn.segments.append(told.segment)
        self._turn_of[told.segment] = turn
        if not turn.is_own:
            return []
        started = self._of(turn, "input_audio_buffer.speech_started")
        started.audio_start_ms = told.start_ms
        return [started]

    def _add_to(self, told: wire.Partial) -> list[ServerEvent]:
        turn = self._turn_of.get(told.segment)
        if turn is None or turn.segments[0] != told.segment:
            return []
        return self._delta(turn, _after(turn, told.stable))

    def _stop(self, told: wire.SpeechEnded) -> list[ServerEvent]:
        turn = self._turn_of.get(told.segment)
        if turn is None or not turn.is_own:
            return []
        stopped = self._of(turn, "input_audio_buffer.speech_stopped")
        stopped.audio_end_ms = told.end_ms
        if not turn.is_told:
            return [stopped]
        flush = self._flush_of(turn.since_ms)
        if flush is not None:
            flush.is_met = True
        return [stopped, *self._commit(turn)]

    def _finish(self, told: wire.Final) -> list[ServerEvent]:
        turn = self._turn_of.pop(told.segment, None)
        if turn is None:
            return []
        turn.segments.remove(told.segment)
        if told.text and turn.is_told:
            if self.has_logprobs:
                turn.logprobs += _logprobs(told, word_separator(turn.language) if turn.text else "")
            turn.text = _after(turn, told.text)
            turn.language, turn.until_ms = told.language, told.end_ms
        events = self._delta(turn, turn.text)
        if turn.is_own and turn.is_told:
            events += self._complete(turn, told.end_ms - told.start_ms)
        return events

    def _settle(self) -> list[ServerEvent]:
        if not self._flushes:
            return []
        flush = self._flushes.popleft()
        span_ms = flush.until_ms - flush.turn.since_ms
        if flush.fate is _Fate.COMPLETED:
            return self._complete(flush.turn, span_ms)
        if flush.fate is _Fate.CUT and not flush.is_met:
            flush.turn.item_id = self._id("item_")
            return [*self._commit(flush.turn), *self._complete(flush.turn, span_ms)]
        return []

    def _end(self) -> list[ServerEvent]:
        """Nothing more comes: words that nobody has committed are told, lost ones called so."""
        events: list[ServerEvent] = []
        lost = {id(turn): turn for turn in self._turn_of.values() if turn.is_committed}
        lost |= {id(f.turn): f.turn for f in self._flushes if f.fate is _Fate.COMPLETED}
        for turn in lost.values():
            failed = self._of(turn, _TRANSCRIPTION + "failed")
            failed.content_index, failed.error = 0, _LOST
            events.append(failed)
        rest, self._open = self._open, None
        if rest is not None and rest.text:
            span_ms = rest.until_ms - rest.since_ms
            events += [*self._commit(rest), *self._complete(rest, span_ms)]
        self._turn_of.clear()
        self._flushes.clear()
        return events

    # --- turns ---

    def _flush_of(self, start_ms: int) -> _Flush | None:
        """In whose audio this lies; None: after all of them."""
        return next((f for f in self._flushes if start_ms + _HELD_BACK_MS < f.until_ms), None)

    def _flush(self, turn: _Turn, fate: _Fate, until_ms: int) -> None:
        turn.is_told = fate is not _Fate.FORGOTTEN
        self._flushes.append(_Flush(turn, fate, until_ms))
        self._since_ms = until_ms
        self._open = None

    def _new_turn(self) -> _Turn:
        return _Turn(self._id("item_"), self._since_ms)

    def _commit(self, turn: _Turn) -> list[ServerEvent]:
        before, self._last_item_id = self._last_item_id, turn.item_id
        turn.is_committed = True
        events = [self._of(turn, "input_audio_buffer.committed")]
        for kind in ("created",) if self.is_flat else ("added", "done"):
            events.append(self.event("conversation.item." + kind))
            events[-1].item = Item(turn.item_id)
        for event in events:
            event.previous_item_id = before
        return events

    def _delta(self, turn: _Turn, text: str) -> list[ServerEvent]:
        if not turn.is_told or len(text) <= len(turn.said) or not text.startswith(turn.said):
            return []
        added, turn.said = text[len(turn.said) :], text
        delta = self._of(turn, _TRANSCRIPTION + "delta")
        delta.content_index, delta.delta = 0, added
        return [delta]

    def _complete(self, turn: _Turn, span_ms: int) -> list[ServerEvent]:
        done = self._of(turn, _TRANSCRIPTION + "completed")
        done.content_index, done.transcript = 0, turn.text
        done.usage = DurationUsage(max(span_ms, 0) / 1000)
        if self.has_logprobs:
            done.logprobs = turn.logprobs
        return [done]

    def _of(self, turn: _Turn, kind: str) -> ServerEvent:
        event = self.event(kind)
        event.item_id = turn.item_id
        return event

    def _id(self, prefix: str) -> str:
        return prefix + self._new_id().replace("-", "")


def _after(turn: _Turn, more: str) -> str:
    """Its text, and more of it."""
    return turn.text + word_separator(turn.language) + more if turn.text else more


def _logprobs(final: wire.Final, lead: str) -> list[LogProb]:
    """Of its words, each with what stands before it; `lead` stands before the first."""
    logprobs, at = [], 0
    for word in final.words:
        begins = final.text.find(word.text, at)
        token = lead + word.text
        if begins >= 0:
            token = lead + final.text[at : begins + len(word.text)]
            at = begins + len(word.text)
        lead = ""
        logprob = math.log(min(max(word.confidence, _LEAST_CONFIDENCE), 1.0))
        logprobs.append(LogProb(token, round(logprob, 4), list(token.encode())))
    return logprobs
