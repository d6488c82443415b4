/**
 * Whatever lets somebody in, in; the token for a session out, or a form that asks for one.
 *
 * How people come by a token is for `sign_in.js`: the address, a provider of identities, or the field
 * of this form. It is kept in this tab alone until the server does not take it any more.
 */

import { SignInError, providers, signIn, signOut, storedToken } from "./sign_in.js";
import { StreamError } from "./stream_error.js";
import { texts } from "./texts.js";

/** What may stand before a token where people copy it from. */
const SCHEME = /^(authorization:\s*)?bearer\s+/i;
/** The address that the server prints, or its end. */
const GIVEN = /#(?:code|token)=.+$/s;

export class TokenForm {
  #on;
  #tell;
  #provider = null;

  /**
   * @param {Record<string, HTMLElement>} on the page's elements by id
   * @param {(problem: string | null) => void} tell called when there is, or is not, a token
   */
  constructor(on, tell) {
    this.#on = on;
    this.#tell = tell;
    on["token-form"].addEventListener("submit", async (event) => {
      event.preventDefault();
      await this.#use(on["token-field"].value.trim());
      if (!this.isMissing) on.toggle.focus();
    });
    on.provider.addEventListener("click", () => location.assign(this.#provider.start));
    window.addEventListener("hashchange", () => this.#comeIn());
    document.body.dataset.token = "here";
    this.#comeIn();
    this.#offerProvider();
  }

  get isMissing() {
    return this.stored() === null;
  }

  /** Null when there is none. */
  stored() {
    return storedToken();
  }

  /** For a handshake. */
  current() {
    const token = this.stored();
    if (token === null) throw new StreamError("unauthenticated");
    return token;
  }

  /** Forgets the token, and asks for another. */
  ask() {
    signOut();
    this.#on["token-form"].hidden = false;
    this.#on["token-field"].value = "";
    document.body.dataset.token = "missing";
    this.#on["token-field"].focus();
  }

  /** In the language of the page, after it has changed. */
  reword() {
    if (this.#provider) this.#on.provider.textContent = texts.signInWith(this.#provider.name);
  }

  /** @param {string} [hash] of an address; without, the page's */
  async #comeIn(hash) {
    try {
      if ((await signIn(hash)) === null) this.ask();
      else this.#show();
      this.#tell(null);
    } catch (error) {
      if (this.isMissing) this.ask();
      const code = error instanceof SignInError ? error.code : "unknown";
      this.#tell(Object.hasOwn(texts.problems, code) ? code : "unknown");
    }
  }

  async #offerProvider() {
    this.#provider = (await providers()).provider;
    this.#on.provider.hidden = this.#provider === null;
    this.reword();
  }

  #use(given) {
    const token = encodeURIComponent(given.replace(SCHEME, ""));
    return this.#comeIn(given.match(GIVEN)?.[0] ?? `#token=${token}`);
  }

  #show() {
    this.#on["token-form"].hidden = true;
    document.body.dataset.token = "here";
  }
}
