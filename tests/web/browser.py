"""Chromium with a microphone that is a file, and what every test does on the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, expect

from tests.web.scripted_server import FakeServer

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
PHONE = {"width": 390, "height": 844}
CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAKE_DEVICE = "--use-fake-device-for-media-stream"
ALLOWED = "--use-fake-ui-for-media-stream"


@contextmanager
def launched(playwright: Playwright, args: list[str]) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
    yield browser
    browser.close()


@contextmanager
def opened(browser: Browser, server: FakeServer, place: str = "", **options) -> Iterator[Page]:
    """The page at a place such as `?lang=zh#token=…`. In the end its console is empty: no breach of
    the policy either.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if is_fault(line) else None)
    page.goto(server.address + place)
    yield page
    context.close()
    assert faults == [], faults


def is_fault(line: ConsoleMessage) -> bool:
    """A refusal that a test asked for is in the console too: the browser tells of each."""
    told = ("Failed to load resource", "WebSocket connection to")
    return line.type in {"error", "warning"} and not line.text.startswith(told)


def screenshot(page: Page, name: str) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"page-{name}.png")


def start(page: Page) -> None:
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Listening")


def stop(page: Page) -> None:
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Stopped")
