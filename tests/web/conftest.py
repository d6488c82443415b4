"""What the page's tests share; skipped where there is no Chromium."""

import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.web.browser import ALLOWED, CHROMIUM, FAKE_DEVICE, FLAGS, launched, opened
from tests.web.scripted_server import TOKEN, FakeServer, serving


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium")
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def tone(tmp_path_factory) -> Path:
    """A second of 440 Hz at half of full scale; the browser repeats it."""
    path: Path = tmp_path_factory.mktemp("microphone") / "tone.wav"
    samples = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000) * 16_384
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def browser(playwright, tone) -> Iterator[Browser]:
    args = [*FLAGS, ALLOWED, FAKE_DEVICE, f"--use-file-for-fake-audio-capture={tone}"]
    with launched(playwright, args) as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    with serving(fake):
        yield fake


@pytest.fixture
def page(browser, server) -> Iterator[Page]:
    with opened(browser, server, f"#token={TOKEN}") as page:
        yield page
