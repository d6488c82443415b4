/**
 * A recording in, blocks of PCM16 mono at 16 kHz out, as fast as whoever takes them.
 *
 * The browser decodes: what it can play, it can send, and nothing leaves the page but sound. The
 * whole recording is in memory then, which is why there is a longest one. It acts like a Microphone
 * that loses its device, without a problem, at its end.
 */

import { CaptureError } from "./capture.js";
import { SAMPLE_BYTES } from "./pcm.js";

const RATE_HZ = 16_000;
const BLOCK_SAMPLES = RATE_HZ / 10;
const LONGEST_MS = 4 * 60 * 60 * 1000;
/** Decoded it is up to ten times as large. */
const LARGEST_FILE_BYTES = 1_000_000_000;

/**
 * @param {File} file
 * @returns {Promise<Recording>}
 * @throws {CaptureError} audio_unreadable, recording_too_long
 */
export async function openRecording(file) {
  if (!window.OfflineAudioContext) throw new CaptureError("browser_too_old");
  if (file.size > LARGEST_FILE_BYTES) throw new CaptureError("recording_too_long");
  const sound = await decodeSound(file);
  if (sound.duration * 1000 > LONGEST_MS) throw new CaptureError("recording_too_long");
  return new Recording(sound, file.name);
}

async function decodeSound(file) {
  try {
    const context = new OfflineAudioContext(1, 1, RATE_HZ); // decodes to its own rate
    return await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new CaptureError("audio_unreadable");
  }
}

export class Recording {
  #channels;
  #samples;
  #isClosed = false;
  #settleLost;

  sampleRateHz = RATE_HZ;
  deviceId = null;
  /** Resolves with null when all has been given. */
  lost = new Promise((resolve) => (this.#settleLost = resolve));

  /** @param {AudioBuffer} sound at 16 kHz */
  constructor(sound, label) {
    this.label = label;
    this.durationMs = sound.duration * 1000;
    this.#samples = sound.length;
    this.#channels = Array.from({ length: sound.numberOfChannels }, (_, at) =>
      sound.getChannelData(at),
    );
  }

  /**
   * Every block is given to `receiveBlock`, with its loudness from 0 to 1; the next one when what
   * that returned has resolved.
   *
   * @param {(block: ArrayBuffer, level: number) => Promise<void>} receiveBlock
   */
  async start(receiveBlock) {
    for (let first = 0; first < this.#samples && !this.#isClosed; first += BLOCK_SAMPLES) {
      const { block, level } = this.#blockFrom(first);
      await receiveBlock(block, level);
    }
    this.#settleLost(null);
  }

  async close() {
    this.#isClosed = true;
    this.#channels = [];
  }

  #blockFrom(first) {
    const samples = Math.min(BLOCK_SAMPLES, this.#samples - first);
    const view = new DataView(new ArrayBuffer(samples * SAMPLE_BYTES));
    let energy = 0;
    for (let at = 0; at < samples; at += 1) {
      let sum = 0;
      for (const channel of this.#channels) sum += channel[first + at];
      const clipped = Math.max(-1, Math.min(1, sum / this.#channels.length));
      view.setInt16(at * SAMPLE_BYTES, Math.round(clipped * 32767), true);
      energy += clipped * clipped;
    }
    return { block: view.buffer, level: Math.sqrt(energy / samples) };
  }
}
