"""Servers that lose a session: another one goes on in the same text, as far as that makes sense."""

import wave
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from server import errors
from tests.web.browser import start, stop
from tests.web.scripted_server import FakeServer, Heard, final, partial

NOTE = "The server had to begin again here. A few words may be missing."
SHOWN = "#captions > p:is([data-segment], .gap)"
GIVEN = """async () => {
  const { Microphone } = await import("./capture.js");
  const start = Microphone.prototype.start;
  window.given = [];
  Microphone.prototype.start = function (receiveBlock) {
    start.call(this, (block, level) => {
      window.given.push(...new Uint8Array(block));
      receiveBlock(block, level);
    });
  };
}"""
ENDINGS = [None, errors.SHUTTING_DOWN, errors.LEASE_LOST, errors.INTERNAL]
NAMES = ["restarted", "shutting_down", "lease_lost", "internal"]


@pytest.fixture
def server(server: FakeServer) -> FakeServer:
    server.grace_s = 30
    return server


def lose_the_first(server: FakeServer, ending: errors.Refusal | None, n_blocks: int = 60):
    """As a script: the first session is lost after so many blocks, the second one is not."""

    async def script(heard: Heard) -> None:
        number = len(server.sessions)
        await heard.say(final(f"Session {number}."), partial(1, "and", " more", 1))
        if number > 1:
            await heard.receive_until_stop()
            await heard.end()
            return
        await heard.receive_blocks(n_blocks)
        await (heard.end(ending) if ending else heard.vanish())

    return script


@pytest.mark.parametrize("ending", ENDINGS, ids=NAMES)
def test_a_session_that_the_server_loses_is_followed_by_another(page: Page, server, ending):
    server.script = lose_the_first(server, ending)
    page.evaluate(GIVEN)
    start(page)
    expect(page.locator(SHOWN)).to_have_text(
        ["Session 1.", "and more", NOTE, "Session 2.", "and more"]
    )
    expect(page.locator("#status")).to_have_text("Listening")
    expect(page.locator("#connection")).to_have_text("Connected")
    stop(page)
    expect(page.locator("#problem")).to_be_hidden()
    given = bytes(page.evaluate("() => window.given"))
    rest = b"".join(server.sessions[1].blocks)
    assert given.endswith(rest)
    # What the server had said it has stays away, and nothing that it had not.
    assert len(given) - len(rest) in {0, 32_000, 32_640}


def test_times_go_on_from_what_the_session_before_had_heard(page: Page, server):
    server.script = lose_the_first(server, None)
    start(page)
    expect(page.locator(SHOWN)).to_have_count(5)
    stop(page)
    with page.expect_download() as download:
        page.locator("#download").click()
        page.locator('#formats [data-kind="srt"]').click()
    assert "\n00:00:01,000 -->" in download.value.path().read_text()


def test_the_note_is_said_in_the_language_of_the_page(page: Page, server):
    server.script = lose_the_first(server, None)
    start(page)
    expect(page.locator(".gap")).to_have_text(NOTE)
    page.locator("#language-switch").click()
    expect(page.locator(".gap")).to_have_text("服务器曾重新开始，此处可能缺几个词。")  # noqa: RUF001
    expect(page.locator(SHOWN)).to_have_count(5)


def test_a_server_that_is_not_there_yet_is_tried_again(page: Page, server):
    async def script(heard: Heard) -> None:
        if len(server.sessions) == 1:
            server.denial = errors.OVERLOADED
        await lose_the_first(server, errors.SHUTTING_DOWN)(heard)

    server.script = script
    start(page)
    expect(page.locator("#connection")).to_have_text("Reconnecting")
    server.denial = None
    expect(page.locator(".gap")).to_be_visible()
    stop(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_a_server_that_stays_away_is_explained_by_how_it_left(page: Page, server):
    async def script(heard: Heard) -> None:
        server.denial = errors.OVERLOADED
        await lose_the_first(server, errors.SHUTTING_DOWN)(heard)

    server.script, server.grace_s = script, 1
    start(page)
    page.evaluate(
        "() => { const ms = performance.now.bind(performance); performance.now = () => ms() * 40; }"
    )
    expect(page.locator("#problem")).to_contain_text("The server is restarting.")
    expect(page.locator("#status")).to_have_text("Stopped")


def test_sessions_that_bring_no_text_are_not_followed_for_ever(page: Page, server):
    async def script(heard: Heard) -> None:
        await heard.receive_blocks(5)
        await heard.end(errors.INTERNAL)

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The server failed.")
    assert len(server.sessions) == 4


def test_nothing_follows_a_session_that_was_stopped(page: Page, server):
    async def script(heard: Heard) -> None:
        await heard.receive_until_stop()
        await heard.vanish()

    server.script = script
    start(page)
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("the session has ended")
    expect(page.locator("#connection")).to_have_text("Connection lost")
    assert len(server.sessions) == 1


@pytest.mark.parametrize("refusal", [errors.ENDED_BY_ADMINISTRATOR, errors.QUOTA_AUDIO])
def test_nothing_follows_what_the_server_meant(page: Page, server, refusal):
    server.script = lose_the_first(server, refusal)
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_be_visible()
    expect(page.locator("#status")).to_have_text("Stopped")
    assert len(server.sessions) == 1


def test_a_recording_goes_on_too(page: Page, server, tmp_path: Path):
    path = tmp_path / "long.wav"
    n_bytes = 60 * 32_000
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(n_bytes))
    server.script = lose_the_first(server, None, n_blocks=100)
    page.locator("#file-field").set_input_files(path)
    expect(page.locator("#status")).to_have_text("Stopped")
    expect(page.locator("#problem")).to_be_hidden()
    expect(page.locator(".gap")).to_have_text(NOTE)
    first, second = (sum(map(len, heard.blocks)) for heard in server.sessions)
    assert first + second >= n_bytes
    assert second < n_bytes
