/**
 * Segments in, lines of text on the page out.
 *
 * A line never moves its neighbours about: it is as wide when pale as when settled, and while it
 * is open it does not become lower again. Text is only ever set as text. The view follows the
 * newest words unless the reader has scrolled up. Screen readers hear finals only. However long the
 * session, only the newest segments have an element for each word.
 */

import { texts } from "./texts.js";
import { writeWords } from "./words.js";

/** How far from the end still counts as reading along. */
const FOLLOW_PX = 48;
/** Enough for a screen reader that is a little behind. */
const ANNOUNCED_LINES = 3;
const SPELT_LINES = 100;

export class Captions {
  #container;
  #announcer;
  #hint;
  /** @type {Map<number, {line: HTMLElement, settled: HTMLElement, tail: HTMLElement}>} */
  #lines = new Map();
  /** @type {import("./transcript.js").Segment[]} whose words are elements, oldest first */
  #spelt = [];
  #mostLines;
  #isFollowing = true;
  #topPx = 0;

  /**
   * @param {HTMLElement} container where the lines go
   * @param {HTMLElement} announcer a polite live region that is not seen
   * @param {HTMLElement} hint shown as long as there are no lines
   * @param {number} mostLines older ones leave the page
   */
  constructor(container, announcer, hint, mostLines = Infinity) {
    this.#mostLines = mostLines;
    this.#container = container;
    this.#announcer = announcer;
    this.#hint = hint;
    container.addEventListener("scroll", () => this.#receiveScroll());
    // A notice above the lines, or a turned phone, leaves them less room.
    new ResizeObserver(() => this.#follow()).observe(container);
  }

  get isEmpty() {
    return this.#lines.size === 0;
  }

  /** @param {import("./transcript.js").Segment} segment */
  show(segment) {
    if (segment.isFinal && segment.stable === "") {
      this.#remove(segment.number);
    } else {
      this.#write(segment);
    }
    this.#hint.hidden = !this.isEmpty;
    this.#follow();
  }

  /** A quiet line after those that are here. @param {string} name of its text */
  note(name) {
    const line = document.createElement("p");
    line.className = "gap";
    line.dataset.text = name;
    line.textContent = texts[name];
    this.#container.append(line);
    this.#announce(line.textContent);
    this.#follow();
  }

  #write(segment) {
    const { line, settled, tail } = this.#lines.get(segment.number) ?? this.#add(segment.number);
    if (segment.isFinal) this.#spell(settled, segment);
    else settled.textContent = segment.stable;
    tail.textContent = segment.unstable;
    line.dataset.final = String(segment.isFinal);
    const heightPx = line.getBoundingClientRect().height;
    line.style.minHeight = segment.isFinal ? "" : `${heightPx}px`;
    if (segment.isFinal) this.#announce(segment.stable);
  }

  #add(number) {
    const line = document.createElement("p");
    const settled = document.createElement("span");
    const tail = document.createElement("span");
    line.dataset.segment = String(number);
    settled.className = "settled";
    tail.className = "tail";
    line.append(settled, tail);
    const later = [...this.#lines].find(([other]) => other > number);
    this.#container.insertBefore(line, later ? later[1].line : null);
    this.#lines.set(number, { line, settled, tail });
    while (this.#lines.size > this.#mostLines) this.#remove(Math.min(...this.#lines.keys()));
    return { line, settled, tail };
  }

  #spell(settled, segment) {
    writeWords(settled, segment, true);
    this.#spelt.push(segment);
    if (this.#spelt.length <= SPELT_LINES) return;
    const oldest = this.#spelt.shift();
    const shown = this.#lines.get(oldest.number);
    if (shown && !shown.line.contains(document.activeElement)) {
      writeWords(shown.settled, oldest, false);
      shown.line.className = "old";
    }
  }

  #remove(number) {
    this.#lines.get(number)?.line.remove();
    this.#lines.delete(number);
  }

  #announce(text) {
    const line = document.createElement("p");
    line.textContent = text;
    this.#announcer.append(line);
    while (this.#announcer.childElementCount > ANNOUNCED_LINES) {
      this.#announcer.firstElementChild.remove();
    }
  }

  /** Only a reader scrolls up; the end also moves away when there is less room. */
  #receiveScroll() {
    const { scrollTop } = this.#container;
    if (this.#isAtEnd()) this.#isFollowing = true;
    else if (scrollTop < this.#topPx) this.#isFollowing = false;
    this.#topPx = scrollTop;
  }

  #follow() {
    if (this.#isFollowing) this.#container.scrollTop = this.#container.scrollHeight;
  }

  #isAtEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#container;
    return scrollHeight - scrollTop - clientHeight < FOLLOW_PX;
  }
}
