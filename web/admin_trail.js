/**
 * How the trail, the model and the keys are, as a list of checks in words; and all that is known of
 * them.
 */

import { draw, foreign, icon, make, refill } from "./admin_elements.js";
import { ago, count, duration, fullMoment } from "./admin_format.js";
import { texts } from "./admin_texts.js";

const OVERDUE_MS = 2 * 3_600_000;
const SLOW_MS = 1_000;
const OLD_KEY_MS = 180 * 86_400_000;
const WORST_FIRST = Object.freeze(["bad", "warning", "good"]);
const REFRESH_MS = 15_000;
const SHOWN_LAST = 0.02;

/** @returns {{state: "good" | "warning" | "bad", words: string}[]} */
export function checksOf({ chain, keys, at_ms: atMs }) {
  const { checks } = texts;
  const either = (isGood, state, good, bad) => ({ state: isGood ? "good" : state, words: isGood ? good : bad });
  const found = [either(!chain.is_failing, "bad", checks.failingGood, checks.failingBad)];
  if (chain.checkpoint === null) {
    found.push({ state: chain.newest_seq > 0 ? "warning" : "good", words: checks.checkpointNone });
  } else {
    const age = ago(chain.checkpoint.at_ms, atMs);
    const isFresh = atMs - chain.checkpoint.at_ms < OVERDUE_MS
      || chain.newest_seq <= chain.checkpoint.size; // nothing has come since
    found.push(either(isFresh, "warning", checks.checkpointGood(age), checks.checkpointBad(age)));
  }
  found.push(either(chain.n_lost === 0, "bad", checks.lostGood, checks.lostBad(count(chain.n_lost))));
  found.push(either(chain.gaps === 0, "warning", checks.gapsGood, checks.gapsBad(chain.gaps)));
  found.push(either(!chain.is_auditor_key_here, "warning", checks.keyGood, checks.keyBad));
  const lag = duration(chain.write_lag_ms);
  found.push(either(chain.write_lag_ms < SLOW_MS, "warning", checks.lagGood(lag), checks.lagBad(lag)));
  return [...found, ...keyChecksOf(keys, atMs)];
}

function keyChecksOf(keys, atMs) {
  const { checks } = texts;
  const found = [];
  if (keys?.slots) {
    found.push(keys.slots.length > 1
      ? { state: "good", words: checks.slotsGood(keys.slots.length) }
      : { state: "warning", words: checks.slotsBad });
  }
  if (keys?.signing_at_ms) {
    const age = atMs - keys.signing_at_ms;
    const isYoung = age < OLD_KEY_MS;
    const words = (isYoung ? checks.signingGood : checks.signingBad)(duration(age));
    found.push({ state: isYoung ? "good" : "warning", words });
  }
  return found;
}

export function worstOf(checks) {
  return WORST_FIRST.find((state) => checks.some((check) => check.state === state)) ?? "good";
}

export function checkItem({ state, words }) {
  return make("li", { class: `check check-${state}` }, icon(state),
    make("span", { class: "unseen" }, `${texts.checkStates[state]}: `), words);
}

export class Trail {
  #closed = new AbortController();

  constructor(context) {
    this.context = context;
    this.picture = make("div", { class: "chain-picture" });
    this.checks = make("ul", { class: "checks" });
    this.chainFacts = make("dl", { class: "facts" });
    this.keyFacts = make("dl", { class: "facts" });
    this.element = make("div", { class: "trail-view" },
      make("div", { class: "place-head" }, make("h1", { tabindex: -1 }, texts.titles.trail)),
      make("div", { class: "stack" },
        make("section", { class: "card" }, make("h2", {}, texts.chain), this.picture, this.chainFacts,
          make("p", { class: "aside" }, texts.verifyHint, " ", make("code", {}, "run.py audit verify"))),
        make("section", { class: "card" }, make("h2", {}, texts.condition), this.checks)),
      make("section", { class: "card" }, make("h2", {}, texts.model), this.keyFacts));
  }

  async open() {
    await this.#refresh();
    const timer = setInterval(() => document.hidden || this.#refresh().catch((error) => {
      if (!this.#closed.signal.aborted && this.context.isRefusal(error)) this.context.refuse(error.code);
    }), REFRESH_MS);
    this.#closed.signal.addEventListener("abort", () => clearInterval(timer));
  }

  close() {
    this.#closed.abort();
  }

  async #refresh() {
    const state = await this.context.api.get("admin/state", {}, this.#closed.signal);
    if (this.#closed.signal.aborted) return;
    this.context.meet(state.me);
    const { chain, keys } = state;
    refill(this.picture, chainPicture(chain));
    refill(this.checks, checksOf(state).map(checkItem));
    refill(this.chainFacts, facts({
      newest_seq: count(chain.newest_seq),
      checkpoint: chain.checkpoint === null ? null
        : `${count(chain.checkpoint.size)}, ${fullMoment(chain.checkpoint.at_ms)}`,
      segments: chain.segments === undefined ? null : count(chain.segments),
    }));
    refill(this.keyFacts, facts({
      model: keys?.model, pack_version: keys?.pack_version, publisher: keys?.publisher, kek: keys?.kek,
      slots: keys?.slots?.join(", "), opened: keys?.opened_at_ms ? fullMoment(keys.opened_at_ms) : null,
      signing_key_id: keys?.signing_key_id,
      signing: keys?.signing_at_ms ? fullMoment(keys.signing_at_ms) : null,
      version: keys?.server_version,
    }));
  }
}

/** What is signed and what has come since, to scale, but for an end that can always be seen. */
function chainPicture(chain) {
  const signed = chain.checkpoint?.size ?? 0;
  const since = Math.max(0, chain.newest_seq - signed);
  const share = since === 0 ? 0 : Math.max(SHOWN_LAST, Math.min(1, since / Math.max(1, chain.newest_seq)));
  const words = texts.chainPicture(count(signed), count(since));
  return [
    draw("svg", { width: "100%", height: 22, role: "img", "aria-label": words },
      draw("rect", { class: "signed", x: 0, y: 4, width: `${(100 * (1 - share)).toFixed(2)}%`, height: 14, rx: 4 }),
      draw("rect", {
        class: "since", x: `${(100 * (1 - share) + (share === 1 ? 0 : 0.4)).toFixed(2)}%`, y: 4,
        width: `${Math.max(0, 100 * share - 0.4).toFixed(2)}%`, height: 14, rx: 4,
      })),
    make("p", { class: "legend", "aria-hidden": "true" },
      make("span", { class: "key-signed" }, texts.signedRows(count(signed))),
      make("span", { class: "key-since" }, texts.sinceRows(count(since)))),
  ];
}

function facts(known) {
  return Object.entries(known)
    .filter(([, value]) => value !== null && value !== undefined && value !== "")
    .map(([name, value]) => make("div", {},
      make("dt", {}, texts.facts[name]), make("dd", {}, foreign(String(value)))));
}
