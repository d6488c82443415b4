"""How the dashboard can be seen, heard and used without a mouse; each place leaves its picture."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.web.admin_page import PHONE, opened_admin, screenshot
from tests.web.admin_server import AdminServer, token
from tests.web.scripted_server import serving

LOOKS = Path(__file__).with_name("looks.js").read_text().partition("*/")[2]
PLACES = {
    "overview": "#overview",
    "events": "#events",
    "filtered": "#events?event=handshake.*&address=192.0.2.44",
    "event": "#events/399",
    "findings": "#findings",
    "sessions": "#sessions",
    "trail": "#trail",
}
FOCUSED = "() => document.activeElement.textContent.trim() || document.activeElement.id"
SCROLLS = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def server() -> Iterator[AdminServer]:
    fake = AdminServer(scopes=("admin", "audit"))
    with serving(fake):
        yield fake


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PLACES)
def test_every_place_can_be_read_and_heard(browser, server, name, scheme):
    with opened_admin(browser, server, PLACES[name], color_scheme=scheme) as page:
        screenshot(page, f"{name}-{scheme}")
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate(LOOKS) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sign_in_can_be_read_and_heard(browser, server, scheme):
    with opened_admin(browser, server, is_signed_in=False, color_scheme=scheme) as page:
        screenshot(page, f"sign-in-{scheme}")
        page.locator("#token-field").fill("no token")
        page.keyboard.press("Enter")
        assert page.evaluate(LOOKS) == []


def test_a_question_can_be_read_and_heard(browser, server):
    with opened_admin(browser, server, "#sessions") as page:
        page.get_by_role("button", name="Revoke token: ward-7").click()
        screenshot(page, "question-light")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_have_accessible_name("Revoke this token?")
        assert page.evaluate(LOOKS) == []


@pytest.mark.parametrize("name", [*PLACES, "sign-in"])
def test_a_phone_shows_all_without_scrolling_sideways(browser, server, name):
    options = {"viewport": PHONE, "is_mobile": True, "has_touch": True}
    is_signed_in = name != "sign-in"
    place = PLACES.get(name, "")
    with opened_admin(browser, server, place, is_signed_in=is_signed_in, **options) as page:
        screenshot(page, f"{name}-phone")
        for summary in page.locator("summary").all():
            summary.click()
        assert not page.evaluate(SCROLLS)
        wide = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
              .filter((each) => each.checkVisibility() && !each.closest(".unseen, .skip, thead"))
              .filter((each) => each.getBoundingClientRect().right > innerWidth + 0.5)
              .map((each) => `${each.localName}.${each.getAttribute("class")}`)"""
        )
        assert wide == []


@pytest.mark.parametrize("width", [320, 600, 768, 1024, 1900])
def test_no_width_needs_scrolling_sideways(browser, server, width):
    for place in PLACES.values():
        viewport = {"width": width, "height": 800}
        with opened_admin(browser, server, place, viewport=viewport) as page:
            assert not page.evaluate(SCROLLS), place


# --- the keyboard alone ---


def walk_to(page, words: str, key: str = "Tab") -> None:
    """By one key alone."""
    for _ in range(60):
        if page.evaluate(FOCUSED) == words:
            return
        page.keyboard.press(key)
    raise AssertionError(f"no way to {words}")


def test_the_keyboard_alone_signs_in_looks_and_acts(browser, server):
    with opened_admin(browser, server, is_signed_in=False) as page:
        page.keyboard.type(token())  # the field has the focus
        page.keyboard.press("Enter")
        expect(page.locator("#place h1")).to_have_text("Overview")
        expect(page.locator("#place h1")).to_be_focused()
        walk_to(page, "Sessions", "Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.locator("#place h1")).to_be_focused()
        walk_to(page, "End")
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.evaluate(FOCUSED) == "Cancel"
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        assert page.evaluate(FOCUSED) == "End"
        assert server.done == []


def test_the_first_tab_leads_to_the_content(browser, server):
    with opened_admin(browser, server) as page:
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "To the content"
        expect(page.locator("#skip")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("#view")).to_be_focused()
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == "24 h"
        assert page.url.endswith("/admin")


def test_arrow_keys_go_through_a_chart_and_escape_leaves_it(browser, server):
    with opened_admin(browser, server) as page:
        chart = page.locator(".trend-box").first
        chart.locator(".plot").focus()
        page.keyboard.press("Home")
        expect(chart.locator(".caption")).to_contain_text("Mon 23 Nov 15:00\u201316:00")
        page.keyboard.press("ArrowRight")
        expect(chart.locator(".caption")).to_contain_text("16:00\u201317:00")
        expect(chart.get_by_role("status")).to_contain_text("16:00\u201317:00")
        page.keyboard.press("Escape")
        expect(chart.locator(".caption")).to_contain_text("against the time before")


def test_what_has_the_focus_is_seen(browser, server):
    with opened_admin(browser, server) as page:
        for _ in range(30):
            page.keyboard.press("Tab")
            outline = page.evaluate(
                """() => {
                  const style = getComputedStyle(document.activeElement);
                  return `${style.outlineStyle} ${style.outlineWidth}`;
                }"""
            )
            assert outline == "solid 2px", page.evaluate(FOCUSED)


def test_figures_that_come_anew_leave_the_focus_where_it_is(browser, server):
    with opened_admin(browser, server) as page:
        link = page.locator(".bars").first.get_by_role("link", name="li.na")
        link.focus()
        n_asked = len(server.asked)
        page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(300)
        assert any("/admin/overview" in asked for asked in server.asked[n_asked:])
        expect(link).to_be_focused()


# --- who hears it, who wants it still ---


def test_what_happens_is_not_read_out_all_the_time(browser, server):
    with opened_admin(browser, server) as page:
        expect(page.locator(".feed-state")).to_have_text("Live")
        spoken = page.locator("[aria-live], [role=status], [role=alert], [role=log]")
        before = spoken.all_text_contents()
        made = server.add("ticket.issued", subject="li.na")
        expect(page.locator(".feed li").first).to_have_attribute("data-seq", str(made["seq"]))
        assert spoken.all_text_contents() == before


def test_nothing_moves_for_who_wants_it_still(browser, server):
    with opened_admin(browser, server, "#events") as page:
        expect(page.locator(".feed-state")).to_have_text("Live")
        server.add("ticket.issued", subject="li.na")
        expect(page.locator("tr.fresh")).to_be_visible()
        assert page.evaluate("() => document.getAnimations().length") == 0


def test_each_place_has_a_title_of_its_own(browser, server):
    for name, words in (("overview", "Overview"), ("event", "Event"), ("trail", "Trail and keys")):
        with opened_admin(browser, server, PLACES[name]) as page:
            expect(page).to_have_title(f"{words} · Earwitness")
