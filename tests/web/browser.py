"""Chromium with a microphone that is a file, and what every test does on the page."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, expect

from tests.web.scripted_server import FakeServer

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
def opened(browser: Browser, server: FakeServer, fragment: str = "") -> Iterator[Page]:
    """The page, and nothing the browser objects to in it, such as a breach of the policy."""
    context = browser.new_context()
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Policy" in line.text else None)
    page.goto(server.address + fragment)
    yield page
    context.close()
    assert faults == []


def start(page: Page) -> None:
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Listening")


def stop(page: Page) -> None:
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Stopped")
