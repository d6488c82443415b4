/**
 * The settings in a dialog: what there is to choose from in, what is chosen out (`settings.js`).
 *
 * Microphones are listed anew when one is plugged in; the server tells its model and languages when
 * the dialog is opened. Nothing that a session is made of can be changed while one runs.
 */

import { listMicrophones } from "./capture.js";
import { texts } from "./texts.js";

const SWITCHES = Object.freeze({
  "setting-noise": "noiseSuppression",
  "setting-echo": "echoCancellation",
  "setting-gain": "autoGain",
  "setting-shortcuts": "shortcuts",
});

export class SettingsPanel {
  #on;
  #settings;
  #askServer;

  /**
   * @param {Record<string, HTMLElement>} on the page's elements by id
   * @param {import("./settings.js").Settings} settings
   * @param {() => Promise<{model: string, languages: string[]} | null>} askServer
   */
  constructor(on, settings, askServer) {
    this.#on = on;
    this.#settings = settings;
    this.#askServer = askServer;
    for (const [id, name] of Object.entries(SWITCHES)) {
      on[id].checked = settings.get(name);
      on[id].addEventListener("change", () => settings.set(name, on[id].checked));
    }
    const choose = (id, name) =>
      on[id].addEventListener("change", () => settings.set(name, on[id].value));
    choose("setting-device", "deviceId");
    choose("setting-language", "language");
    navigator.mediaDevices?.addEventListener("devicechange", () => this.#showMicrophones());
    this.#showServer(null);
  }

  async open() {
    if (this.#on.settings.open) return;
    this.#on.settings.showModal();
    const facts = this.#askServer().then((known) => this.#showServer(known));
    await Promise.all([this.#showMicrophones(), facts]);
  }

  /** @param {boolean} isLocked while a session runs */
  lock(isLocked) {
    this.#on["settings-fields"].disabled = isLocked;
    this.#on["settings-locked"].hidden = !isLocked;
  }

  async #showMicrophones() {
    const microphones = await listMicrophones();
    const chosen = this.#settings.get("deviceId");
    const options = microphones.map(({ id, label }) => [id, label]);
    fill(this.#on["setting-device"], [["", texts.inputDefault], ...options], chosen);
    this.#on["device-nameless"].hidden = microphones.length > 0;
  }

  #showServer(known) {
    const languages = known?.languages ?? [];
    const names = new Intl.DisplayNames([texts.language], { type: "language" });
    const named = languages.map((code) => [code, names.of(code)]);
    named.sort(([, one], [, other]) => one.localeCompare(other, texts.language));
    const options = languages.length === 1 ? named : [["", texts.findOut], ...named];
    const chosen = this.#settings.get("language");
    if (known === null && chosen) options.push([chosen, names.of(chosen)]);
    fill(this.#on["setting-language"], options, chosen);
    this.#on["setting-language"].disabled = options.length === 1;
    fill(this.#on["setting-model"], [["", known?.model ?? texts.modelUnknown]], "");
    this.#on["setting-model"].disabled = true;
    this.#on["model-only"].hidden = known === null;
  }
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, label]) => new Option(label, value)));
  select.value = options.some(([value]) => value === chosen) ? chosen : options[0][0];
}
