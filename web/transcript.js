/**
 * Events of a session in, segments of text out; the page's memory of what was said.
 *
 * A page may hold several sessions one after the other, and each counts its segments and its time
 * from 0. Here both are counted on, so that a number names one stretch of speech for as long as
 * the page is open, and a later session stands later in a subtitle file. A final never changes
 * again: a partial that arrives after it, or after a newer one, is dropped.
 */

/**
 * @typedef {object} Word
 * @property {string} text
 * @property {number} start_ms
 * @property {number} end_ms
 * @property {number} confidence 0 to 1
 *
 * @typedef {object} Segment
 * @property {number} number counts from 0 over all sessions of the page
 * @property {number} startMs from the beginning of the first session
 * @property {number} endMs
 * @property {string} stable words that will stay
 * @property {string} unstable the tail that may still change, with its leading space
 * @property {boolean} isFinal
 * @property {string | null} language
 * @property {number} confidence 0 to 1
 * @property {Word[]} words of a final; their times count as the segment's do
 * @property {boolean} areTimesEstimated
 */

export class Transcript {
  /** @type {Map<number, Segment>} */
  #segments = new Map();
  /** @type {Map<number, number>} */
  #revisions = new Map();
  #offset = 0;
  #offsetMs = 0;
  #next = 0;
  #endMs = 0;

  /**
   * Counts the segments and the time of the next session after those that are here.
   *
   * @param {number} formerMs the least time from the beginning of the session before
   */
  beginSession(formerMs = 0) {
    this.#offset = this.#next;
    this.#reach(Math.round(formerMs));
    this.#offsetMs = this.#endMs;
    this.#revisions.clear();
  }

  /**
   * The segment as it is after a `partial` or `final`; null when the event changed nothing.
   *
   * @param {object} event as on the wire
   * @returns {Segment | null}
   */
  receive(event) {
    if (event.type === "ended") this.#reach(event.usage.audio_ms);
    const isFinal = event.type === "final";
    if (!isFinal && event.type !== "partial") return null;
    const number = this.#offset + event.segment;
    if (this.#segments.get(number)?.isFinal) return null;
    if (!isFinal && event.revision <= this.#revisions.get(number)) return null;
    this.#revisions.set(number, event.revision);
    const segment = isFinal ? this.#settled(number, event) : this.#open(number, event);
    this.#segments.set(number, segment);
    this.#next = Math.max(this.#next, number + 1);
    this.#reach(event.end_ms);
    return segment;
  }

  /** All segments in order; one that never became final as it last stood. */
  get segments() {
    return [...this.#segments.values()].sort((a, b) => a.number - b.number);
  }

  /** @param {number} number */
  segment(number) {
    return this.#segments.get(number);
  }

  #open(number, event) {
    return {
      number,
      startMs: this.#offsetMs + event.start_ms,
      endMs: this.#offsetMs + event.end_ms,
      stable: event.stable,
      unstable: event.unstable,
      isFinal: false,
      language: null,
      confidence: 0,
      words: [],
      areTimesEstimated: false,
    };
  }

  #settled(number, event) {
    return {
      number,
      startMs: this.#offsetMs + event.start_ms,
      endMs: this.#offsetMs + event.end_ms,
      stable: event.text,
      unstable: "",
      isFinal: true,
      language: event.language,
      confidence: event.confidence,
      words: event.words.map((word) => ({
        text: word.text,
        start_ms: this.#offsetMs + word.start_ms,
        end_ms: this.#offsetMs + word.end_ms,
        confidence: word.confidence,
      })),
      areTimesEstimated: event.word_times === "estimated",
    };
  }

  #reach(sessionMs) {
    this.#endMs = Math.max(this.#endMs, this.#offsetMs + sessionMs);
  }
}
