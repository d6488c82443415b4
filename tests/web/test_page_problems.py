"""What the microphone page says when something goes wrong."""

import pytest
from playwright.sync_api import expect

from server import errors
from server.errors import Refusal
from tests.web.browser import ALLOWED, FAKE_DEVICE, FLAGS, launched, opened, screenshot, start, stop
from tests.web.cutting_proxy import proxied
from tests.web.scripted_server import TOKEN, final, hear_all, partial


@pytest.mark.parametrize(
    ("refusal", "is_token_good", "words"),
    [
        (errors.UNAUTHENTICATED, False, "The token is not valid, or it has expired."),
        (errors.FORBIDDEN, False, "This token does not allow transcription."),
        (errors.ORIGIN_REFUSED, False, "The server does not accept this page"),
        (errors.OVERLOADED, False, "The server is full."),
        (errors.TOO_MANY_SESSIONS, True, "The server did not take the session"),
    ],
    ids=["unauthenticated", "forbidden", "origin", "overloaded", "too_many_sessions"],
)
def test_a_denied_handshake_is_explained(page, server, refusal, is_token_good, words):
    server.denial, server.is_token_good = refusal, is_token_good
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text(words)
    expect(page.locator("#toggle-label")).to_have_text("Start listening")


def test_a_refused_token_is_forgotten_and_asked_for_again(page, server):
    server.denial = errors.UNAUTHENTICATED
    page.locator("#toggle").click()
    expect(page.locator("#token-form")).to_be_visible()
    assert page.evaluate("() => sessionStorage.length") == 0


def test_an_error_in_a_session_is_explained_and_the_text_stays(page, server):
    async def script(heard):
        await heard.say(final("Kept."), partial(1, "and", " this", 1))
        await heard.receive_blocks(5)
        await heard.end(errors.QUOTA_AUDIO)

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The audio time that the token gives")
    expect(page.locator("#status")).to_have_text("Stopped")
    expect(page.locator("[data-segment]")).to_have_text(["Kept.", "and this"])


def test_a_code_of_a_newer_server_is_explained_in_its_words(page, server):
    async def script(heard):
        await heard.end(Refusal("moon_phase", 4499, "Wait for the full moon."))

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_have_text("Wait for the full moon.")


def test_a_lost_connection_is_explained(page, server):
    async def script(heard):
        await heard.receive_blocks(5)
        await heard.socket.close(1001)

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The connection was lost.")


def test_a_problem_is_gone_at_the_next_start(page, server):
    server.denial = errors.OVERLOADED
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_be_visible()
    server.denial = None
    start(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_a_server_that_is_gone_is_explained(page, server):
    page.route("**/v1/whoami", lambda route: route.abort())
    server.denial = errors.INTERNAL
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The server cannot be reached.")


def test_a_refused_microphone_is_explained(playwright, server):
    with (
        launched(playwright, [*FLAGS, FAKE_DEVICE, "--deny-permission-prompts"]) as browser,
        opened(browser, server, f"#token={TOKEN}") as page,
    ):
        page.locator("#toggle").click()
        expect(page.locator("#problem")).to_contain_text("may not use the microphone")
        screenshot(page, "denied")


def test_a_missing_microphone_is_explained(playwright, server):
    with (
        launched(playwright, [*FLAGS, ALLOWED]) as browser,
        opened(browser, server, f"#token={TOKEN}") as page,
    ):
        page.locator("#toggle").click()
        expect(page.locator("#problem")).to_contain_text("No microphone was found.")


def test_a_microphone_that_is_pulled_out_ends_the_session_in_order(page, server):
    page.evaluate(
        """() => {
          const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          navigator.mediaDevices.getUserMedia = async (...wishes) => {
            const media = await ask(...wishes);
            window.pull = () => media.getAudioTracks()[0].dispatchEvent(new Event("ended"));
            return media;
          };
        }"""
    )
    start(page)
    page.evaluate("() => window.pull()")
    expect(page.locator("#problem")).to_contain_text("The microphone was disconnected.")
    assert server.sessions[0].has_stopped


def test_a_fault_of_the_browser_is_told_in_the_words_of_the_page(page, server):
    page.evaluate(
        """() => {
          window.AudioContext = class {
            constructor() { throw new DOMException("Inner words", "InvalidStateError"); }
          };
        }"""
    )
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_have_text(
        "Something went wrong. Reload the page and start again."
    )
    expect(page.locator("#toggle-label")).to_have_text("Start listening")


def test_a_connection_that_does_not_come_back_is_called_lost(browser, server):
    async def script(heard):
        await heard.say(final("Kept."))
        await heard.receive_blocks(5)

    server.script, server.grace_s = script, 1
    with proxied(server) as network, opened(browser, server, f"#token={TOKEN}") as page:
        start(page)
        expect(page.locator("[data-segment]")).to_be_visible()
        network.is_down = True
        network.cut_all()
        expect(page.locator("#problem")).to_contain_text("What was said is below.")
        expect(page.locator("#connection")).to_have_text("Connection lost")
        expect(page.locator("[data-segment]")).to_have_text("Kept.")
        screenshot(page, "lost")


# --- leaving the page ---


def leaving_asks(page) -> bool:
    """Whether the browser would ask somebody who leaves."""
    asks: bool = page.evaluate(
        """() => {
          const leaving = new Event("beforeunload", { cancelable: true });
          window.dispatchEvent(leaving);
          return leaving.defaultPrevented;
        }"""
    )
    return asks


def test_leaving_is_asked_about_only_while_a_session_has_text(page, server):
    async def script(heard):
        await heard.say(final("One."))
        await hear_all(heard)

    server.script = script
    assert not leaving_asks(page)
    start(page)
    expect(page.locator("[data-segment]")).to_be_visible()
    assert leaving_asks(page)
    stop(page)
    assert not leaving_asks(page)


def test_the_page_says_that_its_text_does_not_last(page):
    expect(page.locator("#privacy")).to_contain_text("gone when this page is reloaded")
