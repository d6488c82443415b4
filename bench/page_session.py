"""Hours of sound through the microphone page in, what it loses, drifts and keeps out:
`python -m bench.page_session`.

clock     the real worklet in an offline context of 48 kHz, five minutes at a time: samples that
          were posted beside samples that the context played
memory    two hours through the real page, sped up, against a server without ears: the heap after
          garbage collection every ten minutes. `silent`: sound alone; `spoken`: a segment every
          three seconds, with five partials
minute    a minute of the browser's own microphone: samples beside `performance.now()`. Its fake
          device runs by the machine's clock, so that a difference is the capture's

Figures go to build/bench/page_session.json.
"""

import argparse
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from bench.scoring import write_figures
from server import wire
from tests.web.browser import ALLOWED, FAKE_DEVICE, FLAGS, launched
from tests.web.scripted_server import TOKEN, FakeServer, Heard, final, partial, serving

RATE_HZ = 48_000
BLOCK_MS = 20
SEGMENT_BYTES = 96_000
"""Three seconds."""
PARTIALS = 5
MIB = 2**20
CLOCK = """async ([lengthS, rateHz]) => {
  const context = new OfflineAudioContext(1, lengthS * rateHz, rateHz);
  await context.audioWorklet.addModule("capture-worklet.js");
  const node = new AudioWorkletNode(context, "capture", {
    numberOfOutputs: 0,
    processorOptions: { blockSamples: rateHz / 50 },
  });
  let samples = 0;
  let gaps = 0;
  const flushed = new Promise((resolve) => {
    node.port.onmessage = ({ data }) => {
      if (data.isFlushed) return resolve();
      if (data.at !== samples) gaps += 1;
      samples += data.block.byteLength / 2;
    };
  });
  const source = new OscillatorNode(context);
  source.connect(node);
  source.start();
  await context.startRendering();
  node.port.postMessage("flush");
  await flushed;
  return { posted: samples, played: lengthS * rateHz, gaps };
}"""
FAST_SOURCE = """async () => {
  // In place of the worklet; waits where a microphone could not, to be as fast as the server.
  const { Microphone } = await import("./capture.js");
  const Own = window.WebSocket;
  let givenBytes = 0;
  let receivedBytes = 0;
  window.WebSocket = class extends Own {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        const { type, bytes } = JSON.parse(data);
        if (type === "audio_received" || type === "resumed") receivedBytes = bytes;
      });
    }
  };
  Microphone.prototype.start = function (receiveBlock) {
    window.give = async (count) => {
      for (let at = 0; at < count; at += 1) {
        receiveBlock(new ArrayBuffer(640), 0.1);
        givenBytes += 640;
        const isFar = givenBytes - receivedBytes > 1e6;
        if (isFar || at % 200 === 0) await new Promise((resolve) => setTimeout(resolve, 4));
      }
      while (givenBytes - receivedBytes > 64000) {
        await new Promise((resolve) => setTimeout(resolve, 4));
      }
    };
  };
  Microphone.prototype.close = async function () {};
}"""
TAP = """() => {
  const Node = window.AudioWorkletNode;
  window.arrivals = [];
  let samples = 0;
  window.AudioWorkletNode = class extends Node {
    constructor(context, ...rest) {
      super(context, ...rest);
      this.port.addEventListener("message", ({ data }) => {
        if (!data.block) return;
        samples += data.block.byteLength / 2;
        window.arrivals.push([performance.now(), (samples * 1000) / context.sampleRate]);
      });
    }
  };
}"""


async def hear_silence(heard: Heard) -> None:
    """Sound comes and is let go."""
    while await heard.receive():
        heard.blocks.clear()
    await heard.end()


async def write_captions(heard: Heard) -> None:
    """A segment for every three seconds."""
    for segment in itertools.count():
        while heard.n_bytes < (segment + 1) * SEGMENT_BYTES and not heard.has_stopped:
            await heard.receive()
        heard.blocks.clear()
        if heard.has_stopped:
            break
        await heard.say(wire.SpeechStarted(segment, 0))
        words = f"segment {segment} says about as much as people say in three seconds".split()
        for n in range(PARTIALS):
            shown = words[: 2 * (n + 1)]
            await heard.say(
                partial(n + 1, " ".join(shown[:-2]), " " + " ".join(shown[-2:]), segment)
            )
        await heard.say(wire.SpeechEnded(segment, 100), final(" ".join(words), segment))
    await heard.end()


