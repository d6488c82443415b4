/**
 * Events of a session in, segments of text out; the page's memory of what was said.
 *
 * A page may hold several sessions one after the other, and each counts its segments from 0. Here
 * they are counted on, so that a number names one stretch of speech for as long as the page is
 * open. A final never changes again: a partial that arrives after it is dropped.
 */

/**
 * @typedef {object} Segment
 * @property {number} number counts from 0 over all sessions of the page
 * @property {string} stable words that will stay
 * @property {string} unstable the tail that may still change, with its leading space
 * @property {boolean} isFinal
 */

export class Transcript {
  /** @type {Map<number, Segment>} */
  #segments = new Map();
  #offset = 0;
  #next = 0;

  /** Counts the segments of the next session after those that are here. */
  beginSession() {
    this.#offset = this.#next;
  }

  /**
   * The segment as it is after a `partial` or `final`; null when the event changed nothing.
   *
   * @param {{type: string, segment: number, stable?: string, unstable?: string, text?: string}} event
   * @returns {Segment | null}
   */
  receive(event) {
    const isFinal = event.type === "final";
    if (!isFinal && event.type !== "partial") return null;
    const number = this.#offset + event.segment;
    if (this.#segments.get(number)?.isFinal) return null;
    const segment = isFinal
      ? { number, stable: event.text, unstable: "", isFinal }
      : { number, stable: event.stable, unstable: event.unstable, isFinal };
    this.#segments.set(number, segment);
    this.#next = Math.max(this.#next, number + 1);
    return segment;
  }

  /** What was said, a line a segment; a segment that never became final as it last stood. */
  get text() {
    const ordered = [...this.#segments.values()].sort((a, b) => a.number - b.number);
    const lines = ordered.map((segment) => (segment.stable + segment.unstable).trim());
    return lines.filter((line) => line !== "").map((line) => `${line}\n`).join("");
  }
}
