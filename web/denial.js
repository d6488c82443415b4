/**
 * A token in, why the server denied it a handshake out.
 *
 * A browser is not told why, only that it was: `/v1/whoami` answers the same token as the handshake
 * would have. It cannot tell everything: that all places are taken, or that a session to go on with
 * is over, is nothing about the token.
 */

const ANSWER_LIMIT_MS = 5_000;
/** Bring something else, or do not come again. */
const FINAL_STATUSES = Object.freeze([401, 403]);

/**
 * @param {string} token
 * @returns {Promise<{code: string, message?: string, isFinal: boolean}>} code: a key of
 *   `texts.problems`; isFinal: trying again with this token is in vain
 */
export async function reasonOfDenial(token) {
  try {
    const answer = await fetch("/v1/whoami", {
      method: "POST", // a browser names its origin then, as it does for a WebSocket
      headers: { Authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    });
    if (answer.ok) return { code: "not_accepted", isFinal: false };
    const { code, message } = await answer.json();
    return { code, message, isFinal: FINAL_STATUSES.includes(answer.status) };
  } catch {
    return { code: "unreachable", isFinal: false };
  }
}
