/**
 * Blocks of sound in, events of `earwitness.v1` out, over one WebSocket.
 *
 * A browser is not told why a handshake was denied, only that it was: then `/v1/whoami` is asked
 * with the same token. Every way in which a session can fail is a StreamError with the server's
 * code, or one of ours where there is none. Sound that comes before the server is ready waits for it,
 * so that nobody's first words are lost. What the network does not take away is bounded.
 */

const PROTOCOL = "earwitness.v1";
const OPEN_LIMIT_MS = 10_000;
const END_LIMIT_MS = 60_000;
/** Sound that waits for the server or the network: half a minute at 16 kHz, ten seconds at 48. */
const MAX_WAITING_BYTES = 1_000_000;

export class StreamError extends Error {
  /** @param {string} code a key of `texts.problems`; one of a newer server may not be there */
  constructor(code, message = code) {
    super(message);
    this.code = code;
  }
}

/** Whether the text has the form of a JWT, which is also what a subprotocol may be made of. */
export function isToken(text) {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text);
}

export class Stream {
  #socket;
  #sampleRateHz;
  #receiveEvent;
  #error = null;
  /** @type {ArrayBuffer[] | null} sound before `ready`; null from then on */
  #early = [];
  #earlyBytes = 0;
  #hasOpened = false;
  #hasEnded = false;
  #limit;
  #settleReady;
  #settleDone;

  /** Resolves when the server takes sound, or rejects with a StreamError that says why not. */
  ready;
  /** Resolves when the server has said all, or rejects with a StreamError. */
  done;

  /**
   * @param {string} token
   * @param {number} sampleRateHz
   * @param {(event: object) => void} receiveEvent
   */
  constructor(token, sampleRateHz, receiveEvent) {
    this.#sampleRateHz = sampleRateHz;
    this.#receiveEvent = receiveEvent;
    this.ready = this.#becomeReady(token);
    this.done = new Promise((resolve, reject) => (this.#settleDone = { resolve, reject }));
    this.done.catch(() => {}); // a session that is never ready has nobody who waits for its end
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const address = `${scheme}//${location.host}/v1/stream`;
    this.#socket = new WebSocket(address, [PROTOCOL, `bearer.${token}`]);
    this.#socket.onopen = () => this.#start();
    this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    this.#socket.onclose = () => this.#finish();
    this.#endAfter(OPEN_LIMIT_MS, "unreachable");
  }

  /** @param {ArrayBuffer} block */
  send(block) {
    if (this.#socket.readyState > WebSocket.OPEN) return;
    if (this.#earlyBytes + this.#socket.bufferedAmount > MAX_WAITING_BYTES) {
      this.#fail("network_slow");
    } else if (this.#early) {
      this.#early.push(block);
      this.#earlyBytes += block.byteLength;
    } else {
      this.#socket.send(block);
    }
  }

  /** No more sound: `done` resolves after the last final. */
  stop() {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#socket.send(JSON.stringify({ type: "stop" }));
    this.#endAfter(END_LIMIT_MS, "network_lost");
  }

  close() {
    clearTimeout(this.#limit);
    this.#socket.close();
  }

  async #becomeReady(token) {
    try {
      await new Promise((resolve, reject) => (this.#settleReady = { resolve, reject }));
    } catch (error) {
      throw error.code === "denied" ? await reasonOfDenial(token) : error;
    }
  }

  #start() {
    this.#hasOpened = true;
    this.#socket.send(JSON.stringify({ type: "start", sample_rate_hz: this.#sampleRateHz }));
  }

  #receive(event) {
    if (event.type === "ready") {
      clearTimeout(this.#limit);
      this.#sendEarly();
      this.#settleReady.resolve();
    } else if (event.type === "error") {
      this.#error ??= new StreamError(event.code, event.message);
    } else if (event.type === "ended") {
      this.#hasEnded = true;
    }
    this.#receiveEvent(event);
  }

  #sendEarly() {
    for (const block of this.#early ?? []) this.#socket.send(block);
    this.#early = null;
    this.#earlyBytes = 0;
  }

  #endAfter(limitMs, code) {
    clearTimeout(this.#limit);
    this.#limit = setTimeout(() => this.#fail(code), limitMs);
  }

  /** Does not wait for the close: on a dead network it would not come. */
  #fail(code) {
    this.#error ??= new StreamError(code);
    this.#socket.close();
    this.#finish();
  }

  #finish() {
    clearTimeout(this.#limit);
    this.#socket.onmessage = null;
    if (!this.#hasEnded) this.#error ??= new StreamError(this.#hasOpened ? "network_lost" : "denied");
    const error = this.#error;
    if (error === null) this.#settleDone.resolve();
    else this.#settleDone.reject(error);
    this.#settleReady.reject(error ?? new StreamError("unknown"));
  }
}

async function reasonOfDenial(token) {
  try {
    // POST, because a browser names its origin then, as it does for a WebSocket
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch("/v1/whoami", { method: "POST", headers });
    if (answer.ok) return new StreamError("not_accepted");
    const { code, message } = await answer.json();
    return new StreamError(code, message);
  } catch {
    return new StreamError("unreachable");
  }
}
