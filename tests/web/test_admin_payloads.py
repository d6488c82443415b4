"""What strangers write into the trail, shown by the dashboard: text, and nothing but text."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.web import admin_data
from tests.web.admin_page import opened_admin, screenshot
from tests.web.admin_server import AdminServer
from tests.web.payloads import MARK, PAYLOADS
from tests.web.scripted_server import serving

ROWS_A_PAGE = 50
TAGS_OF_OURS = """() => {
  const tags = {};
  for (const each of document.querySelectorAll("*")) tags[each.localName] = 1;
  return Object.keys(tags).sort();
}"""
NEVER = (
    *("img[src=x]", "iframe", "object", "embed", "video", "audio", "base", "marquee", "math"),
    *("style", "frameset", "plaintext", "keygen", "textarea", "[onerror]", "[onload]", "[onclick]"),
    *("a[href^=javascript]", "meta[http-equiv]", "form[action]", "[style*=fixed]", "animate"),
)


@pytest.fixture
def server() -> Iterator[AdminServer]:
    """Each payload is a row: as subject, origin, browser and reason at once."""
    fake = AdminServer(
        scopes=("admin", "audit"),
        events=[
            admin_data.event(
                number,
                "session.started",
                subject=payload,
                reason=payload,
                address=payload,
                session_id=payload,
                token_hash=payload,
                detail={"origin": payload, "user_agent": payload, payload: "name"},
            )
            for number, payload in enumerate(PAYLOADS, 1)
        ],
    )
    with serving(fake):
        yield fake


def check_nothing_happened(page) -> None:
    assert page.evaluate(f"() => window.{MARK}") is None
    scripts = page.locator("script").evaluate_all("(all) => all.map((each) => each.src)")
    assert [script.rpartition("/")[2] for script in scripts] == ["admin.js"]
    for selector in NEVER:
        assert page.locator(selector).count() == 0, selector


def test_there_are_200_payloads():
    assert len(set(PAYLOADS)) == 200


def test_each_payload_is_one_row_of_text(browser, server):
    with opened_admin(browser, server, "#events") as page:
        tags = page.evaluate(TAGS_OF_OURS)
        seen = []
        for number in range(len(PAYLOADS) // ROWS_A_PAGE):
            expect(page.locator("tbody tr")).to_have_count(ROWS_A_PAGE)
            expect(page.locator("tbody tr").first).to_have_attribute(
                "data-seq", str(len(PAYLOADS) - number * ROWS_A_PAGE)
            )
            seen += page.locator("td.cell-subject").evaluate_all(
                "(all) => all.map((each) => each.textContent)"
            )
            check_nothing_happened(page)
            if number == 0:
                screenshot(page, "payloads")
            page.locator(".pages a").last.click()
        assert seen == list(reversed(PAYLOADS))
        assert set(page.evaluate(TAGS_OF_OURS)) <= {*tags, "button", "bdi"}


@pytest.mark.parametrize("start", range(0, len(PAYLOADS), 40))
def test_each_payload_is_text_in_every_field_of_its_own_view(browser, server, start):
    with opened_admin(browser, server, "#events/1") as page:
        for number in range(start + 1, start + 41, 4):
            page.evaluate(f"() => {{ location.hash = '#events/{number}'; }}")
            expect(page.locator("#place h1")).to_have_text(f"Event {number}")
            expect(page.locator("#place[aria-busy]")).to_have_count(0)
            values = page.locator(".facts dd").evaluate_all(
                "(all) => all.map((each) => each.textContent)"
            )
            assert values.count(PAYLOADS[number - 1]) >= 5
            check_nothing_happened(page)


def test_payloads_are_text_in_findings_bars_sessions_and_blocks(browser, server):
    server.findings = [
        {**admin_data.findings()[0], "subject": payload, "address": payload, "sentence": payload}
        for payload in PAYLOADS
    ]
    server.quotas = [
        {"subject": payload, "issuer": payload, "audio_ms": 1000, "most_audio_ms": None}
        for payload in PAYLOADS
    ]
    server.sessions = [
        {**admin_data.sessions()[0], "session_id": payload, "subject": payload}
        | {"origin": payload, "user_agent": payload, "address": payload}
        for payload in PAYLOADS
    ]
    server.blocks = [{"address": payload, "until_ms": 0, "rule": payload} for payload in PAYLOADS]
    for place in ("#overview", "#findings", "#sessions", "#trail"):
        with opened_admin(browser, server, place) as page:
            check_nothing_happened(page)
    with opened_admin(browser, server, "#sessions") as page:
        expect(page.locator(".session")).to_have_count(len(PAYLOADS))
        page.locator(".session button").first.click()
        expect(page.get_by_role("dialog")).to_contain_text(PAYLOADS[-1].strip()[:8])
        check_nothing_happened(page)


def test_a_payload_in_the_address_of_the_page_is_a_filter_and_no_more(browser, server):
    for payload in ("%3Cimg%20src=x%20onerror=alert(1)%3E", "__proto__", "constructor"):
        with opened_admin(browser, server, f"#events?subject={payload}&{payload}=1") as page:
            check_nothing_happened(page)
        with opened_admin(browser, server, f"#{payload}") as page:
            expect(page.locator("#place h1")).to_have_text("Overview")
