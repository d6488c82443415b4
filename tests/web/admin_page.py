"""The dashboard in Chromium: opened as somebody opens it, closed with nothing left to object to."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.web.admin_data import NOW_MS
from tests.web.admin_server import AdminServer, token

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
WIDE = {"width": 1360, "height": 900}
PHONE = {"width": 360, "height": 740}


@contextmanager
def opened_admin(
    browser: Browser,
    server: AdminServer,
    place: str = "",
    *,
    is_signed_in: bool = True,
    **options,
) -> Iterator[Page]:
    """At a place such as `#events`; in the end nothing was in the console, no policy was broken, no
    dialog opened, and nothing was asked of anybody else.
    """
    context = browser.new_context(**{"viewport": WIDE, "reduced_motion": "reduce", **options})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if is_fault(line) else None)
    page.on("dialog", lambda dialog: (faults.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda asked: note_foreign(asked.url, server.address, faults))
    page.clock.set_fixed_time(NOW)
    if is_signed_in:
        page.add_init_script(f"sessionStorage.setItem('earwitness.admin-token', '{token()}')")
    page.goto(f"{server.address}admin{place}")
    if is_signed_in and not server.denial:
        expect(page.locator("#place h1")).to_be_visible()
        expect(page.locator("#place[aria-busy]")).to_have_count(0)
    yield page
    context.close()
    assert faults == []


def is_fault(line) -> bool:
    """A refusal that a test asked for is in the console too: the browser tells of each."""
    return (
        line.type in {"error", "warning"} and "the server responded with a status" not in line.text
    )


def note_foreign(url: str, address: str, faults: list[str]) -> None:
    if not url.startswith((address, f"blob:{address}")):
        faults.append(url)


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"admin-{name}.png", full_page=True)
