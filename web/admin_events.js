/**
 * The trail as a list: filters from the address in, the events that are like that out, the newest
 * first; the newest page goes on by itself, unless it is paused.
 */

import { icon, make, refill } from "./admin_elements.js";
import { Feed } from "./admin_feed.js";
import { Filters, chosenOf, placeOf } from "./admin_filters.js";
import { count } from "./admin_format.js";
import { eventRow, eventTable } from "./admin_rows.js";
import { texts } from "./admin_texts.js";

const PAGE_ROWS = 50;
const MOST_ROWS = 300;
const MOST_WAITING = 200;
const MEGABYTE = 1_000_000;
const SAVED_MS = 10_000;
const SUFFIXES = Object.freeze({ ndjson: "ndjson", csv: "csv", ocsf: "ocsf.ndjson" });

export class Events {
  #closed = new AbortController();
  #feed = null;
  #chosen = {};
  #waiting = [];
  #isPaused = false;

  constructor(context) {
    this.context = context;
    this.filters = new Filters((chosen) => {
      const place = placeOf("events", chosen);
      if (location.hash === place) context.again();
      else location.hash = place;
    });
    this.body = make("tbody");
    this.pages = make("nav", { class: "pages", "aria-label": texts.titles.events });
    this.nothing = make("p", { class: "nothing", hidden: true }, texts.noEvents);
    this.note = make("p", { class: "aside", role: "status" });
    this.feedState = make("span", { class: "feed-state", "data-state": "connecting" });
    this.pause = make("button", {
      type: "button", "aria-pressed": "false", on: { click: () => this.#togglePause() },
    });
    this.liveBox = make("div", { class: "live-box", hidden: true }, this.feedState, this.pause);
    this.element = make("div", { class: "events" },
      make("div", { class: "place-head" },
        make("h1", { tabindex: -1 }, texts.titles.events), this.liveBox, this.#exports()),
      this.filters.element, this.note,
      make("div", { class: "card table-card" },
        eventTable(texts.titles.events, this.body), this.nothing),
      this.pages);
  }

  async open(params) {
    this.#chosen = chosenOf(params);
    this.filters.show(this.#chosen);
    const before = params.before ?? "";
    const asked = { ...this.#chosen, before, limit: PAGE_ROWS };
    const answer = await this.context.api.get("admin/events", asked, this.#closed.signal)
      .catch((error) => {
        this.filters.mend(error.parameter);
        throw error;
      });
    if (this.#closed.signal.aborted) return;
    this.context.meet(answer.me);
    refill(this.body, answer.events.map(eventRow));
    this.nothing.hidden = answer.events.length > 0;
    this.#showPages(answer, before);
    if (before === "" && !this.#chosen.until) this.#follow(answer.events[0]?.seq ?? answer.newest_seq ?? 0);
  }

  close() {
    this.#closed.abort();
    this.#feed?.stop();
  }

  #showPages({ events, has_more: hasMore }, before) {
    const link = (params, words) => make("a", { href: placeOf("events", { ...this.#chosen, ...params }) }, words);
    refill(this.pages,
      before === "" ? null : link({ before: "" }, texts.newer),
      hasMore ? link({ before: events.at(-1).seq }, texts.older) : null);
  }

  #follow(lastSeq) {
    this.liveBox.hidden = false;
    this.#showPause();
    this.#feed = new Feed(this.context.api, this.#chosen, lastSeq, {
      state: (state, code) => {
        this.feedState.dataset.state = state;
        this.#showFeedState();
        if (code) this.context.refuse(code);
      },
      skipped: (n) => {
        this.note.textContent = texts.skipped(count(n));
      },
      event: (event) => {
        this.#waiting.push(event);
        if (this.#waiting.length > MOST_WAITING) this.#waiting.shift();
        if (this.#isPaused) this.#showPause();
        else this.#showWaiting();
      },
    });
  }

  #showWaiting() {
    for (const event of this.#waiting.splice(0)) {
      const row = eventRow(event);
      row.classList.add("fresh");
      this.body.prepend(row);
    }
    this.nothing.hidden = true;
    while (this.body.children.length > MOST_ROWS) this.body.lastChild.remove();
  }

  #togglePause() {
    this.#isPaused = !this.#isPaused;
    if (!this.#isPaused) this.#showWaiting();
    this.#showPause();
    this.#showFeedState();
  }

  #showPause() {
    const n = this.#waiting.length;
    this.pause.setAttribute("aria-pressed", String(this.#isPaused));
    refill(this.pause, icon(this.#isPaused ? "play" : "pause"),
      this.#isPaused ? texts.resume : texts.pause,
      this.#isPaused && n > 0 ? make("span", { class: "count" }, texts.waiting(count(n))) : null);
  }

  #showFeedState() {
    const state = this.#isPaused ? "paused" : this.feedState.dataset.state;
    this.feedState.classList.toggle("paused", this.#isPaused);
    this.feedState.textContent = texts.feedStates[state];
  }

  // --- keeping a copy ---

  #exports() {
    return make("div", { class: "exports", role: "group", "aria-label": texts.export },
      Object.entries(texts.exportKinds).map(([kind, words]) => make("button", {
        type: "button", "aria-label": texts.exportAs(words), on: { click: () => this.#export(kind) },
      }, icon("down"), words)));
  }

  async #export(kind) {
    const buttons = [...this.element.querySelectorAll(".exports button")];
    for (const button of buttons) button.disabled = true;
    try {
      const params = { ...this.#chosen, format: kind };
      const response = await this.context.api.open("admin/export", params, this.#closed.signal);
      const blob = await this.#collected(response);
      save(blob, `earwitness-trail-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}.${SUFFIXES[kind]}`);
      this.note.textContent = texts.exportDone;
    } catch (error) {
      if (this.#closed.signal.aborted) return;
      const isKnown = this.context.isRefusal(error) || error.code === "overloaded";
      this.context.tell(isKnown ? error.code : "export_failed");
      this.note.textContent = "";
    } finally {
      for (const button of buttons) button.disabled = false;
    }
  }

  async #collected(response) {
    const parts = [];
    let n = 0;
    const reader = response.body.getReader();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return new Blob(parts, { type: response.headers.get("content-type") ?? "text/plain" });
      parts.push(value);
      n += value.length;
      this.note.textContent = texts.exporting(count(Math.ceil(n / MEGABYTE)));
    }
  }
}

function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), SAVED_MS);
}
