/**
 * Who speaks now and which addresses may not try: and, with scope admin, an end to that.
 */

import { foreign, linkTo, make, refill } from "./admin_elements.js";
import { placeOf } from "./admin_filters.js";
import { clock, count, moment } from "./admin_format.js";
import { texts } from "./admin_texts.js";

const REFRESH_MS = 5_000;
const TICK_MS = 1_000;

export class Sessions {
  #closed = new AbortController();

  constructor(context) {
    this.context = context;
    this.isAdmin = false;
    this.sessions = [];
    this.ending = new Set();
    this.list = make("ul", { class: "session-cards" });
    this.blocks = make("ul", { class: "blocks" });
    this.total = make("span", { class: "count" });
    this.hint = make("p", { class: "note", id: "needs-admin", hidden: true }, texts.needsAdmin);
    this.element = make("div", { class: "sessions-view" },
      make("div", { class: "place-head" },
        make("h1", { tabindex: -1 }, texts.titles.sessions, " ", this.total)),
      this.hint, this.list,
      make("section", { class: "card" }, make("h2", {}, texts.blocks), this.blocks));
  }

  async open() {
    await this.#refresh();
    const timers = [
      setInterval(() => document.hidden || this.#refresh().catch((error) => {
        if (!this.#closed.signal.aborted && this.context.isRefusal(error)) this.context.refuse(error.code);
      }), REFRESH_MS),
      setInterval(() => this.#tick(), TICK_MS),
    ];
    this.#closed.signal.addEventListener("abort", () => timers.forEach(clearInterval));
  }

  close() {
    this.#closed.abort();
  }

  async #refresh() {
    const { api } = this.context;
    const [{ sessions }, { blocks, me }] = await Promise.all([
      api.get("admin/sessions", {}, this.#closed.signal),
      api.get("admin/blocks", {}, this.#closed.signal),
    ]);
    if (this.#closed.signal.aborted) return;
    this.context.meet(me);
    this.isAdmin = me.scopes.includes("admin");
    this.hint.hidden = this.isAdmin;
    this.sessions = sessions;
    this.total.textContent = count(sessions.length);
    refill(this.list, sessions.length === 0
      ? make("li", { class: "card nothing" }, texts.noSessions)
      : [...sessions].reverse().map((each) => this.#card(each)));
    refill(this.blocks, blocks.length === 0
      ? make("li", { class: "nothing" }, texts.noBlocks) : blocks.map((each) => this.#block(each)));
  }

  #tick() {
    for (const timer of this.list.querySelectorAll("[data-since]")) {
      timer.textContent = clock(Date.now() - Number(timer.dataset.since));
    }
  }

  #card(session) {
    const sinceMs = Date.parse(session.started_at);
    const key = session.session_id;
    const isEnding = session.is_ending === true || this.ending.has(key);
    const choices = [
      [texts.end, `end ${key}`, () => this.#end(session)],
      [texts.revokeToken, `token ${key}`, () => this.#revoke(session, "token_id")],
      [texts.revokeSubject, `subject ${key}`, () => this.#revoke(session, "subject")],
    ];
    return make("li", { class: "card session" },
      make("div", { class: "session-head" },
        make("h2", {}, linkTo(placeOf("events", { session_id: key }), { "data-key": `see ${key}` },
          foreign(session.subject))),
        isEnding ? make("span", { class: "aside" }, texts.ending)
          : make("span", { class: "timer", "data-since": sinceMs }, clock(Date.now() - sinceMs))),
      make("dl", { class: "facts" },
        fact(texts.fromAddress, session.address), fact(texts.issuer, session.issuer),
        fact(texts.page, session.origin), fact(texts.agent, session.user_agent),
        fact(texts.since, moment(sinceMs))),
      make("div", { class: "choices" }, choices.map(([words, name, act]) =>
        this.#button(words, name, session.subject, act, isEnding))));
  }

  /** A button that cannot be used says why, instead of being passed over. */
  #button(words, key, about, act, isDisabled = false) {
    return make("button", {
      type: "button", disabled: isDisabled, class: "grave-quiet", "data-key": key, "aria-label": `${words}: ${about}`,
      "aria-disabled": this.isAdmin ? null : "true",
      "aria-describedby": this.isAdmin ? null : "needs-admin",
      on: { click: () => (this.isAdmin ? act() : this.context.tell("needs_admin")) },
    }, words);
  }

  #block(block) {
    return make("li", {},
      linkTo(placeOf("events", { address: block.address }), {}, foreign(block.address)),
      make("span", { class: "aside" }, texts.until(moment(block.until_ms))),
      this.#button(texts.unblock, `block ${block.address}`, block.address, () => this.#unblock(block)));
  }

  #end(session) {
    this.#ask(texts.endTitle, texts.endText(session.subject), texts.endYes, async () => {
      await this.context.api.delete(`admin/sessions/${encodeURIComponent(session.session_id)}`);
      this.ending.add(session.session_id);
      return texts.ended;
    });
  }

  #revoke(session, what) {
    const [title, text] = what === "token_id"
      ? [texts.revokeTokenTitle, texts.revokeTokenText]
      : [texts.revokeSubjectTitle, texts.revokeSubjectText];
    this.#ask(title, text(session.subject), texts.revokeYes, async () => {
      const body = { [what]: session[what], issuer: session.issuer };
      const { ended } = await this.context.api.post("admin/revocations", body);
      for (const each of this.sessions) {
        if (each[what] === session[what] && each.issuer === session.issuer) this.ending.add(each.session_id);
      }
      return texts.revoked(ended);
    });
  }

  #unblock(block) {
    this.#ask(texts.unblockTitle, texts.unblockText(block.address), texts.unblock, async () => {
      await this.context.api.delete(`admin/blocks/${encodeURIComponent(block.address)}`);
      return texts.unblocked;
    });
  }

  #ask(title, text, yes, act) {
    this.context.ask({
      title, text, yes, act: async () => {
        this.context.announce(await act());
        await this.#refresh();
      },
    });
  }
}

function fact(name, value) {
  return value === null || value === undefined || value === "" ? null
    : make("div", {}, make("dt", {}, name), make("dd", {}, foreign(value)));
}
