/**
 * What somebody chose in, the same after a reload out.
 *
 * Kept in this browser (localStorage), where no secret belongs: names of devices and languages, and
 * switches. What cannot be read, or is of another kind than its default, is as if never chosen.
 */

const KEY = "earwitness.settings";

export const DEFAULTS = Object.freeze({
  deviceId: "",
  language: "",
  noiseSuppression: true,
  echoCancellation: true,
  autoGain: true,
  shortcuts: true,
});

export class Settings {
  #values = { ...DEFAULTS, ...stored() };

  /** @param {keyof typeof DEFAULTS} name */
  get(name) {
    return this.#values[name];
  }

  set(name, value) {
    this.#values[name] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#values));
    } catch {
      // without storage it holds until the page is closed
    }
  }
}

function stored() {
  try {
    const values = JSON.parse(localStorage.getItem(KEY)) ?? {};
    const isOurs = ([name, value]) => typeof value === typeof DEFAULTS[name];
    return Object.fromEntries(Object.entries(values).filter(isOurs));
  } catch {
    return {};
  }
}
