"""A recording that is chosen, or dropped on the page, and captions alone for a screen share."""

import re
import wave
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from server import errors
from tests.web.browser import opened, screenshot, start, stop
from tests.web.scripted_server import TOKEN, final, hear_all

HERE = f"#token={TOKEN}"
DROP = """async ([bytes, ...names]) => {
  const given = new DataTransfer();
  for (const name of names) {
    given.items.add(new File([new Uint8Array(bytes)], name, { type: "audio/wav" }));
  }
  const throwing = (kind) =>
    document.body.dispatchEvent(
      new DragEvent(kind, { dataTransfer: given, bubbles: true, cancelable: true }));
  throwing("dragenter");
  window.wasOffered = !document.getElementById("drop-here").hidden;
  throwing("dragover");
  throwing("drop");
}"""


@pytest.fixture
def recording(tmp_path) -> Path:
    """Three seconds."""
    path: Path = tmp_path / "talk.wav"
    samples = np.sin(2 * np.pi * 440 * np.arange(48_000) / 16_000) * 8_192
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def choose(page: Page, path: Path) -> None:
    page.locator("#file-field").set_input_files(path)


def test_a_file_that_is_chosen_is_transcribed_as_speech_is(page, server, recording):
    async def script(heard):
        await heard.receive_until_stop()
        await heard.say(final("From a file."))
        await heard.end()

    server.script = script
    choose(page, recording)
    expect(page.locator("[data-segment]")).to_have_text("From a file.")
    expect(page.locator("#status")).to_have_text("Stopped")
    expect(page.locator("#file-progress")).to_be_hidden()
    expect(page.locator("#elapsed")).to_have_text("0:03")
    assert len(b"".join(server.sessions[0].blocks)) == 96_000


def test_a_file_that_is_dropped_is_taken(page, server, recording):
    page.evaluate(DROP, [list(recording.read_bytes()), "talk.wav"])
    expect(page.locator("#status")).to_have_text("Stopped")
    assert page.evaluate("() => window.wasOffered")
    expect(page.locator("#drop-here")).to_be_hidden()
    assert len(b"".join(server.sessions[0].blocks)) == 96_000


def test_a_file_tells_how_far_it_is_and_can_be_cancelled(page, server, recording):
    server.may_be_ready.clear()
    choose(page, recording)
    expect(page.locator("#file-name")).to_have_text("talk.wav")
    expect(page.locator("#file-left")).to_have_text(re.compile(r"^\d+ %"))
    expect(page.locator("#file-bar")).to_have_accessible_name("Transcribing talk.wav")
    expect(page.locator("#file-open")).to_be_disabled()
    screenshot(page, "file")
    page.locator("#file-cancel").click()
    server.may_be_ready.set()
    expect(page.locator("#status")).to_have_text("Stopped")
    expect(page.locator("#file-progress")).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()


def test_a_file_that_is_no_sound_is_explained(page, tmp_path):
    path = tmp_path / "notes.wav"
    path.write_text("no sound")
    choose(page, path)
    expect(page.locator("#problem")).to_contain_text("cannot be read as sound")
    expect(page.locator("#file-open")).to_be_enabled()


def test_the_same_file_can_be_chosen_again(page, server, recording):
    for n_sessions in (1, 2):
        choose(page, recording)
        expect(page.locator("#status")).to_have_text("Stopped")
        expect(page.locator("#file-progress")).to_be_hidden()
        assert len(server.sessions) == n_sessions


def test_two_recordings_at_once_are_one_too_many(page, server, recording):
    page.evaluate(DROP, [list(recording.read_bytes()), "one.wav", "two.wav"])
    expect(page.locator("#problem")).to_contain_text("One recording at a time")
    expect(page.locator("#status")).to_have_text("Ready")
    assert server.sessions == []


def test_a_recording_that_comes_while_the_page_listens_is_told_to_wait(page, server, recording):
    start(page)
    page.evaluate(DROP, [list(recording.read_bytes()), "talk.wav"])
    assert not page.evaluate("() => window.wasOffered")
    expect(page.locator("#problem")).to_contain_text("One recording at a time")
    expect(page.locator("#status")).to_have_text("Listening")
    stop(page)
    expect(page.locator("#problem")).to_be_hidden()
    assert len(server.sessions) == 1


# --- captions alone ---


def test_captions_alone_begin_by_a_click_and_show_the_newest(browser, server):
    async def script(heard):
        await heard.say(*(final(f"Line {number}.", number) for number in range(9)))
        await hear_all(heard)

    server.script = script
    with opened(browser, server, "?embed=1" + HERE) as page:
        expect(page.locator("#embed-hint")).to_be_visible()
        page.mouse.click(5, 5)
        expect(page.locator("[data-segment]")).to_have_text(["Line 6.", "Line 7.", "Line 8."])
        expect(page.locator("#toggle")).to_be_hidden()
        assert page.locator("button:visible").count() == 0
        background = "() => getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(background) == "rgba(0, 0, 0, 0)"
        page.keyboard.press("Space")
        expect(page.locator("body")).to_have_attribute("data-state", "stopped")


def test_captions_alone_say_that_they_listen_until_there_are_words(browser, server):
    with opened(browser, server, "?embed=1" + HERE) as page:
        hint = page.locator("#embed-hint")
        expect(hint).to_have_text("Click, or press Space, to start")
        page.mouse.click(5, 5)
        expect(hint).to_have_text("Listening…")
        page.mouse.click(5, 5)
        expect(hint).to_have_text("Click, or press Space, to start")
        assert len(server.sessions) == 1


def test_captions_alone_ask_for_a_token_and_for_nothing_else(browser, server):
    with opened(browser, server, "?embed=1") as page:
        expect(page.locator("#token-form")).to_contain_text("run.py token mint")
        expect(page.locator("#embed-hint")).to_be_hidden()
        screenshot(page, "embed-token")
        page.locator("#token-field").fill(TOKEN)
        page.locator("#token-form [type=submit]").click()
        expect(page.locator("#token-form")).to_be_hidden()
        expect(page.locator("body")).to_have_attribute("data-state", "idle")
        expect(page.locator("#embed-hint")).to_be_visible()


def test_captions_alone_may_stand_on_black(browser, server):
    with opened(browser, server, "?embed=dark" + HERE) as page:
        background = "() => getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(background) == "rgb(0, 0, 0)"


def test_captions_alone_say_what_is_wrong_too(browser, server):
    server.denial = errors.OVERLOADED
    with opened(browser, server, "?embed=1" + HERE) as page:
        page.keyboard.press("Space")
        expect(page.locator("#problem")).to_contain_text("The server is full.")
        expect(page.locator("#problem")).to_be_in_viewport()
