/**
 * The transcript in; the clipboard or a file out.
 *
 * Files are made in the page, by documents.js: nothing is uploaded to be downloaded.
 */

import { MEDIA_TYPES, encodeDocument } from "./documents.js";
import { placeBeside } from "./placing.js";
import { texts } from "./texts.js";

/** Of a menu: which entry comes after the one at hand. */
const MOVES = Object.freeze({
  ArrowDown: (at, count) => (at + 1) % count,
  ArrowUp: (at, count) => (at - 1 + count) % count,
  Home: () => 0,
  End: (_, count) => count - 1,
});
const COPIED_MS = 2_000;
/** Some browsers read the text only after the click has been dealt with. */
const DOWNLOAD_BEGUN_MS = 10_000;

export class Keeping {
  #on;
  #transcript;
  #tell;

  /**
   * @param {Record<string, HTMLElement>} on the page's elements by id
   * @param {import("./transcript.js").Transcript} transcript
   * @param {(problem: string) => void} tell
   */
  constructor(on, transcript, tell) {
    this.#on = on;
    this.#transcript = transcript;
    this.#tell = tell;
    on.copy.addEventListener("click", () => this.copy());
    on.formats.addEventListener("toggle", ({ newState }) => this.#receiveToggle(newState));
    on.formats.addEventListener("keydown", (event) => this.#receiveKey(event));
    on.formats.addEventListener("click", ({ target }) => {
      const kind = target.closest("[data-kind]")?.dataset.kind;
      if (kind) this.#download(kind);
    });
  }

  #receiveKey(event) {
    if (!Object.hasOwn(MOVES, event.key)) return;
    const entries = [...this.#on.formats.querySelectorAll("button")];
    event.preventDefault();
    entries[MOVES[event.key](entries.indexOf(document.activeElement), entries.length)].focus();
  }

  /** @param {boolean} isEmpty whether there is nothing to keep */
  show(isEmpty) {
    this.#on.copy.disabled = this.#on.download.disabled = isEmpty;
  }

  async copy() {
    if (this.#on.copy.disabled) return;
    try {
      await navigator.clipboard.writeText(encodeDocument("txt", this.#transcript.segments));
    } catch {
      this.#tell("copy_failed");
      return;
    }
    this.#on.copy.textContent = texts.copied;
    setTimeout(() => (this.#on.copy.textContent = texts.copy), COPIED_MS);
  }

  openMenu() {
    if (this.#on.download.disabled) return;
    this.#on.formats.showPopover();
    this.#receiveToggle("open"); // at once, so that the next key is the menu's
  }

  #receiveToggle(state) {
    // Told a moment later; by then a key may have moved the focus on.
    if (state !== "open" || this.#on.formats.contains(document.activeElement)) return;
    placeBeside(this.#on.formats, this.#on.download.getBoundingClientRect(), "end");
    this.#on.formats.querySelector("button").focus();
  }

  #download(kind) {
    this.#on.formats.hidePopover();
    const link = document.createElement("a");
    const moment = new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-");
    const content = encodeDocument(kind, this.#transcript.segments);
    link.href = URL.createObjectURL(new Blob([content], { type: MEDIA_TYPES[kind] }));
    link.download = `earwitness-${moment}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), DOWNLOAD_BEGUN_MS);
  }
}
