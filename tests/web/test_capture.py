"""How the page turns the microphone into blocks: nothing lost, nothing twice, nothing changed."""

import numpy as np
from playwright.sync_api import expect

from tests.web.browser import stop

BLOCK_BYTES = 640
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
