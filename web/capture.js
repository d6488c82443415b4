/**
 * The microphone in, blocks of 20 ms of PCM16 mono out.
 *
 * The browser is asked to bring the sound to 16 kHz itself, which costs the network least. One
 * that cannot (it refuses to join a microphone to a context of another rate) gives the sound at
 * its own rate, if the server takes that one. Whatever cannot be had throws CaptureError.
 */

const BEST_RATE_HZ = 16_000;
const ACCEPTED_RATES_HZ = Object.freeze([8_000, 16_000, 24_000, 44_100, 48_000]);
const BLOCKS_PER_S = 50;
const RESUME_LIMIT_MS = 3_000;
const FLUSH_LIMIT_MS = 1_000;

const CODES = Object.freeze({
  NotAllowedError: "microphone_refused",
  SecurityError: "microphone_refused",
  NotFoundError: "microphone_missing",
  OverconstrainedError: "microphone_missing",
  NotReadableError: "microphone_busy",
  AbortError: "microphone_busy",
});

export class CaptureError extends Error {
  /** @param {string} code a key of `texts.problems` */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/**
 * Those to choose from. Before the microphone has been allowed once, browsers do not name them.
 *
 * @returns {Promise<{id: string, label: string}[]>}
 */
export async function listMicrophones() {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter(({ kind, label }) => kind === "audioinput" && label !== "")
    .map(({ deviceId, label }) => ({ id: deviceId, label }));
}

/**
 * Asks for the microphone and makes it ready; nothing is heard before `start`.
 *
 * @param {object} wishes
 * @param {string | null} wishes.deviceId of `listMicrophones`; null takes the system's choice
 * @param {boolean} wishes.noiseSuppression
 * @param {boolean} wishes.echoCancellation
 * @param {boolean} wishes.autoGain
 */
export async function openMicrophone({
  deviceId = null,
  noiseSuppression = true,
  echoCancellation = true,
  autoGain = true,
} = {}) {
  if (!window.isSecureContext) throw new CaptureError("insecure_page");
  if (!navigator.mediaDevices || !window.AudioWorkletNode) throw new CaptureError("browser_too_old");
  const media = await askForMedia({
    channelCount: 1,
    ...(deviceId === null ? {} : { deviceId: { exact: deviceId } }),
    noiseSuppression,
    echoCancellation,
    autoGainControl: autoGain,
  });
  let context = null;
  try {
    context = contextAtAcceptedRate(media);
    await context.audioWorklet.addModule("capture-worklet.js");
    await Promise.race([context.resume(), rejectAfter(RESUME_LIMIT_MS, "microphone_silent")]);
    return new Microphone(media, context);
  } catch (error) {
    media.getTracks().forEach((track) => track.stop());
    context?.close();
    throw error;
  }
}

async function askForMedia(audio) {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw new CaptureError(CODES[error.name] ?? "microphone_busy");
  }
}

function contextAtAcceptedRate(media) {
  for (const options of [{ sampleRate: BEST_RATE_HZ }, {}]) {
    const context = new AudioContext(options);
    if (ACCEPTED_RATES_HZ.includes(context.sampleRate) && canHear(context, media)) return context;
    context.close();
  }
  throw new CaptureError("rate_unsupported");
}

function canHear(context, media) {
  try {
    context.createMediaStreamSource(media);
    return true;
  } catch (error) {
    if (error.name === "NotSupportedError") return false;
    throw error;
  }
}

function rejectAfter(limitMs, code) {
  return new Promise((_, reject) => setTimeout(() => reject(new CaptureError(code)), limitMs));
}

export class Microphone {
  #media;
  #context;
  #node;
  #flushed;

  /** Resolves with a code when the device goes away by itself. */
  lost;

  constructor(media, context) {
    this.#media = media;
    this.#context = context;
    this.lost = new Promise((resolve) => {
      this.#track.addEventListener("ended", () => resolve("microphone_lost"));
    });
  }

  get sampleRateHz() {
    return this.#context.sampleRate;
  }

  get label() {
    return this.#track.label;
  }

  /** Of the device that was opened, whoever chose it. */
  get deviceId() {
    return this.#track.getSettings().deviceId ?? null;
  }

  get #track() {
    return this.#media.getAudioTracks()[0];
  }

  /**
   * From now on every block is given to `receiveBlock`, with its loudness from 0 to 1.
   *
   * @param {(block: ArrayBuffer, level: number) => void} receiveBlock
   */
  start(receiveBlock) {
    this.#node = new AudioWorkletNode(this.#context, "capture", {
      channelCount: 1,
      channelCountMode: "explicit",
      numberOfOutputs: 0,
      processorOptions: { blockSamples: this.sampleRateHz / BLOCKS_PER_S },
    });
    this.#flushed = new Promise((resolve) => {
      this.#node.port.onmessage = ({ data }) => {
        if (data.isFlushed) resolve();
        else receiveBlock(data.block, data.level);
      };
    });
    this.#context.createMediaStreamSource(this.#media).connect(this.#node);
  }

  /** Gives up the device; the last, shorter block has been received when this is done. */
  async close() {
    if (this.#context.state === "closed") return;
    if (this.#node) {
      this.#node.port.postMessage("flush");
      // A browser that has suspended the audio thread never answers.
      const limit = new Promise((resolve) => setTimeout(resolve, FLUSH_LIMIT_MS));
      await Promise.race([this.#flushed, limit]);
      this.#node.port.onmessage = null;
    }
    this.#media.getTracks().forEach((track) => track.stop());
    if (this.#context.state !== "closed") await this.#context.close();
  }
}
