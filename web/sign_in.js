/**
 * What the address holds after # in, a token for this tab out, for as long as people stay signed in.
 *
 * A code is exchanged once, a token is taken as it is, a problem is told; whatever it was leaves the
 * address at once, and no server ever saw it there. A token that came from signing in is renewed
 * before it ends, as long as the tab is open, and the server decides for how long. When that is goes
 * by what the server answered and the clock of this machine, which may be wrong but goes evenly. What a
 * token says of itself is read only to know whether it is worth asking.
 */

import { isToken } from "./stream_error.js";

const TOKEN_KEY = "earwitness.token";
const RENEW_AT_KEY = "earwitness.renew_at_ms";
const TIMEOUT_MS = 30_000;
/** That the server sends somebody back with; whoever else makes up an address has nothing to say. */
const PROBLEMS = Object.freeze([
  ...["sign_in_failed", "provider_unavailable", "trail_unavailable", "address_blocked"],
  ...["internal", "overloaded"],
]);
/** Of the life of a token, when a newer one is asked for. */
const RENEW_AT_SHARE = 2 / 3;
const LEAST_WAIT_MS = 5_000;
const RETRY_MS = 30_000;

let renewal = null;
let timer;

export class SignInError extends Error {
  /** @param {string} code a key of `texts.problems` */
  constructor(code) {
    super(code);
    this.code = code;
  }
}

/**
 * The token of this tab, or null if there is none; signs in with what the address holds after #.
 * Throws a SignInError; a token that was here before is still here then.
 *
 * @param {string} hash of another address than the page's
 */
export async function signIn(hash = location.hash) {
  const given = new URLSearchParams(hash.slice(1));
  const [code, token, problem] = ["code", "token", "problem"].map((name) => given.get(name));
  if ((code ?? token ?? problem) !== null && hash === location.hash) {
    history.replaceState(null, "", location.pathname + location.search);
  }
  if (PROBLEMS.includes(problem)) throw new SignInError(problem);
  if (token !== null) return keep(token.trim());
  if (code !== null) return keepGiven(await ask("/v1/sign-in", { body: JSON.stringify({ code }) }));
  const renewAtMs = Number(sessionStorage.getItem(RENEW_AT_KEY));
  if (renewAtMs > 0) renewAt(renewAtMs);
  return storedToken();
}

/** The token of this tab; null if there is none. */
export function storedToken() {
  return sessionStorage.getItem(TOKEN_KEY);
}

/** Who else signs people in here: `{provider: {name, start} | null}`; none if it cannot be known. */
export async function providers() {
  try {
    const answer = await fetch("/v1/sign-in", { signal: AbortSignal.timeout(TIMEOUT_MS) });
    return answer.ok ? await answer.json() : { provider: null };
  } catch {
    return { provider: null };
  }
}

/** A newer token in the place of the one at hand; null if it cannot be had. One is asked for at a time. */
export function renew() {
  renewal ??= renewNow().finally(() => (renewal = null));
  return renewal;
}

/** Forget the token of this tab. */
export function signOut() {
  clearTimeout(timer);
  sessionStorage.removeItem(TOKEN_KEY);
  sessionStorage.removeItem(RENEW_AT_KEY);
}

async function renewNow() {
  const former = storedToken();
  if (former === null || !isRenewable(former)) return null;
  try {
    const headers = { Authorization: `Bearer ${former}` };
    const given = await ask("/v1/sign-in/renew", { headers });
    // Meanwhile there may be another: of a new sign-in, or none.
    return storedToken() === former ? keepGiven(given) : null;
  } catch (error) {
    if (error.code === "unreachable" && storedToken() === former) {
      renewAt(Date.now() + RETRY_MS);
    }
    return null;
  }
}

function keep(token) {
  if (!isToken(token)) throw new SignInError("token_malformed");
  signOut();
  sessionStorage.setItem(TOKEN_KEY, token);
  return token;
}

function keepGiven({ token, expires_in_s: lifetimeS }) {
  keep(token);
  renewAt(Date.now() + lifetimeS * 1000 * RENEW_AT_SHARE);
  return token;
}

function renewAt(atMs) {
  sessionStorage.setItem(RENEW_AT_KEY, String(Math.round(atMs)));
  clearTimeout(timer);
  timer = setTimeout(renew, Math.max(atMs - Date.now(), LEAST_WAIT_MS));
}

function isRenewable(token) {
  return typeof claimsOf(token)?.earwitness?.signed_in_at_s === "number";
}

/** What a token says of itself, true or not; null if it cannot be read. */
function claimsOf(token) {
  try {
    const payload = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/** What the server answers to a POST. */
async function ask(path, { body, headers = {} }) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { ...headers, "Content-Type": "application/json" },
      body,
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch {
    throw new SignInError("unreachable");
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new SignInError(told.code ?? "unknown");
  return told;
}
