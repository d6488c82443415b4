/**
 * What is looked for, as the address of this page holds it in, as the server is asked and as fields
 * of a form out, and back: a filter can be linked to.
 */

import { foreign, make, refill } from "./admin_elements.js";
import { fieldOfMoment, momentOfField } from "./admin_format.js";
import { texts } from "./admin_texts.js";

const TEXT_FIELDS = Object.freeze(["subject", "session_id", "address", "reason", "token_hash"]);
const TIME_FIELDS = Object.freeze(["since", "until"]);
export const FIELDS = Object.freeze(["event", "outcome", ...TEXT_FIELDS, ...TIME_FIELDS]);

/** Where such events are listed: #events?subject=… */
export function placeOf(name, params) {
  const kept = Object.entries(params).filter(([, value]) => value !== null && value !== "");
  return kept.length === 0 ? `#${name}` : `#${name}?${new URLSearchParams(kept)}`;
}

/** As the server is asked: times in the address are milliseconds, and so they are there. */
export function chosenOf(params) {
  const chosen = {};
  for (const field of FIELDS) if (params[field]) chosen[field] = params[field];
  return chosen;
}

export class Filters {
  /** `onChange(chosen)` when somebody has asked for others. */
  constructor(onChange) {
    this.onChange = onChange;
    this.fields = Object.fromEntries(FIELDS.map((name) => [name, newField(name)]));
    this.chips = make("ul", { class: "chips", "aria-label": texts.filters });
    this.summary = make("summary", {}, texts.filters);
    const names = make("datalist", { id: "event-names" },
      Object.entries(texts.events).map(([name, words]) => make("option", { value: name }, words)));
    const form = make("form", {
      class: "filter-form", on: {
        submit: (event) => {
          event.preventDefault();
          this.onChange(this.#read());
        },
      },
    },
    FIELDS.map((name) => make("div", { class: "filter" },
      make("label", { for: `filter-${name}` }, texts.fields[name]), this.fields[name])),
    names,
    make("div", { class: "filter-do" },
      make("button", { type: "submit", class: "main" }, texts.apply),
      make("button", { type: "button", on: { click: () => this.onChange({}) } }, texts.clear)));
    this.element = make("search", { class: "filters" },
      make("details", {}, this.summary, form), this.chips);
  }

  show(chosen) {
    for (const [name, field] of Object.entries(this.fields)) {
      const value = chosen[name] ?? "";
      field.value = TIME_FIELDS.includes(name) && value !== "" ? fieldOfMoment(Number(value)) : value;
    }
    for (const field of Object.values(this.fields)) field.removeAttribute("aria-invalid");
    const on = Object.entries(chosen);
    this.summary.textContent = on.length === 0 ? texts.filters : texts.filtersOn(on.length);
    this.chips.hidden = on.length === 0;
    refill(this.chips, on.map(([name, value]) => make("li", {}, make("button", {
      type: "button", class: "chip", "data-key": `chip ${name}`,
      "aria-label": `${texts.without(texts.fields[name])}: ${said(name, value)}`,
      on: { click: () => this.onChange({ ...chosen, [name]: "" }) },
    }, make("span", {}, `${texts.fields[name]} `), foreign(said(name, value)),
    make("span", { class: "chip-x", "aria-hidden": "true" }, "×")))));
  }

  /** The one that is wrong is in sight and can be mended. */
  mend(name) {
    if (!Object.hasOwn(this.fields, name ?? "")) return;
    this.fields[name].setAttribute("aria-invalid", "true");
    this.element.querySelector("details").open = true;
  }

  #read() {
    const chosen = {};
    for (const [name, field] of Object.entries(this.fields)) {
      const value = field.value.trim();
      const atMs = TIME_FIELDS.includes(name) ? momentOfField(value) : null;
      chosen[name] = TIME_FIELDS.includes(name) ? (atMs === null ? "" : String(atMs)) : value;
    }
    return chosen;
  }
}

function said(name, value) {
  const moment = TIME_FIELDS.includes(name) ? fieldOfMoment(Number(value)).replace("T", " ") : "";
  return moment || value;
}

function newField(name) {
  const id = `filter-${name}`;
  if (name === "outcome") {
    return make("select", { id }, make("option", { value: "" }, texts.any),
      Object.entries(texts.outcomes).map(([value, words]) => make("option", { value }, words)));
  }
  const type = TIME_FIELDS.includes(name) ? "datetime-local" : "text";
  const attributes = { id, type, autocomplete: "off", autocapitalize: "off", spellcheck: "false" };
  return name === "event"
    ? make("input", { ...attributes, list: "event-names", placeholder: "session.*", title: texts.fieldHelp })
    : make("input", { ...attributes, maxlength: type === "text" ? 256 : null });
}
