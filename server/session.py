"""Frames, scores, hypotheses and the time in; what has to happen next out: the conversation,
without I/O.

A shell decodes what the peer sends, checks what is a token itself, calls `receive_…` as things
come, drains `actions()` after each call and carries them out in order, reads the socket only while
`wants_audio`, and calls `tick` no later than `next_deadline_s`. There is one closing path: the last
finals, the audit record, the event that says why, `ended`, the close, in that order, whatever ended
the session; a peer that is gone skips what needs a peer. Refuses: audio before `start`, a second
`start`, anything that is not the protocol, audio beyond the grant, silence beyond the settings.
"""

from security.door_events import SessionAway, SessionRefreshed, SessionStarted
from server import errors, wire
from server.audio import AudioFormat, Encoding, ms_from_samples
from server.grant import Grant
from server.lifetime import Lifetime, Phase
from server.pace import Pace
from server.quota import Quota
from server.recognition import Hypothesis, ModelCard
from server.refreshing import Refreshing
from server.session_values import (
    Action,
    Close,
    End,
    Record,
    Reserve,
    Send,
    SessionSettings,
    end_of,
    spans_of,
    with_end_of_speech,
)
from server.track import Reprioritise, Score, TrackStart, Transcribe
from server.tracks import Tracks

STOPPED = "stopped"
CLIENT_GONE = "client_gone"
_NORMAL_CLOSE = 1000
_ABNORMAL_CLOSE = 1006
_BY_THE_SOCKET = (errors.MESSAGE_TOO_BIG, errors.AUDIO_UNREADABLE)


