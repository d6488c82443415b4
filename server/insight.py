"""A server's stages in, the routes of its dashboard out: what the page needs of each, joined."""

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from starlette.routing import Route

from security.audit_reader import TrailReader
from security.report import ReportSettings, make_report
from server.blocks import Blocks
from server.config import Settings
from server.dashboard import dashboard_routes
from server.figures import Figures, Histogram
from server.holdings import look_at_keys
from server.live import LiveSessions
from server.metrics import CountedTrail
from server.overview import Latency, Overview
from server.reception import Reception
from server.revoking import Revoking

REPORT = ReportSettings(most_buckets=32)
"""Hours of a day, quarters of the days of a week, days of a month: what a small chart can show."""


@dataclass(frozen=True, slots=True)
class Stages:
    """Of one server."""

    settings: Settings
    reception: Reception
    live: LiveSessions
    blocks: Blocks
    trail: CountedTrail
    reader: TrailReader
    """Open as long as the server is."""
    revoking: Revoking
    wall_clock: Callable[[], float]


def insight_routes(stages: Stages, web_folder: Path) -> list[Route]:
    """The page and what it asks for."""
    settings, figures = stages.settings, stages.trail.figures
    overview = Overview(
        reception=stages.reception,
        live=stages.live,
        blocks=stages.blocks,
        log=stages.trail,
        trail=stages.trail.store,
        rows=stages.reader,
        make_report=lambda since_ns, until_ns: make_report(
            stages.reader, since_ns, until_ns, REPORT
        ),
        look_at_keys=partial(look_at_keys, settings, settings.trail),
        is_revoked=stages.revoking.is_revoked,
        clock=time.monotonic,
        wall_clock=stages.wall_clock,
        default_audio_s_per_day=settings.grants.default.audio_s_per_day,
        figures=lambda: latencies_of(figures, time.monotonic()),
    )
    return dashboard_routes(overview, web_folder)


def latencies_of(figures: Figures, now_s: float) -> Sequence[Latency]:
    """What has been measured: finals of the last minutes, all else since the start."""
    final = figures.latency(now_s)
    told = [
        _of_histogram("handshake", figures.handshake_s[True]),
        _of_histogram("partial", figures.partial_latency_s),
    ]
    if final.p50_s is not None and final.p95_s is not None and final.p99_s is not None:
        values_ms = (final.p50_s * 1000, final.p95_s * 1000, final.p99_s * 1000)
        told.append(Latency("final", final.n, *values_ms))
    told.append(_of_histogram("audit", figures.trail_write_s))
    return [latency for latency in told if latency is not None]


def _of_histogram(name: str, histogram: Histogram) -> Latency | None:
    """Each the bound within which that many were."""
    n = sum(histogram.counts)
    if n == 0:
        return None
    reached = list(accumulate(histogram.counts))

    def within_ms(share: float) -> float:
        index = bisect_left(reached, share * n)
        return histogram.bounds[min(index, len(histogram.bounds) - 1)] * 1000

    return Latency(name, n, within_ms(0.5), within_ms(0.95), within_ms(0.99))
