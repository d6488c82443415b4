/**
 * The dashboard: a token and an address in, one of its places out.
 *
 * The address after # says what is shown, so that an event or a filter can be linked to. A token
 * may come there, too, and leaves it at once. Whatever the server refuses for the token's sake ends
 * here, at the form for another one.
 */

import { AdminError, Api } from "./admin_api.js";
import { Dialog } from "./admin_dialog.js";
import { linkTo, refill } from "./admin_elements.js";
import { EventView } from "./admin_event.js";
import { Events } from "./admin_events.js";
import { Findings } from "./admin_findings.js";
import { duration } from "./admin_format.js";
import { Overview } from "./admin_overview.js";
import { Sessions } from "./admin_sessions.js";
import { texts } from "./admin_texts.js";
import { Trail } from "./admin_trail.js";
import { isToken } from "./stream_error.js";

const TOKEN_KEY = "earwitness.admin-token";
const REFUSALS = Object.freeze([
  "unauthenticated", "forbidden", "revoked", "token_expired", "token_audience", "token_scope",
]);
const PLACES = Object.freeze({
  overview: Overview, events: Events, findings: Findings, sessions: Sessions, trail: Trail,
});

const on = Object.fromEntries(
  [...document.querySelectorAll("[id]")].map((element) => [element.id, element]),
);
const dialog = new Dialog(on, (error) =>
  (error instanceof AdminError ? wordsOf(error) : texts.problems.unknown));
let api = null;
let shown = null;
let expiresAtMs = null;
let subject = "";

const context = {
  get api() {
    return api;
  },
  again: () => show(),
  ask: (question) => dialog.ask(question),
  announce: (words) => {
    on.announcer.textContent = words;
  },
  isRefusal: (error) => error instanceof AdminError && REFUSALS.includes(error.code),
  meet,
  refuse,
  tell: (code) => showProblem(code),
};

// --- who looks ---

function meet(me) {
  expiresAtMs = Date.now() + me.expires_in_s * 1000;
  subject = me.subject;
  on.person.hidden = false;
  showPerson();
}

function showPerson() {
  if (expiresAtMs === null) return;
  const left = Math.max(0, expiresAtMs - Date.now());
  on["person-name"].textContent = texts.signedIn(subject, duration(Math.floor(left / 1000) * 1000));
}

function useToken(token, isMove = false) {
  if (!isToken(token)) {
    askForToken();
    showProblem("token_malformed");
    return;
  }
  sessionStorage.setItem(TOKEN_KEY, token);
  api = new Api(token);
  document.body.dataset.token = "here";
  on["token-form"].hidden = true;
  on.places.hidden = false;
  showProblem(null);
  show(isMove);
}

function refuse(code) {
  askForToken();
  showProblem(code);
}

function askForToken() {
  sessionStorage.removeItem(TOKEN_KEY);
  api = null;
  expiresAtMs = null;
  shown?.close();
  shown = null;
  if (on.asking.open) on.asking.close();
  on.place.replaceChildren();
  on.places.hidden = on.person.hidden = true;
  on["token-form"].hidden = false;
  on["token-field"].value = "";
  document.body.dataset.token = "missing";
  document.title = `${texts.tokenTitle} · Earwitness`;
  on["token-field"].focus();
}

// --- where ---

/** #events?subject=a → {name: "events", params: {subject: "a"}}; #events/7 → its own place. */
function placeHere() {
  const [path, search = ""] = location.hash.slice(1).split("?", 2);
  const [name, seq] = path.split("/");
  const params = Object.fromEntries(new URLSearchParams(search));
  if (name === "events" && /^\d{1,15}$/.test(seq ?? "")) return { name: "event", params: { seq } };
  return Object.hasOwn(PLACES, name) ? { name, params } : { name: "overview", params: {} };
}

async function show(isMove = false) {
  if (api === null) return;
  const { name, params } = placeHere();
  shown?.close();
  const view = name === "event" ? new EventView(context) : new PLACES[name](context);
  shown = view;
  showProblem(null);
  refill(on.places, Object.keys(PLACES).map((each) => linkTo(`#${each}`, {
    "aria-current": each === name || (each === "events" && name === "event") ? "page" : null,
    "data-key": each,
  }, texts.navigation[each])));
  document.title = `${texts.titles[name]} · Earwitness`;
  on.place.replaceChildren(view.element);
  on.place.setAttribute("aria-busy", "true");
  if (isMove) view.element.querySelector("h1").focus({ preventScroll: true });
  if (isMove) window.scrollTo(0, 0);
  try {
    await view.open(params);
  } catch (error) {
    if (shown !== view) return;
    if (context.isRefusal(error)) refuse(error.code);
    else showProblem(error instanceof AdminError ? error.code : "unknown", error);
  } finally {
    if (shown === view) on.place.removeAttribute("aria-busy");
  }
}

/** Our own words for a code; those of a newer server for one that is not known here. */
function wordsOf({ code, message = "", parameter = null }) {
  if (code === "bad_request" && Object.hasOwn(texts.fields, parameter ?? "")) {
    return texts.wrongFilter(texts.fields[parameter], texts.wrongFilters[parameter] ?? "");
  }
  return texts.problems[code] ?? (message || texts.problems.unknown);
}

function showProblem(code, { message = "", parameter = null } = {}) {
  on.problem.hidden = code === null;
  on.problem.textContent = code === null ? "" : wordsOf({ code, message, parameter });
}

function takeAddress(isMove) {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token !== null) {
    history.replaceState(null, "", location.pathname + location.search);
    useToken(token.trim());
  } else if (api !== null) {
    show(isMove);
  } else {
    const kept = sessionStorage.getItem(TOKEN_KEY);
    if (kept === null) askForToken();
    else useToken(kept);
  }
}

function begin() {
  document.documentElement.lang = texts.language;
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = texts[element.dataset.text];
  }
  on.places.setAttribute("aria-label", texts.places);
  on["token-form"].addEventListener("submit", (event) => {
    event.preventDefault();
    useToken(on["token-field"].value.trim(), true);
  });
  on.leave.addEventListener("click", () => {
    askForToken();
    showProblem(null);
  });
  on.skip.addEventListener("click", (event) => {
    event.preventDefault(); // the address names a place
    on.view.focus();
  });
  window.addEventListener("hashchange", () => takeAddress(true));
  setInterval(showPerson, 1000);
  takeAddress(false);
}

begin();
