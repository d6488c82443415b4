/**
 * Lines of a stream that does not end in, events as they happen out; begun again when it breaks.
 *
 * The server sends a heartbeat; when none comes the stream is dead, however open it looks. Each
 * beginning says after which event, so that none is missed or seen twice.
 */

const SILENCE_MS = 25_000;
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const FOR_GOOD = Object.freeze(["unauthenticated", "token_expired", "revoked", "token_scope", "forbidden"]);

export class Feed {
  #stopped = new AbortController();

  /** `on`: {event, skipped, state}. Runs until `stop`. */
  constructor(api, chosen, afterSeq, on) {
    Object.assign(this, { api, chosen, afterSeq, on });
    this.#run();
  }

  stop() {
    this.#stopped.abort();
  }

  async #run() {
    let wait = FIRST_WAIT_MS;
    while (!this.#stopped.signal.aborted) {
      const began = Date.now();
      this.on.state("connecting");
      try {
        await this.#once();
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        if (FOR_GOOD.includes(error.code)) return void this.on.state("ended", error.code);
        if (error.code === "overloaded") wait = LONGEST_WAIT_MS;
        this.on.state(error.code === "overloaded" ? "refused" : "lost");
      }
      if (Date.now() - began > LONGEST_WAIT_MS) wait = FIRST_WAIT_MS;
      await this.#sleep(wait * (0.75 + Math.random() / 2));
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }

  async #once() {
    const one = new AbortController();
    const abort = () => one.abort();
    this.#stopped.signal.addEventListener("abort", abort);
    let silence = setTimeout(abort, SILENCE_MS);
    try {
      const params = { ...this.chosen, after: this.afterSeq };
      const response = await this.api.open("admin/feed", params, one.signal);
      this.on.state("open");
      let rest = "";
      for await (const text of textsOf(response.body)) {
        clearTimeout(silence);
        silence = setTimeout(abort, SILENCE_MS);
        const lines = (rest + text).split("\n");
        rest = lines.pop();
        for (const line of lines) if (line !== "") this.#receive(JSON.parse(line));
      }
      this.on.state("lost");
    } finally {
      clearTimeout(silence);
      this.#stopped.signal.removeEventListener("abort", abort);
      one.abort();
    }
  }

  #receive(message) {
    if (message.type === "event") {
      this.afterSeq = Math.max(this.afterSeq, message.event.seq);
      this.on.event(message.event);
    } else if (message.type === "skipped") {
      this.on.skipped(message.n_events);
    } else if (message.type === "heartbeat") {
      this.afterSeq = Math.max(this.afterSeq, message.seq);
    } else if (message.type === "end") {
      throw Object.assign(new Error("ended"), { code: message.reason });
    }
  }

  #sleep(lengthMs) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, lengthMs);
      this.#stopped.signal.addEventListener("abort", () => {
        clearTimeout(timer);
        resolve();
      }, { once: true });
    });
  }
}

/** Not every browser lets a stream be walked through by `for await`. */
async function* textsOf(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
