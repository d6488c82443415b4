"""Connections that break: what the server has and what the page shows are as if they had not."""

import hashlib
import json
import random
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from server import errors, wire
from tests.web.browser import opened, start, stop
from tests.web.cutting_proxy import Cut, CuttingProxy, proxied
from tests.web.scripted_server import TOKEN, FakeServer, final, partial

N_BLOCKS = 2_000
"""Of 20 ms, given in a few seconds."""
LIMIT_MS = 30_000
"""For a machine that is busy; nothing here waits for it to pass."""
LISTEN = """async (count) => {
  const { Listening } = await import("./listening.js");
  const bytes = 640;
  const told = { events: [], connections: [], states: [], problem: null };
  let sample = 0;
  let source = null;
  const openSource = async () => ({
    sampleRateHz: 16000,
    lost: new Promise((resolve) => (source = { end: () => resolve(null) })),
    async start(receiveBlock) {
      for (let at = 0; at < count; at += 1) {
        const block = new Int16Array(bytes / 2);
        for (let i = 0; i < block.length; i += 1) block[i] = sample++ % 65521;
        receiveBlock(block.buffer, 0);
        if (at % 10 === 9) await new Promise((resolve) => setTimeout(resolve, 10));
      }
      source.end();
    },
    async close() {},
  });
  const listening = new Listening({
    openSource,
    token: () => "aaaa.bbbb.cccc",
    start: { language: null },
    on: {
      state: (name) => told.states.push(name),
      event: (event) => told.events.push(event),
      level() {},
      progress() {},
      quota() {},
      successor() {},
      connection: (name) => told.connections.push(name),
    },
  });
  told.problem = await listening.done;
  return told;
}"""


@pytest.fixture
def proxy(server) -> Iterator[CuttingProxy]:
    server.grace_s = 30
    with proxied(server) as proxy:
        yield proxy


@pytest.fixture
def page(browser, server, proxy):
    with opened(browser, server, f"#token={TOKEN}") as page:
        yield page


def sound(n_blocks: int = N_BLOCKS) -> bytes:
    """What `LISTEN` gives."""
    return b"".join((n % 65521).to_bytes(2, "little") for n in range(n_blocks * 320))


async def speak_now_and_then(heard) -> None:
    """Five events for every 32 kB, and more after the end."""
    segment = 0
    while not heard.has_stopped:
        if heard.n_bytes >= (segment + 1) * 32_000:
            await heard.say(
                wire.SpeechStarted(segment, 0),
                partial(1, "", f"word {segment}", segment),
                partial(2, f"word {segment}", " more", segment),
                wire.SpeechEnded(segment, 100),
                final(f"Word {segment} more.", segment),
            )
            segment += 1
        else:
            await heard.receive()
    await heard.say(final("The last words.", segment))
    await heard.end()


def cuts_at_random(rng: random.Random, most: int):
    """The first one comes after the handshake: one that is denied is not tried again."""

    def cut(number: int) -> Cut:
        if number >= most:
            return Cut()
        if rng.random() < 0.5:
            return Cut(to_server_bytes=rng.randint(1_500 if number == 0 else 1, 60_000))
        return Cut(to_page_bytes=rng.randint(400 if number == 0 else 1, 1_500))

    return cut


def listened(page, server: FakeServer, n_blocks: int = N_BLOCKS) -> dict:
    """A session of the page's modules, checked against what its server had and said."""
    begin(page, n_blocks)
    return ended(page, server, n_blocks)


def begin(page, n_blocks: int) -> None:
    page.evaluate(f"(count) => {{ window.told = ({LISTEN})(count); }}", n_blocks)


def ended(page, server: FakeServer, n_blocks: int) -> dict:
    told = page.evaluate("() => window.told")
    heard = server.sessions[-1]
    events = [json.loads(wire.encode(event)) for event in heard.said]
    assert (
        hashlib.sha256(b"".join(heard.blocks)).digest() == hashlib.sha256(sound(n_blocks)).digest()
    )
    assert [event for event in told["events"] if event["type"] != "ready"] == events
    assert told["problem"] is None
    assert told["states"][-1] == "stopped"
    return told


