/**
 * A token in, and the key of a session if it was to be gone on with; why the server denied it a
 * handshake out.
 *
 * A browser is not told why, only that it was: `/v1/whoami` answers the same token as the handshake
 * would have, and whether the session to go on with is over. It cannot tell everything: a place that
 * is free now may not have been.
 */

import { askWhoami } from "./whoami.js";

/** Bring something else, or do not come again: not with this token, not for this session. */
const FINAL_STATUSES = Object.freeze([401, 403, 410]);

/**
 * @param {string} token
 * @param {string} [key]
 * @returns {Promise<{code: string, message?: string, isFinal: boolean}>} code: a key of
 *   `texts.problems`; isFinal: trying the same again is in vain
 */
export async function reasonOfDenial(token, key) {
  const answer = await askWhoami(token, key);
  if (answer === null) return { code: "unreachable", isFinal: false };
  if (answer.status === 200) return { code: "not_accepted", isFinal: false };
  const { code, message } = answer.told;
  return { code, message, isFinal: FINAL_STATUSES.includes(answer.status) };
}
