"""Stand-ins that are wrong in no way that matters: a clock that is set, ears that are scripted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from security.limits import Limits
from server import wire
from server.audio import WINDOW_SAMPLES
from server.grant import Grant
from server.recognition import Hypothesis, ModelCard, Samples, Utterance, Word
from server.session import Session
from server.session_values import (
    Action,
    Caller,
    Close,
    Record,
    Reserve,
    Send,
    SessionSettings,
    start_of,
)
from server.track import Score, Transcribe
from server.wire import ServerEvent

MODEL = ModelCard("fake", frozenset({"en"}))
CALLER = Caller("127.0.0.1", None, "tests", 5)
GRANT = Grant(
    subject="alice",
    issuer="tests",
    token_id="t-1",  # noqa: S106 (an id, not a token)
    key_id="k-1",
    issued_at_s=0,
    expires_in_s=3600.0,
    scopes=frozenset({"transcribe"}),
    limits=Limits(),
)
LOUD = 0.5
START = '{"type":"start","sample_rate_hz":16000}'
STOP = '{"type":"stop"}'
FLUSH = '{"type":"flush"}'


@dataclass
class ManualClock:
    """Time stands still until it is moved."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def move(self, duration_s: float) -> None:
        self.now_s += duration_s


class FakeDetector:
    """A window is speech when it is loud."""

    def score(self, samples: Samples) -> list[float]:
        windows = samples.reshape(-1, WINDOW_SAMPLES)
        return [float(np.abs(window).max() > LOUD / 2) for window in windows]


def hear(utterance: Utterance) -> Hypothesis:
    """A word for each loud quarter of a second, named by how loud it is."""
    quarters = utterance.samples[: utterance.samples.size // 4000 * 4000].reshape(-1, 4000)
    peaks = [round(float(np.abs(quarter).max()), 1) for quarter in quarters]
    words = tuple(
        Word(f"w{round(peak * 10)}", index * 4000, (index + 1) * 4000, 0.9)
        for index, peak in enumerate(peaks)
        if peak > LOUD / 2
    )
    return Hypothesis(" ".join(word.text for word in words), words, "en")


@dataclass
class FakeRecognizer:
    """Answers with what `hear` makes of the audio, or as told."""

    answer: Callable[[Utterance], Hypothesis] = hear
    card: ModelCard = MODEL
    n_workers: int = 1
    most_utterances: int = 8
    heard: list[Utterance] = field(default_factory=list)

    def transcribe(self, batch: Sequence[Utterance]) -> list[Hypothesis]:
        self.heard += batch
        return [self.answer(utterance) for utterance in batch]


def silence(duration_ms: int, rate_hz: int = 16_000) -> bytes:
    """PCM16 of nothing."""
    return bytes(duration_ms * rate_hz // 1000 * 2)


def speech(duration_ms: int, rate_hz: int = 16_000, level: float = LOUD) -> bytes:
    """PCM16 of a tone, which `FakeDetector` takes for speech."""
    n_samples = duration_ms * rate_hz // 1000
    tone = level * np.sin(2 * np.pi * 440 * np.arange(n_samples) / rate_hz)
    return (tone * 32767).astype("<i2").tobytes()


def new_session(
    clock: ManualClock,
    grant: Grant = GRANT,
    settings: SessionSettings | None = None,
    resumption: wire.Resumption | None = None,
) -> Session:
    started = start_of("s-1", MODEL, grant, CALLER)
    return Session(started, MODEL, grant, settings or SessionSettings(), clock(), resumption)


def limited(**limits: int) -> Grant:
    """`GRANT` with limits."""
    return replace(GRANT, limits=Limits(**limits))


def message_of(frame: str) -> wire.SessionMessage | None:
    """What a shell makes of a text frame."""
    try:
        message = wire.decode_client_message(frame)
    except wire.WireError:
        return None
    of_the_shell = wire.Refresh | wire.Resume | wire.EventsReceived
    return None if isinstance(message, of_the_shell) else message


@dataclass
class Shell:
    """Carries out a session's actions at once and in order, and keeps what came out."""

    session: Session
    clock: ManualClock
    recognizer: FakeRecognizer = field(default_factory=FakeRecognizer)
    answers: bool = True
    """Whether requests are answered at once; otherwise they are kept in `requests`."""
    events: list[ServerEvent] = field(default_factory=list)
    records: list[object] = field(default_factory=list)
    requests: list[Transcribe] = field(default_factory=list)
    outputs: list[Action] = field(default_factory=list)
    close_code: int | None = None
    unscored: list[tuple[float, int]] = field(default_factory=list)
    """With their channels."""
    day_ms: int | None = None
    """What is left of the subject's day; None leaves wishes unanswered, in `wishes_ms`."""
    wishes_ms: list[int] = field(default_factory=list)
    detector: FakeDetector = field(default_factory=FakeDetector)

    def text(self, frame: str) -> "Shell":
        self.session.receive_message(message_of(frame), self.clock())
        return self.settle()

    def audio(self, data: bytes, frame_bytes: int = 640) -> "Shell":
        for start in range(0, len(data), frame_bytes):
            self.session.receive_audio(data[start : start + frame_bytes], self.clock())
            self.settle()
        return self

    def tick(self, duration_s: float) -> "Shell":
        self.clock.move(duration_s)
        self.session.tick(self.clock())
        return self.settle()

    def answer(self, request: Transcribe, text: str | None = None) -> "Shell":
        heard = hear(request.utterance) if text is None else Hypothesis(text, language="en")
        self.session.receive_hypothesis(request.segment, request.revision, heard)
        return self.settle()

    def settle(self) -> "Shell":
        """Until nothing is left to do; answers come between one window's score and the next."""
        self._drain()
        while self.unscored:
            probability, channel = self.unscored.pop(0)
            self.session.receive_scores([probability], channel)
            self._drain()
        return self

    def _drain(self) -> None:
        while actions := self.session.actions():
            for action in actions:
                assert self.close_code is None, "something after Close"
                self.outputs.append(action)
                self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Score(samples, channel):
                scores = self.detector.score(samples)
                self.unscored += [(probability, channel) for probability in scores]
            case Transcribe(segment, revision, utterance):
                if self.answers:
                    [heard] = self.recognizer.transcribe([utterance])
                    self.session.receive_hypothesis(segment, revision, heard)
                else:
                    self.requests.append(action)
            case Send(event):
                self.events.append(event)
            case Record(event):
                self.records.append(event)
            case Reserve(audio_ms):
                self.wishes_ms.append(audio_ms)
                if self.day_ms is not None:
                    got_ms = min(audio_ms, self.day_ms)
                    self.day_ms -= got_ms
                    if audio_ms > 0:
                        self.session.receive_reserved(audio_ms, got_ms)
            case Close(code):
                self.close_code = code

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def new_shell(
    start: str = START,
    *,
    grant: Grant = GRANT,
    limits: SessionSettings | None = None,
    answers: bool = True,
) -> Shell:
    """A session that has received `start`."""
    clock = ManualClock()
    shell = Shell(new_session(clock, grant, limits), clock, answers=answers)
    return shell.text(start) if start else shell.settle()
