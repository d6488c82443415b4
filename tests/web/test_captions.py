"""Where the page's view stands while lines come and the room for them changes."""

from playwright.sync_api import Locator, expect

from server import errors
from tests.web.browser import start, stop
from tests.web.scripted_server import final, hear_all

LINES = 40


def scripted(server) -> None:
    async def script(heard):
        await heard.say(*(final(f"Line {number}.", number) for number in range(LINES)))
        await hear_all(heard)

    server.script = script


def fail_to_start(page, server) -> None:
    server.denial = errors.OVERLOADED
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_be_visible()


def newest(page) -> Locator:
    return page.locator(f'[data-segment="{LINES - 1}"]')


def test_a_notice_does_not_hide_the_newest_words(page, server):
    scripted(server)
    start(page)
    expect(newest(page)).to_be_in_viewport(ratio=1)
    stop(page)
    fail_to_start(page, server)
    expect(newest(page)).to_be_in_viewport(ratio=1)


def test_a_notice_right_after_new_words_does_not_hide_them(page, server):
    async def script(heard):
        await heard.say(*(final(f"Line {number}.", number) for number in range(LINES)))
        await heard.end(errors.QUOTA_AUDIO)

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_be_visible()
    expect(newest(page)).to_be_in_viewport(ratio=1)


def test_a_turned_phone_does_not_hide_the_newest_words(page, server):
    scripted(server)
    page.set_viewport_size({"width": 390, "height": 844})
    start(page)
    expect(newest(page)).to_be_in_viewport(ratio=1)
    page.set_viewport_size({"width": 844, "height": 390})
    expect(newest(page)).to_be_in_viewport(ratio=1)


def test_a_phone_on_its_side_has_room_for_notice_and_words(page, server):
    scripted(server)
    page.set_viewport_size({"width": 720, "height": 360})
    start(page)
    stop(page)
    fail_to_start(page, server)
    expect(page.locator("#problem")).to_be_in_viewport(ratio=1)
    expect(newest(page)).to_be_in_viewport(ratio=1)


def test_a_reader_who_has_scrolled_up_is_left_there_by_a_notice(page, server):
    scripted(server)
    start(page)
    expect(newest(page)).to_be_in_viewport(ratio=1)
    stop(page)
    page.locator("#captions").hover()
    page.mouse.wheel(0, -10_000)
    expect(page.locator('[data-segment="0"]')).to_be_in_viewport(ratio=1)
    fail_to_start(page, server)
    expect(newest(page)).not_to_be_in_viewport()


def test_the_page_is_never_wider_than_a_narrow_phone(page, server):
    scripted(server)
    page.set_viewport_size({"width": 320, "height": 568})
    start(page)
    expect(newest(page)).to_be_in_viewport(ratio=1)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
