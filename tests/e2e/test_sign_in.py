"""From the address that the server prints, or by a provider, to a page that listens."""

import pytest
from playwright.sync_api import expect, sync_playwright

from server.config import load_settings
from server.sign_in_settings import SignInSettings
from tests.e2e.conftest import copy_data, serving
from tests.providing import providing
from tests.web.browser import ALLOWED, CHROMIUM, FAKE_DEVICE, FLAGS, launched

LIMIT_MS = 30_000


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM.exists():
        pytest.skip("needs Chromium")
    flags = [*FLAGS, ALLOWED, FAKE_DEVICE]
    with sync_playwright() as playwright, launched(playwright, flags) as browser:
        yield browser


@pytest.fixture(scope="module")
def provider():
    with providing() as provider:
        yield provider


@pytest.fixture(scope="module")
def server(embedded_model_pack, provider, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sign-in") / "data"
    copy_data(embedded_model_pack, folder)
    listen = {"port": 0, "access_log": False}
    sign_in = SignInSettings(provider=provider.settings)
    with serving(load_settings(data_folder=folder, listen=listen, sign_in=sign_in)) as server:
        yield server


@pytest.fixture
def page(browser):
    context = browser.new_context()
    yield context.new_page()
    context.close()


def listen(page):
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Listening", timeout=LIMIT_MS)
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Stopped", timeout=LIMIT_MS)
    expect(page.locator("#problem")).to_be_hidden()


def token_of(page):
    return page.evaluate("() => sessionStorage.getItem('earwitness.token')")


def test_the_printed_address_signs_in_once(page, browser, server):
    page.goto(server.running.sign_in_address)
    page.wait_for_function("() => sessionStorage.getItem('earwitness.token')")
    assert page.url == f"{server.page_url}/"
    listen(page)
    signed_in = server.last_row("sign_in.succeeded")
    assert signed_in.detail["method"] == "start_code"
    assert server.last_row("session.started").subject == signed_in.subject

    first = token_of(page)
    newer = page.evaluate("async () => (await import('./sign_in.js')).renew()")
    assert newer not in {None, first}
    assert token_of(page) == newer
    listen(page)

    page.goto(server.running.sign_in_address)  # a tab that is signed in stays so
    expect(page.locator("#problem")).to_contain_text("has signed somebody in before")
    assert token_of(page) == newer

    context = browser.new_context()
    other = context.new_page()
    other.goto(server.running.sign_in_address)
    expect(other.locator("#problem")).to_contain_text("has signed somebody in before")
    expect(other.locator("#token-form")).to_be_visible()
    context.close()
    assert server.last_row("handshake.refused").reason == "code_used"


def test_a_provider_signs_in_who_is_known_there(page, server, provider):
    page.goto(server.page_url)
    page.get_by_role("button", name="Sign in with Ward Login").click()
    page.wait_for_function("() => sessionStorage.getItem('earwitness.token')")
    assert page.url == f"{server.page_url}/"
    listen(page)
    assert server.last_row("session.started").subject.endswith(":u-17")
    assert page.context.cookies() == []


def test_a_tab_that_stays_open_stays_signed_in_without_a_session(page, server):
    page.clock.install()
    page.goto(server.page_url)
    page.get_by_role("button", name="Sign in with Ward Login").click()
    page.wait_for_function("() => sessionStorage.getItem('earwitness.token')")
    first = token_of(page)
    page.reload()
    with page.expect_response("**/v1/sign-in/renew") as renewed:
        page.clock.fast_forward("10:00")
    assert renewed.value.ok
    page.wait_for_function("(was) => sessionStorage.getItem('earwitness.token') !== was", arg=first)
    assert server.last_row("sign_in.renewed").subject.endswith(":u-17")


def test_whom_the_provider_turns_away_is_told_in_plain_words(page, server, provider):
    provider.callback = {"code": None, "error": "access_denied"}
    page.goto(server.page_url)
    page.get_by_role("button", name="Sign in with Ward Login").click()
    expect(page.locator("#problem")).to_contain_text("You could not be signed in")
    assert page.url == f"{server.page_url}/"
    provider.callback = {}


@pytest.mark.parametrize("words", ["Call-0800-to-unlock", "unauthenticated", "toString"])
def test_what_a_link_makes_up_is_not_shown_and_takes_nothing_away(page, server, words):
    token = server.token()
    page.goto(f"{server.page_url}/#token={token}")
    page.goto(f"{server.page_url}/#problem={words}")
    page.wait_for_function("location.hash === ''")
    expect(page.locator("#problem")).to_be_hidden()
    assert page.evaluate("sessionStorage.getItem('earwitness.token')") == token
