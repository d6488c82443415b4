/**
 * Questions to the server in, its answers or one coded problem out.
 *
 * The token goes into a header and nowhere else. What a token says of itself is read here only to
 * explain a refusal: the server has decided by then.
 */

const TIMEOUT_MS = 30_000;
const TOKEN_PARTS = 3;
const ADMIN_AUDIENCE = /\/admin$/;

export class AdminError extends Error {
  /**
   * @param {string} code of `texts.problems`
   * @param {?string} parameter the one that is wrong, where the server says which
   */
  constructor(code, message = "", parameter = null) {
    super(message);
    this.code = code;
    this.parameter = parameter;
  }
}

export class Api {
  #token;

  constructor(token) {
    this.#token = token;
  }

  get(path, params = {}, signal = undefined) {
    return this.#ask("GET", path + query(params), undefined, signal);
  }

  post(path, body) {
    return this.#ask("POST", path, body);
  }

  delete(path) {
    return this.#ask("DELETE", path);
  }

  /** An answer that goes on: its body is the caller's to read. Raises AdminError. */
  async open(path, params, signal) {
    const response = await this.#fetch("GET", path + query(params), undefined, signal);
    if (!response.ok) throw await this.#problemOf(response);
    return response;
  }

  /** Why the server does not want this token, as far as the token says; else the code given. */
  explain(code) {
    if (code !== "unauthenticated" && code !== "forbidden") return code;
    const claims = claimsOf(this.#token);
    if (claims === null) return code;
    if (typeof claims.exp === "number" && claims.exp * 1000 < Date.now()) return "token_expired";
    const audiences = [claims.aud].flat();
    if (!audiences.some((each) => ADMIN_AUDIENCE.test(String(each)))) return "token_audience";
    const scopes = String(claims.scope ?? "").split(" ");
    if (!scopes.includes("audit") && !scopes.includes("admin")) return "token_scope";
    return code;
  }

  async #ask(method, path, body, signal) {
    const timeout = AbortSignal.timeout(TIMEOUT_MS);
    const either = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    const response = await this.#fetch(method, path, body, either);
    if (!response.ok) throw await this.#problemOf(response);
    try {
      return await response.json();
    } catch {
      throw new AdminError("unreachable");
    }
  }

  async #fetch(method, path, body, signal) {
    const headers = { authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    const text = body === undefined ? undefined : JSON.stringify(body);
    const options = { method, headers, body: text, signal, cache: "no-store", redirect: "error" };
    try {
      return await fetch(path, options);
    } catch (error) {
      if (signal?.aborted && signal.reason?.name !== "TimeoutError") throw error;
      throw new AdminError("unreachable");
    }
  }

  async #problemOf(response) {
    let said = {};
    try {
      said = await response.json();
    } catch {
      // not one of our answers: the status has to do
    }
    const code = said.code ?? { 404: "not_found", 503: "overloaded" }[response.status] ?? "internal";
    return new AdminError(this.explain(code), said.message, said.parameter ?? null);
  }
}

function claimsOf(token) {
  const parts = token.split(".");
  if (parts.length !== TOKEN_PARTS) return null;
  try {
    const claims = JSON.parse(atob(parts[1].replaceAll("-", "+").replaceAll("_", "/")));
    return typeof claims === "object" ? claims : null;
  } catch {
    return null;
  }
}

function query(params) {
  const kept = Object.entries(params).filter(([, value]) => value !== null && value !== "");
  return kept.length === 0 ? "" : `?${new URLSearchParams(kept)}`;
}
