/**
 * A token in, from the address or from a field; the token for a session out.
 *
 * It comes in the address after #, which no server sees, and leaves the address at once. It is kept
 * in this tab alone (sessionStorage) until the server does not take it any more.
 */

import { StreamError, isToken } from "./stream.js";

const KEY = "earwitness.token";

export class TokenForm {
  #on;
  #tell;

  /**
   * @param {Record<string, HTMLElement>} on the page's elements by id
   * @param {(problem: string | null) => void} tell called when there is, or is not, a token
   */
  constructor(on, tell) {
    this.#on = on;
    this.#tell = tell;
    on["token-form"].addEventListener("submit", (event) => {
      event.preventDefault();
      this.#use(on["token-field"].value.trim());
      if (!this.isMissing) on.toggle.focus();
    });
    window.addEventListener("hashchange", () => this.#takeFromAddress());
    document.body.dataset.token = "here";
    this.#takeFromAddress();
  }

  get isMissing() {
    return this.stored() === null;
  }

  /** Null when there is none. */
  stored() {
    return sessionStorage.getItem(KEY);
  }

  /** For a handshake. */
  current() {
    const token = this.stored();
    if (token === null) throw new StreamError("unauthenticated");
    return token;
  }

  /** Forgets the token, and asks for another. */
  ask() {
    sessionStorage.removeItem(KEY);
    this.#on["token-form"].hidden = false;
    this.#on["token-field"].value = "";
    document.body.dataset.token = "missing";
    this.#on["token-field"].focus();
  }

  #takeFromAddress() {
    const token = new URLSearchParams(location.hash.slice(1)).get("token");
    if (token !== null) {
      history.replaceState(null, "", location.pathname + location.search);
      this.#use(token.trim());
    } else if (this.isMissing) {
      this.ask();
      this.#tell(null);
    }
  }

  #use(token) {
    if (isToken(token)) {
      sessionStorage.setItem(KEY, token);
      this.#on["token-form"].hidden = true;
      document.body.dataset.token = "here";
      this.#tell(null);
    } else {
      this.ask();
      this.#tell("token_malformed");
    }
  }
}
