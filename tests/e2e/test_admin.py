"""The dashboard before the real server: what somebody does is seen there as it happens, and who
looked is on record.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from client.stream import transcribe_file_blocking
from security.token_keys import is_key_id
from tests.web.browser import CHROMIUM, FLAGS, launched

LIMIT_MS = 60_000

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium: /usr/bin/chromium")


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright, launched(playwright, FLAGS) as browser:
        page = browser.new_page()
        faults = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if "Policy" in line.text else None)
        yield page
        assert faults == []


def opened(page: Page, server, place: str = "overview", **claims) -> None:
    token = server.token(**{"subject": "olga", "scopes": {"audit"}, **claims})
    page.goto(f"{server.page_url}/admin#token={token}")
    page.goto(f"{server.page_url}/admin#{place}")
    expect(page.locator("#place[aria-busy]")).to_have_count(0, timeout=LIMIT_MS)


def test_a_refusal_is_seen_as_it_happens_and_the_look_is_on_record(page, live_server):
    opened(page, live_server)
    expect(page.locator(".feed-state")).to_have_text("Live", timeout=LIMIT_MS)
    address = f"{live_server.page_url}/v1/whoami"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(address, timeout=10)  # noqa: S310 (our own server)
    line = page.locator(".feed li").filter(has_text="token_missing")
    expect(line.first).to_be_visible(timeout=LIMIT_MS)
    line.first.get_by_role("link").click()
    expect(page.locator(".facts")).to_contain_text("127.0.0.1")
    assert live_server.last_row("trail.read").detail["by"] == "olga"


def test_a_session_is_counted_and_exported(page, live_server, english_recordings, tmp_path):
    recording = tmp_path / "speech.wav"
    recording.write_bytes(english_recordings[0].wav_bytes)
    token = live_server.token(subject="dashboard-speaker")
    with ThreadPoolExecutor(1) as beside:  # the browser's own loop runs in this thread
        asked = (live_server.stream_url, token, recording)
        beside.submit(transcribe_file_blocking, *asked).result(60)
    opened(page, live_server, "events?subject=dashboard-speaker")
    expect(page.locator("tbody tr")).to_have_count(2)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as OCSF").click()
    events = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert len(events) == 2
    assert live_server.last_row("trail.exported").detail["n_events"] == 2


def test_the_state_is_that_of_the_real_trail_and_pack(page, live_server):
    opened(page, live_server, "trail")
    expect(page.locator(".checks")).to_contain_text("The trail is written")
    facts = page.locator(".facts").last
    expect(facts).to_contain_text(live_server.settings.model)
    key_id = facts.locator("div").filter(has_text="Token signing key").locator("dd").text_content()
    assert is_key_id(key_id)


def test_a_token_for_transcription_is_explained(page, live_server):
    page.goto(f"{live_server.page_url}/admin#token={live_server.token()}")
    expect(page.locator("#problem")).to_contain_text("The token is for transcription")
