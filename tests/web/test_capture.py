"""How the page turns the microphone into blocks: nothing lost, nothing twice, nothing changed."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.web.bare_browser import bare_browser
from tests.web.browser import ALLOWED, FAKE_DEVICE, FLAGS, stop
from tests.web.scripted_server import TOKEN

RATE_HZ = 16_000
BLOCK_BYTES = 640
TWO_BLOCKS_SAMPLES = 640
HIDDEN_S = 5
KEPT = "blocks.push([...new Uint8Array(data.block)])"
TAP = """() => {
  // What the worklet posts, and the clock of its context.
  const Node = window.AudioWorkletNode;
  window.places = [];
  window.AudioWorkletNode = class extends Node {
    constructor(context, ...rest) {
      super(context, ...rest);
      window.tapped = context;
      this.port.addEventListener("message", ({ data }) => {
        if (data.block) window.places.push([data.at, data.block.byteLength / 2]);
      });
    }
  };
}"""
SEEN = """() => ({
  time_s: window.tapped.currentTime,
  samples: window.places.reduce((sum, [, samples]) => sum + samples, 0),
})"""
RENDER = """async (count) => {
  const context = new OfflineAudioContext(1, count, 16000);
  await context.audioWorklet.addModule("capture-worklet.js");
  const node = new AudioWorkletNode(context, "capture", {
    numberOfOutputs: 0,
    processorOptions: { blockSamples: 320 },
  });
  const blocks = [];
  const flushed = new Promise((resolve) => {
    node.port.onmessage = ({ data }) => {
      if (data.isFlushed) resolve();
      else blocks.push([...new Uint8Array(data.block)]);
    };
  });
  const sound = context.createBuffer(1, count, 16000);
  sound.getChannelData(0).set(Float32Array.from({ length: count }, (_, at) => SHAPE));
  const source = new AudioBufferSourceNode(context, { buffer: sound });
  source.connect(node);
  source.start();
  await context.startRendering();
  node.port.postMessage("flush");
  await flushed;
  return blocks;
}"""


def rendered(page, samples: int, shape: str) -> list[bytes]:
    """What the worklet posts of `samples` samples; `shape` is each one's value by its place."""
    blocks = page.evaluate(RENDER.replace("SHAPE", shape), samples)
    return [bytes(block) for block in blocks]


def test_every_sample_is_passed_on_once_and_in_order(page):
    blocks = rendered(page, 12_800, "(at - 6400) / 32767")
    assert {len(block) for block in blocks} == {BLOCK_BYTES}
    samples = np.frombuffer(b"".join(blocks), "<i2")
    assert samples.tolist() == list(range(-6400, 6400))


def test_a_flush_brings_what_has_not_filled_a_block(page):
    blocks = rendered(page, 384, "at / 32767")
    assert [len(block) for block in blocks] == [BLOCK_BYTES, 128]
    assert np.frombuffer(b"".join(blocks), "<i2").tolist() == list(range(384))


def test_sound_beyond_full_scale_is_clipped(page):
    blocks = rendered(page, 640, "at < 320 ? 2 : -2")
    assert set(np.frombuffer(blocks[0], "<i2").tolist()) == {32_767}
    assert set(np.frombuffer(blocks[1], "<i2").tolist()) == {-32_767}


def test_blocks_tell_how_many_samples_came_before_them(page):
    places = page.evaluate(RENDER.replace("SHAPE", "0").replace(KEPT, "blocks.push(data.at)"), 1000)
    assert places == [0, 320, 640, 960]


@pytest.mark.parametrize("quantum", [64, 100, 1024])
def test_a_browser_that_brings_other_numbers_of_samples_loses_none(page, quantum):
    samples = page.evaluate(
        """async (quantum) => {
          let made = null;
          globalThis.AudioWorkletProcessor = class {
            port = { posted: [], postMessage(message) { this.posted.push(message); } };
          };
          globalThis.registerProcessor = (_, kind) => (made = kind);
          await import("./capture-worklet.js");
          const capture = new made({ processorOptions: { blockSamples: 320 } });
          for (let first = 0; first < 5000; first += quantum) {
            const count = Math.min(quantum, 5000 - first);
            const channel = Float32Array.from({ length: count }, (_, at) => (first + at) / 32767);
            capture.process([[channel]]);
          }
          capture.process([[]]);
          capture.port.onmessage();
          const blocks = capture.port.posted.filter(({ block }) => block);
          return blocks.flatMap(({ block }) => [...new Int16Array(block)]);
        }""",
        quantum,
    )
    assert samples == list(range(5000))


def wait_for(is_there: Callable[[], bool]) -> None:
    while not is_there():
        time.sleep(0.05)


