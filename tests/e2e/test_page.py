"""The real page in a real browser, before the real server and its model: recorded speech goes into
the browser's microphone and stands on the page as settled words.
"""

import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from server.config import load_settings
from server.embedded import Recording
from server.provision import join_recordings
from tests.e2e.conftest import copy_data, serving
from tests.web.browser import ALLOWED, CHROMIUM, FAKE_DEVICE, FLAGS, launched
from tests.web.cutting_proxy import proxied

SENTENCES = ("hello world", "the quick brown fox jumps over the lazy dog")
LIMIT_MS = 60_000
"""For a machine that is busy; nothing here waits for it to pass."""

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: /usr/bin/chromium")


@pytest.fixture
def page(english_recordings: list[Recording], tmp_path: Path) -> Iterator[Page]:
    """A page whose microphone hears `SENTENCES` again and again.

    Again, because the browser may begin the file anew while it opens the microphone.
    """
    spoken = [r.wav_bytes for r in english_recordings if r.text.lower().strip(".") in SENTENCES]
    speech = tmp_path / "speech.wav"
    speech.write_bytes(join_recordings(spoken))
    args = [*FLAGS, ALLOWED, FAKE_DEVICE, f"--use-file-for-fake-audio-capture={speech}"]
    with sync_playwright() as playwright, launched(playwright, args) as browser:
        yield browser.new_page()


def test_what_is_said_into_the_microphone_stands_on_the_page(page, live_server):
    page.goto(f"{live_server.page_url}/#token={live_server.token()}")
    page.locator("#toggle").click()
    settled = page.locator('#captions [data-final="true"]')
    for sentence in SENTENCES:
        said = settled.filter(has_text=re.compile(sentence, re.IGNORECASE))
        expect(said.first).to_be_visible(timeout=LIMIT_MS)
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Stopped", timeout=LIMIT_MS)
    expect(page.locator('#captions [data-final="false"]')).to_have_count(0)
    expect(page.locator("#problem")).to_be_hidden()
    assert live_server.last_row("session.ended").reason == "stopped"


@dataclass
class At:
    address: str


def test_words_go_on_when_the_connection_breaks_under_them(page, embedded_model_pack, tmp_path):
    copy_data(embedded_model_pack, tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listen = {"port": 0, "origins": [f"http://127.0.0.1:{port}"]}
    settings = load_settings(data_folder=tmp_path / "data", listen=listen)
    settled = page.locator('#captions [data-final="true"]')
    with serving(settings) as server, proxied(At(f"{server.page_url}/"), port) as proxy:
        page.goto(f"{proxy.address}#token={server.token()}")
        page.locator("#toggle").click()
        for n_heard in (1, 2, 4):
            expect(settled.nth(n_heard)).to_be_visible(timeout=LIMIT_MS)
            proxy.cut_all()
        expect(settled.nth(6)).to_be_visible(timeout=LIMIT_MS)
        page.locator("#toggle").click()
        expect(page.locator("#status")).to_have_text("Stopped", timeout=LIMIT_MS)
        expect(page.locator("#problem")).to_be_hidden()
        rows = server.trail()
    names = [row.event for row in rows if row.session_id]
    assert names[0] == "session.started"
    assert names[-1] == "session.ended"
    assert names.count("session.resumed") == names.count("session.away") == 3
    assert rows[-1].reason == "stopped"
    heard = {re.sub(r"[^a-z ]", "", line.lower()) for line in settled.all_inner_texts()[:-1]}
    assert heard == set(SENTENCES), "and nothing of a sentence that was cut in two"


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_words_go_on_when_the_server_is_restarted(page, embedded_model_pack, tmp_path, is_killed):
    copy_data(embedded_model_pack, tmp_path / "data")
    with socket.create_server(("127.0.0.1", 0)) as own, socket.create_server(("", 0)) as free:
        port, server_port = (one.getsockname()[1] for one in (own, free))
    listen = {"port": server_port, "origins": [f"http://127.0.0.1:{port}"]}
    settings = load_settings(data_folder=tmp_path / "data", listen=listen)
    settled = page.locator('#captions [data-final="true"]')
    with proxied(At(f"http://127.0.0.1:{server_port}/"), port) as proxy:
        with serving(settings) as server:
            page.goto(f"{proxy.address}#token={server.token()}")
            page.locator("#toggle").click()
            expect(settled.nth(1)).to_be_visible(timeout=LIMIT_MS)
            if is_killed:  # says nothing any more
                proxy.is_down = True
                proxy.cut_all()
        with serving(settings):
            proxy.is_down = False
            expect(page.locator(".gap")).to_be_visible(timeout=LIMIT_MS)
            expect(page.locator(".gap ~ [data-final=true]").nth(2)).to_be_visible(timeout=LIMIT_MS)
            page.locator("#toggle").click()
            expect(page.locator("#status")).to_have_text("Stopped", timeout=LIMIT_MS)
            expect(page.locator("#problem")).to_be_hidden()


def test_a_token_past_its_time_is_refused_and_a_fresh_one_asked_for(page, live_server):
    page.goto(f"{live_server.page_url}/#token={live_server.token(age_s=-7200)}")
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The token is not valid, or it has expired")
    expect(page.locator("#token-form")).to_be_visible()
