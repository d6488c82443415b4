/**
 * Blocks of sound in, events of `earwitness.v1` out, over as many WebSockets as it takes.
 *
 * A session outlives its connection: sound is kept until the server says that it has it, and when
 * the connection breaks another one goes on, with the sound from the byte that the server names and
 * the events after those that have come. Every event is given once and in order. Sound that comes
 * before the server is ready waits for it, so that nobody's first words are lost.
 *
 * Every way in which a session can fail is a StreamError with the server's code, or one of ours
 * where there is none. A first handshake that is denied is not tried again: somebody is waiting.
 * What the network does not take away is bounded.
 */

import { Absence } from "./absence.js";
import { reasonOfDenial } from "./denial.js";
import { Receipts } from "./receipts.js";
import { SoundLog } from "./sound_log.js";
import { StreamError, isToken } from "./stream_error.js";

const PROTOCOL = "earwitness.v1";
const OPEN_LIMIT_MS = 10_000;
/** After `stop`, without a word from the server. */
const END_LIMIT_MS = 60_000;
/** Four minutes at 16 kHz. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;
/** A source that can wait, waits from here on. */
const ROOM_BYTES = 1024 * 1024;
const ROOM_ASKED_MS = 250;
/** The server says what it has twice a second; one that hears slowly on purpose may not. */
const SILENT_LIMIT_MS = Object.freeze({ live: 10_000, patient: 30_000 });
const WATCHED_MS = 1_000;
/** Before the server has said how long it keeps a session. */
const FIRST_GRACE_MS = 30_000;
/** Closes that say nothing about the session: the network's, a proxy's, a server's that goes. */
const BREAKS = Object.freeze([1001, 1005, 1006, 1012]);
const SESSION_GONE = 4410;
/** Tells a server that is there after all that the session goes on over another connection. */
const RETURNING = 4499;
/** Events about this connection, not of the session: not counted, and nobody else's business. */
const UNCOUNTED = Object.freeze(["resumed", "audio_received"]);

export class Stream {
  #askToken;
  #start;
  #isPatient;
  #receiveEvent;
  #receiveConnection;

  #log = new SoundLog();
  #socket = null;
  /** Of the last handshake. */
  #token = "";
  /** Whether this socket takes sound. */
  #isOnLine = false;
  /** Whether the last handshake has been accepted. */
  #isAccepted = false;
  /** Whether any has. */
  #wasAccepted = false;
  /** @type {{key: string, grace_s: number} | null | undefined} undefined before `ready` */
  #resume;
  #receipts = new Receipts((events) => this.#tellEvents(events));
  #isStopped = false;
  /** A newer token that the server has not answered. */
  #newerToken = null;
  #error = null;
  #isOver = false;

  #absence;
  #heardAtMs = 0;
  #timers = { open: 0, pause: 0, end: 0, watch: 0 };
  #settleReady;
  #settleDone;
  #wakeSource = () => {};

  /** Resolves when the server takes sound; rejects as `done` does if it never will. */
  ready;
  /** Resolves when the server has said all, or rejects with a StreamError. */
  done;