@pytest.mark.usefixtures("playwright")
def test_a_hidden_page_loses_nothing(server, tone, tmp_path):
    args = [*FLAGS, ALLOWED, FAKE_DEVICE, f"--use-file-for-fake-audio-capture={tone}"]
    toggle = "document.querySelector('#toggle').click()"
    with bare_browser(tmp_path, args) as browser:
        tab = browser.open_tab(f"{server.address}#token={TOKEN}")
        wait_for(lambda: browser.run(tab, "document.body?.dataset.token") == "here")
        browser.run(tab, f"({TAP})()")
        browser.run(tab, toggle)
        wait_for(lambda: browser.run(tab, "document.body.dataset.state") == "listening")
        browser.open_tab("about:blank")
        wait_for(lambda: browser.run(tab, "document.visibilityState") == "hidden")
        begun, begun_bytes = browser.run(tab, f"({SEEN})()"), server.sessions[0].n_bytes
        goal = begun["samples"] + HIDDEN_S * RATE_HZ
        wait_for(lambda: browser.run(tab, f"({SEEN})()")["samples"] >= goal)
        wait_for(lambda: server.sessions[0].n_bytes >= 2 * goal)
        ended = browser.run(tab, f"({SEEN})()")
        assert browser.run(tab, "document.visibilityState") == "hidden"
        browser.run(tab, toggle)
        wait_for(lambda: browser.run(tab, "document.body.dataset.state") == "stopped")
        places = browser.run(tab, "window.places")
    heard = server.sessions[0]
    heard_samples = ended["samples"] - begun["samples"]
    assert abs(heard_samples - (ended["time_s"] - begun["time_s"]) * RATE_HZ) <= TWO_BLOCKS_SAMPLES
    assert heard.n_bytes - begun_bytes >= 2 * HIDDEN_S * RATE_HZ
    assert [first for first, _ in places[1:]] == [first + samples for first, samples in places[:-1]]
    assert heard.n_bytes == 2 * sum(samples for _, samples in places)


def test_a_device_can_be_chosen_and_is_named(page):
    chosen = page.evaluate(
        """async () => {
          const { listMicrophones, openMicrophone } = await import("./capture.js");
          const microphones = await listMicrophones();
          const { id } = microphones.at(-1);
          const microphone = await openMicrophone({ deviceId: id });
          const { label, deviceId } = microphone;
          await microphone.close();
          return { microphones, id, label, deviceId };
        }"""
    )
    assert len(chosen["microphones"]) > 1
    assert chosen["deviceId"] == chosen["id"]
    assert chosen["label"] == chosen["microphones"][-1]["label"]


def test_a_device_that_is_gone_is_missing(page):
    code = page.evaluate(
        """async () => {
          const { openMicrophone } = await import("./capture.js");
          return openMicrophone({ deviceId: "gone" }).catch((error) => error.code);
        }"""
    )
    assert code == "microphone_missing"


@pytest.mark.parametrize("is_on", [True, False])
def test_what_the_browser_does_to_the_sound_can_be_chosen(page, is_on):
    settings = page.evaluate(
        """async (isOn) => {
          const { openMicrophone } = await import("./capture.js");
          const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
          let settings = null;
          navigator.mediaDevices.getUserMedia = async (wishes) => {
            const media = await ask(wishes);
            settings = media.getAudioTracks()[0].getSettings();
            return media;
          };
          const wishes = { noiseSuppression: isOn, echoCancellation: isOn, autoGain: isOn };
          await (await openMicrophone(wishes)).close();
          return settings;
        }""",
        is_on,
    )
    assert settings["noiseSuppression"] is is_on
    assert settings["echoCancellation"] is is_on
    assert settings["autoGainControl"] is is_on


def test_what_is_said_before_the_server_is_ready_reaches_it(page, server):
    server.may_be_ready.clear()
    page.locator("#toggle").click()
    expect(page.locator("#elapsed")).to_have_text("0:01")
    expect(page.locator("#status")).to_have_text("Connecting")
    server.may_be_ready.set()
    expect(page.locator("#status")).to_have_text("Listening")
    stop(page)
    blocks = server.sessions[0].blocks
    assert len(blocks) >= 50
    assert {len(block) for block in blocks[:-1]} == {BLOCK_BYTES}


def test_sound_that_nobody_takes_is_not_kept_without_end(page, server):
    server.may_be_ready.clear()
    error = page.evaluate(
        """async () => {
          const { Stream } = await import("./stream.js");
          const stream = new Stream({
            token: () => "aaaa.bbbb.cccc",
            start: { sample_rate_hz: 16000 },
            receiveEvent: () => {},
          });
          for (let at = 0; at < 300; at += 1) stream.send(new ArrayBuffer(32000));
          return stream.ready.catch((error) => error.code);
        }"""
    )
    server.may_be_ready.set()
    assert error == "network_slow"
