/**
 * What the rules have found, the gravest first, each with its rule and its events.
 */

import { linkTo, make, refill } from "./admin_elements.js";
import { placeOf } from "./admin_filters.js";
import { findingItem, severityMark } from "./admin_rows.js";
import { texts } from "./admin_texts.js";

const GRAVEST_FIRST = Object.freeze(["critical", "high", "medium", "low", "info"]);

export class Findings {
  #closed = new AbortController();

  constructor(context) {
    this.context = context;
    this.period = make("div", { class: "segments", role: "group", "aria-label": texts.period });
    this.list = make("div");
    this.element = make("div", { class: "findings-view" },
      make("div", { class: "place-head" },
        make("h1", { tabindex: -1 }, texts.titles.findings), this.period),
      this.list);
  }

  async open(params) {
    const hours = Number(params.hours) in texts.periods ? Number(params.hours) : 168;
    refill(this.period, Object.entries(texts.periods).map(([value, words]) =>
      linkTo(placeOf("findings", { hours: value }), {
        "aria-current": Number(value) === hours ? "true" : null, "data-key": value,
      }, words)));
    const report = await this.context.api.get("admin/report", { hours }, this.#closed.signal);
    if (this.#closed.signal.aborted) return;
    this.context.meet(report.me);
    const groups = GRAVEST_FIRST.map((severity) => [
      severity, report.findings.filter((each) => each.severity === severity)
        .sort((one, other) => other.at_ms - one.at_ms),
    ]).filter(([, findings]) => findings.length > 0);
    refill(this.list, groups.length === 0
      ? make("p", { class: "card nothing" }, texts.noFindings)
      : groups.map(([severity, findings]) => make("section", { class: "card" },
        make("h2", {}, severityMark(severity), " ",
          make("span", { class: "count" }, String(findings.length))),
        make("ul", { class: "findings" },
          findings.map((each) => findingItem(each, { isGrouped: true }))))));
  }

  close() {
    this.#closed.abort();
  }
}
