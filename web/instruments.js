/**
 * What a session tells about itself in; state, level, time, speech, quota and connection shown.
 *
 * Everything is said in words, with a colour beside it. What counts down does so by itself, from
 * what was told last; live regions hold only what changes seldom.
 */

import { bytesPerMs } from "./pcm.js";
import { texts } from "./texts.js";

const QUIETEST_DB = -60;
const LITTLE_MS = 60_000;
const COUNTED_EVERY_MS = 500;

export class Instruments {
  #on;
  #sentMs = 0;
  #bytesPerMs = 1;
  /** Sound of this session at which the quota is used up; null without a limit. */
  #endMs = null;
  #connection = null;
  #deadline = 0;
  #counting = 0;
  #isSpeech = false;

  /** @param {Record<string, HTMLElement>} on the page's elements by id */
  constructor(on) {
    this.#on = on;
    this.showSpeech(false);
  }

  /** @param {number} sampleRateHz of a session that begins */
  begin(sampleRateHz) {
    this.#bytesPerMs = bytesPerMs(sampleRateHz);
    this.#endMs = null;
    this.showProgress(0);
  }

  /** In the language of the page, after it has changed. */
  reword() {
    this.showSpeech(this.#isSpeech);
    this.#showQuotaLeft();
    this.#showConnection();
  }

  showLevel(level) {
    const db = 20 * Math.log10(Math.max(level, 1e-6));
    const share = Math.max(0, Math.min(1, 1 - db / QUIETEST_DB));
    this.#on["level-bar"].style.transform = `scaleX(${share.toFixed(3)})`;
  }

  showSpeech(isActive) {
    this.#isSpeech = isActive;
    this.#on.speech.dataset.active = String(isActive);
    write(this.#on.speech, isActive ? texts.speech : texts.silence);
  }

  /** @param {number} sentMs sound of this session so far */
  showProgress(sentMs) {
    this.#sentMs = sentMs;
    write(this.#on.elapsed, clock(sentMs));
    this.#showQuotaLeft();
  }

  /** @param {{audio_ms_left: number | null, bytes_left: number | null}} left null is unlimited */
  showQuota({ audio_ms_left, bytes_left }) {
    const leftMs = Math.min(
      audio_ms_left ?? Infinity,
      bytes_left === null ? Infinity : bytes_left / this.#bytesPerMs,
    );
    this.#endMs = leftMs === Infinity ? null : this.#sentMs + leftMs;
    this.#showQuotaLeft();
  }

  /**
   * @param {"connected" | "reconnecting" | "lost" | null} name null when no session runs
   * @param {number} leftMs until it is given up
   */
  showConnection(name, leftMs = 0) {
    this.#connection = name;
    this.#deadline = performance.now() + leftMs;
    clearInterval(this.#counting);
    if (name === "reconnecting") {
      this.#counting = setInterval(() => this.#showConnection(), COUNTED_EVERY_MS);
    }
    this.#showConnection();
  }

  #showQuotaLeft() {
    const leftMs = this.#endMs === null ? null : Math.max(0, this.#endMs - this.#sentMs);
    this.#on.quota.dataset.little = String(leftMs !== null && leftMs < LITTLE_MS);
    write(this.#on.quota, leftMs === null ? "" : amount(leftMs));
  }

  #showConnection() {
    const seconds = Math.max(0, Math.ceil((this.#deadline - performance.now()) / 1000));
    const isCounting = this.#connection === "reconnecting";
    this.#on.connection.dataset.connection = this.#connection ?? "none";
    write(this.#on.connection, this.#connection === null ? "" : texts[this.#connection]);
    write(this.#on["connection-left"], isCounting ? texts.connectionLeft(seconds) : "");
  }
}

/** Writing what is there already would make a screen reader say it again. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function clock(positionMs) {
  const seconds = Math.floor(positionMs / 1000);
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  const padded = (value) => String(value).padStart(2, "0");
  if (hours === 0) return `${minutes}:${padded(seconds % 60)}`;
  return `${hours}:${padded(minutes % 60)}:${padded(seconds % 60)}`;
}

function amount(leftMs) {
  if (leftMs < LITTLE_MS) return texts.secondsLeft(Math.ceil(leftMs / 1000));
  return texts.minutesLeft(Math.floor(leftMs / 60_000));
}
