"""The microphone page in a real browser, against a server that follows a script.

The browser's microphone is a file: a tone. Skipped where there is no Chromium.
"""

import re
import socket
import threading
import wave
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from server import errors, wire
from server.app import SECURITY_HEADERS
from server.errors import Refusal

WEB_FOLDER = Path(__file__).parents[2] / "web"
CHROMIUM = Path("/usr/bin/chromium")
TOKEN = "aaaa.bbbb.cccc"  # noqa: S105 (the form of one, not one)
RATE_HZ = 16_000
BLOCK_BYTES = 640
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAKE_DEVICE = "--use-fake-device-for-media-stream"
ALLOWED = "--use-fake-ui-for-media-stream"
USAGE = wire.Usage(bytes=0, audio_ms=0, speech_ms=0, segments=0)

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")


# --- a server without ears ---


@dataclass
class Heard:
    """What one session of the page sent."""

    subprotocols: list[str]
    socket: WebSocket
    start: wire.Start | None = None
    blocks: list[bytes] = field(default_factory=list)
    has_stopped: bool = False

    async def say(self, *events: wire.ServerEvent) -> None:
        for event in events:
            await self.socket.send_text(wire.encode(event))

    async def receive(self) -> bool:
        """Keep what comes next; False when it was the last."""
        message = await self.socket.receive()
        if message.get("bytes") is not None:
            self.blocks.append(message["bytes"])
        elif message.get("text") is not None:
            self.has_stopped = isinstance(wire.decode_client_message(message["text"]), wire.Stop)
        return message["type"] != "websocket.disconnect" and not self.has_stopped

    async def receive_blocks(self, count: int) -> None:
        goal = len(self.blocks) + count
        while len(self.blocks) < goal and await self.receive():
            pass

    async def receive_until_stop(self) -> None:
        while await self.receive():
            pass

    async def end(self, refusal: Refusal | None = None) -> None:
        if refusal:
            retryable = refusal.is_retryable
            await self.say(wire.ErrorEvent(refusal.code, refusal.text, retryable))
        await self.say(wire.Ended(refusal.code if refusal else "stopped", USAGE))
        await self.socket.close(refusal.close_code if refusal else 1000)


async def hear_all(heard: Heard) -> None:
    await heard.receive_until_stop()
    await heard.end()


@dataclass
class FakeServer:
    """Serves the page as the real one does, and follows its script where that one would listen."""

    script: Callable[[Heard], Awaitable[None]] = hear_all
    denial: Refusal | None = None
    is_token_good: bool = False
    """Whether `/v1/whoami` answers 200 although the handshake is denied."""
    sessions: list[Heard] = field(default_factory=list)
    address: str = ""

    def app(self) -> Starlette:
        routes = [
            WebSocketRoute("/v1/stream", self._stream),
            Route("/v1/whoami", self._whoami),
            Mount("/", StaticFiles(directory=WEB_FOLDER, html=True)),
        ]
        return Starlette(routes=routes, middleware=[Middleware(_WithHeaders)])

    async def _stream(self, websocket: WebSocket) -> None:
        if self.denial:
            await websocket.send_denial_response(_answer(self.denial))
            return
        heard = Heard(websocket.scope["subprotocols"], websocket)
        await websocket.accept(subprotocol=wire.PROTOCOL)
        start = wire.decode_client_message(await websocket.receive_text())
        assert isinstance(start, wire.Start)
        heard.start = start
        self.sessions.append(heard)
        limits = wire.Limits(audio_ms=None, bytes=None, expires_in_s=600)
        await heard.say(wire.Ready("s1", "fake", "en", 400, limits))
        await self.script(heard)

    async def _whoami(self, request: Request) -> Response:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if self.denial and not self.is_token_good:
            return _answer(self.denial)
        return JSONResponse({"subject": "tests", "expires_in_s": 600})


class _WithHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.encode(), text.encode()) for name, text in SECURITY_HEADERS.items()]
                message["headers"] = [*message["headers"], *added]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _answer(refusal: Refusal) -> Response:
    body = {"code": refusal.code, "message": refusal.text}
    return JSONResponse(body, status_code=refusal.http_status)


