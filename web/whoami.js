/**
 * A token in; what the server makes of it out, or null if it does not say.
 */

const ANSWER_LIMIT_MS = 5_000;

/**
 * @param {string} token
 * @param {string} [key] of a session: whether it can be gone on with
 * @returns {Promise<{status: number, told: object} | null>} told: who and what, or a refusal
 */
export async function askWhoami(token, key) {
  const headers = { Authorization: `Bearer ${token}` };
  if (key !== undefined) headers["earwitness-resume"] = key;
  try {
    const answer = await fetch("/v1/whoami", {
      method: "POST", // a browser names its origin then, as it does for a WebSocket
      headers,
      signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
    });
    return { status: answer.status, told: await answer.json() };
  } catch {
    return null;
  }
}

/**
 * The model and the languages of the server.
 *
 * @param {string | null} token
 * @returns {Promise<{model: string, languages: string[]} | null>}
 */
export async function whoami(token) {
  const answer = token === null ? null : await askWhoami(token);
  if (answer?.status !== 200) return null;
  const { model, languages } = answer.told;
  return model && languages ? { model, languages } : null;
}
