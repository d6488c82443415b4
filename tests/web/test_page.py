"""The microphone page in a real browser, against a server that follows a script."""

import asyncio
import re
import threading
from typing import Final

import numpy as np
import pytest
from playwright.sync_api import Route, expect

from server import wire
from tests.web.browser import opened, start, stop
from tests.web.scripted_server import TOKEN, final, hear_all, partial

RATE_HZ: Final = 16_000
BLOCK_BYTES = 640

# --- the token ---


def test_the_token_leaves_the_address(page, server):
    expect(page.locator("#toggle-label")).to_have_text("Start listening")
    assert page.url == server.address


def test_the_token_travels_as_a_subprotocol(page, server):
    start(page)
    stop(page)
    assert server.sessions[0].subprotocols == [wire.PROTOCOL, wire.BEARER_PREFIX + TOKEN]


def test_the_token_is_still_there_after_a_reload(page, server):
    page.reload()
    start(page)
    assert len(server.sessions) == 1


def test_without_a_token_the_page_asks_for_one(browser, server):
    with opened(browser, server) as page:
        expect(page.locator("#token-form")).to_contain_text(".venv/bin/python run.py token mint")
        page.locator("#token-field").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#token-form")).to_be_hidden()
        start(page)


@pytest.mark.parametrize(
    "given",
    [
        f"Bearer {TOKEN}",
        f"Authorization: bearer  {TOKEN}",
        f"http://127.0.0.1:8000/#token={TOKEN}",
        f"#token={TOKEN}",
    ],
)
def test_a_token_is_taken_however_it_was_copied(browser, server, given):
    with opened(browser, server) as page:
        page.locator("#token-field").fill(given)
        page.keyboard.press("Enter")
        expect(page.locator("#token-form")).to_be_hidden()
        start(page)
        assert page.url == server.address


def test_the_code_of_an_address_that_is_pasted_signs_in(browser, server):
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(route.request.post_data or "")
        route.fulfill(json={"token": TOKEN, "expires_in_s": 3600})

    with opened(browser, server) as page:
        page.route("**/v1/sign-in", answer)
        page.locator("#token-field").fill("https://captions.example/#code=once")
        page.keyboard.press("Enter")
        expect(page.locator("#token-form")).to_be_hidden()
        start(page)
    assert asked == ['{"code":"once"}']


def test_what_is_not_a_token_is_not_taken(browser, server):
    with opened(browser, server) as page:
        page.locator("#token-field").fill("not a token")
        page.keyboard.press("Enter")
        expect(page.locator("#problem")).to_contain_text("That is not a token")
        expect(page.locator("#token-form")).to_be_visible()


# --- the sound ---


def test_the_sound_arrives_in_blocks_of_20_ms_and_the_last_one_is_flushed(page, server):
    start(page)
    expect(page.locator("#elapsed")).to_have_text("0:01")
    stop(page)
    heard = server.sessions[0]
    assert heard.start == wire.Start(sample_rate_hz=RATE_HZ, resumable=True)
    assert {len(block) for block in heard.blocks[:-1]} == {BLOCK_BYTES}
    assert 0 < len(heard.blocks[-1]) <= BLOCK_BYTES
    assert len(heard.blocks) >= 50
    assert heard.has_stopped


def test_the_sound_is_what_the_microphone_hears(page, server):
    start(page)
    expect(page.locator("#elapsed")).to_have_text("0:02")
    stop(page)
    samples = np.frombuffer(b"".join(server.sessions[0].blocks), "<i2")[-RATE_HZ:]
    spectrum = np.abs(np.fft.rfft(samples))
    assert abs(int(spectrum.argmax()) - 440) <= 2


def test_a_browser_that_keeps_its_own_rate_sends_at_that_rate(page, server):
    page.evaluate(
        """() => {
          const Own = window.AudioContext;
          window.AudioContext = class extends Own {
            constructor() { super({ sampleRate: 48000 }); }
          };
        }"""
    )
    start(page)
    expect(page.locator("#elapsed")).to_have_text("0:01")
    stop(page)
    heard = server.sessions[0]
    assert heard.start == wire.Start(sample_rate_hz=48_000, resumable=True)
    assert {len(block) for block in heard.blocks[:-1]} == {3 * BLOCK_BYTES}


def test_the_level_and_the_speech_indicator_follow_what_is_heard(page, server):
    async def script(heard):
        await heard.say(wire.SpeechStarted(0, 0))
        await heard.receive_until_stop()
        await heard.say(wire.SpeechEnded(0, 100))
        await heard.end()

    server.script = script
    start(page)
    expect(page.locator("#speech")).to_have_attribute("data-active", "true")
    expect(page.locator("#level-bar")).to_have_attribute("style", re.compile(r"scaleX\(0\.[1-9]"))
    stop(page)
    expect(page.locator("#level-bar")).to_have_attribute("style", "transform: scaleX(0);")
    expect(page.locator("#speech")).to_have_attribute("data-active", "false")


def test_space_starts_and_stops(page, server):
    page.locator("h1").click()
    page.keyboard.press("Space")
    expect(page.locator("#status")).to_have_text("Listening")
    page.keyboard.press("Space")
    expect(page.locator("#status")).to_have_text("Stopped")
    assert server.sessions[0].has_stopped