@contextmanager
def serving(fake: FakeServer) -> Iterator[None]:
    listener = socket.create_server(("127.0.0.1", 0))
    fake.address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    config = uvicorn.Config(
        fake.app(), ws="websockets-sansio", lifespan="off", log_config=None, ws_ping_interval=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join()
        listener.close()


def partial(revision: int, stable: str, unstable: str, segment: int = 0) -> wire.Partial:
    return wire.Partial(segment, revision, 0, 100, stable, unstable)


def final(text: str, segment: int = 0) -> wire.Final:
    return wire.Final(segment, 0, 100, text, "en", 0.9, [])


# --- the browser ---


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def tone(tmp_path_factory) -> Path:
    """A second of 440 Hz at half of full scale; the browser repeats it."""
    path: Path = tmp_path_factory.mktemp("microphone") / "tone.wav"
    samples = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000) * 16_384
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def browser(playwright, tone) -> Iterator[Browser]:
    args = [*FLAGS, ALLOWED, FAKE_DEVICE, f"--use-file-for-fake-audio-capture={tone}"]
    with launched(playwright, args) as browser:
        yield browser


@contextmanager
def launched(playwright: Playwright, args: list[str]) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=args)
    yield browser
    browser.close()


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    with serving(fake):
        yield fake


@pytest.fixture
def page(browser, server) -> Iterator[Page]:
    with opened(browser, server, f"#token={TOKEN}") as page:
        yield page


@contextmanager
def opened(browser: Browser, server: FakeServer, fragment: str = "") -> Iterator[Page]:
    """The page, and nothing the browser objects to in it, such as a breach of the policy."""
    context = browser.new_context()
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda line: faults.append(line.text) if "Policy" in line.text else None)
    page.goto(server.address + fragment)
    yield page
    context.close()
    assert faults == []


def start(page: Page) -> None:
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Listening")


def stop(page: Page) -> None:
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Stopped")


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
        expect(page.locator("#token-form")).to_contain_text("python run.py token mint")
        page.locator("#token-field").fill(TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator("#token-form")).to_be_hidden()
        start(page)


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
    assert heard.start == wire.Start(sample_rate_hz=RATE_HZ)
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
    assert heard.start == wire.Start(sample_rate_hz=48_000)
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
    async def script(heard):
        await heard.say(partial(1, "", "the quick"))
        await heard.receive_blocks(25)
        await heard.say(partial(2, "the quick", " brown socks"))
        await heard.receive_blocks(25)
        await heard.say(final("The quick brown fox."))
        await hear_all(heard)

    server.script = script
    start(page)
    line = page.locator('#captions [data-segment="0"]')
    expect(line).to_have_text("the quick")
    expect(line).to_have_attribute("data-final", "false")
    page.evaluate("() => (window.first = document.querySelector('[data-segment]'))")
    expect(line.locator(".settled")).to_have_text("the quick")
    expect(line.locator(".tail")).to_have_text("brown socks")
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


# --- what can go wrong ---


@pytest.mark.parametrize(
    ("refusal", "is_token_good", "words"),
    [
        (errors.UNAUTHENTICATED, False, "The token is not valid, or it has expired."),
        (errors.FORBIDDEN, False, "This token does not allow transcription."),
        (errors.ORIGIN_REFUSED, False, "The server does not accept this page's address."),
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


@pytest.mark.parametrize(
    "refusal", [r for r in errors.ALL if r.code != "origin_refused"], ids=lambda r: r.code
)
def test_every_refusal_has_words_of_the_page(page, refusal):
    words = page.evaluate(
        "async (code) => (await import('./texts.js')).texts.problems[code]", refusal.code
    )
    assert words


def test_an_error_in_a_session_is_explained_and_the_text_stays(page, server):
    async def script(heard):
        await heard.say(final("Kept."), partial(1, "and", " this", 1))
        await heard.receive_blocks(5)
        await heard.end(errors.QUOTA_AUDIO)

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("audio time is used up")
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
