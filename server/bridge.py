"""A telephone system's frames, a session's events and the time in; what each of the two is to be
told out: one connection, joined to one session, without I/O.

A shell carries out `actions()` in order after each call, and calls `tick` no later than
`next_deadline_s`. Until somebody has been admitted nothing of a frame is kept but what it opens the
call with, and of such frames there may be few, short ones, and not for long. From then on the
audio is placed in time and handed on, the session's events are put into the call's time, and told
to whoever listens to the call, and over the wire as far as its dialect can say them. A wire that is
gone does not end what was said on it: the session comes to its last words first. While the session
cannot take more audio, what comes is counted and let go: a telephone system must be read.
"""

from enum import Enum, auto

import msgspec

from server import errors, wire
from server.bridge_values import (
    Action,
    Admit,
    BridgeLimits,
    Cause,
    EndSession,
    ToCall,
    ToPeer,
    ToSession,
)
from server.dialects.values import (
    Admitted,
    Audio,
    Close,
    Dialect,
    Ended,
    Fault,
    Flush,
    Heard,
    LanguageChanged,
    Opening,
    Reply,
    Said,
    Stopped,
    Told,
)
from server.placing import Cut, Sound
from server.timelines import Losses, MixedError, OfChannel, Timelines

_MOST_TRACKS = 2
_REFUSALS = {refusal.code: refusal for refusal in errors.ALL}


class _Phase(Enum):
    OPENING = auto()
    """Nothing of the call is known, or whose it is."""
    ASKING = auto()
    PROBED = auto()
    """Nobody calls: it has been told that we are here, and closes."""
    OPEN = auto()
    DRAINING = auto()
    """No more audio; the last words come."""
    PARTING = auto()
    """Everything is said; the peer closes."""
    OVER = auto()


_UNHEARD = {_Phase.OPENING, _Phase.ASKING, _Phase.PROBED}
"""No audio is taken yet, or ever."""


