/**
 * A file that is dropped on the page, or chosen, in; its progress shown while it is transcribed.
 *
 * The whole page is the place to drop on. Time left is reckoned from what went before, once there
 * is something to reckon from.
 */

import { texts } from "./texts.js";

const RECKONED_AFTER_MS = 1_000;

export class Files {
  #on;
  #receive;
  #tell;
  #beganAt = 0;
  #depth = 0;

  /**
   * @param {Record<string, HTMLElement>} on the page's elements by id
   * @param {(file: File) => void} receive
   * @param {(problem: string) => void} tell
   */
  constructor(on, receive, tell) {
    this.#on = on;
    this.#receive = receive;
    this.#tell = tell;
    on["file-open"].addEventListener("click", () => this.choose());
    on["file-field"].addEventListener("change", () => this.#take(on["file-field"].files));
    document.addEventListener("dragenter", (event) => this.#enter(event));
    document.addEventListener("dragleave", () => this.#leave());
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => this.#drop(event));
  }

  choose() {
    if (!this.#on["file-open"].disabled) this.#on["file-field"].click();
  }

  /** @param {boolean} isLocked while a session runs */
  lock(isLocked) {
    this.#on["file-open"].disabled = isLocked;
  }

  /** @param {string} name of a file whose session begins */
  begin(name) {
    this.#beganAt = performance.now();
    this.#on["file-name"].textContent = name;
    this.#on["file-bar"].setAttribute("aria-label", texts.fileProgress(name));
    this.#on["file-bar"].value = 0;
    this.#on["file-left"].textContent = texts.percent(0);
    this.#on["file-progress"].hidden = false;
  }

  /** @param {{sentMs: number, durationMs: number}} at */
  show({ sentMs, durationMs }) {
    const share = Math.min(1, sentMs / durationMs);
    const goneMs = performance.now() - this.#beganAt;
    const leftMs = (goneMs * (1 - share)) / share;
    const words = [texts.percent(Math.floor(share * 100))];
    if (goneMs > RECKONED_AFTER_MS && share < 1) words.push(timeLeft(leftMs));
    this.#on["file-bar"].value = share;
    this.#on["file-left"].textContent = words.join(" · ");
  }

  end() {
    this.#on["file-progress"].hidden = true;
    this.#on["file-field"].value = "";
  }

  #enter(event) {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    this.#depth += 1;
    this.#on["drop-here"].hidden = this.#on["file-open"].disabled;
  }

  #leave() {
    this.#depth = Math.max(0, this.#depth - 1);
    if (this.#depth === 0) this.#on["drop-here"].hidden = true;
  }

  #drop(event) {
    event.preventDefault();
    this.#depth = 0;
    this.#on["drop-here"].hidden = true;
    this.#take(event.dataTransfer.files);
  }

  #take(files) {
    const isOneTooMany = files.length > 1 || this.#on["file-open"].disabled;
    if (files.length > 0 && isOneTooMany) this.#tell("one_recording");
    else if (files.length > 0) this.#receive(files[0]);
  }
}

function timeLeft(leftMs) {
  const seconds = Math.ceil(leftMs / 1000);
  return seconds < 60 ? texts.secondsLeft(seconds) : texts.minutesLeft(Math.ceil(seconds / 60));
}
