"""What the stages know of themselves in; metrics in Prometheus' form out, when they are asked for.

One table of what there is, in a registry of its own. Nothing is kept here: everything is read from
`Figures` and from the stages at the moment of the question. Labels come from closed sets, so that
no stranger can make a series: see `server/figures.py`.
"""

import asyncio
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from typing_extensions import override

from security.audit_events import AuditEvent
from security.audit_store import AuditStore
from server.audio import SAMPLE_RATE_HZ
from server.crowd import Crowd
from server.figures import CLASS_OF, OTHER, Figures, Histogram
from server.live import LiveSessions
from server.scheduler import Scheduler

PREFIX = "earwitness_"
_LAG_EVERY_S = 0.25
_NS = 1e9


class CountedTrail:
    """What `AuditStore` records, counted and timed on its way."""

    def __init__(self, store: AuditStore, figures: Figures, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self.store = store
        self.figures = figures
        self._clock = clock

    async def record(self, event: AuditEvent) -> int:
        """See `AuditStore.record`; counted once it is durable."""
        began_s = self._clock()
        seq = await self.store.record(event)
        self.figures.trail_write_s.observe(self._clock() - began_s)
        self.figures.receive_event(event)
        return seq

    async def note(self, event: AuditEvent) -> None:
        """See `AuditStore.note`; it has happened, so it counts whether or not it was written."""
        self.figures.receive_event(event)
        began_s = self._clock()
        await self.store.note(event)
        self.figures.trail_write_s.observe(self._clock() - began_s)

    async def until_beyond(self, seq: int) -> int:
        """See `AuditStore.until_beyond`."""
        return await self.store.until_beyond(seq)


@dataclass(frozen=True, slots=True)
class Watched:
    """Who is asked."""

    figures: Figures
    live: LiveSessions
    scheduler: Scheduler
    store: AuditStore
    crowd: Callable[[], Crowd]
    """The listener's, which is made last."""
    wall_ns: Callable[[], int]


class Metrics(Collector):
    """All that is told, in a registry of its own."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._build = (version("earwitness"), platform.python_version())
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)

    @override
    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield _gauge("build_info", "1; what runs here.", {self._build: 1}, "version", "python")
        yield from self._sessions()
        yield from self._door()
        yield from self._hearing()
        yield from self._engine()
        yield from self._trail()
        yield _histogram(
            "loop_lag_seconds",
            "How late the event loop came back to a task that slept.",
            {(): self._watched.figures.loop_lag_s},
        )

    def _sessions(self) -> Iterator[Metric]:
        figures, live = self._watched.figures, self._watched.live
        yield _gauge("sessions", "Sessions living now.", {(): live.total})
        started = figures.events["session.started"]
        yield _counter("sessions_started", "Sessions begun.", {(): started})
        yield _counter(
            "sessions_ended",
            "Sessions over, by reason and its kind.",
            {(CLASS_OF.get(reason, OTHER), reason): n for reason, n in figures.ended.items()},
            *("kind", "reason"),
        )
        yield _gauge("draining", "1 once no more sessions are taken.", {(): live.is_stopping})

    def _door(self) -> Iterator[Metric]:
        figures, crowd = self._watched.figures, self._watched.crowd()
        refused: Values = {(code,): n for code, n in figures.refused.items()}
        yield _counter(
            "handshakes_refused", "Turned away before a session began, by code.", refused, "code"
        )
        yield _histogram(
            "handshake_seconds",
            "From a WebSocket's request to its answer.",
            {(_bool(is_in),): each for is_in, each in figures.handshake_s.items()},
            "accepted",
        )
        yield _counter("tickets", "Tickets given.", {(): figures.events["ticket.issued"]})
        yield _counter(
            "requests",
            "Requests ended, by route and status; status 0: the peer went first.",
            {(route, str(status)): n for (route, status), n in figures.requests.items()},
            *("route", "status"),
        )
        yield _gauge("connections", "Connections open now.", {(): crowd.total})
        yield _counter(
            "connections_refused", "Connections that found no place.", {(): crowd.n_refused}
        )

    def _hearing(self) -> Iterator[Metric]:
        figures = self._watched.figures
        heard_s = figures.heard_samples / SAMPLE_RATE_HZ
        yield _counter("audio_seconds", "Audio heard.", {(): heard_s})
        yield _counter(
            "segments", "Stretches of speech that got their final.", {(): figures.segments}
        )
        yield _histogram(
            "final_latency_seconds",
            "From the end of speech, once it is told, to its final.",
            {
                ("stream" if is_live else "file",): each
                for is_live, each in figures.final_latency_s.items()
            },
            "way",
        )
        yield _histogram(
            "final_after_sound_seconds",
            "From the end of a stream's segment, in its audio, to its final.",
            {(): figures.final_after_sound_s},
        )
        yield _histogram(
            "partial_latency_seconds",
            "From asking for a caption to its words.",
            {(): figures.partial_latency_s},
        )

    def _engine(self) -> Iterator[Metric]:
        figures, load = self._watched.figures, self._watched.scheduler.load
        yield _gauge(
            "engine_open",
            "1 while the model is open and its threads run.",
            {(): self._watched.scheduler.has_engine},
        )
        yield _histogram(
            "batch_utterances",
            "Utterances decoded at a time.",
            {(_work(final),): each for final, each in figures.batch_utterances.items()},
            "work",
        )
        yield _histogram(
            "decode_seconds",
            "Engine time of a batch.",
            {(_work(final),): each for final, each in figures.decode_s.items()},
            "work",
        )
        yield _counter(
            "decoded_audio_seconds",
            "Audio in those batches; decode_seconds_sum over it is the real-time factor.",
            {(_work(final),): n / SAMPLE_RATE_HZ for final, n in figures.decoded_samples.items()},
            "work",
        )
        yield _gauge(
            "backlog_requests",
            "Utterances that wait for the engine.",
            {(urgency.name.lower(),): n for urgency, n in load.n_waiting.items()},
            "urgency",
        )
        wait_s = load.expected_wait_s
        yield _gauge("backlog_wait_seconds", "Expected for a new final.", {(): wait_s})
        share = load.final_share
        yield _gauge("engine_final_ratio", "Of its time, what finals have taken.", {(): share})
        yield _gauge("engine_full", "1 while new sessions are refused for it.", {(): load.is_full})
        restarts: Values = {(reason,): n for reason, n in figures.engine_restarts.items()}
        yield _counter("engine_restarts", "Times it was opened again.", restarts, "reason")

    def _trail(self) -> Iterator[Metric]:
        figures, store = self._watched.figures, self._watched.store
        yield _counter(
            "trail_events",
            "Events that this process gave to the trail, by name.",
            {(name,): n for name, n in figures.events.items()},
            "event",
        )
        yield _gauge("trail_rows", "Number of the newest row.", {(): store.newest_seq})
        yield _histogram(
            "trail_write_seconds",
            "From giving an event to the trail until it was durable.",
            {(): figures.trail_write_s},
        )
        yield _gauge(
            "trail_lag_seconds", "Age of the oldest event that waits.", {(): store.write_lag_s}
        )
        yield _gauge("trail_failing", "1 while the last commit has failed.", {(): store.is_failing})
        yield _counter("trail_lost_events", "Events that could not be written.", {(): store.n_lost})
        yield from self._checkpoint()

    def _checkpoint(self) -> Iterator[Metric]:
        newest = self._watched.store.newest_checkpoint
        if newest is None:
            return
        at_s = newest.at_utc_ns / _NS
        n_rows = newest.n_rows
        yield _gauge("trail_checkpoint_rows", "Rows under the newest checkpoint.", {(): n_rows})
        yield _gauge("trail_checkpoint_timestamp_seconds", "When it was signed.", {(): at_s})
        age_s = max(0.0, self._watched.wall_ns() / _NS - at_s)
        yield _gauge("trail_checkpoint_age_seconds", "How long ago that is.", {(): age_s})


async def watch_loop_lag(figures: Figures) -> None:
    """Until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        due_s = clock() + _LAG_EVERY_S
        await asyncio.sleep(_LAG_EVERY_S)
        figures.loop_lag_s.observe(max(0.0, clock() - due_s))


Values = Mapping[tuple[str, ...], float]


def _gauge(name: str, text: str, values: Values, *labels: str) -> Metric:
    family = GaugeMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, float(value))
    return family


def _counter(name: str, text: str, values: Values, *labels: str) -> Metric:
    family = CounterMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, float(value))
    return family


def _histogram(
    name: str, text: str, values: Mapping[tuple[str, ...], Histogram], *labels: str
) -> Metric:
    family = HistogramMetricFamily(PREFIX + name, text, labels=labels)
    for label_values, histogram in values.items():
        buckets = list(_buckets(histogram.bounds, histogram.counts))
        family.add_metric(label_values, buckets, histogram.total)
    return family


def _buckets(bounds: Iterable[float], counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    """Each with all below it, as Prometheus counts."""
    names = [*(str(bound) for bound in bounds), "+Inf"]
    yield from zip(names, map(float, accumulate(counts)), strict=True)


def _bool(is_so: bool) -> str:
    return "true" if is_so else "false"


def _work(is_final: bool) -> str:
    return "final" if is_final else "partial"
