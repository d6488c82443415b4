/**
 * Events and findings in, rows and lines of them out, the same wherever they are shown.
 */

import { foreign, icon, linkTo, make } from "./admin_elements.js";
import { count, fullMoment, moment } from "./admin_format.js";
import { placeOf } from "./admin_filters.js";
import { texts } from "./admin_texts.js";

const SEVERITY_ICONS = { critical: "bad", high: "bad", medium: "warning", low: "unknown" };
const MOST_LINKS = 8;
const FINDING = "suspicion.found";

/** What people call an event; one of a newer server keeps its own name. */
export function eventWords(name) {
  return Object.hasOwn(texts.events, name) ? texts.events[name] : name;
}

function isGrave({ event, outcome, detail }) {
  return event === FINDING ? ["critical", "high"].includes(detail?.severity) : outcome !== "success";
}

/** How often, of what is counted in one row. */
function times(event) {
  const n = event.detail?.n_refused;
  return Number.isInteger(n) ? make("span", { class: "aside times" }, ` ${texts.times(count(n))}`) : null;
}

export function timeOf(atMs) {
  const iso = new Date(atMs).toISOString();
  return make("time", { datetime: iso, title: `${fullMoment(atMs)} UTC` }, moment(atMs));
}

/** Whether it went well, for eyes and ears; of a finding, how grave it is. */
export function outcomeMark({ event, outcome, detail }) {
  if (event === FINDING) {
    const known = severityOf(detail?.severity);
    return make("span", { class: `outcome outcome-finding severity-${known}` },
      icon(SEVERITY_ICONS[known] ?? "unknown"),
      make("span", { class: "unseen" }, texts.severities[known]));
  }
  const isBad = outcome !== "success";
  return make("span", { class: `outcome ${isBad ? "outcome-failure" : "outcome-success"}` },
    isBad ? icon("warning") : make("span", { class: "dot", "aria-hidden": "true" }),
    make("span", { class: "unseen" }, texts.outcomes[outcome] ?? outcome));
}

/** A row of the list; each cell that can be asked for leads to all like it. */
export function eventRow(event) {
  const like = (field, value, shown) => (value === null || value === undefined ? "" : linkTo(
    placeOf("events", { [field]: value }), { class: "like", "data-key": `${event.seq} ${field}` },
    foreign(shown ?? value)));
  return make("tr", { role: "row", class: isGrave(event) ? "failed" : null, "data-seq": event.seq },
    make("td", { role: "cell", class: "cell-time" }, timeOf(event.at_ms)),
    make("th", { role: "rowheader", scope: "row", class: "cell-event" }, outcomeMark(event), " ",
      linkTo(`#events/${event.seq}`, { "data-key": `${event.seq}` }, eventWords(event.event)), times(event),
      make("code", { class: "raw-name" }, event.event)),
    make("td", { role: "cell", class: "cell-subject" }, like("subject", event.subject)),
    make("td", { role: "cell", class: "cell-address" }, like("address", event.address)),
    make("td", { role: "cell", class: "cell-reason" }, like("reason", event.reason)),
    make("td", { role: "cell", class: "cell-session" },
      like("session_id", event.session_id, event.session_id?.slice(0, 8))));
}

/** A table of events around `body`. Its roles are named: on a narrow screen it is laid out as a grid,
 * and would be no table any more to those who hear it.
 */
export function eventTable(name, body) {
  body.setAttribute("role", "rowgroup");
  return make("table", { class: "event-table", role: "table", "aria-label": name },
    make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, texts.columns.map((column) =>
      make("th", { role: "columnheader", scope: "col" }, column)))),
    body);
}

/** A line of the feed on the overview. */
export function eventLine(event) {
  const about = [event.subject, event.address, event.reason].filter(Boolean);
  return make("li", { class: isGrave(event) ? "failed" : null, "data-seq": event.seq },
    timeOf(event.at_ms), outcomeMark(event),
    make("span", { class: "line-text" },
      linkTo(`#events/${event.seq}`, { "data-key": `${event.seq}` }, eventWords(event.event)), times(event),
      about.map((each) => [" ", foreign(each, { class: "about" })])));
}

function severityOf(severity) {
  return Object.hasOwn(texts.severities, severity) ? severity : "low";
}

export function severityMark(severity) {
  const known = severityOf(severity);
  return make("span", { class: `severity severity-${known}` },
    icon(SEVERITY_ICONS[known] ?? "unknown"), texts.severities[severity] ?? severity);
}

/** A finding: how grave, what the rule says, whom it is about, and the events it was found in. */
export function findingItem(finding, { isShort = false, isGrouped = false } = {}) {
  const who = [["subject", finding.subject], ["address", finding.address]]
    .filter(([, value]) => value)
    .map(([field, value]) => linkTo(placeOf("events", { [field]: value }), {}, foreign(value)));
  const shown = finding.seqs.slice(0, isShort ? 3 : MOST_LINKS);
  const more = finding.n_events - shown.length;
  return make("li", { class: "finding" },
    make("p", { class: "finding-head" }, isGrouped ? null : severityMark(finding.severity),
      linkTo(`#events/${Number(finding.seq)}`, { class: "rule" },
        make("code", {}, foreign(finding.rule))), timeOf(finding.at_ms)),
    make("p", { class: "finding-text" }, foreign(finding.sentence)),
    make("p", { class: "finding-links" }, who,
      make("span", { class: "aside" }, texts.findingEvents(finding.n_events)),
      shown.map((seq) => linkTo(`#events/${seq}`, { class: "seq" }, `#${seq}`)),
      more > 0 && !isShort ? make("span", { class: "aside" }, texts.moreEvents(more)) : null,
      finding.is_block ? make("span", { class: "aside" }, texts.isBlocked) : null));
}