class Bridge:
    """Sans-I/O; its shell is `server.bridging`."""

    def __init__(
        self,
        dialect: Dialect,
        limits: BridgeLimits,
        now_s: float,
        *,
        is_known: bool,
        end_of_speech_ms: int | None = None,
    ) -> None:
        """`is_known`: who it is was checked before the connection was accepted."""
        self._dialect = dialect
        self._limits = limits
        self._end_of_speech_ms = end_of_speech_ms
        self._is_known = is_known
        self._phase = _Phase.OPENING
        self._since_s = self._frame_s = self._told_s = now_s
        """When the phase began; the last frame came; the session was last told anything."""
        self._n_frames = self._n_bytes = 0
        """In the opening."""
        self._opening: Opening | None = None
        self._timelines: Timelines | None = None
        """Once it is open."""
        self._languages: frozenset[str | None] = frozenset()
        """That the session can be told to hear; None: to find it out, if it began with that."""
        self._is_peer_there = True
        self._cause: Cause | None = None
        """The first that there was."""
        self._is_ready = False
        """The session is."""
        self.is_behind = False
        """The session cannot take more audio now; for the shell to set."""
        self._actions: list[Action] = []

    @property
    def is_over(self) -> bool:
        """Nothing more comes out."""
        return self._phase is _Phase.OVER

    @property
    def cause(self) -> Cause | None:
        """Why it ended, or will; None: as the peer wished."""
        return self._cause

    @property
    def is_asking(self) -> bool:
        """Whether nothing can be heard until `Admit` is answered and the session is ready."""
        is_waiting = self._phase is _Phase.OPEN and not self._is_ready
        return self._phase is _Phase.ASKING or is_waiting

    @property
    def is_open(self) -> bool:
        """Whether a session is to hear what comes."""
        return self._phase is _Phase.OPEN

    @property
    def losses(self) -> Losses:
        """So far."""
        return self._timelines.losses if self._timelines else Losses(0, 0, 0, 0, 0)

    @property
    def next_deadline_s(self) -> float:
        """When `tick` is next needed."""
        limits, inf = self._limits, float("inf")
        match self._phase:
            case _Phase.OPENING | _Phase.ASKING if self._is_known:
                return self._since_s + limits.known_limit_s
            case _Phase.OPENING | _Phase.ASKING:
                return self._since_s + limits.opening_limit_s
            case _Phase.PARTING | _Phase.PROBED:
                return self._since_s + limits.farewell_s
            case _Phase.OPEN:
                return min(
                    self._told_s + limits.keep_alive_s,
                    self._frame_s + limits.idle_limit_s,
                    self._timelines.next_deadline_s if self._timelines else inf,
                )
            case _Phase.DRAINING | _Phase.OVER:
                return inf

    def actions(self) -> list[Action]:
        """What has to happen, once, in order."""
        taken, self._actions = self._actions, []
        return taken

    # --- from the peer ---

    def receive_frame(self, frame: str | bytes, now_s: float) -> None:
        """Take what the peer sends."""
        if self.is_over:
            return
        self._frame_s, limits = now_s, self._limits
        n_bytes = _size_bytes(frame)
        if n_bytes > limits.frame_bytes:
            self._fail(Cause.of(errors.MESSAGE_TOO_BIG), now_s)
            return
        if self._phase is _Phase.OPENING and not self._is_known:
            self._n_frames += 1
            self._n_bytes += n_bytes
            if self._n_frames > limits.opening_frames or self._n_bytes > limits.opening_bytes:
                self._give_up(Cause.of(errors.UNAUTHENTICATED), now_s)
                return
        for heard in self._dialect.receive(frame):
            if not self.is_over:
                self._hear(heard, now_s)

    def receive_gone(self, now_s: float, cause: Cause | None = None) -> None:
        """The peer has closed, or for this cause the connection has."""
        self._is_peer_there = False
        if self._phase is _Phase.OPEN:
            self._blame(cause)
            self._stop(now_s)
        elif self._phase in _UNHEARD:
            self._blame(cause)
            self._enter(_Phase.OVER, now_s)
        elif self._phase is _Phase.PARTING:
            self._enter(_Phase.OVER, now_s)

    # --- from the door and the session ---

    def receive_admitted(self, now_s: float, language: str | None = None) -> None:
        """It is somebody, and there is a session, in this language where the wire names none."""
        if self._phase is not _Phase.ASKING or self._opening is None:
            return
        opening = self._opening
        audio_format, n_tracks = opening.audio_format, len(opening.tracks)
        self._timelines = Timelines(audio_format, n_tracks, self._limits.placing, now_s)
        self._enter(_Phase.OPEN, now_s)
        spoken = opening.language or language
        self._languages = frozenset() if spoken else frozenset({None})
        start = {
            "type": "start",
            "encoding": audio_format.encoding.value,
            "sample_rate_hz": audio_format.sample_rate_hz,
            "channels": n_tracks,
            "language": spoken,
            "end_of_speech_ms": self._end_of_speech_ms,
        }
        self._tell_session(msgspec.json.encode(start).decode(), now_s)

    def receive_probed(self, languages: frozenset[str], now_s: float) -> None:
        """It is somebody, who only looks whether we are here: there is no session."""
        if self._phase is _Phase.ASKING:
            self._enter(_Phase.PROBED, now_s)
            self._tell_peer(Admitted(languages, None))

    def receive_refused(self, refusal: errors.Refusal, now_s: float) -> None:
        """It is nobody we know, or there is no room."""
        if self._phase not in {_Phase.PARTING, _Phase.OVER}:
            self._give_up(Cause.of(refusal), now_s)

    def receive_event(
        self, event: wire.ServerEvent, languages: frozenset[str], now_s: float
    ) -> None:
        """Take what the session says; `languages` are those that it can be asked for."""
        if self._phase not in {_Phase.OPEN, _Phase.DRAINING}:
            return
        match event:
            case wire.Ready(language=language):
                self._is_ready = True
                self._languages |= languages
                self._tell_peer(Admitted(languages, language))
            case wire.SpeechStarted() | wire.Partial() | wire.SpeechEnded() | wire.Final():
                placed = self._timelines.in_call_time(event) if self._timelines else event
                said = Said(event.channel, placed)
                self._actions.append(ToCall(said))
                self._tell_peer(said)
            case wire.ErrorEvent(code):
                self._blame(Cause.of(_REFUSALS.get(code, errors.INTERNAL)))
            case _:
                pass

    def receive_session_end(self, now_s: float) -> None:
        """The session has closed."""
        if self._phase is _Phase.OPEN:
            self._blame(Cause.of(errors.INTERNAL))
        if self._phase in {_Phase.OPEN, _Phase.DRAINING}:
            self._part(now_s)

    def tick(self, now_s: float) -> None:
        """Let time pass."""
        if now_s < self.next_deadline_s:
            return
        match self._phase:
            case _Phase.OPENING | _Phase.ASKING:
                self._give_up(Cause.of(errors.START_LATE), now_s)
            case _Phase.PROBED:
                self._part(now_s)
            case _Phase.PARTING:
                self._actions.append(ToPeer(Close()))
                self._enter(_Phase.OVER, now_s)
            case _Phase.OPEN if now_s >= self._frame_s + self._limits.idle_limit_s:
                self._blame(Cause.of(errors.IDLE))
                self._stop(now_s)
            case _:  # open: the other phases have no deadline
                self._hand_on(self._timelines.tick(now_s) if self._timelines else [], now_s)
                if now_s >= self._told_s + self._limits.keep_alive_s:
                    self._tell_session(wire.encode(wire.KeepAlive()), now_s)

    # --- what was heard ---

    def _hear(self, heard: Heard, now_s: float) -> None:
        match heard:
            case Reply(frame):
                if self._is_peer_there:
                    self._actions.append(ToPeer(frame))
            case Fault(refusal, reason):
                self._fail(Cause(refusal, reason), now_s)
            case Stopped():
                self._stop(now_s)
            case Opening():
                self._open(heard, now_s)
            case Audio() | Flush() | LanguageChanged() if self._phase is _Phase.OPEN:
                self._hear_call(heard, now_s)
            case _:
                pass

    def _open(self, opening: Opening, now_s: float) -> None:
        if self._phase is not _Phase.OPENING:
            return
        if not opening.is_probe and not 0 < len(opening.tracks) <= _MOST_TRACKS:
            self._fail(Cause.of(errors.AUDIO_UNREADABLE), now_s)
            return
        self._opening = opening
        self._phase = _Phase.ASKING
        self._actions.append(Admit(opening))

    def _hear_call(self, heard: Audio | Flush | LanguageChanged, now_s: float) -> None:
        match heard:
            case Audio():
                self._place(heard, now_s)
            case Flush():
                self._tell_session(wire.encode(wire.Flush()), now_s)
            case LanguageChanged(language):
                self._change_language(language, now_s)

    def _place(self, audio: Audio, now_s: float) -> None:
        assert self._timelines is not None  # noqa: S101 - it is open
        try:
            if self.is_behind:
                self._timelines.drop(audio)
            else:
                self._hand_on([self._timelines.receive(audio, now_s)], now_s)
        except MixedError:
            self._fail(Cause.of(errors.BAD_MESSAGE), now_s)

    def _hand_on(self, parts: list[OfChannel], now_s: float) -> None:
        for part in parts:
            for each in part.placed:
                match each:
                    case Sound(payload):
                        self._told_s = now_s
                        self._actions.append(ToSession(payload, part.channel))
                    case Cut():
                        self._tell_session(wire.encode(wire.Flush(part.channel)), now_s)

    def _change_language(self, language: str | None, now_s: float) -> None:
        """One that the model or the token lacks ends what is being said, and nothing else."""
        is_known = language in self._languages
        message = wire.ChangeLanguage(language) if is_known else wire.Flush()
        self._tell_session(wire.encode(message), now_s)

    # --- what is told ---

    def _tell_session(self, text: str, now_s: float) -> None:
        self._told_s = now_s
        self._actions.append(ToSession(text))

    def _tell_peer(self, told: Told) -> bool:
        """Whether the wire says by itself that it is over."""
        frames = self._dialect.tell(told) if self._is_peer_there else []
        self._actions += [ToPeer(frame) for frame in frames]
        return any(isinstance(frame, Close) for frame in frames)

    # --- the end ---

    def _fail(self, cause: Cause, now_s: float) -> None:
        """The peer broke its protocol: what was said until then is still heard."""
        if self._phase is _Phase.OPEN:
            self._blame(cause)
            self._stop(now_s)
        elif self._phase in _UNHEARD:
            self._give_up(cause, now_s)

    def _stop(self, now_s: float) -> None:
        if self._phase in _UNHEARD:
            self._part(now_s)
        if self._phase is not _Phase.OPEN:
            return
        self._hand_on(self._timelines.end() if self._timelines else [], now_s)
        if self._cause is None or self._cause.refusal is None:
            self._tell_session(wire.encode(wire.Stop()), now_s)
        else:
            self._actions.append(EndSession(self._cause.refusal))
        self._enter(_Phase.DRAINING, now_s)

    def _give_up(self, cause: Cause, now_s: float) -> None:
        self._blame(cause)
        self._part(now_s)

    def _blame(self, cause: Cause | None) -> None:
        """The first cause stays the cause."""
        self._cause = self._cause or cause

    def _part(self, now_s: float) -> None:
        is_closed = self._tell_peer(Ended(self._cause.refusal if self._cause else None))
        is_done = is_closed or not self._is_peer_there
        self._enter(_Phase.OVER if is_done else _Phase.PARTING, now_s)

    def _enter(self, phase: _Phase, now_s: float) -> None:
        self._phase, self._since_s = phase, now_s


def _size_bytes(frame: str | bytes) -> int:
    if isinstance(frame, bytes) or frame.isascii():
        return len(frame)
    return len(frame.encode("utf-8", "surrogatepass"))
