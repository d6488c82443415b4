"""A month of 1,000,000 events in; how fast it is verified, how soon it is reported and how soon the
dashboard shows it out.

The month is made once, in build/bench/month, and made anew when the tables have changed.
"""

import asyncio
import shutil
import statistics
import time
from pathlib import Path

from bench.audit_page import first_paint_ms
from bench.month import make_month
from security.audit_reader import TrailReader
from security.keys import public_half
from security.report import make_report
from security.trail_places import TrailPlaces
from security.verify_trail import Means, verify_folder

FOLDER = Path(__file__).parent.parent / "build" / "bench" / "month"
N_EVENTS = 1_000_000
N_RUNS = 5


def verifying() -> dict[str, object]:
    """With two processes, by everything that is at hand on the server."""
    places = _month()
    means = Means(
        public_key=public_half(places.signing_key_file),
        chain_key=places.chain_key_file,
        head=places.head_file,
        auditor_key=places.auditor_key_file,
    )
    took_s = []
    for _ in range(N_RUNS):
        began_s = time.perf_counter()
        result = verify_folder(places.folder, means)
        took_s.append(time.perf_counter() - began_s)
        assert result.problems == ()
    return {"verify_events_per_s": round(N_EVENTS / statistics.median(took_s))}


def reporting() -> dict[str, object]:
    """Of the whole month."""

    async def run() -> list[float]:
        took_s = []
        async with TrailReader(_month()) as reader:
            for _ in range(N_RUNS):
                began_s = time.perf_counter()
                report = await make_report(reader, 0, time.time_ns())
                took_s.append(time.perf_counter() - began_s)
                assert report.n_events == N_EVENTS
        return took_s

    return {"report_s": round(statistics.median(asyncio.run(run())), 2)}


def painting() -> dict[str, object]:
    """From the navigation to the totals of the last day."""
    _month()
    return {
        "dashboard_first_paint_ms": round(statistics.median(first_paint_ms(FOLDER))),
        "dashboard_first_paint_30_days_ms": round(
            statistics.median(first_paint_ms(FOLDER, hours=30 * 24))
        ),
    }


def _month() -> TrailPlaces:
    places = TrailPlaces(FOLDER / "audit", FOLDER / "keys")
    if not places.segment_files():
        shutil.rmtree(FOLDER, ignore_errors=True)
        make_month(FOLDER, N_EVENTS)
    return places
