/**
 * From a source to its last word: a microphone or a recording in, events out.
 *
 * It is one session, or several where the server loses one: `on.successor` tells of each that follows.
 * One path through it, whatever ends it: the source is given up, the last words are waited for, the
 * network is left. It shows nothing; who made it is told by the functions of `on`. Problems do not
 * throw: `done` gives their code, a key of `texts.problems`.
 */

import { CaptureError } from "./capture.js";
import { bytesPerMs } from "./pcm.js";
import { ScreenLock } from "./screen_lock.js";
import { StreamError } from "./stream_error.js";
import { Succession } from "./succession.js";

/**
 * @typedef {object} Told
 * @property {(name: string) => void} state microphone, connecting, listening, finishing, stopped
 * @property {(event: object) => void} event each of the server's, once and in order
 * @property {(level: number) => void} level loudness from 0 to 1
 * @property {(at: {sentMs: number, durationMs: number | null}) => void} progress
 * @property {(left: {audio_ms_left: number | null, bytes_left: number | null}) => void} quota
 * @property {(formerMs: number) => void} successor another session begins, so long after the one before
 * @property {(name: string, state: {attempt: number, leftMs: number}) => void} connection connected,
 *   reconnecting, lost
 */

export class Listening {
  #on;
  #stream = null;
  #requestStop;
  #stopRequest = new Promise((resolve) => (this.#requestStop = () => resolve(null)));

  /** @type {Promise<string | null>} null when it ended well, else what went wrong */
  done;
  /** The server's words for a problem that the page may have none for. */
  message = "";

  /**
   * @param {object} given
   * @param {() => Promise<object>} given.openSource gives a Microphone or a Recording
   * @param {() => string | null} given.token asked at each handshake
   * @param {{language: string | null}} given.start
   * @param {Told} given.on
   */
  constructor({ openSource, token, start, on }) {
    this.#on = on;
    this.done = this.#run(openSource, token, start);
  }

  /** Ask for the last words. */
  stop() {
    this.#requestStop();
  }

  /** Go on by a newer token; `token_refreshed` or `refresh_refused` comes as an event. */
  refresh(token) {
    this.#stream?.refresh(token);
  }

  async #run(openSource, token, start) {
    let source = null;
    let screen = null;
    try {
      this.#on.state("microphone");
      source = await openSource();
      this.#on.state("connecting");
      this.#stream = new Succession({
        token,
        start: { sample_rate_hz: source.sampleRateHz, language: start.language },
        isPatient: source.durationMs !== undefined,
        receiveEvent: (event) => this.#receive(event),
        receiveSuccessor: this.#on.successor,
        receiveConnection: this.#on.connection,
      });
      this.#sendSound(source);
      const ending = Promise.race([this.#stopRequest, source.lost]);
      await Promise.race([this.#stream.ready, ending]);
      screen = new ScreenLock();
      this.#on.state("listening");
      const problem = await Promise.race([ending, this.#stream.done]);
      this.#on.state("finishing");
      await source.close();
      this.#on.level(0);
      this.#stream.stop();
      await this.#stream.done;
      return problem ?? null;
    } catch (error) {
      this.message = error.message;
      // What the browser throws has codes too, of another kind.
      const isOurs = error instanceof CaptureError || error instanceof StreamError;
      return isOurs ? error.code : "unknown";
    } finally {
      await source?.close();
      this.#stream?.close();
      screen?.release();
      this.#on.level(0);
      this.#on.state("stopped");
    }
  }

  #sendSound(source) {
    const ofMs = bytesPerMs(source.sampleRateHz);
    const { durationMs = null } = source;
    let sentMs = 0;
    source.start((block, level) => {
      sentMs += block.byteLength / ofMs;
      this.#stream.send(block);
      this.#on.level(level);
      this.#on.progress({ sentMs, durationMs });
      return durationMs === null ? null : this.#stream.room();
    });
  }

  #receive(event) {
    if (event.type === "ready") {
      const { audio_ms, bytes } = event.limits;
      this.#on.quota({ audio_ms_left: audio_ms, bytes_left: bytes });
    } else if (event.type === "quota") {
      this.#on.quota(event);
    }
    this.#on.event(event);
  }
}
