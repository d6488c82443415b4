"""What happens in the server in; counts, distributions and the latencies of the last minutes out.

One `Figures` a process; each session looks at its own events through a `SessionWatch`. Nothing here
waits or reads a clock, and nothing of a peer is kept: what is counted by name is counted by names
of our own, and what has none is `other`. Batches are told from the engine's threads, one at a time
under the scheduler's lock; all else from the event loop.
"""

import math
from bisect import bisect_left
from collections import Counter, deque
from dataclasses import dataclass, field

from security.audit_events import EVENT_NAMES, AuditEvent, EngineRestarted
from security.door_events import SessionEnded
from server import errors, wire
from server.audio import SAMPLE_RATE_HZ
from server.recognition import Urgency

LATENCY_BOUNDS_S = (0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
HANDSHAKE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
WRITE_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0)
LAG_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
DECODE_BOUNDS_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

OTHER = "other"
_MOST_NAMES = 256
"""Of one kind: beyond it a name that is new is `other`. There are fewer in this program."""
_MOST_RECENT = 4096
_MOST_OPEN_SEGMENTS = 256
_RESTARTS = ("hung", "died")
_CLASSES = {
    "client": {"stopped", "client_gone"},
    "quota": {
        *(errors.QUOTA_BYTES.code, errors.QUOTA_AUDIO.code, errors.QUOTA_DAILY.code),
        *(errors.SESSION_TOO_LONG.code, errors.TOO_FAST.code),
    },
    "token": {
        *(errors.UNAUTHENTICATED.code, errors.FORBIDDEN.code),
        *(errors.TOKEN_EXPIRED.code, errors.REVOKED.code),
        *(errors.CODE_INVALID.code, errors.SIGN_IN_FAILED.code),
    },
    "time": {
        errors.IDLE.code,
        errors.START_LATE.code,
        errors.REQUEST_LATE.code,
        errors.SESSION_GONE.code,
        errors.SLOW_READER.code,
    },
    "protocol": {
        *(errors.BAD_MESSAGE.code, errors.LANGUAGE_UNKNOWN.code, errors.MESSAGE_TOO_BIG.code),
        *(errors.AUDIO_UNREADABLE.code, errors.BAD_REQUEST.code, errors.MODEL_UNKNOWN.code),
        errors.CALL_UNKNOWN.code,
    },
    "server": {
        *(errors.INTERNAL.code, errors.SHUTTING_DOWN.code, errors.OVERLOADED.code),
        *(errors.LEASE_LOST.code, errors.ENDED_BY_ADMINISTRATOR.code, "cancelled"),
        errors.PROVIDER_UNAVAILABLE.code,
    },
}
CLASS_OF = {reason: name for name, reasons in _CLASSES.items() for reason in reasons}
"""Why sessions end, by the reasons in the trail's `session.ended`."""
_CODES = tuple(refusal.code for refusal in errors.ALL)


@dataclass(slots=True)
class Histogram:
    """How often a value was within each bound, and above the last."""

    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count it."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(frozen=True, slots=True)
class LatencyQuantiles:
    """Of what was heard lately; None where nothing was."""

    n: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


class Recent:
    """The newest values, each with its time; no more than `_MOST_RECENT`."""

    def __init__(self) -> None:
        self._values: deque[tuple[float, float]] = deque(maxlen=_MOST_RECENT)

    def add(self, now_s: float, value_s: float) -> None:
        """Take one."""
        self._values.append((now_s, value_s))

    def quantiles(self, since_s: float) -> LatencyQuantiles:
        """Of those that came since."""
        values_s = sorted(value_s for at_s, value_s in self._values if at_s >= since_s)

        def nearest_rank(share: float) -> float | None:
            return values_s[math.ceil(share * len(values_s)) - 1] if values_s else None

        return LatencyQuantiles(
            len(values_s), nearest_rank(0.5), nearest_rank(0.95), nearest_rank(0.99)
        )


