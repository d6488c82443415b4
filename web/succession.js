/**
 * As a Stream; but when the server loses the session, a new one follows it.
 *
 * The new one begins with the sound that the former had not received. What that had received and not
 * yet written down is lost: a few words. None follows when nobody speaks any more, when the server
 * meant it, or when the time is over in which the session would have waited for its connection.
 */

import { bytesPerMs } from "./pcm.js";
import { Stream } from "./stream.js";

/** Ends of which the next session knows nothing. */
const LOSSES = Object.freeze(["session_gone", "shutting_down", "lease_lost", "internal"]);
/** Sessions in a row that bring no text. */
const MOST_IN_VAIN = 3;

export class Succession {
  #given;
  #receiveEvent;
  #receiveSuccessor;
  /** @type {Stream} */
  #stream;
  #isStopped = false;
  /** Why the session before was lost, until the server is ready for the one at hand. */
  #loss = null;
  #wasReady = false;
  #inVain = 0;
  /** Sound that the session before has received. */
  #formerMs = 0;

  ready;
  done;

  /**
   * @param {object} given as for a Stream, and
   * @param {(formerMs: number) => void} given.receiveSuccessor before the events of another session:
   *   it begins so much sound after the beginning of the one before
   */
  constructor({ receiveEvent, receiveSuccessor, ...given }) {
    this.#receiveEvent = receiveEvent;
    this.#receiveSuccessor = receiveSuccessor;
    this.#given = { ...given, receiveEvent: (event) => this.#receive(event) };
    this.#stream = new Stream(this.#given);
    this.ready = this.#stream.ready;
    this.done = this.#run();
    this.done.catch(() => {}); // nobody may be waiting
  }

  send(block) {
    this.#stream.send(block);
  }

  room() {
    return this.#stream.room();
  }

  refresh(token) {
    this.#stream.refresh(token);
  }

  stop() {
    this.#isStopped = true;
    this.#stream.stop();
  }

  close() {
    this.#stream.close();
  }

  async #run() {
    for (;;) {
      try {
        return await this.#stream.done;
      } catch (error) {
        if (!this.#isFollowed(error)) throw this.#reasonOf(error);
        this.#follow(error);
      }
    }
  }

  #isFollowed({ code }) {
    const isTimeLeft = this.#stream.absence.leftMs > 0 && this.#inVain < MOST_IN_VAIN;
    return LOSSES.includes(code) && this.#wasReady && !this.#isStopped && isTimeLeft;
  }

  /** That the server did not come back is no news. */
  #reasonOf(error) {
    return this.#loss && error.code === "network_lost" ? this.#loss : error;
  }

  #follow(error) {
    const { absence, log } = this.#stream;
    this.#loss ??= error;
    this.#inVain += 1;
    this.#formerMs += log.receivedBytes / bytesPerMs(this.#given.start.sample_rate_hz);
    this.#stream = new Stream({ ...this.#given, absence });
    for (const block of log.rest) this.#stream.send(block);
  }

  #receive(event) {
    if (event.type === "ready") {
      this.#wasReady = true;
      if (this.#loss) this.#receiveSuccessor(this.#formerMs);
      this.#loss = null;
      this.#formerMs = 0;
    }
    if (event.type === "final") this.#inVain = 0;
    this.#receiveEvent(event);
  }
}
