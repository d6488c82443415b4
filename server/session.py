"""Frames, scores, hypotheses and the time in; what has to happen next out: the conversation,
without I/O.

A shell decodes what the peer sends, checks what is a token itself, calls `receive_…` as things
come, drains `actions()` after each call and carries them out in order, reads the socket only while
`wants_audio`, and calls `tick` no later than `next_deadline_s`. There is one closing path: the last
finals, the event that says why, `ended`, the audit record, the close, in that order, whatever ended
the session; a peer that is gone skips what needs a peer. Refuses: audio before `start`, a second
`start`, anything that is not the protocol, audio beyond the grant, silence beyond the settings.
"""

from dataclasses import replace

from security.door_events import RefreshRefused, SessionEnded, SessionRefreshed
from server import errors, wire
from server.audio import AudioFormat, Encoding, ms_from_samples
from server.grant import Grant
from server.lifetime import Lifetime, Phase
from server.pace import Pace
from server.quota import Quota
from server.recognition import Hypothesis, ModelCard
from server.segmenter import SegmenterSettings
from server.session_values import (
    Action,
    Caller,
    Close,
    Record,
    Reserve,
    Send,
    SessionSettings,
    spans_of,
    start_of,
)
from server.track import Reprioritise, Score, Track, TrackSettings, Transcribe

