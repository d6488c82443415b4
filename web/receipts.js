/**
 * Events that have come in; how many they are out, when the server is to be told.
 */

const TOLD_EVENTS = 16;
const TOLD_MS = 1_000;

export class Receipts {
  #tell;
  #told = 0;
  #timer = 0;
  events = 0;

  /** @param {(events: number) => boolean} tell false when nobody can be told now */
  constructor(tell) {
    this.#tell = tell;
  }

  /** Another one has come. @param {boolean} isLast it is told at once */
  add(isLast) {
    this.events += 1;
    if (isLast || this.events - this.#told >= TOLD_EVENTS) this.#tellNow();
    else this.#timer ||= setTimeout(() => this.#tellNow(), TOLD_MS);
  }

  /** They have been told in another way. */
  settle() {
    this.#told = this.events;
  }

  close() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  #tellNow() {
    this.close();
    if (this.events !== this.#told && this.#tell(this.events)) this.settle();
  }
}
