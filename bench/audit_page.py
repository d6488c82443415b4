"""A month's trail in, how soon the dashboard has painted its totals out, in milliseconds.

From the beginning of the navigation, in Chromium with nothing cached, to the frame that shows the
totals of the last day of the month, and those of the whole month. The page, its routes and the
reader are the real ones; the door lets everybody in, no session lives, and each report is added up
anew, as for the first who looks in the morning.

    python -m bench.audit_page FOLDER    of `bench.month`
"""

import argparse
import socket
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import uvicorn
from playwright.sync_api import Browser, sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from bench.month import BEGAN_UTC_NS, DAYS
from security.audit_reader import TrailReader
from security.limits import Limits
from security.report import make_report
from security.trail_places import TrailPlaces
from server.blocks import Blocks
from server.dashboard import dashboard_routes
from server.forwarded import Networks
from server.grant import Grant
from server.insight import REPORT
from server.live import LiveSessions
from server.overview import KeysSeen, Overview
from server.serving import WEB_FOLDER
from server.subjects import MemorySubjects

N_TIMES = 7
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_TOKEN = "aaaa.bbbb.cccc"  # noqa: S105 (the form of one, not one)
_PAINTED = "() => performance.getEntriesByName('totals-painted')[0]?.startTime"
_LIMIT_MS = 60_000


class _Door:
    """Lets everybody in."""

    async def admit(self, _request: object, _scope: str) -> Grant:
        """An auditor."""
        claims = {"subject": "bench", "issuer": "bench", "token_id": "t", "key_id": "k"}
        scopes = frozenset({"audit"})
        return Grant(**claims, issued_at_s=0, expires_in_s=3600.0, scopes=scopes, limits=Limits())


class _Trail:
    """Takes what is noted, and does not grow."""

    newest_seq, newest_checkpoint, n_lost, is_failing, write_lag_s = 1_000_000, None, 0, False, 0.0

    async def note(self, _event: object) -> None:
        """Not written."""

    async def until_beyond(self, seq: int) -> int:
        """At once: the feed is no part of this."""
        return seq


def first_paint_ms(data_folder: Path, hours: int = 24, n_times: int = N_TIMES) -> list[float]:
    """Each time it was opened, of the month's trail in a data folder."""
    with _serving(data_folder) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        place = f"{address}admin#overview?hours={hours}"
        _painted_ms(browser, place)  # the browser itself starts
        return [_painted_ms(browser, place) for _ in range(n_times)]


def _painted_ms(browser: Browser, place: str) -> float:
    context = browser.new_context()
    context.add_init_script(f"sessionStorage.setItem('earwitness.admin-token', '{_TOKEN}')")
    page = context.new_page()
    page.goto(place, wait_until="commit")
    page.wait_for_function(_PAINTED, timeout=_LIMIT_MS)
    painted_ms: float = page.evaluate(_PAINTED)
    context.close()
    return painted_ms


@contextmanager
def _serving(data_folder: Path) -> Iterator[str]:
    places = TrailPlaces(data_folder / "audit", data_folder / "keys")
    reader = TrailReader(places)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> object:
        async with reader:
            yield

    routes = [
        *dashboard_routes(_overview(reader), WEB_FOLDER),
        Mount("/", StaticFiles(directory=WEB_FOLDER, html=True)),
    ]
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=routes, lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def _overview(reader: TrailReader) -> Overview:
    end_s = BEGAN_UTC_NS / 1e9 + DAYS * 86_400
    return Overview(
        reception=_Door(),
        live=LiveSessions(0, MemorySubjects(lambda: 0.0, lambda: end_s)),
        blocks=Blocks(Networks([])),
        log=_Trail(),
        trail=_Trail(),
        rows=reader,
        make_report=lambda since_ns, until_ns: make_report(reader, since_ns, until_ns, REPORT),
        look_at_keys=lambda: KeysSeen(True, 5, None, None, None),
        is_revoked=lambda _grant: False,
        clock=count(0.0, 1000.0).__next__,  # nothing is fresh
        wall_clock=lambda: end_s,
    )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for hours in (24, 24 * DAYS):
        times_ms = first_paint_ms(folder, hours)
        print(f"{hours:4} h: median {median(times_ms):.0f} ms, slowest {max(times_ms):.0f} ms")


if __name__ == "__main__":
    main()