# --- the captions ---


def test_a_partial_changes_in_place_until_it_is_final(page, server):
    seen = [threading.Event(), threading.Event()]  # however slow the browser is

    async def script(heard):
        await heard.say(partial(1, "", "the quick"))
        await asyncio.to_thread(seen[0].wait, 30)
        await heard.say(partial(2, "the quick", " brown socks"))
        await asyncio.to_thread(seen[1].wait, 30)
        await heard.say(final("The quick brown fox."))
        await hear_all(heard)

    server.script = script
    start(page)
    line = page.locator('#captions [data-segment="0"]')
    expect(line).to_have_text("the quick")
    expect(line).to_have_attribute("data-final", "false")
    page.evaluate("() => (window.first = document.querySelector('[data-segment]'))")
    seen[0].set()
    expect(line.locator(".settled")).to_have_text("the quick")
    expect(line.locator(".tail")).to_have_text("brown socks")
    seen[1].set()
    expect(line).to_have_text("The quick brown fox.")
    expect(line).to_have_attribute("data-final", "true")
    assert page.evaluate("() => window.first === document.querySelector('[data-segment]')")


def test_what_is_said_is_never_markup(page, server):
    async def script(heard):
        await heard.say(final("<img src=x onerror=alert(1)>"))
        await hear_all(heard)

    server.script = script
    start(page)
    expect(page.locator("[data-segment]")).to_have_text("<img src=x onerror=alert(1)>")
    expect(page.locator("#captions img")).to_have_count(0)


def test_an_empty_final_takes_its_line_away(page, server):
    async def script(heard):
        await heard.say(partial(1, "", "hm"))
        await heard.receive_blocks(25)
        await heard.say(final(""))
        await hear_all(heard)

    server.script = script
    start(page)
    expect(page.locator("[data-segment]")).to_have_text("hm")
    expect(page.locator("[data-segment]")).to_have_count(0)
    expect(page.locator("#hint")).to_be_visible()


def test_finals_that_come_after_stop_are_shown(page, server):
    async def script(heard):
        await heard.receive_until_stop()
        await heard.say(final("The last words."))
        await heard.end()

    server.script = script
    start(page)
    stop(page)
    expect(page.locator("[data-segment]")).to_have_text("The last words.")


def test_a_second_session_goes_on_below_the_first(page, server):
    async def script(heard):
        await heard.say(final(f"Session {len(server.sessions)}."))
        await hear_all(heard)

    server.script = script
    for _ in range(2):
        start(page)
        stop(page)
    expect(page.locator("[data-segment]")).to_have_text(["Session 1.", "Session 2."])
    expect(page.locator('[data-segment="1"]')).to_have_text("Session 2.")


def test_a_screen_reader_hears_finals_only(page, server):
    async def script(heard):
        await heard.say(partial(1, "", "not yet"), final("Now."), partial(1, "", "nor this", 1))
        await hear_all(heard)

    server.script = script
    start(page)
    expect(page.locator('[data-segment="1"]')).to_have_text("nor this")
    expect(page.locator("#announcer")).to_have_text("Now.")
    expect(page.locator("#announcer")).to_have_attribute("aria-live", "polite")


def test_the_text_can_be_downloaded(page, server):
    async def script(heard):
        await heard.say(final("One."), final("Two.", 1))
        await hear_all(heard)

    server.script = script
    expect(page.locator("#download")).to_be_disabled()
    start(page)
    stop(page)
    with page.expect_download() as download:
        page.locator("#download").click()
        page.locator('#formats [data-kind="txt"]').click()
    assert download.value.path().read_text() == "One.\nTwo.\n"
    assert download.value.suggested_filename.endswith(".txt")


def test_the_text_can_be_copied(page, server):
    async def script(heard):
        await heard.say(final("One."))
        await hear_all(heard)

    server.script = script
    page.context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"])
    start(page)
    stop(page)
    page.locator("#copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == "One.\n"


def test_an_open_line_does_not_become_lower_again(page, server):
    async def script(heard):
        await heard.say(partial(1, "", "word " * 60))
        await asyncio.to_thread(seen.wait, 30)
        await heard.say(partial(2, "word", " now"))
        await hear_all(heard)

    seen = threading.Event()  # however slow the browser is
    server.script = script
    start(page)
    line = page.locator("[data-segment]")
    expect(line).to_contain_text("word word")
    height = line.bounding_box()["height"]
    seen.set()
    expect(line).to_have_text("word now")
    assert line.bounding_box()["height"] == height


def test_the_view_follows_the_newest_words_unless_the_reader_has_scrolled_up(page, server):
    async def script(heard):
        await heard.say(*(final("word " * 60, segment) for segment in range(9)))
        await heard.receive_until_stop()
        await heard.say(final("The last words.", 9))
        await heard.end()

    server.script = script
    start(page)
    expect(page.locator('[data-segment="8"]')).to_be_in_viewport()
    page.locator("#captions").evaluate("(captions) => { captions.scrollTop = 0; }")
    stop(page)
    expect(page.locator('[data-segment="9"]')).to_have_text("The last words.")
    expect(page.locator('[data-segment="9"]')).not_to_be_in_viewport()
