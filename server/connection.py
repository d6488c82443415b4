"""The async shell of one session: frames of its line in, events onto it out.

One task group: the line, which stops reading while the session does not want audio, a ticker, and
in the middle the worker, which alone carries out the session's actions, in order, and hands it what
the engine answers. When the session closes, all end. A newer token goes from the line to the door,
and only what it grants, once that is on record, to the session.
Whatever goes wrong in here is ours: the session is closed with 1011, without detail, and its end
is still recorded.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import structlog
from starlette.types import Message

from security.audit_events import AuditEvent
from security.errors import AuditError
from server import errors, wire
from server.audio import WINDOW_SAMPLES
from server.backlog import Key
from server.errors import RefusedError
from server.figures import Figures, SessionWatch
from server.grant import Grant
from server.line import ConnectionSettings, Line, Socket
from server.recognition import Hypothesis, Samples, Urgency, Utterance
from server.recorder import Recorder
from server.scheduler import EngineFailedError
from server.session import Session
from server.session_values import Action, Close, Record, Reserve, Send
from server.track import Reprioritise, Score, Transcribe
from server.vad import SpeechDetector

_log = structlog.get_logger()
_SETTLE_LIMIT_S = 5.0
_RESUME_LIMIT_S = 10.0
"""From the handshake to the `resume` message."""
_SCORED_SAMPLES = 32 * WINDOW_SAMPLES
"""About a millisecond of the event loop."""


class Transcriber(Protocol):
    """The scheduler, as a connection sees it."""

    def submit(
        self, key: Key, utterance: Utterance, urgency: Urgency
    ) -> asyncio.Future[Hypothesis]:
        """See `Scheduler.submit`."""
        ...

    def reprioritise(self, key: Key, urgency: Urgency) -> None:
        """See `Scheduler.reprioritise`."""
        ...


Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Desk:
    """What one session asks of the rest of the server, besides the engine."""

    trail: Recorder
    renew: Callable[[str], Awaitable[Grant]]
    """What a newer token grants now; raises RefusedError."""
    reserve: Callable[[int], Awaitable[int]]
    """So many milliseconds of what its subject has for a day; gives what there is."""
    watch: SessionWatch = field(default_factory=lambda: SessionWatch(Figures()))
    """Takes times for the operator."""


class Connection:
    """Runs one accepted WebSocket to its end."""

    def __init__(  # noqa: PLR0913 - one argument for each thing outside the session
        self,
        websocket: Socket,
        session: Session,
        *,
        new_detector: Callable[[], SpeechDetector],
        transcriber: Transcriber,
        desk: Desk,
        settings: ConnectionSettings,
        clock: Clock,
    ) -> None:
        self._session = session
        self._new_detector = new_detector
        self._detectors: dict[int, SpeechDetector] = {}
        """By channel."""
        self._transcriber = transcriber
        self._desk = desk
        self._clock = clock
        self._line = Line(websocket, self, settings, clock, lambda: self._left_s)
        self._has_acts = asyncio.Event()
        self._has_earlier_deadline = asyncio.Event()
        self._wakes_s = 0.0
        """When the ticker looks next."""
        self._todo: deque[Action] = deque()
        self._requests: set[asyncio.Future[Hypothesis]] = set()
        """Out at the engine."""
        self._answered: deque[tuple[int, int, asyncio.Future[Hypothesis]]] = deque()
        """Segment, revision and what came of the request."""
        self._is_finished = False
        self._shown: Grant | None = None
        """With what its peer came back last."""

    @property
    def grant(self) -> Grant:
        """What its session lives by now."""
        return self._session.grant

    @property
    def grants(self) -> tuple[Grant, ...]:
        """What must not be revoked while it runs."""
        return (self.grant,) if self._shown is None else (self.grant, self._shown)

    @property
    def is_ending(self) -> bool:
        """Whether its session takes no more audio."""
        return self._session.is_ending

    @property
    def is_given_up(self) -> bool:
        """Whether its peer has been away for so long that its place may go to another."""
        return self._line.is_given_up

    @property
    def may_come_back(self) -> bool:
        """Whether its peer may go on over another socket."""
        return self._line.may_come_back

    async def run(self) -> None:
        """Until the session is closed and recorded; raises nothing but cancellation."""
        try:
            async with asyncio.TaskGroup() as tasks:
                helpers = [
                    tasks.create_task(self._line.run()),
                    tasks.create_task(self._tick()),
                ]
                await self._work()
                for task in helpers:
                    task.cancel()
        except* Exception as group:  # noqa: BLE001 - the one place where a fault of ours ends a session
            kinds = sorted({type(error).__name__ for error in group.exceptions})
            _log.error("session failed", session=self._session.session_id, errors=kinds)
        finally:
            for future in self._requests:
                future.cancel()
            if not self._is_finished:
                await self._settle()
            self._line.end()

    def let_back(self, grant: Grant) -> bool:
        """Somebody comes back with this, for `rejoin`; False if that was too often."""
        if not self._line.count_return():
            return False
        self._shown = grant
        return True

    async def rejoin(self, socket: Socket) -> None:
        """Go on over another socket, until that is over."""
        n_received = await _read_resume(socket)
        if n_received is None:
            await self._line.turn_away(socket, errors.BAD_MESSAGE)
        else:
            await self._line.rejoin(socket, n_received)

    def refuse(self, refusal: errors.Refusal) -> None:
        """End the session from outside, with its last finals."""
        self._session.refuse(refusal, self._clock())
        self._line.stop_waiting()
        self._has_acts.set()

    def give_up(self) -> None:
        """Nobody waits for its peer, if that is away."""
        self._line.give_up()

    async def hear(self, message: Message) -> None:
        """See `Ear`."""
        now_s = self._clock()
        match message:
            case {"bytes": bytes(data)}:
                self._session.receive_audio(data, now_s, message.get("channel"))
                self._line.receive_audio(self._session.received_bytes)
            case {"text": str(frame)}:
                await self._receive_text(frame, now_s)
            case {"refusal": errors.Refusal() as refusal}:  # of what stands before the session
                self._session.refuse(refusal, now_s)
            case _:
                self._session.receive_message(None, now_s)
        if not self._session.wants_audio:
            self._line.allow_reading(False)
        self._has_acts.set()

    def receive_away(self, is_away: bool) -> None:
        """See `Ear`."""
        self._session.receive_away(is_away, self._clock())
        self._has_acts.set()

    def receive_gone(self, close_code: int | None) -> None:
        """See `Ear`."""
        self._session.receive_gone(close_code)
        self._has_acts.set()

    async def _work(self) -> None:
        """Hand answers to the session and carry out its actions, until `Close`."""
        while True:
            self._has_acts.clear()
            while self._answered:
                self._receive_answer(*self._answered.popleft())
            self._todo += self._session.actions()
            while self._todo:
                action = self._todo.popleft()
                if isinstance(action, Close):
                    await self._line.close(action.code)
                    self._is_finished = True
                    return
                await self._act(action)
            if self._session.wants_audio:
                self._line.allow_reading(True)
            if self._session.next_deadline_s < self._wakes_s:
                self._has_earlier_deadline.set()
            await self._has_acts.wait()

    async def _act(
        self, action: Score | Transcribe | Reprioritise | Send | Record | Reserve
    ) -> None:
        match action:
            case Score(samples, channel):
                await self._score(samples, channel)
            case Transcribe():
                self._submit(action)
            case Reprioritise(segment, urgency):
                self._transcriber.reprioritise(self._key(segment), urgency)
            case Send(event):
                self._desk.watch.receive_event(event, self._clock())
                if isinstance(event, wire.Ready) and event.resume is not None:
                    self._line.keep()
                await self._line.put(event)
            case Record(event):
                await self._note(event)
            case Reserve(audio_ms):
                await self._reserve(audio_ms)

    async def _note(self, event: AuditEvent) -> None:
        """A trail that cannot be written is no reason to end anybody's sentence."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SETTLE_LIMIT_S):
                await self._desk.trail.note(event)

    async def _reserve(self, audio_ms: int) -> None:
        got_ms = await self._desk.reserve(audio_ms)
        if audio_ms < 0:
            return
        if self._session.is_closed:  # meanwhile: it has counted up without these
            await self._desk.reserve(-got_ms)
        else:
            self._session.receive_reserved(audio_ms, got_ms)

    async def _score(self, samples: Samples, channel: int) -> None:
        """A window costs less than handing it to a thread would; many are done a few at a time."""
        self._desk.watch.receive_samples(samples.size)
        if channel not in self._detectors:
            self._detectors[channel] = self._new_detector()
        detector = self._detectors[channel]
        for start in range(0, samples.size, _SCORED_SAMPLES):
            if start:
                await asyncio.sleep(0)
            probabilities = detector.score(samples[start:][:_SCORED_SAMPLES])
            self._session.receive_scores(probabilities, channel)
        self._has_acts.set()

    def _key(self, segment: int) -> Key:
        return Key(self._session.grant.who, self._session.session_id, segment)

    def _submit(self, request: Transcribe) -> None:
        key = self._key(request.segment)
        future = self._transcriber.submit(key, request.utterance, request.urgency)
        segment, revision = request.segment, request.revision  # not the audio
        urgency, asked_s = request.urgency, self._clock()

        def answer(future: asyncio.Future[Hypothesis]) -> None:
            self._requests.discard(future)
            self._answered.append((segment, revision, future))
            if not future.cancelled() and future.exception() is None:
                self._desk.watch.receive_answer(urgency, self._clock() - asked_s)
            self._has_acts.set()

        self._requests.add(future)
        future.add_done_callback(answer)

    def _receive_answer(
        self, segment: int, revision: int, future: asyncio.Future[Hypothesis]
    ) -> None:
        if future.cancelled() or isinstance(future.exception(), EngineFailedError):
            self._session.receive_failure(segment, revision, self._clock())
        else:
            self._session.receive_hypothesis(segment, revision, future.result())

    async def _receive_text(self, frame: str, now_s: float) -> None:
        try:
            message = wire.decode_client_message(frame)
        except wire.WireError:
            self._session.receive_message(None, now_s)
            return
        match message:
            case wire.Refresh(token):
                await self._refresh(token)
            case wire.EventsReceived(events) if self._line.receive_count(events):
                self._session.receive_sign(now_s)
            case wire.Resume() | wire.EventsReceived():
                self._session.receive_message(None, now_s)
            case _:
                self._session.receive_message(message, now_s)

    async def _refresh(self, token: str) -> None:
        try:
            grant = await self._desk.renew(token)
            event = self._session.consider_grant(grant, self._clock())
            if event is None:
                return
            await self._desk.trail.record(event)
            grant = await self._desk.renew(token)  # which may have been revoked meanwhile
        except RefusedError as refused:
            self._session.refuse_refresh(refused.refusal, refused.reason, self._clock())
        except AuditError:
            refusal = errors.TRAIL_UNAVAILABLE
            self._session.refuse_refresh(refusal, refusal.code, self._clock())
        else:
            self._session.receive_grant(grant, self._clock())

    async def _tick(self) -> None:
        while not self._session.is_closed:
            self._has_earlier_deadline.clear()
            rest_s = self._session.next_deadline_s - self._clock()
            wait_s = min(max(rest_s, 0.01), 1.0)
            self._wakes_s = self._clock() + wait_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._has_earlier_deadline.wait()
            self._session.tick(self._clock())
            self._line.tick()
            self._has_acts.set()

    @property
    def _left_s(self) -> float:
        """Until the last moment of the token; a trail that hangs is no reason to stay longer."""
        return self._session.last_moment_s - self._clock()

    async def _settle(self) -> None:
        """The worker did not come to its end: record the session's all the same, and close."""
        self._session.abort()
        self._todo += self._session.actions()
        for action in self._todo:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SETTLE_LIMIT_S):
                    match action:
                        case Record(event):
                            await self._desk.trail.note(event)
                        case Reserve(audio_ms) if audio_ms < 0:
                            await self._desk.reserve(audio_ms)
        await self._line.abandon(errors.INTERNAL.close_code, _SETTLE_LIMIT_S)


async def _read_resume(socket: Socket) -> int | None:
    """How many events the peer has; None where it does not say so in time."""
    try:
        async with asyncio.timeout(_RESUME_LIMIT_S):
            message = await socket.receive()
    except TimeoutError:
        return None
    try:
        first = wire.decode_client_message(message.get("text") or "")
    except wire.WireError:
        return None
    return first.events if isinstance(first, wire.Resume) else None