@contextmanager
def opened_page(browser: Browser, server: FakeServer) -> Iterator[Page]:
    """The page, which has a token."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{server.address}#token={TOKEN}")
    yield page
    context.close()


def measure_clock(page: Page, length_s: int, times: int) -> dict[str, float]:
    """Of the worklet against the clock of its context."""
    rounds = [page.evaluate(CLOCK, [length_s, RATE_HZ]) for _ in range(times)]
    posted, played, gaps = (sum(r[name] for r in rounds) for name in ("posted", "played", "gaps"))
    drift_ms = (posted - played) * 1000 / RATE_HZ
    return {"hours": length_s * times / 3600, "gaps": gaps, "drift_ms": drift_ms}


def heap_of(page: Page) -> dict[str, float]:
    """In use after garbage collection."""
    devtools = page.context.new_cdp_session(page)
    for _ in range(2):
        devtools.send("HeapProfiler.collectGarbage")
    usage = devtools.send("Runtime.getHeapUsage")
    nodes = devtools.send("Memory.getDOMCounters")["nodes"]
    devtools.detach()
    names = ("usedSize", "embedderHeapUsedSize", "backingStorageSize")
    script, document, buffers = (round(usage.get(name, 0) / MIB, 3) for name in names)
    return {"script_mib": script, "document_mib": document, "buffers_mib": buffers, "nodes": nodes}


def measure_memory(page: Page, server: FakeServer, rounds: int, blocks: int) -> dict[str, object]:
    """So many rounds of so many blocks."""
    page.evaluate(FAST_SOURCE)
    page.locator("#toggle").click()
    page.locator('body[data-state="listening"]').wait_for()
    heaps = []
    for _ in range(rounds):
        page.evaluate("(count) => window.give(count)", blocks)
        heaps.append(heap_of(page))
        print(heaps[-1], flush=True)
    page.locator("#toggle").click()
    page.locator('body[data-state="stopped"]').wait_for()
    heard = server.sessions[-1]
    finals = sum(isinstance(event, wire.Final) for event in heard.said)
    return {
        "hours": rounds * blocks * BLOCK_MS / 3_600_000,
        "connections_lost": len(heard.resumed_from),
        "bytes_missing": rounds * blocks * 640 - heard.n_bytes,
        "segments": finals,
        "lines": page.locator("#captions [data-segment]").count(),
        "heaps": heaps,
    }


def measure_minute(page: Page, length_s: int) -> dict[str, float]:
    """Of the page's microphone against the time of day, from the quickest arrivals."""
    page.evaluate(TAP)
    page.locator("#toggle").click()
    page.locator('body[data-state="listening"]').wait_for()
    page.wait_for_timeout(length_s * 1000)
    page.locator("#toggle").click()
    page.locator('body[data-state="stopped"]').wait_for()
    late_ms = [now_ms - sound_ms for now_ms, sound_ms in page.evaluate("() => window.arrivals")]
    fifth = len(late_ms) // 5
    drift_ms = min(late_ms[-fifth:]) - min(late_ms[:fifth])
    return {"seconds": length_s, "drift_ms": round(drift_ms, 2)}


def measure(length_s: int, times: int, blocks: int, minute_s: int) -> dict[str, object]:
    """All parts."""
    server = FakeServer(grace_s=30)
    figures: dict[str, object] = {}
    with (
        sync_playwright() as playwright,
        serving(server),
        launched(playwright, [*FLAGS, ALLOWED, FAKE_DEVICE]) as browser,
    ):
        with opened_page(browser, server) as page:
            figures["clock"] = measure_clock(page, length_s, times)
            print(figures["clock"], flush=True)
        for name, script in (("silent", hear_silence), ("spoken", write_captions)):
            server.script = script
            with opened_page(browser, server) as page:
                figures[name] = measure_memory(page, server, 12, blocks)
        server.script = hear_silence
        with opened_page(browser, server) as page:
            figures["minute"] = measure_minute(page, minute_s)
    return figures


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="less of everything")
    given = parser.parse_args()
    figures = measure(10, 2, 1_000, 5) if given.quick else measure(300, 24, 30_000, 60)
    write_figures("page_session", figures, Path("build/bench"))
    for name, value in figures.items():
        print(f"{name:8} {value}")


if __name__ == "__main__":
    main()
