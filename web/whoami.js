/**
 * A token in; the model and the languages of the server out, or null if it does not say.
 */

/**
 * @param {string | null} token
 * @returns {Promise<{model: string, languages: string[]} | null>}
 */
export async function whoami(token) {
  if (token === null) return null;
  try {
    // POST, because a browser names its origin then, as it does for a WebSocket
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch("/v1/whoami", { method: "POST", headers });
    const { model, languages } = await answer.json();
    return answer.ok && model && languages ? { model, languages } : null;
  } catch {
    return null;
  }
}
