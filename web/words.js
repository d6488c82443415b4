/**
 * A word that is clicked, or reached by arrow keys, in; its time and confidence out.
 *
 * The captions are one stop of the Tab key; from there left and right walk through the words, up
 * and down through the segments. Words are elements of their own only where somebody may soon touch
 * them: in the newest segments, and in older ones once they are touched. The doubtful ones are
 * marked wherever they stand.
 */

import { placeBeside } from "./placing.js";
import { boundsOf } from "./subtitles.js";
import { texts } from "./texts.js";

const DOUBTFUL_BELOW = 0.5;
const WORD = "[data-word]";
const STEPS = Object.freeze({ ArrowLeft: -1, ArrowRight: 1 });
const LEAPS = Object.freeze({ ArrowUp: -1, ArrowDown: 1 });

/**
 * Writes the text of a segment, each word in an element of its own (`isSpelt`) or only the doubtful.
 *
 * @param {HTMLElement} element
 * @param {import("./transcript.js").Segment} segment
 * @param {boolean} isSpelt
 */
export function writeWords(element, segment, isSpelt) {
  const text = segment.stable;
  const parts = boundsOf(text, segment.words).flatMap(([start, end], at) => {
    const part = text.slice(start, end);
    const word = part.trim();
    const isDoubtful = segment.words[at].confidence < DOUBTFUL_BELOW;
    if (word === "" || !(isSpelt || isDoubtful)) return [part];
    const span = document.createElement("span");
    span.dataset.word = String(at);
    span.textContent = word;
    if (isDoubtful) {
      span.className = "doubtful";
      span.dataset.title = "doubtful";
      span.title = texts.doubtful;
    }
    return [part.slice(0, part.indexOf(word)), span, part.slice(part.indexOf(word) + word.length)];
  });
  element.replaceChildren(...(parts.length > 0 ? parts : [text]));
  element.normalize();
  element.dataset.spelt = String(isSpelt);
}

export class Words {
  #container;
  #on;
  #transcript;
  /** @type {HTMLElement | null} the word that has, or last had, the focus */
  #current = null;

  /**
   * @param {Record<string, HTMLElement>} on the page's elements by id
   * @param {import("./transcript.js").Transcript} transcript
   */
  constructor(on, transcript) {
    this.#container = on.captions;
    this.#on = on;
    this.#transcript = transcript;
    on.captions.addEventListener("pointerdown", ({ target }) => this.#spell(target));
    on.captions.addEventListener("click", (event) => this.#receiveClick(event));
    on.captions.addEventListener("keydown", (event) => this.#receiveKey(event));
    on.captions.addEventListener("focusout", ({ target }) => this.#leave(target));
    on.captions.addEventListener("scroll", () => this.#close());
  }

  #receiveClick({ clientX, clientY }) {
    if (!getSelection().isCollapsed) return; // somebody marks text
    const word = document.elementFromPoint(clientX, clientY)?.closest(WORD);
    if (word) this.#open(word);
  }

  #receiveKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const word = event.target.closest(WORD);
    const isOpening = event.key === "Enter" || event.key === " ";
    if (word && isOpening) {
      event.preventDefault();
      this.#open(word);
      return;
    }
    const next = this.#wordAfter(event.key, word);
    if (!next) return;
    event.preventDefault();
    this.#focus(next);
  }

  #wordAfter(key, word) {
    if (!word) return key in STEPS ? this.#entrance(key) : null;
    const line = word.closest("[data-segment]");
    const words = [...line.querySelectorAll(WORD)];
    const at = words.indexOf(word);
    if (key === "Home") return words[0];
    if (key === "End") return words.at(-1);
    if (key in LEAPS) return this.#wordsBeside(line, LEAPS[key])?.[0];
    if (!(key in STEPS)) return null;
    const step = STEPS[key];
    return words[at + step] ?? this.#wordsBeside(line, step)?.at(step < 0 ? -1 : 0);
  }

  /** Where the captions are entered: at the word that was left, else in the newest segment. */
  #entrance(key) {
    if (this.#current?.isConnected) return this.#current;
    const lines = this.#container.querySelectorAll('[data-final="true"]');
    if (lines.length === 0) return null;
    const words = this.#spell(lines[lines.length - 1]);
    return words.at(key === "ArrowLeft" ? -1 : 0);
  }

  #wordsBeside(line, step) {
    let beside = line;
    do beside = step < 0 ? beside.previousElementSibling : beside.nextElementSibling;
    while (beside && beside.dataset.final !== "true");
    return beside ? this.#spell(beside) : null;
  }

  /** The words of the segment that an element belongs to, as elements. */
  #spell(element) {
    const line = element.closest('[data-final="true"]');
    if (!line) return [];
    const settled = line.querySelector(".settled");
    if (settled.dataset.spelt !== "true") {
      writeWords(settled, this.#transcript.segment(Number(line.dataset.segment)), true);
    }
    return [...line.querySelectorAll(WORD)];
  }

  #focus(word) {
    this.#close();
    this.#current = word;
    word.tabIndex = -1;
    word.setAttribute("role", "button");
    word.focus();
  }

  #leave(element) {
    if (!element.matches(WORD)) return;
    element.removeAttribute("role");
    element.removeAttribute("tabindex");
  }

  #open(word) {
    const line = word.closest("[data-segment]");
    const segment = this.#transcript.segment(Number(line.dataset.segment));
    const { start_ms, confidence } = segment.words[Number(word.dataset.word)];
    const wording = segment.areTimesEstimated ? texts.wordTimeEstimated : texts.wordTime;
    this.#on["word-estimated"].hidden = !segment.areTimesEstimated;
    this.#on["word-card"].showPopover();
    this.#on["word-time"].textContent = wording(clockWithTenths(start_ms));
    this.#on["word-confidence"].textContent = texts.wordConfidence(Math.round(confidence * 100));
    placeBeside(this.#on["word-card"], word.getBoundingClientRect());
  }

  #close() {
    if (this.#on["word-card"].matches(":popover-open")) this.#on["word-card"].hidePopover();
  }
}

function clockWithTenths(positionMs) {
  const tenths = Math.floor(positionMs / 100);
  const seconds = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return `${Math.floor(tenths / 600)}:${seconds}`;
}