def test_an_undisturbed_session_is_complete(page, server):
    server.script = speak_now_and_then
    told = listened(page, server)
    assert told["connections"] == ["connected"]
    assert server.sessions[0].events_received == len(server.sessions[0].said)


@pytest.mark.parametrize("seed", range(3))
def test_cuts_at_random_moments_lose_and_double_nothing(page, server, proxy, seed):
    server.script = speak_now_and_then
    proxy.next_cut = cuts_at_random(random.Random(seed), most=15)  # noqa: S311 (chance, no secret)
    listened(page, server)
    assert proxy.n_sockets > 4


@pytest.mark.parametrize("to_page_bytes", [400, 550, 700, 850, 1000])
def test_a_cut_before_the_page_has_heard_something_brings_it_again(
    page, server, proxy, to_page_bytes
):
    server.script = speak_now_and_then
    proxy.next_cut = lambda number: Cut(to_page_bytes=to_page_bytes) if number == 0 else Cut()
    listened(page, server, n_blocks=500)
    assert proxy.n_sockets == 2


def test_a_server_that_has_half_a_block_gets_the_rest_of_it(page, server, proxy):
    async def script(heard):
        await heard.receive_blocks(10)
        heard.lose(2)
        proxy.cut_all()
        await speak_now_and_then(heard)

    server.script = script
    listened(page, server, n_blocks=200)
    assert server.sessions[0].resumed_from[0][1] == 10 * 640 - 2


def test_a_cut_right_before_a_final_brings_it_once(page, server, proxy):
    async def script(heard):
        await heard.receive_until_stop()
        proxy.cut_all()
        await heard.receive()
        await heard.say(final("The last words."))
        await heard.end()

    server.script = script
    listened(page, server, n_blocks=100)
    assert proxy.n_sockets == 2


def test_a_cut_right_after_the_end_takes_nothing_away(page, server, proxy):
    async def script(heard):
        await heard.receive_until_stop()
        await heard.say(final("The last words."), wire.Ended("stopped", wire.Usage(0, 0, 0, 0)))
        proxy.cut_all()
        await heard.receive()

    server.script = script
    listened(page, server, n_blocks=100)


def test_a_connection_lost_before_the_server_is_ready_is_begun_anew(page, server, proxy):
    server.script = speak_now_and_then
    server.may_be_ready.clear()
    begin(page, 200)
    while not server.sessions:
        page.wait_for_timeout(10)
    proxy.cut_all()
    server.may_be_ready.set()
    told = ended(page, server, 200)
    assert [event["type"] for event in told["events"]].count("ready") == 1
    assert len(server.sessions) == 2


def test_a_connection_that_hangs_is_given_up(page, server, proxy):
    server.script = speak_now_and_then
    proxy.next_cut = lambda n: Cut(to_server_bytes=20_000, hangs=True) if n == 0 else Cut()
    page.evaluate(
        "() => { const ms = performance.now.bind(performance); performance.now = () => ms() * 20; }"
    )
    told = listened(page, server, n_blocks=200)
    assert told["connections"][:3] == ["connected", "reconnecting", "connected"]


