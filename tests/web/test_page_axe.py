"""How the microphone page can be seen, heard and used, by the rules of axe-core; each place leaves
its picture.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from starlette.websockets import WebSocketDisconnect

from server import errors, wire
from tests.web.browser import PHONE, opened, screenshot
from tests.web.cutting_proxy import proxied
from tests.web.scripted_server import TOKEN, hear_all
from tests.web.spoken import CHINESE, ENGLISH, spoken

SERIOUS = {"serious", "critical"}
SCROLLS = "() => document.documentElement.scrollWidth > document.documentElement.clientWidth"
HERE = f"#token={TOKEN}"
STILL = {"reduced_motion": "reduce"}
DARK = {"color_scheme": "dark"}


def speaking(texts) -> Callable:
    async def script(heard):
        await heard.say(wire.SpeechStarted(0, 0))
        await heard.say(*(spoken(text, segment) for segment, text in enumerate(texts[:2])))
        tail = ("北部地区的收入增长了", "百分之十一") if texts is CHINESE else ("Revenue", " grew")
        await heard.say(wire.Partial(2, 1, 0, 100, *tail))
        with suppress(WebSocketDisconnect):
            await hear_all(heard)

    return script


def rest(page: Page) -> None:
    expect(page.locator("#toggle-label")).not_to_be_empty()


def listen(page: Page) -> None:
    page.keyboard.press("Space")
    expect(page.locator('[data-segment="2"]')).to_be_visible()


def open_settings(page: Page) -> None:
    page.keyboard.press("s")
    expect(page.locator("#setting-model")).to_contain_text("fake")


def open_help(page: Page) -> None:
    page.keyboard.press("?")


def open_menu(page: Page) -> None:
    listen(page)
    page.keyboard.press("d")
    expect(page.locator("#formats")).to_be_visible()


def open_word(page: Page) -> None:
    listen(page)
    page.locator(".doubtful").first.click()
    expect(page.locator("#word-card")).to_be_visible()


def fail(page: Page) -> None:
    page.keyboard.press("Space")
    expect(page.locator("#problem")).to_be_visible()


PLACES = {
    "idle": ("", rest, {}),
    "dark": ("", rest, DARK),
    "listening": ("", listen, {}),
    "listening-dark": ("", listen, DARK),
    "phone": ("", listen, {"viewport": PHONE}),
    "settings": ("", open_settings, {}),
    "settings-dark-phone": ("", open_settings, {**DARK, "viewport": PHONE}),
    "help": ("", open_help, {}),
    "menu": ("", open_menu, {}),
    "word": ("", open_word, DARK),
    "zh": ("?lang=zh", listen, {}),
    "zh-phone": ("?lang=zh", open_settings, {"viewport": PHONE}),
    "embed": ("?embed=1", listen, {}),
    "embed-dark": ("?embed=dark&lang=zh", listen, {}),
    "full": ("", fail, {}),
    "full-dark": ("", fail, DARK),
}


def serious_faults(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {node['html'][:120]}"
        for fault in found
        if fault["impact"] in SERIOUS
        for node in fault["nodes"]
    ]


@pytest.mark.parametrize("name", PLACES)
def test_every_place_can_be_seen_and_heard(browser, server, name):
    query, act, options = PLACES[name]
    server.script = speaking(CHINESE if "zh" in query else ENGLISH)
    server.denial = errors.OVERLOADED if act is fail else None
    with opened(browser, server, query + HERE, **STILL, **options) as page:
        act(page)
        screenshot(page, name)
        assert serious_faults(page) == []
        assert not page.evaluate(SCROLLS)


def test_the_token_form_can_be_seen_and_heard(browser, server):
    with opened(browser, server, **STILL) as page:
        page.locator("#token-field").fill("no token")
        page.keyboard.press("Enter")
        screenshot(page, "token")
        assert serious_faults(page) == []
        page.set_viewport_size({"width": 320, "height": 640})
        screenshot(page, "token-narrow")
        assert not page.evaluate(SCROLLS)


@pytest.mark.parametrize("query", ["", "?lang=zh"])
def test_a_narrow_or_magnified_page_does_not_scroll_sideways(browser, server, query):
    server.script = speaking(ENGLISH)
    viewport = {"width": 320, "height": 568}
    with opened(browser, server, query + HERE, viewport=viewport) as page:
        listen(page)
        screenshot(page, f"narrow{'-zh' if query else ''}")
        assert not page.evaluate(SCROLLS)
        page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
        page.set_viewport_size({"width": 640, "height": 800})
        assert not page.evaluate(SCROLLS)


def test_forced_colours_leave_level_and_switches_to_be_seen(browser, server):
    with opened(browser, server, HERE, forced_colors="active") as page:
        page.keyboard.press("s")
        screenshot(page, "forced-colors")
        backgrounds = page.evaluate(
            """() => ["#level-bar", "#setting-noise"].map((selector) =>
              getComputedStyle(document.querySelector(selector), selector[1] === "s" ? "::before"
                : undefined).backgroundColor)"""
        )
        canvas = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert canvas not in backgrounds


def test_the_keyboard_alone_goes_through_the_page_in_order(browser, server):
    server.script = speaking(ENGLISH)
    with opened(browser, server, HERE) as page:
        listen(page)
        page.locator("#problem").evaluate("(first) => { first.tabIndex = -1; }")
        stops = []
        for _ in range(7):
            page.keyboard.press("Tab")
            stops.append(page.evaluate("() => document.activeElement.id"))
        in_order = ["language-switch", "settings-open", "help-open", "captions"]
        assert stops == [*in_order, "toggle", "copy", "download"]


def test_a_reconnecting_session_says_how_long_it_tries(browser, server):
    server.script = speaking(ENGLISH)
    server.grace_s = 30
    with proxied(server) as network, opened(browser, server, HERE, **STILL) as page:
        listen(page)
        network.is_down = True
        network.cut_all()
        expect(page.locator("#connection")).to_have_text("Reconnecting")
        expect(page.locator("#connection-left")).to_contain_text("s left")
        screenshot(page, "reconnecting")
        assert serious_faults(page) == []