  /**
   * @param {object} given
   * @param {() => string | null} given.token asked at each handshake
   * @param {object} given.start what `start` says: sample_rate_hz, language
   * @param {boolean} given.isPatient whether the source waits for `room`
   * @param {(event: object) => void} given.receiveEvent
   * @param {(name: string, state: {attempt: number, leftMs: number}) => void} given.receiveConnection
   * @param {Absence | null} given.absence of a session that this one follows: it begins as one that
   *   has lost its connection
   */
  constructor({
    token,
    start,
    isPatient = false,
    receiveEvent,
    receiveConnection = () => {},
    absence = null,
  }) {
    this.#askToken = token;
    this.#start = start;
    this.#isPatient = isPatient;
    this.#receiveEvent = receiveEvent;
    this.#receiveConnection = receiveConnection;
    this.ready = new Promise((resolve, reject) => (this.#settleReady = { resolve, reject }));
    this.done = new Promise((resolve, reject) => (this.#settleDone = { resolve, reject }));
    this.ready.catch(() => {}); // nobody may be waiting
    this.done.catch(() => {});
    this.#absence = absence ?? new Absence(FIRST_GRACE_MS);
    this.#wasAccepted = absence !== null;
    window.addEventListener("online", this.#tryNow);
    if (absence) this.#tryLater();
    else this.#open();
  }

  /** From when it lost its connection, or now. */
  get absence() {
    this.#absence.begin();
    return this.#absence;
  }

  /** Of a session that could be gone on with. */
  get log() {
    return this.#log;
  }

  /** What comes after the end is kept for a session that follows. @param {ArrayBuffer} block */
  send(block) {
    if (this.#isStopped) return;
    if (this.#waitingBytes > MAX_WAITING_BYTES) {
      this.#fail("network_slow");
      return;
    }
    if (this.#resume !== null) {
      if (this.#log.waitingBytes === 0) this.#heardAtMs = performance.now();
      this.#log.add(block);
    }
    if (this.#isOnLine) this.#give(block);
  }

  /** Resolves when a source that can wait may go on. */
  async room() {
    while (!this.#isOver && this.#waitingBytes > ROOM_BYTES) {
      await new Promise((resolve) => {
        this.#wakeSource = resolve;
        setTimeout(resolve, ROOM_ASKED_MS);
      });
    }
  }

  /** Go on by a newer token; the answer comes as an event. */
  refresh(token) {
    this.#newerToken = token;
    if (this.#isOnLine) this.#say({ type: "refresh", token });
  }

  /** No more sound: `done` resolves after the last final. */
  stop() {
    if (this.#isOver || this.#isStopped) return;
    this.#isStopped = true;
    this.#heardAtMs = performance.now();
    this.#awaitEnd();
    if (this.#isOnLine) this.#say({ type: "stop" });
  }

  #awaitEnd() {
    this.#setTimer("end", END_LIMIT_MS, () => this.#giveUp("network_lost"));
  }

  close() {
    this.#isOver = true;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    window.removeEventListener("online", this.#tryNow);
    this.#receipts.close();
    this.#wakeSource();
    this.#leaveSocket();
  }

  get #waitingBytes() {
    return this.#resume === null ? (this.#socket?.bufferedAmount ?? 0) : this.#log.waitingBytes;
  }

  #say(message) {
    this.#give(JSON.stringify(message));
  }

  /** What a socket that is closing does not take is sent again on the next one. */
  #give(data) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  #setTimer(name, ms, act) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(act, ms);
  }

  // --- a connection ---

  #open() {
    try {
      this.#token = this.#askToken();
    } catch (error) {
      this.#finish(error);
      return;
    }
    if (!isToken(this.#token ?? "")) {
      this.#fail("unauthenticated");
      return;
    }
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const protocols = [PROTOCOL, `bearer.${this.#token}`];
    if (this.#resume) protocols.push(`resume.${this.#resume.key}`);
    this.#isAccepted = false;
    this.#socket = new WebSocket(`${scheme}//${location.host}/v1/stream`, protocols);
    this.#socket.onopen = () => this.#greet();
    this.#socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    this.#socket.onclose = ({ code }) => this.#lose(code);
    const limitMs = Math.min(OPEN_LIMIT_MS, this.#absence.leftMs);
    this.#setTimer("open", limitMs, () => this.#lose(1006));
  }

  #greet() {
    this.#isAccepted = this.#wasAccepted = true;
    if (this.#resume) {
      this.#receipts.settle();
      this.#say({ type: "resume", events: this.#receipts.events });
    } else {
      this.#say({ type: "start", ...this.#start, resumable: true });
    }
  }

  /** @param {number} [code] none: for good */
  #leaveSocket(code = 1000) {
    this.#isOnLine = false;
    clearTimeout(this.#timers.open);
    clearTimeout(this.#timers.watch);
    if (this.#socket === null) return;
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close(code); // on a dead network its end would not come: nobody waits for it
  }

  /** The server has so many bytes: what comes after them goes to it, again or for the first time. */
  #goOnLine(bytes) {
    if (!this.#log.has(bytes)) {
      this.#fail("bad_message");
      return;
    }
    clearTimeout(this.#timers.open);
    this.#absence.end();
    this.#isOnLine = true;
    this.#log.receive(bytes);
    for (const block of this.#log.from(bytes)) this.#give(block);
    if (this.#newerToken) this.#say({ type: "refresh", token: this.#newerToken });
    if (this.#isStopped) this.#say({ type: "stop" });
    if (this.#resume) this.#watch();
    else this.#log.receive(Infinity); // nobody will ask for it again
    this.#receiveConnection("connected", this.#absence.state);
  }

  /** A connection that is only half there closes after minutes, if ever. */
  #watch() {
    const isLive = !this.#isPatient && !this.#isStopped;
    const limitMs = isLive ? SILENT_LIMIT_MS.live : SILENT_LIMIT_MS.patient;
    const isAnswerDue = this.#log.waitingBytes > 0 || this.#isStopped;
    const isSilent = performance.now() - this.#heardAtMs > limitMs;
    if (isAnswerDue && isSilent) this.#lose(1006);
    else this.#setTimer("watch", WATCHED_MS, () => this.#watch());
  }

  // --- what the server says ---

  #receive(event) {
    this.#heardAtMs = performance.now();
    if (this.#isStopped) this.#awaitEnd();
    if (event.type === "ready") this.#becomeReady(event);
    else if (event.type === "resumed") this.#goOnLine(event.bytes);
    else this.#absence.forget();
    if (event.type === "audio_received") {
      this.#log.receive(event.bytes);
      this.#wakeSource();
    }
    if (UNCOUNTED.includes(event.type) || this.#isOver) return;
    if (event.type !== "ready") this.#count(event);
    this.#receiveEvent(event);
    if (event.type === "ended") this.#finish(this.#error);
  }

  #becomeReady(event) {
    this.#resume = event.resume ?? null;
    if (this.#resume) this.#absence = new Absence(this.#resume.grace_s * 1000);
    this.#goOnLine(0);
    this.#settleReady.resolve();
  }

  #count(event) {
    if (event.type === "error") this.#error ??= new StreamError(event.code, event.message);
    if (["token_refreshed", "refresh_refused"].includes(event.type)) this.#newerToken = null;
    if (this.#resume) this.#receipts.add(event.type === "ended");
  }

  #tellEvents(events) {
    if (this.#isOnLine) this.#say({ type: "events_received", events });
    return this.#isOnLine;
  }

  // --- a connection that is lost ---

  async #lose(closeCode) {
    const isDenied = !this.#isAccepted;
    this.#leaveSocket(RETURNING);
    this.#absence.begin();
    if (this.#error) {
      this.#finish(this.#error);
    } else if (isDenied) {
      const reason = await reasonOfDenial(this.#token, this.#resume?.key);
      if (this.#isOver) return;
      const isInVain = reason.isFinal || !this.#wasAccepted;
      if (isInVain && this.#wasAccepted) this.#receiveConnection("lost", this.#absence.state);
      if (isInVain) this.#finish(new StreamError(reason.code, reason.message));
      else this.#tryLater();
    } else if (BREAKS.includes(closeCode) && this.#resume !== null) {
      this.#tryLater();
    } else {
      this.#giveUp(closeCode === SESSION_GONE ? "session_gone" : "network_lost");
    }
  }

  #tryLater() {
    const pauseMs = this.#absence.nextPauseMs();
    this.#receiveConnection("reconnecting", this.#absence.state);
    this.#setTimer("pause", pauseMs, this.#tryNow);
  }

  /** When the pause is over, or the network is there again. */
  #tryNow = () => {
    if (this.#timers.pause === 0) return;
    clearTimeout(this.#timers.pause);
    this.#timers.pause = 0;
    if (this.#absence.leftMs > 0) this.#open();
    else this.#giveUp(this.#resume ? "session_gone" : "network_lost");
  };

  // --- the end ---

  #giveUp(code) {
    this.#receiveConnection("lost", this.#absence.state);
    this.#fail(code);
  }

  #fail(code) {
    this.#finish(this.#error ?? new StreamError(code));
  }

  /** @param {Error | null} error null when the server has said all */
  #finish(error) {
    this.close();
    if (error === null) this.#settleDone.resolve();
    else this.#settleDone.reject(error);
    this.#settleReady.reject(error ?? new StreamError("unknown"));
  }
}
