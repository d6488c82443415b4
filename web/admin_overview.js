/**
 * The first thing that is seen: is there anything to look at, how much was heard and refused, by
 * whom, how soon, who speaks now, and events as they happen.
 *
 * The cards are made once and filled again and again, so that nothing jumps under a pointer or
 * loses the focus.
 */

import { showBars, showLatencies } from "./admin_bars.js";
import { foreign, icon, linkTo, make, refill } from "./admin_elements.js";
import { Feed } from "./admin_feed.js";
import { placeOf } from "./admin_filters.js";
import { ago, change, clock, count, duration, hours, moment } from "./admin_format.js";
import { eventLine, findingItem, severityMark } from "./admin_rows.js";
import { checksOf, checkItem, worstOf } from "./admin_trail.js";
import { texts } from "./admin_texts.js";
import { Trend } from "./admin_trend.js";

const REFRESH_MS = 15_000;
const HOUR_MS = 3_600_000;
const PAINTED = "totals-painted";
const MOST_BARS = 7;
const MOST_LINES = 12;
const MOST_LISTED = 4;
const MOST_ASKED = 60;
const OWN = "trail.read";
const GRAVEST_FIRST = Object.freeze(["critical", "high", "medium", "low", "info"]);

export class Overview {
  #closed = new AbortController();
  #feed = null;
  #hours = 24;

  constructor(context) {
    this.context = context;
    this.state = make("div", { class: "state" });
    this.period = make("div", { class: "segments", role: "group", "aria-label": texts.period });
    this.trends = {
      sessions: this.#trend("sessions", texts.sessions, "columns", "accent", 1, count, { event: "session.started" }),
      audio_ms: this.#trend("audio_ms", texts.audio, "area", "second", HOUR_MS, hours, { event: "session.ended" }),
      refusals: this.#trend("refusals", texts.refusals, "columns", "wrong", 1, count, { event: "handshake.refused" }),
    };
    this.findingsTotal = make("p", { class: "big" });
    this.severities = make("ul", { class: "severities" });
    this.findings = make("ul", { class: "findings" });
    this.latencies = make("tbody");
    this.quotas = make("ul", { class: "bars" });
    this.reasons = make("ul", { class: "bars" });
    this.addresses = make("ul", { class: "bars" });
    this.living = make("ul", { class: "living" });
    this.livingCount = make("span", { class: "count" });
    this.checks = make("ul", { class: "checks" });
    this.lines = make("ol", { class: "feed" });
    this.feedState = make("span", { class: "feed-state", "data-state": "connecting" });
    this.element = make("div", { class: "overview" },
      make("div", { class: "place-head" }, make("h1", { tabindex: -1 }, texts.titles.overview), this.period),
      this.state, this.#cards());
  }

  async open(params) {
    this.#hours = Number(params.hours) in texts.periods ? Number(params.hours) : 24;
    refill(this.period, Object.entries(texts.periods).map(([value, words]) =>
      linkTo(placeOf("overview", { hours: value === "24" ? "" : value }), {
        "aria-current": Number(value) === this.#hours ? "true" : null, "data-key": value,
      }, words)));
    await this.#refresh();
    this.#begin();
  }

  close() {
    this.#closed.abort();
    this.#feed?.stop();
  }

  #cards() {
    const { sessions, audio_ms: audio, refusals } = this.trends;
    this.latencyCard = card(texts.latency, "third", make("table", { class: "latencies" },
      make("thead", {}, make("tr", {}, make("td"), make("td"),
        texts.latencyHead.map((head) => make("th", { scope: "col", class: "number" }, head)))),
      this.latencies));
    this.addressCard = card(texts.addresses, "third", this.addresses);
    return make("div", { class: "cards" },
      card(texts.sessions, "quarter", sessions.total, sessions.element),
      card(texts.audio, "quarter", audio.total, audio.element),
      card(texts.refusals, "quarter", refusals.total, refusals.element),
      card(texts.findings, "quarter", this.findingsTotal, this.severities,
        linkTo("#findings", { class: "more" }, texts.allFindings)),
      card(texts.found, "half", this.findings),
      card(texts.newest, "half feed-card", this.feedState, this.lines,
        linkTo("#events", { class: "more" }, texts.allEvents)),
      card(texts.quota, "third", this.quotas),
      card(texts.reasons, "third", this.reasons),
      this.latencyCard, this.addressCard,
      card([texts.livingNow, " ", this.livingCount], "half", this.living,
        linkTo("#sessions", { class: "more" }, texts.allSessions)),
      card(texts.condition, "half", this.checks,
        linkTo("#trail", { class: "more" }, texts.allCondition)));
  }

