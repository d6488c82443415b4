"""Frames, scores, hypotheses and the time in; what has to happen next out: the conversation,
without I/O.

A shell calls `receive_…` as things come, drains `actions()` after each call and carries them out
in order, reads the socket only while `wants_audio`, and calls `tick` no later than
`next_deadline_s`. There is one closing path: the last finals, the event that says why, `ended`,
the audit record, the close, in that order, whatever ended the session; a peer that is gone skips
what needs a peer. Refuses: audio before `start`, a second `start`, anything that is not the
protocol, audio beyond the grant, silence beyond the settings.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

from security.audit import AuditEvent, SessionEnded, SessionStarted
from server import errors, wire
from server.audio import AudioFormat, Encoding, ms_from_samples
from server.grant import Grant
from server.quota import Quota
from server.recognition import Hypothesis, ModelCard
from server.segmenter import SegmenterSettings
from server.track import Reprioritise, Score, Track, TrackSettings, Transcribe

STOPPED = "stopped"
CLIENT_GONE = "client_gone"
_NORMAL_CLOSE = 1000
_ABNORMAL_CLOSE = 1006


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """How long and how much one session may be."""

    start_limit_s: float = 10.0
    """From the handshake to the `start` message."""
    idle_limit_s: float = 30.0
    """Without a frame of any kind."""
    session_limit_s: float = 4 * 3600.0
    drain_limit_s: float = 60.0
    """From the end of the audio to the last final; then the server gives up on itself."""
    most_unscored_ms: int = 2_000
    """Audio waiting for its scores before the socket is no longer read."""
    most_unfinished_ms: int = 60_000
    """Speech waiting for its finals before the socket is no longer read."""
    track: TrackSettings = field(default_factory=TrackSettings)


@dataclass(frozen=True, slots=True)
class Caller:
    """What the handshake showed of the peer, for the trail; strangers chose these strings."""

    address: str
    origin: str | None
    user_agent: str | None


@dataclass(frozen=True, slots=True)
class Send:
    """Wanted: this event on the wire."""

    event: wire.ServerEvent


@dataclass(frozen=True, slots=True)
class Record:
    """Wanted: this event durable in the trail before the next action."""

    event: AuditEvent


@dataclass(frozen=True, slots=True)
class Close:
    """Wanted: the WebSocket closed. The last action there is."""

    code: int


Action = Score | Transcribe | Reprioritise | Send | Record | Close


class _State(Enum):
    WAITING = "waiting"
    """For `start`."""
    STREAMING = "streaming"
    DRAINING = "draining"
    """No more audio; finals are still to come."""
    CLOSED = "closed"


class Session:
    """One connection's conversation; one track of audio."""

    def __init__(
        self,
        session_id: str,
        model: ModelCard,
        grant: Grant,
        caller: Caller,
        settings: SessionSettings,
        now_s: float,
    ) -> None:
        self.session_id = session_id
        self._model = model
        self._grant = grant
        self._settings = settings
        self._quota = Quota(grant)
        self._state = _State.WAITING
        self._format = AudioFormat(Encoding.PCM_S16LE, 16_000)
        self._track: Track | None = None
        self._refusal: errors.Refusal | None = None
        self._reason = STOPPED
        self._heard_s = self._state_since_s = now_s
        self._ends_s = now_s + settings.session_limit_s
        self._expires_s = now_s + grant.expires_in_s
        started = SessionStarted(
            session_id=session_id,
            subject=grant.subject,
            issuer=grant.issuer,
            token_id=grant.token_id,
            peer_address=caller.address,
            origin=caller.origin,
            user_agent=caller.user_agent,
            model=model.model_id,
        )
        self._actions: list[Action] = [Record(started)]

    @property
    def subject(self) -> str:
        """With whom it shares what the server can do: the issuer and its name for the caller."""
        return f"{self._grant.issuer} {self._grant.subject}"

    @property
    def is_closed(self) -> bool:
        """Whether `Close` has been given out or will be with the next `actions`."""
        return self._state is _State.CLOSED

    @property
    def wants_audio(self) -> bool:
        """Whether to read the socket; if not, TCP makes the client wait."""
        if self._track is None:
            return not self.is_closed
        return (
            self._track.unscored_ms <= self._settings.most_unscored_ms
            and self._track.unfinished_ms <= self._settings.most_unfinished_ms
        )

    @property
    def next_deadline_s(self) -> float:
        """When `tick` is next needed."""
        return min(deadline_s for deadline_s, _ in self._deadlines())

    def actions(self) -> list[Action]:
        """What has to happen, once, in order."""
        taken, self._actions = self._actions, []
        return taken

    def receive_text(self, frame: str, now_s: float) -> None:
        """Take a text frame."""
        if self._state not in (_State.WAITING, _State.STREAMING):
            return
        self._heard_s = now_s
        try:
            message = wire.decode_client_message(frame)
        except wire.WireError:
            self._end(errors.BAD_MESSAGE, now_s)
            return
        match message, self._track:
            case wire.Start(), None:
                self._start(message, now_s)
            case wire.KeepAlive(), _:
                pass
            case wire.Stop(), _:
                self._end(None, now_s)
            case wire.Flush(), Track() as track:
                track.flush()
                self._take_track_actions()
            case _:
                self._end(errors.BAD_MESSAGE, now_s)

    def receive_audio(self, data: bytes, now_s: float) -> None:
        """Take a binary frame."""
        if self._state not in (_State.WAITING, _State.STREAMING):
            return
        self._heard_s = now_s
        if self._track is None:
            self._end(errors.BAD_MESSAGE, now_s)
            return
        refusal = self._quota.receive_frame(len(data), self._format)
        if refusal is not None:
            self._end(refusal, now_s)
            return
        self._track.receive_audio(data)
        self._take_track_actions()

    def receive_scores(self, probabilities: list[float]) -> None:
        """Take the answer to the oldest `Score`."""
        if self._track is None or self.is_closed:
            return
        self._track.receive_scores(probabilities)
        self._take_track_actions()

    def receive_hypothesis(self, segment: int, revision: int, hypothesis: Hypothesis) -> None:
        """Take the answer to a `Transcribe`; one that fits no open segment is dropped."""
        if self._track is None or self.is_closed:
            return
        self._track.receive_hypothesis(segment, revision, hypothesis)
        self._take_track_actions()

    def receive_failure(self, segment: int, revision: int, now_s: float) -> None:
        """Take the news that a `Transcribe` has no answer; a final without one ends the session."""
        if self._track is None or self.is_closed:
            return
        if not self._track.receive_failure(segment, revision):
            self._fail(now_s)
        self._take_track_actions()

    def receive_gone(self, close_code: int | None = None) -> None:
        """The peer is no longer there; 1009 is the WebSocket layer refusing an oversized frame."""
        if self.is_closed:
            return
        if close_code == errors.MESSAGE_TOO_BIG.close_code:
            self._close(errors.MESSAGE_TOO_BIG.close_code, errors.MESSAGE_TOO_BIG.code)
        else:
            self._close(_ABNORMAL_CLOSE, CLIENT_GONE)

    def refuse(self, refusal: errors.Refusal, now_s: float) -> None:
        """End the session for a reason that lies outside it, such as a server that stops."""
        self._end(refusal, now_s)

    def abort(self) -> None:
        """The shell has failed: no finals, no words, only the record and the close."""
        if not self.is_closed:
            self._close(errors.INTERNAL.close_code, errors.INTERNAL.code)

    def tick(self, now_s: float) -> None:
        """Let time pass. While it is we who do not listen, the peer is not idle."""
        if not self.wants_audio:
            self._heard_s = now_s
        due = [refusal for deadline_s, refusal in self._deadlines() if deadline_s <= now_s]
        if not due or self.is_closed:
            return
        if self._state is _State.DRAINING:
            self._fail(now_s)
        else:
            self._end(due[0], now_s)

    def _deadlines(self) -> list[tuple[float, errors.Refusal]]:
        settings = self._settings
        match self._state:
            case _State.WAITING:
                return [
                    (self._state_since_s + settings.start_limit_s, errors.START_LATE),
                    (self._expires_s, errors.TOKEN_EXPIRED),
                ]
            case _State.STREAMING:
                return [
                    (self._heard_s + settings.idle_limit_s, errors.IDLE),
                    (self._expires_s, errors.TOKEN_EXPIRED),
                    (self._ends_s, errors.SESSION_TOO_LONG),
                ]
            case _State.DRAINING:
                return [(self._state_since_s + settings.drain_limit_s, errors.INTERNAL)]
            case _State.CLOSED:
                return [(float("inf"), errors.INTERNAL)]

    def _start(self, message: wire.Start, now_s: float) -> None:
        if message.language is not None and message.language not in self._model.languages:
            self._end(errors.LANGUAGE_UNKNOWN, now_s)
            return
        self._state = _State.STREAMING
        self._format = AudioFormat(Encoding(message.encoding), message.sample_rate_hz)
        track_settings = _with_end_of_speech(self._settings.track, message.end_of_speech_ms)
        self._track = Track(
            self._format,
            track_settings,
            language=message.language,
            context=message.context,
            wants_partials=message.partials,
        )
        ready = wire.Ready(
            session_id=self.session_id,
            model=self._model.model_id,
            language=message.language,
            end_of_speech_ms=track_settings.segmenter.end_of_speech_ms,
            limits=wire.Limits(
                audio_ms=self._grant.audio_ms,
                bytes=self._grant.bytes,
                expires_in_s=int(self._grant.expires_in_s),
            ),
        )
        self._actions.append(Send(ready))

    def _take_track_actions(self) -> None:
        if self._track is None or self.is_closed:
            return
        for action in self._track.actions():
            if isinstance(action, Score | Transcribe | Reprioritise):
                self._actions.append(action)
            else:
                self._actions.append(Send(action))
        if self._state is _State.DRAINING and self._track.is_settled:
            self._finish()

    def _end(self, refusal: errors.Refusal | None, now_s: float) -> None:
        """Begin the closing path; the first reason stays the reason."""
        if self._state not in (_State.WAITING, _State.STREAMING):
            return
        self._state, self._state_since_s = _State.DRAINING, now_s
        self._refusal = refusal
        if self._track is None:
            self._finish()
            return
        self._track.end()
        self._take_track_actions()

    def _fail(self, now_s: float) -> None:
        """The engine lost words that were promised: say so instead of what is missing."""
        self._end(errors.INTERNAL, now_s)
        self._refusal = errors.INTERNAL
        self._finish()

    def _finish(self) -> None:
        if self.is_closed:
            return
        refusal = self._refusal
        reason = refusal.code if refusal else STOPPED
        if refusal:
            error = wire.ErrorEvent(refusal.code, refusal.text, refusal.is_retryable)
            self._actions.append(Send(error))
        self._actions.append(Send(wire.Ended(reason=reason, usage=self._usage())))
        self._close(refusal.close_code if refusal else _NORMAL_CLOSE, reason)

    def _close(self, code: int, reason: str) -> None:
        self._state = _State.CLOSED
        usage = self._usage()
        ended = SessionEnded(
            session_id=self.session_id,
            subject=self._grant.subject,
            token_id=self._grant.token_id,
            model=self._model.model_id,
            bytes_received=usage.bytes,
            audio_ms=usage.audio_ms,
            speech_ms=usage.speech_ms,
            segments=usage.segments,
            close_code=code,
            reason=reason,
        )
        self._actions += [Record(ended), Close(code)]

    def _usage(self) -> wire.Usage:
        n_samples = self._quota.spent_bytes // self._format.frame_bytes
        return wire.Usage(
            bytes=self._quota.spent_bytes,
            audio_ms=ms_from_samples(n_samples, self._format.sample_rate_hz),
            speech_ms=ms_from_samples(self._track.speech_samples) if self._track else 0,
            segments=self._track.segments if self._track else 0,
        )


def _with_end_of_speech(settings: TrackSettings, end_of_speech_ms: int | None) -> TrackSettings:
    if end_of_speech_ms is None:
        return settings
    segmenter: SegmenterSettings = replace(settings.segmenter, end_of_speech_ms=end_of_speech_ms)
    return replace(settings, segmenter=segmenter)