STOPPED = "stopped"
CLIENT_GONE = "client_gone"
_NORMAL_CLOSE = 1000
_ABNORMAL_CLOSE = 1006
_BY_THE_SOCKET = (errors.MESSAGE_TOO_BIG, errors.AUDIO_UNREADABLE)
_MOST_REFUSED_REFRESHES = 3


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
        self._format = AudioFormat(Encoding.PCM_S16LE, 16_000)
        self._quota = Quota(grant.limits, self._format)
        self._pace = Pace(grant.limits.pace_percent, settings.pace)
        self._is_held_back = False
        """Not read, so that TCP slows it down."""
        self._life = Lifetime(spans_of(settings, grant.limits), grant.expires_in_s, now_s)
        self._refused_refreshes = 0
        self._track: Track | None = None
        self._heard: frozenset[str | None] = frozenset()
        """The language, once it has started."""
        self._refusal: errors.Refusal | None = None
        started = start_of(session_id, model.model_id, grant, caller)
        self._actions: list[Action] = [Record(started)]

    @property
    def grant(self) -> Grant:
        """What it lives by now."""
        return self._grant

    @property
    def is_closed(self) -> bool:
        """Whether `Close` has been given out or will be with the next `actions`."""
        return self._life.phase is Phase.CLOSED

    @property
    def last_moment_s(self) -> float:
        """When the peer has to be gone, whether or not it has heard everything."""
        return self._life.last_moment_s

    @property
    def wants_audio(self) -> bool:
        """Whether to read the socket; if not, TCP makes the client wait."""
        if self._track is None:
            return not self.is_closed
        return (
            self._track.unscored_ms <= self._settings.most_unscored_ms
            and self._track.unfinished_ms <= self._settings.most_unfinished_ms
            and self._quota.wants_audio
            and not self._is_held_back
        )

    @property
    def next_deadline_s(self) -> float:
        """When `tick` is next needed."""
        is_held_back = self._is_held_back and not self.is_closed
        resumes_s = self._pace.resumes_s if is_held_back else None
        return min(self._life.next_deadline_s, float("inf") if resumes_s is None else resumes_s)

    def actions(self) -> list[Action]:
        """What has to happen, once, in order."""
        taken, self._actions = self._actions, []
        return taken

    def receive_message(self, message: wire.SessionMessage | None, now_s: float) -> None:
        """Take what a text frame says; None: nothing of the protocol."""
        if not self._is_listening:
            return
        self._life.receive_frame(now_s)
        match message, self._track:
            case wire.Start() as start, None:
                self._start(start, now_s)
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
        if not self._is_listening:
            return
        self._life.receive_frame(now_s)
        if self._track is None:
            self._end(errors.BAD_MESSAGE, now_s)
            return
        refusal = self._quota.receive_frame(len(data))
        if refusal is None and self._is_too_fast(len(data), now_s):
            refusal = errors.TOO_FAST
        if refusal is not None:
            self._end(refusal, now_s)
            return
        if self._quota.has_news:
            self._tell_what_is_left()
        self._track.receive_audio(data)
        self._take_track_actions()

    def receive_reserved(self, wished_ms: int, got_ms: int) -> None:
        """Take the answer to a `Reserve`."""
        self._quota.receive_reserved(wished_ms, got_ms)

    def receive_grant(self, grant: Grant, now_s: float) -> None:
        """Take what a newer token allows; it has to be the same subject's, and to end later."""
        if not self._is_listening:
            return
        self._life.receive_frame(now_s)
        if grant.who != self._grant.who:
            self.refuse_refresh(errors.FORBIDDEN, "other_subject", now_s)
        elif not grant.covers(self._model.model_id, self._heard):
            self.refuse_refresh(errors.FORBIDDEN, "not_for_this", now_s)
        elif not self._life.renew(grant.expires_in_s, now_s):
            self.refuse_refresh(errors.FORBIDDEN, "not_later", now_s)
        else:
            record = SessionRefreshed(
                session_id=self.session_id,
                subject=grant.subject,
                token_id=grant.token_id,
                former_token_id=self._grant.token_id,
            )
            self._grant = replace(grant, limits=self._grant.limits)
            told = wire.TokenRefreshed(int(grant.expires_in_s))
            self._actions += [Record(record), Send(told)]

    def refuse_refresh(self, refusal: errors.Refusal, reason: str, now_s: float) -> None:
        """Take the news that a newer token will not do; who goes on trying is sent away."""
        if not self._is_listening:
            return
        self._life.receive_frame(now_s)
        self._refused_refreshes += 1
        record = RefreshRefused(
            session_id=self.session_id,
            subject=self._grant.subject,
            token_id=self._grant.token_id,
            reason=reason,
        )
        self._actions += [
            Record(record),
            Send(wire.RefreshRefused(refusal.code, refusal.text)),
        ]
        if self._refused_refreshes >= _MOST_REFUSED_REFRESHES:
            self._end(errors.UNAUTHENTICATED, now_s)

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
        """The peer is no longer there, or what stands for it has refused what it sent."""
        if self.is_closed:
            return
        known = {each.close_code: each for each in _BY_THE_SOCKET}
        if close_code in known:
            self._close(known[close_code].close_code, known[close_code].code)
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
            self._life.receive_frame(now_s)
        if self._pace.resumes_s is None or self._pace.resumes_s <= now_s:
            self._is_held_back = False
        left_s = self._life.take_warning(now_s)
        if left_s is not None:
            self._actions.append(Send(wire.TokenExpiring(int(left_s))))
        refusal = self._life.due(now_s)
        if refusal is None:
            return
        if self._life.phase is Phase.DRAINING:
            self._fail(now_s)
        else:
            self._end(refusal, now_s)

    @property
    def _is_listening(self) -> bool:
        return self._life.phase in {Phase.WAITING, Phase.STREAMING}

    def _start(self, message: wire.Start, now_s: float) -> None:
        if message.language is not None and message.language not in self._model.languages:
            self._end(errors.LANGUAGE_UNKNOWN, now_s)
            return
        language = self._granted_language(message.language)
        if self._grant.languages is not None and language is None:
            self._end(errors.FORBIDDEN, now_s)
            return
        self._life.enter(Phase.STREAMING, now_s)
        self._heard = frozenset({language})
        self._format = AudioFormat(Encoding(message.encoding), message.sample_rate_hz)
        self._quota = Quota(self._grant.limits, self._format)
        track_settings = _with_end_of_speech(self._settings.track, message.end_of_speech_ms)
        self._track = Track(
            self._format,
            track_settings,
            language=language,
            context=message.context,
            wants_partials=message.partials,
        )
        ready = wire.Ready(
            session_id=self.session_id,
            model=self._model.model_id,
            language=language,
            end_of_speech_ms=track_settings.segmenter.end_of_speech_ms,
            limits=wire.Limits(
                audio_ms=self._quota.audio_ms_left,
                bytes=self._quota.bytes_left,
                expires_in_s=int(self._grant.expires_in_s),
                session_s=self._grant.limits.session_s,
                pace_percent=self._grant.limits.pace_percent,
            ),
        )
        self._actions.append(Send(ready))
        self._reserve()

    def _is_too_fast(self, n_bytes: int, now_s: float) -> bool:
        bytes_per_s = self._format.frame_bytes * self._format.sample_rate_hz
        is_too_fast = self._pace.receive(n_bytes, bytes_per_s, now_s)  # bytes for samples
        self._is_held_back = self._pace.resumes_s is not None
        return is_too_fast

    def _granted_language(self, wished: str | None) -> str | None:
        """The one to hear: who may only have one need not say which."""
        granted = self._grant.languages
        if granted is None or wished in granted:
            return wished
        of_model = granted & self._model.languages
        return next(iter(of_model)) if wished is None and len(of_model) == 1 else None

    def _tell_what_is_left(self) -> None:
        if self._quota.take_notice():
            left = wire.Quota(self._quota.audio_ms_left, self._quota.bytes_left)
            self._actions.append(Send(left))
        self._reserve()

    def _reserve(self) -> None:
        wished_ms = self._quota.take_wish_ms()
        if wished_ms:
            self._actions.append(Reserve(wished_ms))

    def _take_track_actions(self) -> None:
        if self._track is None or self.is_closed:
            return
        for action in self._track.actions():
            if isinstance(action, Score | Transcribe | Reprioritise):
                self._actions.append(action)
            else:
                self._actions.append(Send(action))
        if self._life.phase is Phase.DRAINING and self._track.is_settled:
            self._finish()

    def _end(self, refusal: errors.Refusal | None, now_s: float) -> None:
        """Begin the closing path; the first reason stays the reason."""
        if not self._is_listening:
            return
        self._life.enter(Phase.DRAINING, now_s)
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
        self._life.phase = Phase.CLOSED
        if self._quota.unspent_ms > 0:
            self._actions.append(Reserve(-self._quota.unspent_ms))
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
