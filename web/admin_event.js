/**
 * One event, with every field that the trail holds of it, and ways to all that is like it.
 */

import { foreign, linkTo, make, refill } from "./admin_elements.js";
import { placeOf } from "./admin_filters.js";
import { count, duration } from "./admin_format.js";
import { eventRow, eventTable, eventWords, outcomeMark } from "./admin_rows.js";
import { texts } from "./admin_texts.js";

const COLUMNS = Object.freeze([
  "seq", "at", "event", "outcome", "session_id", "subject", "token_hash", "address", "reason",
  "audio_ms", "bytes_received",
]);
const AROUND = 10;
const LIKE = Object.freeze([
  ["session_id", "sameSession"], ["subject", "sameSubject"], ["address", "sameAddress"],
  ["token_hash", "sameToken"],
]);

export class EventView {
  #closed = new AbortController();

  constructor(context) {
    this.context = context;
    this.title = make("h1", { tabindex: -1 }, texts.titles.event);
    this.body = make("div", { class: "event-body" });
    this.element = make("div", { class: "event-view" },
      make("div", { class: "place-head" }, this.title,
        linkTo("#events", { class: "back" }, texts.backToEvents)),
      this.body);
  }

  async open({ seq }) {
    const { api } = this.context;
    this.title.textContent = texts.eventNumber(count(Number(seq)));
    const around = Number(seq) + AROUND / 2;
    const [event, near] = await Promise.all([
      api.get(`admin/events/${Number(seq)}`, {}, this.#closed.signal).catch((error) => {
        if (error.code === "not_found") return null;
        throw error;
      }),
      api.get("admin/events", { before: around, limit: AROUND }, this.#closed.signal),
    ]);
    if (this.#closed.signal.aborted) return;
    this.context.meet(near.me);
    if (event === null) refill(this.body, make("p", { class: "nothing" }, texts.noSuchEvent));
    else this.#show(event, near.events);
  }

  close() {
    this.#closed.abort();
  }

  #show(event, near) {
    const facts = COLUMNS.filter((name) => event[name] !== null && event[name] !== undefined)
      .map((name) => fact(texts.fieldNames[name], shown(name, event[name])));
    const details = Object.entries(event.detail ?? {})
      .map(([name, value]) => fact(titled(name), value === null ? texts.none : value));
    const like = LIKE.filter(([field]) => event[field])
      .map(([field, words]) => make("li", {},
        linkTo(placeOf("events", { [field]: event[field] }), {}, texts[words])));
    const seqs = String(event.detail?.seqs ?? "").split(" ").filter((each) => /^\d+$/.test(each));
    refill(this.body,
      make("section", { class: "card", "data-outcome": event.outcome },
        make("h2", { class: "event-name" }, outcomeMark(event), eventWords(event.event)),
        make("dl", { class: "facts" }, facts, details)),
      make("section", { class: "card" }, make("h2", {}, texts.same),
        make("ul", { class: "links" }, like,
          seqs.map((seq) => make("li", {}, linkTo(`#events/${seq}`, {}, texts.eventNumber(seq)))),
          event.seq > 1 ? make("li", {}, linkTo(`#events/${event.seq - 1}`, {}, texts.former)) : null,
          make("li", {}, linkTo(`#events/${event.seq + 1}`, {}, texts.next)))),
      make("section", { class: "card table-card whole" }, make("h2", {}, texts.around),
        eventTable(texts.around, make("tbody", {}, near.map((each) => {
            const row = eventRow(each);
            if (each.seq === event.seq) row.setAttribute("aria-current", "true");
            return row;
          })))));
  }
}

function shown(name, value) {
  if (name === "audio_ms") return `${duration(value)} (${count(value)} ms)`;
  if (name === "seq" || name === "bytes_received") return count(value);
  if (name === "outcome") return texts.outcomes[value] ?? value;
  if (name === "at") return value.replace("T", " ").replace(/(?:Z|\+00:00)$/, "");
  return value;
}

function titled(name) {
  if (Object.hasOwn(texts.detailNames, name)) return texts.detailNames[name];
  return name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
}

function fact(name, value) {
  return make("div", {}, make("dt", {}, foreign(name)), make("dd", {}, foreign(String(value))));
}