class Figures:
    """Of one process, since its start."""

    def __init__(self) -> None:
        self.heard_samples = 0
        """At 16 kHz, that the detector has looked at."""
        self.segments = 0
        self.events = Counter(dict.fromkeys(EVENT_NAMES.values(), 0))
        """By their names in the trail."""
        self.ended = Counter(dict.fromkeys((*CLASS_OF, OTHER), 0))
        """Sessions, by reason."""
        self.refused = Counter(dict.fromkeys((*_CODES, OTHER), 0))
        """At the door, by code."""
        self.engine_restarts = Counter(dict.fromkeys((*_RESTARTS, OTHER), 0))
        self.requests: Counter[tuple[str, int]] = Counter()
        """By route as it is written in our own list, and status."""
        self.handshake_s = {status: Histogram(HANDSHAKE_BOUNDS_S) for status in (True, False)}
        """By whether it led into a session."""
        self.final_latency_s = {live: Histogram(LATENCY_BOUNDS_S) for live in (True, False)}
        """From the end of speech; by whether it was streamed, or a file."""
        self.final_after_sound_s = Histogram(LATENCY_BOUNDS_S)
        self.partial_latency_s = Histogram(LATENCY_BOUNDS_S)
        self.batch_utterances = {final: Histogram(BATCH_BOUNDS) for final in (True, False)}
        self.decode_s = {final: Histogram(DECODE_BOUNDS_S) for final in (True, False)}
        self.decoded_samples = {True: 0, False: 0}
        self.trail_write_s = Histogram(WRITE_BOUNDS_S)
        self.loop_lag_s = Histogram(LAG_BOUNDS_S)
        self._recent_finals = Recent()

    def latency(self, now_s: float, window_s: float = 300.0) -> LatencyQuantiles:
        """From the end of speech to its final, of the streams of the last minutes."""
        return self._recent_finals.quantiles(now_s - window_s)

    def receive_event(self, event: AuditEvent) -> None:
        """Something went into the trail."""
        self.events[EVENT_NAMES[type(event)]] += 1
        match event:
            case SessionEnded(reason=reason):
                self.ended[reason if reason in CLASS_OF else OTHER] += 1
            case EngineRestarted(reason=reason):
                self.engine_restarts[reason if reason in _RESTARTS else OTHER] += 1
            case _:
                pass

    def receive_refusal(self, refusal: errors.Refusal) -> None:
        """Somebody was turned away before a session began."""
        self.refused[refusal.code if refusal.code in _CODES else OTHER] += 1

    def receive_request(self, route: str | None, status: int | None) -> None:
        """A request has ended, a session's too; no status: the peer went before it had one."""
        key = (route or OTHER, status or 0)
        if key not in self.requests and len(self.requests) >= _MOST_NAMES:
            key = (OTHER, 0)
        self.requests[key] += 1

    def receive_batch(
        self, n_utterances: int, n_samples: int, took_s: float, *, is_final: bool
    ) -> None:
        """The engine has decoded, or has failed."""
        self.batch_utterances[is_final].observe(n_utterances)
        self.decode_s[is_final].observe(took_s)
        self.decoded_samples[is_final] += n_samples

    def receive_final(self, now_s: float, waited_s: float, unheard_s: float) -> None:
        """A stream's final has come `waited_s` after its end of speech was told, which was
        `unheard_s` of audio after the end itself.
        """
        self.final_latency_s[True].observe(waited_s)
        self.final_after_sound_s.observe(waited_s + unheard_s)
        self._recent_finals.add(now_s, waited_s)


class SessionWatch:
    """Of one session: takes the times between its events."""

    def __init__(self, figures: Figures, *, is_live: bool = True) -> None:
        """`is_live`: streamed, and not a file that waits for nobody's mouth."""
        self._figures = figures
        self._is_live = is_live
        self._heard_samples = 0
        self._ended: dict[int, tuple[float, float]] = {}
        """By segment: when its end was told, and how much audio had been heard beyond it."""

    def receive_samples(self, n_samples: int) -> None:
        """So much more has been heard."""
        self._heard_samples += n_samples
        self._figures.heard_samples += n_samples

    def receive_event(self, event: wire.ServerEvent, now_s: float) -> None:
        """The session tells its client something."""
        match event:
            case wire.SpeechEnded(segment, end_ms):
                if len(self._ended) < _MOST_OPEN_SEGMENTS:
                    beyond_s = self._heard_samples / SAMPLE_RATE_HZ - end_ms / 1000
                    self._ended[segment] = (now_s, max(0.0, beyond_s))
            case wire.Final(segment):
                self._figures.segments += 1
                at_s, beyond_s = self._ended.pop(segment, (now_s, 0.0))
                if self._is_live:
                    self._figures.receive_final(now_s, now_s - at_s, beyond_s)
                else:
                    self._figures.final_latency_s[False].observe(now_s - at_s)
            case _:
                pass

    def receive_answer(self, urgency: Urgency, waited_s: float) -> None:
        """The engine has heard what was asked so long ago."""
        if urgency is Urgency.PARTIAL:
            self._figures.partial_latency_s.observe(waited_s)
