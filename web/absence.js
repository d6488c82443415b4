/**
 * How long a connection has been away in, when to try again and whether there is time left out.
 *
 * The pauses double, and no two pages take the same ones: a server that comes back is not to meet
 * all of them at once.
 */

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 5_000;

export class Absence {
  #graceMs;
  #beganAtMs = null;
  #attempt = 0;

  /** @param {number} graceMs how long it may last */
  constructor(graceMs) {
    this.#graceMs = graceMs;
  }

  begin() {
    this.#beganAtMs ??= performance.now();
  }

  end() {
    this.#beganAtMs = null;
  }

  /** The connection has brought something: the next absence begins with short pauses again. */
  forget() {
    this.#attempt = 0;
  }

  get leftMs() {
    const awayMs = this.#beganAtMs === null ? 0 : performance.now() - this.#beganAtMs;
    return Math.max(0, this.#graceMs - awayMs);
  }

  /** What is told of it. */
  get state() {
    return { attempt: this.#attempt, leftMs: this.leftMs };
  }

  /** Counts another attempt; how long to wait for it. */
  nextPauseMs() {
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** this.#attempt, LONGEST_PAUSE_MS);
    this.#attempt += 1;
    return Math.min(pauseMs * (0.5 + Math.random()), this.leftMs);
  }
}