def test_the_real_microphone_goes_on_where_it_was(page, server, proxy):
    server.script = speak_now_and_then
    proxy.next_cut = lambda number: Cut(to_server_bytes=20_000) if number < 3 else Cut()
    page.evaluate(
        """async () => {
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
    )
    start(page)
    expect(page.locator("#elapsed")).to_have_text("0:03", timeout=LIMIT_MS)
    expect(page.locator("#status")).to_have_text("Listening")
    stop(page)
    assert b"".join(server.sessions[0].blocks) == bytes(page.evaluate("() => window.given"))
    expect(page.locator("#problem")).to_be_hidden()
    assert page.locator("[data-segment]").last.inner_text() == "The last words."


def test_over_the_grace_time_the_text_so_far_stays(page, server, proxy):
    async def script(heard):
        await heard.say(final("Kept."), partial(1, "and", " this", 1))
        await heard.receive_blocks(5)
        proxy.is_down = True
        proxy.cut_all()
        await heard.receive_until_stop()

    server.grace_s = 1
    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The connection was away for too long")
    expect(page.locator("#status")).to_have_text("Stopped")
    expect(page.locator("[data-segment]")).to_have_text(["Kept.", "and this"])


def test_a_token_refused_on_the_way_back_ends_the_session_at_once(page, server, proxy):
    async def script(heard):
        await heard.receive_blocks(5)
        server.denial = errors.REVOKED
        proxy.cut_all()
        await heard.receive()

    server.script = script
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The token is no longer accepted")
    expect(page.locator("#token-form")).to_be_visible()


def test_a_full_server_on_the_way_back_is_tried_again(page, server, proxy):
    async def script(heard):
        await heard.receive_blocks(5)
        server.denial = errors.OVERLOADED
        proxy.cut_all()
        await heard.receive()
        await speak_now_and_then(heard)

    server.script = script
    page.expose_function("let_in", lambda: setattr(server, "denial", None))
    page.evaluate(
        """() => {
          const ask = window.fetch;
          window.fetch = async (...what) => {
            const answer = await ask(...what);
            await window.let_in();
            return answer;
          };
        }"""
    )
    listened(page, server, n_blocks=200)


def test_a_stop_while_the_connection_is_away_still_brings_the_last_words(page, server, proxy):
    server.script = speak_now_and_then
    start(page)
    proxy.is_down = True
    proxy.cut_all()
    page.locator("#toggle").click()
    expect(page.locator("#status")).to_have_text("Writing down the last words")
    proxy.is_down = False
    expect(page.locator("#status")).to_have_text("Stopped")
    expect(page.locator("[data-segment]").last).to_have_text("The last words.")
    expect(page.locator("#problem")).to_be_hidden()


def test_the_network_that_is_back_is_tried_at_once(page, server, proxy):
    server.script = speak_now_and_then
    page.evaluate("() => { Math.random = () => 1e4; }")  # the pause would be over after minutes
    start(page)
    proxy.cut_all()
    page.evaluate(
        """() => new Promise((resolve) => {
          const timer = setInterval(() => {
            window.dispatchEvent(new Event("online"));
          }, 20);
          setTimeout(() => { clearInterval(timer); resolve(); }, 500);
        })"""
    )
    stop(page)
    assert proxy.n_sockets == 2


def test_a_newer_token_is_brought_again_until_it_is_answered(page, server, proxy):
    async def script(heard):
        while not heard.refreshed:
            await heard.receive()
        proxy.cut_all()
        await heard.receive()
        while len(heard.refreshed) < 2:
            await heard.receive()
        await heard.say(wire.TokenRefreshed(600))
        await heard.receive_until_stop()
        await heard.end()

    server.script = script
    page.evaluate(
        """async () => {
          const { Stream } = await import("./stream.js");
          const stream = new Stream({
            token: () => "aaaa.bbbb.cccc",
            start: { sample_rate_hz: 16000 },
            receiveEvent: (event) => { if (event.type === "token_refreshed") stream.stop(); },
          });
          stream.refresh("a.newer.one");
          await stream.done;
        }"""
    )
    assert server.sessions[0].refreshed == ["a.newer.one"] * 2


def test_a_server_that_keeps_no_session_is_not_gone_back_to(page, server, proxy):
    server.grace_s = None
    server.script = lambda heard: heard.receive_until_stop()
    proxy.next_cut = lambda _: Cut(to_server_bytes=30_000)
    page.locator("#toggle").click()
    expect(page.locator("#problem")).to_contain_text("The connection was lost.")
    assert proxy.n_sockets == 1
