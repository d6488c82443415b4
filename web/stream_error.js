/**
 * Why a session fails; and what a token looks like, without which none begins.
 */

export class StreamError extends Error {
  /** @param {string} code a key of `texts.problems`; one of a newer server may not be there */
  constructor(code, message = code) {
    super(message);
    this.code = code;
  }
}

/** Whether the text has the form of a JWT, which is also what a subprotocol may be made of. */
export function isToken(text) {
  return /^[\w-]+\.[\w-]+\.[\w-]+$/.test(text);
}