class Session:
    """One connection's conversation."""

    def __init__(
        self,
        started: SessionStarted,
        model: ModelCard,
        grant: Grant,
        settings: SessionSettings,
        now_s: float,
        resumption: wire.Resumption | None = None,
    ) -> None:
        """`started` is on record by now; `resumption` is for a peer that asks for it."""
        self.session_id = started.session_id
        self._started = started
        self._model = model
        self._settings = settings
        self._resumption = resumption
        self._is_away = False
        """The peer, who may come back."""
        self._format = AudioFormat(Encoding.PCM_S16LE, 16_000)
        self._quota = Quota(grant.limits, self._format)
        self._pace = Pace(grant.limits.pace_percent, settings.pace)
        self._is_held_back = False
        """Not read, so that TCP slows it down."""
        self._life = Lifetime(spans_of(settings, grant.limits), grant.expires_in_s, now_s)
        self._refreshing = Refreshing(self.session_id, model.model_id, grant, self._life)
        self._tracks: Tracks | None = None
        self._heard: frozenset[str | None] = frozenset()
        """The language, once it has started."""
        self._refusal: errors.Refusal | None = None
        self._actions: list[Action] = []

    @property
    def grant(self) -> Grant:
        """What it lives by now."""
        return self._refreshing.grant

    @property
    def is_ending(self) -> bool:
        """Whether it takes no more audio."""
        return self._life.phase in {Phase.DRAINING, Phase.CLOSED}

    @property
    def received_bytes(self) -> int:
        """Of audio, that it has taken."""
        return self._quota.spent_bytes

    @property
    def usage(self) -> wire.Usage:
        """What it has taken."""
        n_samples = self._quota.spent_bytes // self._format.sample_bytes
        return wire.Usage(
            bytes=self._quota.spent_bytes,
            audio_ms=ms_from_samples(n_samples, self._format.sample_rate_hz),
            speech_ms=ms_from_samples(self._tracks.speech_samples) if self._tracks else 0,
            segments=self._tracks.segments if self._tracks else 0,
        )

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
        if self._tracks is None:
            return not self.is_closed
        return (
            self._tracks.unscored_ms <= self._settings.most_unscored_ms
            and self._tracks.unfinished_ms <= self._settings.most_unfinished_ms
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
        if self.is_ending:
            return
        self._life.receive_frame(now_s)
        match message, self._tracks:
            case wire.Start() as start, None:
                self._start(start, now_s)
            case wire.KeepAlive(), _:
                pass
            case wire.Stop(), _:
                self._end(None, now_s)
            case wire.Flush(channel), Tracks() as tracks if (channel or 0) < tracks.n_channels:
                tracks.flush(channel, is_answered=message.answer)
                self._take_track_actions()
            case wire.ChangeLanguage(language), Tracks() as tracks:
                self._change_language(language, tracks, now_s)
            case _:
                self._end(errors.BAD_MESSAGE, now_s)

    def receive_audio(self, data: bytes, now_s: float, channel: int | None = None) -> None:
        """Take a binary frame: of all channels, interleaved, or of one that there is."""
        if self.is_ending:
            return
        self._life.receive_frame(now_s)
        if self._tracks is None:
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
        self._tracks.receive_audio(data, channel)
        self._take_track_actions()

    def receive_reserved(self, wished_ms: int, got_ms: int) -> None:
        """Take the answer to a `Reserve`."""
        self._quota.receive_reserved(wished_ms, got_ms)

    def consider_grant(self, grant: Grant, now_s: float) -> SessionRefreshed | None:
        """Look at what a newer token allows: what has to be durable before it is received; None: it
        will not do, which is told.
        """
        if self.is_ending:
            return None
        self._life.receive_frame(now_s)
        reason = self._refreshing.fault_of(grant, self._heard, now_s)
        if reason is None:
            return self._refreshing.event_of(grant)
        self.refuse_refresh(errors.FORBIDDEN, reason, now_s)
        return None

    def receive_grant(self, grant: Grant, now_s: float) -> None:
        """Go on by a newer token, if it still will do."""
        if self.consider_grant(grant, now_s) is not None:
            self._actions += self._refreshing.take(grant, now_s)

    def refuse_refresh(self, refusal: errors.Refusal, reason: str, now_s: float) -> None:
        """Take the news that a newer token will not do; who goes on trying is sent away."""
        if self.is_ending:
            return
        self._life.receive_frame(now_s)
        self._actions += self._refreshing.refuse(refusal, reason)
        if self._refreshing.is_worn_out:
            self._end(errors.UNAUTHENTICATED, now_s)

    def receive_scores(self, probabilities: list[float], channel: int = 0) -> None:
        """Take the answer to the oldest `Score` of a channel."""
        if self._tracks is None or self.is_closed:
            return
        self._tracks.receive_scores(probabilities, channel)
        self._take_track_actions()

    def receive_hypothesis(self, segment: int, revision: int, hypothesis: Hypothesis) -> None:
        """Take the answer to a `Transcribe`; one that fits no open segment is dropped."""
        if self._tracks is None or self.is_closed:
            return
        self._tracks.receive_hypothesis(segment, revision, hypothesis)
        self._take_track_actions()

    def receive_failure(self, segment: int, revision: int, now_s: float) -> None:
        """Take the news that a `Transcribe` has no answer; a final without one ends the session."""
        if self._tracks is None or self.is_closed:
            return
        if not self._tracks.receive_failure(segment, revision):
            self._fail(now_s)
        self._take_track_actions()

    def receive_sign(self, now_s: float) -> None:
        """The peer has said something that changes nothing here."""
        if not self.is_ending:
            self._life.receive_frame(now_s)

    def receive_away(self, is_away: bool, now_s: float) -> None:
        """The peer is not there but may come back, until when its silence counts for nothing; or it
        is there again.
        """
        self._is_away = is_away
        if self.is_closed:
            return
        self._life.receive_frame(now_s)
        if is_away:
            away = SessionAway(self.session_id, self.grant.subject, self.grant.token_id)
            self._actions.append(Record(away))

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
        if self._is_away or not self.wants_audio:
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

    def _language(self, wished: str | None) -> str | errors.Refusal | None:
        """The one to hear."""
        if wished is not None and wished not in self._model.languages:
            return errors.LANGUAGE_UNKNOWN
        language = self.grant.language_of(wished, self._model.languages)
        is_allowed = self.grant.languages is None or language is not None
        return language if is_allowed else errors.FORBIDDEN

    def _change_language(self, wished: str | None, tracks: Tracks, now_s: float) -> None:
        language = self._language(wished)
        if isinstance(language, errors.Refusal):
            self._end(language, now_s)
            return
        self._heard |= {language}
        tracks.change_language(language)
        self._take_track_actions()

    def _start(self, message: wire.Start, now_s: float) -> None:
        language = self._language(message.language)
        if isinstance(language, errors.Refusal):
            self._end(language, now_s)
            return
        self._life.enter(Phase.STREAMING, now_s)
        self._heard = frozenset({language})
        self._format = AudioFormat(Encoding(message.encoding), message.sample_rate_hz)
        self._quota = Quota(self.grant.limits, self._format)
        track_settings = with_end_of_speech(self._settings.track, message.end_of_speech_ms)
        self._tracks = Tracks(
            self._format,
            message.channels,
            track_settings,
            TrackStart(language, message.context, message.partials),
        )
        ready = wire.Ready(
            session_id=self.session_id,
            model=self._model.model_id,
            language=language,
            end_of_speech_ms=track_settings.segmenter.end_of_speech_ms,
            limits=wire.Limits(
                audio_ms=self._quota.audio_ms_left,
                bytes=self._quota.bytes_left,
                expires_in_s=int(self.grant.expires_in_s),
                session_s=self.grant.limits.session_s,
                pace_percent=self.grant.limits.pace_percent,
            ),
            resume=self._resumption if message.resumable else None,
        )
        self._actions.append(Send(ready))
        self._reserve()

    def _is_too_fast(self, n_bytes: int, now_s: float) -> bool:
        n_channels = self._tracks.n_channels if self._tracks else 1
        bytes_per_s = self._format.sample_bytes * self._format.sample_rate_hz * n_channels
        is_too_fast = self._pace.receive(n_bytes, bytes_per_s, now_s)  # bytes for samples
        self._is_held_back = self._pace.resumes_s is not None
        return is_too_fast

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
        if self._tracks is None or self.is_closed:
            return
        for action in self._tracks.actions():
            if isinstance(action, Score | Transcribe | Reprioritise):
                self._actions.append(action)
            else:
                self._actions.append(Send(action))
        if self._life.phase is Phase.DRAINING and self._tracks.is_settled:
            self._finish()

    def _end(self, refusal: errors.Refusal | None, now_s: float) -> None:
        """Begin the closing path; the first reason stays the reason."""
        if self.is_ending:
            return
        self._life.enter(Phase.DRAINING, now_s)
        self._refusal = refusal
        if self._tracks is None:
            self._finish()
            return
        self._tracks.end()
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
        ended = Send(wire.Ended(reason=reason, usage=self.usage))
        if refusal is None:
            self._close(_NORMAL_CLOSE, reason, ended)
            return
        error = wire.ErrorEvent(refusal.code, refusal.text, refusal.is_retryable)
        self._close(refusal.close_code, reason, Send(error), ended)

    def _close(self, code: int, reason: str, *told: Send) -> None:
        self._life.phase = Phase.CLOSED
        if self._quota.unspent_ms > 0:
            self._actions.append(Reserve(-self._quota.unspent_ms))
        ended = end_of(self._started, self.grant.token_id, self.usage, End(code, reason))
        self._actions += [Record(ended), *told, Close(code)]
