"""What somebody can choose on the microphone page, by mouse and by keys, and that it holds."""

import re

import pytest
from playwright.sync_api import Page, expect

from server import wire
from tests.web.browser import start, stop
from tests.web.scripted_server import final, hear_all

HEARD = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (wishes) => ask((window.wishes = wishes));
}"""


def open_settings(page: Page) -> None:
    page.locator("#settings-open").click()
    expect(page.locator("#setting-model")).to_contain_text("fake")


def close(page: Page) -> None:
    page.keyboard.press("Escape")
    expect(page.locator("dialog[open]")).to_have_count(0)


# --- settings ---


def test_the_model_is_named_where_there_is_no_choice(page):
    open_settings(page)
    expect(page.locator("#setting-model")).to_be_disabled()
    expect(page.locator("#setting-model")).to_have_accessible_name("Model")


def test_a_language_is_asked_for_after_a_reload_too(page, server):
    open_settings(page)
    expect(page.locator("#setting-language option")).to_have_text(
        ["Find out by itself", "Chinese", "English", "German"]
    )
    page.locator("#setting-language").select_option("zh")
    close(page)
    page.reload()
    open_settings(page)
    expect(page.locator("#setting-language")).to_have_value("zh")
    close(page)
    start(page)
    assert server.sessions[0].start.language == "zh"


def test_a_server_of_one_language_leaves_no_choice(page, server):
    server.languages = ["en"]
    open_settings(page)
    expect(page.locator("#setting-language option")).to_have_text(["English"])
    expect(page.locator("#setting-language")).to_be_disabled()
    close(page)
    start(page)
    assert server.sessions[0].start.language is None


def test_switches_and_device_are_what_the_microphone_is_asked_with(page):
    page.evaluate(HEARD)
    open_settings(page)
    page.locator("#setting-noise").click()
    page.locator("#setting-gain").click()
    page.locator("#setting-device").select_option(index=1)
    close(page)
    start(page)
    wishes = page.evaluate("() => window.wishes.audio")
    assert (wishes["noiseSuppression"], wishes["echoCancellation"]) == (False, True)
    assert wishes["autoGainControl"] is False
    assert wishes["deviceId"]["exact"]


def test_microphones_are_listed_anew_when_one_is_plugged_in(page):
    open_settings(page)
    page.evaluate(
        """() => {
          navigator.mediaDevices.enumerateDevices = async () =>
            [{ kind: "audioinput", deviceId: "new", label: "New microphone" }];
          navigator.mediaDevices.dispatchEvent(new Event("devicechange"));
        }"""
    )
    expect(page.locator("#setting-device option")).to_have_text(
        ["The system’s default", "New microphone"]  # noqa: RUF001
    )


def test_nothing_of_a_session_can_be_changed_while_it_runs(page):
    start(page)
    open_settings(page)
    expect(page.locator("#settings-locked")).to_be_visible()
    for name in ("device", "language", "noise", "echo", "gain"):
        expect(page.locator(f"#setting-{name}")).to_be_disabled()
    expect(page.locator("#setting-shortcuts")).to_be_enabled()
    close(page)
    stop(page)
    expect(page.locator("#setting-noise")).to_be_enabled()


def test_what_was_stored_by_somebody_else_is_as_if_never_chosen(page):
    stored = '{"language": 5, "autoGain": false}'
    page.evaluate("(text) => localStorage.setItem('earwitness.settings', text)", stored)
    page.reload()
    open_settings(page)
    expect(page.locator("#setting-gain")).not_to_be_checked()
    expect(page.locator("#setting-language")).to_have_value("")


def test_no_secret_is_stored_for_longer_than_the_tab(page):
    open_settings(page)
    page.locator("#setting-echo").click()
    assert "bbbb" not in page.evaluate("() => JSON.stringify(localStorage)")


# --- keys ---


def test_keys_open_and_escape_closes(page):
    page.keyboard.press("s")
    expect(page.locator("#settings")).to_be_visible()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_hidden()
    close(page)
    page.keyboard.press("Shift+?")
    expect(page.locator("#help")).to_contain_text("Start, or stop")
    close(page)
    with page.expect_file_chooser():
        page.evaluate("() => 0")  # the tab knows by then that the chooser is ours; keys overtake it
        page.keyboard.press("o")


def test_keys_copy_and_offer_downloads(page, server):
    async def script(heard):
        await heard.say(final("One."))
        await hear_all(heard)

    server.script = script
    page.context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"])
    page.keyboard.press("d")
    expect(page.locator("#formats")).to_be_hidden()
    start(page)
    expect(page.locator("[data-segment]")).to_be_visible()
    page.keyboard.press("c")
    expect(page.locator("#copy")).to_have_text("Copied")
    page.keyboard.press("d")
    expect(page.locator('#formats [data-kind="txt"]')).to_be_focused()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".txt")


def test_arrow_keys_move_in_the_menu_of_downloads(page, server):
    async def script(heard):
        await heard.say(final("One."))
        await hear_all(heard)

    server.script = script
    start(page)
    expect(page.locator("[data-segment]")).to_be_visible()
    page.keyboard.press("d")
    for key, kind in [
        ("ArrowDown", "srt"),
        ("End", "json"),
        ("ArrowDown", "txt"),
        ("ArrowUp", "json"),
    ]:
        page.keyboard.press(key)
        expect(page.locator(f'#formats [data-kind="{kind}"]')).to_be_focused()


@pytest.mark.parametrize("key", ["Control+s", "Alt+o", "Meta+c", "Control+Space"])
def test_keys_with_a_modifier_are_the_browser_s(page, key):
    page.evaluate("() => addEventListener('keydown', (e) => (window.taken = e.defaultPrevented))")
    page.keyboard.press(key)
    assert page.evaluate("() => window.taken") is False
    expect(page.locator("#status")).to_have_text("Ready")


def test_keys_can_be_switched_off(page):
    page.keyboard.press("s")
    page.locator("#setting-shortcuts").click()
    close(page)
    page.locator("h1").click()
    page.keyboard.press("s")
    expect(page.locator("#settings")).to_be_hidden()


def test_a_field_takes_its_keys_itself(page, server):
    server.denial = None
    page.evaluate("() => sessionStorage.clear()")
    page.reload()
    page.locator("#token-field").press_sequentially("so c")
    expect(page.locator("#token-field")).to_have_value("so c")
    expect(page.locator("#settings")).to_be_hidden()


# --- what is left ---


def test_the_quota_is_shown_only_where_there_is_one(page, server):
    start(page)
    expect(page.locator("#connection")).to_have_text("Connected")
    expect(page.locator("#quota")).to_have_text("")


def test_the_quota_counts_down_and_follows_the_server(page, server):
    server.limits = wire.Limits(audio_ms=12 * 60_000 + 30_000, bytes=None, expires_in_s=600)

    async def script(heard):
        await heard.receive_blocks(10)
        await heard.say(wire.Quota(audio_ms_left=None, bytes_left=32_000 * 40))
        await hear_all(heard)

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#quota")).to_have_text("12 min left")
    expect(page.locator("#quota")).to_have_text(re.compile(r"^(40|3\d) s left$"))
    expect(page.locator("#quota")).to_have_attribute("data-little", "true")