  #trend(field, name, kind, tone, unit, tell, chosen) {
    const onPick = (since, until) => {
      location.hash = placeOf("events", { ...chosen, since, until });
    };
    const trend = new Trend({ name, kind, tone, unit, tell, onPick });
    trend.total = make("p", { class: "big" });
    return Object.assign(trend, { field, tell });
  }

  async #refresh() {
    const { api } = this.context;
    const asked = [api.get("admin/overview", { hours: this.#hours }, this.#closed.signal)];
    asked.push(api.get("admin/sessions", {}, this.#closed.signal).catch(() => ({ sessions: [] })));
    const overview = await asked[0];
    if (this.#closed.signal.aborted) return;
    this.context.meet(overview.me);
    this.#show(overview);
    const { sessions } = await asked[1];
    if (!this.#closed.signal.aborted) this.#showLiving(sessions);
  }

  #begin() {
    if (this.#closed.signal.aborted) return;
    const refresh = async () => {
      if (document.hidden) return;
      try {
        await this.#refresh();
      } catch (error) {
        if (!this.#closed.signal.aborted) this.#showLost(error);
      }
    };
    const timer = setInterval(refresh, this.context.refreshMs ?? REFRESH_MS);
    const onVisible = () => document.hidden || refresh();
    document.addEventListener("visibilitychange", onVisible, { signal: this.#closed.signal });
    this.#closed.signal.addEventListener("abort", () => clearInterval(timer));
    this.#follow();
    this.#compare();
  }

  async #follow() {
    const newest = await this.context.api.get(
      "admin/events", { limit: MOST_ASKED }, this.#closed.signal,
    ).catch(() => ({ events: [] }));
    if (this.#closed.signal.aborted) return;
    refill(this.lines, newest.events.filter(isShown).slice(0, MOST_LINES).map(eventLine));
    const lastSeq = newest.events[0]?.seq ?? 0;
    this.#feed = new Feed(this.context.api, {}, lastSeq, {
      state: (state, code) => {
        this.feedState.dataset.state = state;
        this.feedState.textContent = texts.feedStates[state];
        if (code) this.context.refuse(code);
      },
      skipped: () => {},
      event: (event) => {
        if (!isShown(event)) return;
        const line = eventLine(event);
        line.classList.add("fresh");
        this.lines.prepend(line);
        while (this.lines.children.length > MOST_LINES) this.lines.lastChild.remove();
      },
    });
  }

  #show(overview) {
    const { report } = overview;
    this.#showState(overview);
    for (const trend of Object.values(this.trends)) {
      trend.total.textContent = trend.tell(report.totals[trend.field]);
      const buckets = report.trend.buckets.map((each) => ({ at_ms: each.at_ms, value: each[trend.field] }));
      trend.now = report.totals[trend.field];
      trend.update(buckets, report.trend.bucket_ms, this.#compared(trend));
    }
    this.#showFindings(report.findings, report.totals.findings);
    showBars(this.reasons, report.refusals.slice(0, MOST_BARS).map((each) => ({
      name: each.reason, value: each.n, told: count(each.n),
      place: placeOf("events", { event: "handshake.*", reason: each.reason }),
    })), { tone: "wrong", empty: texts.noReasons });
    showBars(this.quotas, overview.quotas.slice(0, MOST_BARS).map((each) => ({
      name: each.subject, value: each.audio_ms, most: each.most_audio_ms,
      told: each.most_audio_ms
        ? texts.quotaOf(hours(each.audio_ms), hours(each.most_audio_ms)) : hours(each.audio_ms),
      place: placeOf("events", { subject: each.subject }),
    })), { tone: "second", empty: texts.noQuota });
    this.latencyCard.hidden = !overview.latencies?.length;
    showLatencies(this.latencies, overview.latencies ?? []);
    this.addressCard.hidden = !this.latencyCard.hidden;
    showBars(this.addresses, report.addresses.slice(0, MOST_BARS).map((each) => ({
      name: each.address, value: each.refusals, told: count(each.refusals),
      place: placeOf("events", { event: "handshake.*", address: each.address }),
    })), { tone: "wrong", empty: texts.noReasons });
    refill(this.checks, checksOf(overview).map(checkItem));
    if (performance.getEntriesByName(PAINTED).length === 0) {
      requestAnimationFrame(() => setTimeout(() => performance.mark(PAINTED)));
    }
  }

  #showState({ report, chain, at_ms: atMs, ...rest }) {
    const period = texts.periodLong[this.#hours];
    const grave = [...report.findings].sort(byGravity)[0];
    const worst = worstOf(checksOf({ chain, at_ms: atMs, ...rest }));
    const isCalm = grave === undefined || !["critical", "high"].includes(grave.severity);
    const tone = worst === "bad" || !isCalm ? "bad" : grave || worst === "warning" ? "warning" : "good";
    this.state.dataset.tone = tone;
    const age = chain.checkpoint === null ? texts.none : ago(chain.checkpoint.at_ms, atMs);
    refill(this.state, icon(tone === "good" ? "shield" : tone === "warning" ? "warning" : "bad"),
      make("div", {},
        make("p", { class: "state-head" }, grave === undefined
          ? texts.quiet(period)
          : `${texts.attention(report.totals.findings, period)} ${texts.gravest(texts.severities[grave.severity] ?? grave.severity)}`),
        make("p", { class: "aside" }, worst === "bad" ? texts.chainBad
          : texts.chainGood(count(chain.newest_seq), age), ` · ${texts.updated(moment(atMs, atMs))}`)));
  }

  /** The time before takes as long to add up, and nobody waits for it. */
  async #compare() {
    try {
      const params = { hours: this.#hours };
      this.former = await this.context.api.get("admin/former", params, this.#closed.signal);
    } catch {
      return; // told where it matters: with the report itself
    }
    for (const trend of Object.values(this.trends)) trend.compare(this.#compared(trend));
  }

  #compared(trend) {
    if (this.former === undefined) return "";
    const changed = change(trend.now, this.former[trend.field]);
    return changed === null ? texts.nothingBefore : texts.against(changed);
  }

  #showFindings(findings, total) {
    const ordered = [...findings].sort(byGravity);
    this.findingsTotal.textContent = count(total);
    const n = (severity) => findings.filter((each) => each.severity === severity).length;
    const kinds = GRAVEST_FIRST.filter((severity) => n(severity) > 0);
    refill(this.severities, kinds.length === 0
      ? make("li", { class: "nothing" }, texts.noFindings)
      : kinds.map((severity) => make("li", {}, severityMark(severity),
        make("span", { class: "number" }, count(n(severity))))));
    refill(this.findings, ordered.length === 0
      ? make("li", { class: "nothing" }, texts.noFindings)
      : ordered.slice(0, MOST_LISTED).map((each) => findingItem(each, { isShort: true })));
  }

  #showLiving(sessions) {
    this.livingCount.textContent = count(sessions.length);
    refill(this.living, sessions.length === 0
      ? make("li", { class: "nothing" }, texts.noSessions)
      : sessions.slice(-MOST_BARS).reverse().map((each) => make("li", {},
        linkTo(placeOf("events", { session_id: each.session_id }),
          { "data-key": each.session_id }, foreign(each.subject)),
        foreign(each.address, { class: "about" }),
        make("span", { class: "number" }, clock(Date.now() - Date.parse(each.started_at))))));
  }

  #showLost(error) {
    if (this.context.isRefusal(error)) return void this.context.refuse(error.code);
    this.state.dataset.tone = "warning";
    refill(this.state, icon("warning"), make("p", { class: "state-head" }, texts.stale));
  }
}

/** To look at this page is on record, too: that is not what is looked for here. */
function isShown(event) {
  return event.event !== OWN;
}

function byGravity(one, other) {
  const place = (finding) => GRAVEST_FIRST.indexOf(finding.severity);
  return place(one) - place(other) || other.at_ms - one.at_ms;
}

function card(title, kind, ...content) {
  return make("section", { class: `card ${kind}` }, make("h2", {}, title), ...content);
}
