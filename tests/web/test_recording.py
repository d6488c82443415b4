"""A file in place of the microphone: decoded, mixed and sent as the server takes it."""

import base64
import io
import wave

import numpy as np
import pytest

from server import wire
from tests.web.scripted_server import final

RATE_HZ = 16_000
LISTEN = """async (content) => {
  const { Listening } = await import("./listening.js");
  const { openRecording } = await import("./recording.js");
  const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
  const told = { states: [], progress: [], events: [], problem: null };
  const listening = new Listening({
    openSource: () => openRecording(new File([bytes], "talk.wav")),
    token: () => "aaaa.bbbb.cccc",
    start: { language: null },
    on: {
      state: (name) => told.states.push(name),
      event: ({ type }) => told.events.push(type),
      level() {},
      progress: (at) => told.progress.push(at),
      quota() {},
      successor() {},
      connection() {},
    },
  });
  told.problem = await listening.done;
  told.progress = [told.progress.length, told.progress.at(-1)];
  return told;
}"""


def wav(samples: np.ndarray, rate_hz: int) -> str:
    """(n_samples, n_channels) int16, in base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(samples.shape[1])
        written.setsampwidth(2)
        written.setframerate(rate_hz)
        written.writeframes(samples.astype("<i2").tobytes())
    return base64.b64encode(file.getvalue()).decode()


def ramp(n_samples: int) -> np.ndarray:
    return (np.arange(n_samples) % 20_000 - 10_000).astype("<i2").reshape(-1, 1)


def heard_of(server) -> np.ndarray:
    return np.frombuffer(b"".join(server.sessions[-1].blocks), "<i2").astype(int)


def test_a_recording_is_sent_whole_and_the_session_ends_by_itself(page, server):
    told = page.evaluate(LISTEN, wav(ramp(40_000), RATE_HZ))
    assert told["problem"] is None
    assert told["states"] == ["microphone", "connecting", "listening", "finishing", "stopped"]
    assert told["progress"] == [25, {"sentMs": 2500, "durationMs": 2500}]
    assert np.abs(heard_of(server) - ramp(40_000)[:, 0]).max() <= 1
    assert server.sessions[0].has_stopped


def test_two_channels_are_mixed(page, server):
    left = np.full(16_000, 8_000)
    page.evaluate(LISTEN, wav(np.stack([left, -left // 2], axis=1), RATE_HZ))
    assert np.abs(heard_of(server) - 2_000).max() <= 1


def test_another_rate_becomes_ours(page, server):
    at_s = np.arange(48_000) / 48_000
    tone = (np.sin(2 * np.pi * 440 * at_s) * 16_000).astype("<i2").reshape(-1, 1)
    page.evaluate(LISTEN, wav(tone, 48_000))
    spectrum = np.abs(np.fft.rfft(heard_of(server)[:RATE_HZ]))
    assert server.sessions[0].start == wire.Start(sample_rate_hz=RATE_HZ, resumable=True)
    assert int(spectrum.argmax()) == 440


@pytest.mark.parametrize("grace_s", [None, 30])
def test_a_server_that_reads_slowly_is_waited_for(page, server, grace_s):
    async def script(heard):
        await heard.receive_until_stop()
        await heard.say(final("All of it."))
        await heard.end()

    server.grace_s, server.script = grace_s, script
    samples = np.tile(ramp(20_000), (300, 1))  # 12 MB: more than a page keeps of live sound
    told = page.evaluate(LISTEN, wav(samples, RATE_HZ))
    assert told["problem"] is None
    assert server.sessions[0].n_bytes == samples.size * 2


def test_what_is_no_recording_is_refused(page, server):
    told = page.evaluate(LISTEN, base64.b64encode(b"no sound" * 100).decode())
    assert told["problem"] == "audio_unreadable"
    assert server.sessions == []


@pytest.mark.parametrize("what", ["file", "sound"])
def test_a_recording_that_is_too_long_is_refused(page, what):
    code = page.evaluate(
        """async (what) => {
          const { openRecording } = await import("./recording.js");
          const file = { size: what === "file" ? 1e9 + 1 : 1, arrayBuffer: async () => null };
          window.OfflineAudioContext = class {
            async decodeAudioData() { return { duration: 4 * 3600 + 1 }; }
          };
          return openRecording(file).catch((error) => error.code);
        }""",
        what,
    )
    assert code == "recording_too_long"
